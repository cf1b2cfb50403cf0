# SPDX-License-Identifier: Apache-2.0
"""Sessions through the relay: untouched they are as without it, tampered one promise breaks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from cri_conformance.api import types
from cri_conformance.faults.fault import Call
from cri_conformance.faults.operators import (
    altered,
    altered_at,
    cut_off,
    divert,
    each,
    joined,
    lost_after,
    never_closed,
    repeated,
    restated,
    silenced,
    swapped,
    unnoticed_end,
    with_code,
    without_end,
)
from cri_conformance.faults.relay import MakeTamper, moved, relayed, untouched
from cri_conformance.streaming import client, status
from cri_conformance.streaming.client import Result
from cri_conformance.streaming.events import SPDY, V4, V5, WEBSOCKET, Refused, StreamingError
from cri_conformance.streaming.server import (
    FOREVER,
    CommandSession,
    Server,
    ServerTunnel,
    command,
    port_forward,
)
from cri_conformance.streaming.transport import Stalled

ALL = {"stdin": True, "stdout": True, "stderr": True}
by_protocol = pytest.mark.parametrize(
    ("protocol", "offered"),
    [(SPDY, (V4,)), (WEBSOCKET, (V5, V4))],
    ids=["spdy", "websocket-v5"],
)
MUCH = bytes(range(256)) * 5000


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.start()
    yield made
    made.close()


def echo(session: CommandSession) -> None:
    assert session.stdin
    assert session.stdout
    assert session.stderr
    while data := session.stdin.read(FOREVER):
        session.stdout.write(data)
    session.stderr.write(b"over")
    session.finish(status.ended(7))


def through(
    server: Server,
    make: MakeTamper,
    data: bytes = MUCH,
    protocol: str = SPDY,
    offered: tuple[str, ...] = (V4,),
    seconds: float = 10,
) -> Result:
    url = relayed(server.offer(command(echo, **ALL), "exec"), make)
    with client.open_session(url, **ALL, protocol=protocol, subprotocols=offered) as session:
        return session.communicate(data, seconds=seconds)


@by_protocol
def test_untouched_a_session_is_as_without(
    server: Server, protocol: str, offered: tuple[str, ...]
) -> None:
    came = through(server, untouched, protocol=protocol, offered=offered)
    assert came.stdout == MUCH
    assert came.stderr == b"over"
    assert came.status.exit_code == 7


@by_protocol
def test_each_tamper_breaks_its_promise(
    server: Server, protocol: str, offered: tuple[str, ...]
) -> None:
    def via(make: MakeTamper, data: bytes = MUCH) -> Result:
        return through(server, make, data, protocol, offered)

    assert via(altered("server", "stdin", bytes.upper), b"abc").stdout == b"ABC"
    changed = via(altered_at("client", "stdout", 70_000)).stdout
    assert [n for n, (a, b) in enumerate(zip(changed, MUCH, strict=True)) if a != b] == [70_000]
    assert via(lost_after("client", "stdout", 65_537)).stdout == MUCH[:65_537]
    assert via(without_end("client", "stdout", 3)).stdout == MUCH[:-3]
    assert via(repeated("client", "stderr")).stderr == b"overover"
    mixed = via(swapped("client", "stdout", "stderr"), b"in")
    assert (mixed.stdout, mixed.stderr) == (b"over", b"in")
    mixed = via(joined("client", "stderr", "stdout"), b"in")
    assert (mixed.stdout, mixed.stderr) == (b"inover", b"")
    assert via(silenced("client", "stderr")).stderr == b""
    assert via(with_code(lambda code: code + 1)).status.exit_code == 8
    for broken in (restated(lambda said: None), cut_off("client", "stdout", 100)):
        with pytest.raises(StreamingError, match="no status"):
            via(broken)


def test_an_end_that_is_swallowed(server: Server) -> None:
    with pytest.raises(Stalled):
        through(server, never_closed("server", "stdin"), seconds=0.5)


@pytest.mark.parametrize("noticed", [True, False])
def test_a_client_that_goes_away(server: Server, noticed: bool) -> None:
    begun, gone = threading.Event(), threading.Event()

    def run(session: CommandSession) -> None:
        session.on_gone(gone.set)
        begun.set()

    url = server.offer(command(run, stdout=True), "exec")
    session = client.open_session(
        relayed(url, untouched if noticed else unnoticed_end), stdout=True
    )
    assert begun.wait(5)
    session.abort()
    assert gone.wait(5 if noticed else 0.3) is noticed


def test_a_refusal_is_passed_on(server: Server) -> None:
    for protocol in (SPDY, WEBSOCKET):
        with pytest.raises(Refused, match="404"):
            client.open_session(
                relayed(f"{server.address}/exec/no", untouched), stdout=True, protocol=protocol
            )


def upper(tunnel: ServerTunnel) -> None:
    if tunnel.port == 13:
        tunnel.fail("refused")
        return
    while data := tunnel.data.read(FOREVER):
        tunnel.data.write(data.upper())


@pytest.mark.parametrize("protocol", [SPDY, WEBSOCKET])
def test_port_forward_through_the_relay(server: Server, protocol: str) -> None:
    ports = [1, 13]
    url = relayed(server.offer(port_forward(upper, ports), "pf"), untouched, ports=ports)
    with client.open_forward(url, protocol=protocol, ports=ports) as forward:
        tunnel = forward.connect(1)
        assert tunnel.exchange(b"a" * 100_000, 100_000, 10) == b"A" * 100_000
        assert forward.connect(13).error.read(5) == b"refused"


def test_connections_that_are_mixed_up(server: Server) -> None:
    mixed = each(
        lambda move: (moved(move, stream="data/0") if move.of("client", "data") else move,)
    )
    url = relayed(server.offer(port_forward(upper), "pf"), mixed, ports=[])
    with client.open_forward(url) as forward:
        first, second = forward.connect(1), forward.connect(1)
        second.data.write(b"second")
        assert first.data.read_exactly(6, 5) == b"SECOND"


def test_divert_leads_an_answer_through_a_relay(server: Server) -> None:
    made = divert("Exec", "silent", silenced("client", "stdout"))
    assert made.name == "silent-Exec"
    url = server.offer(command(echo, **ALL), "exec")
    answer = made.make()(
        Call("Exec", types.ExecRequest(), lambda rpc, request: None),
        lambda request: types.ExecResponse(url=url),
    )
    assert answer.url != url
    with client.open_session(answer.url, **ALL) as session:
        assert session.communicate(b"x", seconds=5).stdout == b""
