# SPDX-License-Identifier: Apache-2.0
"""PortForward: bytes to a port and back, each connection its own.

Everything goes through a real session: SPDY/3.1, as kubelets and their clients speak it,
and WebSocket where the runtime takes one. Which sandbox and which ports a session leads to,
and what is refused, is in ``test_port_forward_targets``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from functools import partial

from hypothesis import strategies as st

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.expect.violation import Ended
from cri_conformance.settings import Settings
from cri_conformance.streaming.client import Forward, Tunnel, open_forward
from cri_conformance.streaming.events import WEBSOCKET, StreamingError
from cri_conformance.streaming.transport import Stalled
from cri_conformance.suite.ports import (
    QUIET,
    Ports,
    address,
    after_end,
    ask,
    counting,
    escaped,
    exchanged,
    forwarded,
    same,
    taken,
    tried,
)
from cri_conformance.wire.runtime import Runtime
from cri_conformance.wire.together import together

_CALL = "RuntimeService.PortForward"
_URL = "PortForwardResponse.url"
#: Beyond a pipe, beyond what runtimes were seen to lose, beyond any buffer.
SIZES = (0, 65_537, 192 * 1024 + 1, 16 * 1024 * 1024 + 3)


# -- the address ------------------------------------------------------------------------------


@clause(
    f"{_URL}.not-empty",
    f"{_URL}.absolute",
    f"{_URL}.opens",
    f"{_URL}.again",
    f"{_URL}.guessable",
    f"{_CALL}.spdy",
)
def test_address_leads_to_a_session(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    port = ports.number["echo"]
    outcome = ask(runtime, ports.sandbox.id, port)
    url = judge.response(f"{_URL}.not-empty", outcome).url
    judge.that(f"{_URL}.not-empty", url, permitted="an address", actual="none")
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    judge.that(
        f"{_URL}.absolute",
        scheme in ("http", "https") and host and path,
        permitted="http or https, a host and a path",
        actual=url,
    )
    opened, agreed = "it opened", ""
    try:
        with open_forward(url) as forward:
            agreed = forward.connection.subprotocol
            came = exchanged(forward, port, b"first\n", 6)
            opened = "it opened" if came[0] == b"first\n" else f"{came[0]!r} {came[1]}"
    except StreamingError as error:
        opened = str(error)
    judge.equal(f"{_URL}.opens", opened, "it opened", about=(ports.sandbox.id,))
    judge.equal(f"{_CALL}.spdy", agreed, "portforward.k8s.io", "the stream protocol")
    try:
        open_forward(url).abort()
        judge.record(f"{_URL}.again", "a second session opened")
    except StreamingError as error:
        judge.record(f"{_URL}.again", error)
    other = address(runtime, ports.sandbox.id, port)
    same_length = len(url) == len(other)
    differs = sum(a != b for a, b in zip(url, other, strict=False))
    judge.record(
        f"{_URL}.guessable",
        f"{differs} of {len(url)} characters differ in another address"
        + ("" if same_length else ", which is of another length"),
    )


@clause(f"{_URL}.expires")
def test_age_of_an_address_is_recorded(
    runtime: Runtime, ports: Ports, judge: Judge, chosen: Settings
) -> None:
    if not chosen.nightly:
        judge.skip(Reason.SWITCHED_OFF, "waits for more than a minute: --cri-depth nightly")
    url = address(runtime, ports.sandbox.id, ports.number["echo"])
    with contextlib.suppress(Stalled), forwarded(runtime, ports, "echo") as waits:
        waits.connect(ports.number["echo"]).data.read(65.0)
    try:
        open_forward(url).abort()
        judge.record(f"{_URL}.expires", "still good after 65 s")
    except StreamingError as error:
        judge.record(f"{_URL}.expires", f"after 65 s: {error}")


# -- bytes ------------------------------------------------------------------------------------


def digest_of(forward: Forward, port: int, data: bytes) -> tuple[bytes, str]:
    """What the port found that it was sent, as SHA-256 in hexadecimal."""
    return exchanged(forward, port, b"%d\n" % len(data) + data, 64)


def hexed(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


@clause(f"{_CALL}.exact-to-port")
def test_bytes_arrive_at_the_port(
    runtime: Runtime, ports: Ports, judge: Judge, explore: Explorer
) -> None:
    name, port = f"{_CALL}.exact-to-port", ports.number["digest"]
    with forwarded(runtime, ports, "digest") as forward:

        def check(data: bytes) -> None:
            same(judge, name, digest_of(forward, port, data), hexed(data))

        explore(
            check,
            data=st.binary(max_size=5000),
            tried=tuple({"data": _some(size)} for size in SIZES),
            examples=15,
        )


def _some(size: int) -> bytes:
    """Bytes of every value, which repeat at no power of two."""
    unit = bytes(range(256)) + b"\0\xff\n"
    return (unit * (size // len(unit) + 1))[:size]


@clause(f"{_CALL}.exact-to-client")
def test_bytes_arrive_at_the_client(
    runtime: Runtime, ports: Ports, judge: Judge, explore: Explorer
) -> None:
    name = f"{_CALL}.exact-to-client"
    with forwarded(runtime, ports, "source", "say") as forward:
        for size in SIZES[1:]:
            came = exchanged(forward, ports.number["source"], b"%d\n" % size, size)
            same(judge, name, came, counting(size))

        def check(data: bytes) -> None:
            came = exchanged(forward, ports.number["say"], escaped(data), len(data))
            same(judge, name, came, data)

        explore(
            check,
            data=st.binary(min_size=1, max_size=300),
            tried=({"data": bytes(range(256))}, {"data": b"\0\0\r\n\xff\xfe"}),
            examples=15,
        )


@clause(f"{_CALL}.both-ways")
def test_bytes_pass_both_ways_at_once(
    runtime: Runtime, ports: Ports, judge: Judge, patience: Callable[[float], float]
) -> None:
    name, port, quiet = f"{_CALL}.both-ways", ports.number["echo"], patience(QUIET)
    with (
        forwarded(runtime, ports, "echo") as forward,
        answering(judge, name, forward, port, quiet) as tunnel,
    ):
        for number in range(20):
            word = b"%d\n" % number
            same(judge, name, taken(tunnel, word, len(word), quiet), word)
        much = _some(4 * 1024 * 1024)
        same(judge, name, taken(tunnel, much, len(much), quiet), much)


@clause(f"{_CALL}.ends-with-port", f"{_CALL}.nothing-wrong")
def test_connection_ends_with_the_port(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    port, quiet = ports.number["say"], QUIET
    with forwarded(runtime, ports, "say") as forward, forward.connected(port) as tunnel:
        came = taken(tunnel, escaped(b"last words"), 10)
        ended = tunnel.data.wait_end(quiet)
        judge.that(
            f"{_CALL}.ends-with-port",
            came[0] == b"last words" and ended,
            permitted="the bytes, then the end of the data stream",
            actual=f"{came[0]!r} {came[1]}, " + ("the end" if ended else f"no end in {quiet:g} s"),
        )
        try:
            said = after_end(tunnel, quiet)
        except Stalled as error:
            said = str(error)
        judge.equal(f"{_CALL}.nothing-wrong", said, "", "what the error stream said")


@clause(f"{_CALL}.closed-port", f"{_CALL}.closed-port-others")
def test_closed_port_is_told(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    echo = ports.number["echo"]
    with forwarded(runtime, ports, "echo") as forward:
        other = forward.connect(echo)
        before = taken(other, b"before", 6)
        said, data, ended = "", b"", False
        try:
            tunnel = forward.connect(ports.closed)
            data = tunnel.data.read(QUIET)
            said = after_end(tunnel, QUIET)
            ended = True
        except StreamingError as error:
            said = f"({error})"
        judge.that(
            f"{_CALL}.closed-port",
            ended and said and not data,
            permitted="an error on the error stream, its end, and no data",
            actual=f"error stream {said!r}, data {data!r}",
            about=(ports.sandbox.id,),
        )
        after = taken(other, b"after", 5, 2.0)
        judge.record(
            f"{_CALL}.closed-port-others",
            f"the other connection {'goes on' if after[0] == b'after' else f'ends: {after[1]}'}"
            + ("" if before[0] == b"before" else ", and never was one"),
        )


@clause(f"{_CALL}.half-close")
def test_half_close_is_recorded(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    port = ports.number["tail"]
    with forwarded(runtime, ports, "tail") as forward, forward.connected(port) as tunnel:
        came = taken(tunnel, b"x", 1)
        with contextlib.suppress(StreamingError):
            tunnel.data.close()
        tail, why = taken(tunnel, b"", 4, 3.0)
        judge.record(
            f"{_CALL}.half-close",
            "the port found the end, and its answer came"
            if tail == b"bye\n"
            else f"{came[0] + tail!r} came ({why})",
        )


# -- many -------------------------------------------------------------------------------------


def all_at_once(
    judge: Judge, name: str, tunnels: list[Tunnel], sent: list[bytes], quiet: float
) -> None:
    """What is sent on each of several open connections to ``echo`` must come back on it."""
    calls = [
        partial(taken, tunnel, data, len(data), quiet)
        for tunnel, data in zip(tunnels, sent, strict=True)
    ]
    for came, data in zip(together(*calls), sent, strict=True):
        same(judge, name, came, data)


@contextlib.contextmanager
def answering(
    judge: Judge, name: str, forward: Forward, port: int, quiet: float
) -> Iterator[Tunnel]:
    """A connection to ``echo`` that has answered: a server with a short queue takes them singly."""
    try:
        tunnel = forward.connect(port, quiet)
    except StreamingError as error:
        same(judge, name, (b"", str(error)), b"hello")
        raise Ended(name) from None
    same(judge, name, taken(tunnel, b"hello", 5, quiet), b"hello")
    try:
        yield tunnel
    finally:
        forward.drop(tunnel)


@clause(f"{_CALL}.connections-apart", f"{_CALL}.one-after-another")
def test_connections_of_a_session(
    runtime: Runtime, ports: Ports, judge: Judge, patience: Callable[[float], float]
) -> None:
    port, quiet = ports.number["echo"], patience(QUIET)
    name = f"{_CALL}.connections-apart"
    with forwarded(runtime, ports, "echo") as forward:
        with contextlib.ExitStack() as open_now:
            tunnels = [
                open_now.enter_context(answering(judge, name, forward, port, quiet))
                for _ in range(8)
            ]
            for round_ in (b"one", b"two"):
                sent = [bytes([65 + n]) * (100_000 + n) + round_ for n in range(8)]
                all_at_once(judge, name, tunnels, sent, quiet)
        for number in range(40):
            word = b"connection %d\n" % number
            came = exchanged(forward, port, word, len(word))
            same(judge, f"{_CALL}.one-after-another", came, word)


@clause(f"{_CALL}.ended-freed")
def test_ended_connections_are_closed(
    runtime: Runtime, ports: Ports, judge: Judge, patience: Callable[[float], float]
) -> None:
    seconds, port = patience(10.0), ports.number["watch"]
    words = [runtime.name("ended") for _ in range(4)]
    with forwarded(runtime, ports, "watch") as forward:
        for word in words:
            exchanged(forward, port, word.encode() + b"\n", 3)
        waiting = [word for word in words if not ports.left(word, seconds)]
        judge.that(
            f"{_CALL}.ended-freed",
            not waiting,
            permitted=f"the connections are closed within {seconds:g} s",
            actual=f"{len(waiting)} of {len(words)} are open",
        )


@clause(f"{_CALL}.failing-at-once")
def test_connections_that_fail_at_once(
    runtime: Runtime, ports: Ports, judge: Judge, patience: Callable[[float], float]
) -> None:
    name, quiet = f"{_CALL}.failing-at-once", patience(10.0)
    for _ in range(3):
        with forwarded(runtime, ports, "echo") as forward:
            calls = [partial(tried, forward, ports.closed, quiet)] * 12
            for became in together(*calls):
                judge.that(name, became.failed, permitted="an error before any data", actual=became)
        with forwarded(runtime, ports, "echo") as forward:
            came = exchanged(forward, ports.number["echo"], b"next", 4)
            same(judge, name, came, b"next", (ports.sandbox.id,))


@clause(f"{_CALL}.sessions-apart")
def test_sessions_at_once(
    runtime: Runtime, ports: Ports, judge: Judge, patience: Callable[[float], float]
) -> None:
    port, quiet, name = ports.number["echo"], patience(QUIET), f"{_CALL}.sessions-apart"
    with contextlib.ExitStack() as open_now:
        tunnels = []
        for _ in range(5):
            forward = open_now.enter_context(forwarded(runtime, ports, "echo"))
            made = open_now.enter_context(answering(judge, name, forward, port, quiet))
            tunnels.append(made)
        sent = [bytes([97 + number]) * 200_000 for number in range(5)]
        all_at_once(judge, name, tunnels, sent, quiet)


@clause(f"{_CALL}.client-gone", f"{_CALL}.client-gone-ends")
def test_client_that_breaks_off(
    runtime: Runtime,
    ports: Ports,
    judge: Judge,
    patience: Callable[[float], float],
) -> None:
    echo, seconds = ports.number["echo"], patience(10.0)
    words = [runtime.name("gone") for _ in range(2)]
    with forwarded(runtime, ports, "echo") as stays, stays.connected(echo) as kept:
        for word, reset in zip(words, (False, True), strict=True):
            with forwarded(runtime, ports, "watch", "source") as leaves:
                watched = leaves.connect(ports.number["watch"])
                taken(watched, word.encode() + b"\n", 3)
                amid = leaves.connect(ports.number["source"])
                taken(amid, b"%d\n" % SIZES[-1], 1)
                leaves.abort(reset=reset)
            same(judge, f"{_CALL}.client-gone", taken(kept, b"still", 5), b"still")
        with forwarded(runtime, ports, "echo") as follows:
            came = exchanged(follows, echo, b"next", 4)
            same(judge, f"{_CALL}.client-gone", came, b"next", (ports.sandbox.id,))
    waiting = [word for word in words if not ports.left(word, seconds)]
    judge.that(
        f"{_CALL}.client-gone-ends",
        not waiting,
        permitted=f"the connections are closed within {seconds:g} s",
        actual=f"{len(waiting)} of {len(words)} are open",
    )


# -- WebSocket --------------------------------------------------------------------------------


@clause(f"{_CALL}.websocket", f"{_CALL}.websocket-exact")
def test_websocket(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    numbers = [ports.number[name] for name in ("one", "two")]
    url = address(runtime, ports.sandbox.id, *numbers)
    try:
        forward = open_forward(url, protocol=WEBSOCKET, ports=numbers)
    except StreamingError as error:
        judge.record(f"{_CALL}.websocket", error)
        judge.not_exercised(f"{_CALL}.websocket-exact", Reason.NOT_ADVERTISED, "no WebSocket")
        return
    judge.record(f"{_CALL}.websocket", forward.connection.subprotocol or "no protocol named")
    try:
        for number, name in zip(numbers, (b"one\n", b"two\n"), strict=True):
            data = name + _some(300_000)
            try:
                came = taken(forward.connect(number), data[4:], len(data))
            except StreamingError as error:
                came = b"", str(error)
            same(judge, f"{_CALL}.websocket-exact", came, data)
    finally:
        forward.abort()
