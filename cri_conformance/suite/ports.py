# SPDX-License-Identifier: Apache-2.0
"""Ports to forward to, and sessions as tests use them.

Where containers are isolated the ports are opened in a sandbox by its own container, with
``nc``. Where they are not, or where the host's network is meant, this process opens them:
then the pod's ports are the host's. Both sides serve the same things:

- ``echo`` gives back what it gets, and ``tail`` after that a last line, if it finds an end;
- ``digest`` takes a line with a number and so many bytes, and answers their SHA-256;
- ``source`` takes a line with a number and sends so many bytes of counting;
- ``say`` takes a line of escaped bytes, sends them, and closes;
- ``one`` and ``two`` send their own name in a line, and echo;
- ``watch`` takes a line with a word, echoes, and notes under that word when its client ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge
from cri_conformance.expect.violation import NotExercised
from cri_conformance.streaming.client import Forward, Tunnel, open_forward
from cri_conformance.streaming.events import SPDY, StreamingError
from cri_conformance.streaming.transport import Stalled
from cri_conformance.suite import sessions
from cri_conformance.wire.outcome import Ok, Outcome, Refused, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

NAMES = ("echo", "tail", "digest", "source", "say", "one", "two", "watch")
#: Where a container opens them; nothing listens on the last.
FIRST_PORT = 17001
_SCRIPTS = {
    "echo": "cat",
    "tail": "cat; echo bye",
    "digest": 'read n; head -c "$n" | sha256sum',
    "source": 'read n; seq 1 99999999 | head -c "$n"',
    "say": "read -r line; printf '%b' \"$line\"",
    "one": "echo one; cat",
    "two": "echo two; cat",
    "watch": 'read word; echo ok; cat; : > "$word"',
}
#: Seconds without a byte after which nothing more is waited for.
QUIET = 10.0


@dataclass(frozen=True, slots=True)
class Ports:
    """A sandbox and its open ports by name; ``closed`` is one where nobody listens.

    ``left`` tells whether a client of ``watch`` was seen to end, waiting for it.
    """

    sandbox: Sandbox
    number: Mapping[str, int]
    closed: int
    left: Callable[[str, float], bool]
    container: Container | None = None


# -- in a container ---------------------------------------------------------------------------


def in_container(runtime: Runtime, sandbox: Sandbox) -> Ports:
    """Open them in a container.

    Raises NotExercised if its image has no nc that can, SetupFailed if they don't open.
    """
    number = {name: FIRST_PORT + at for at, name in enumerate(NAMES)}
    lines = [
        # What goes on after its first connection has two names in the wild.
        "l=-ll; nc --help 2>&1 | grep -q -e '-lk' && l=-lk; ",
        *(
            f"nc $l -p {number[name]} -e /bin/sh -c '{script}' & "
            for name, script in ((name, _quoted(_SCRIPTS[name])) for name in NAMES)
        ),
    ]
    container = runtime.running(sandbox, "".join(lines) + "trap 'kill 0' TERM; wait")
    listening = " ".join(f"{one:04X}" for one in number.values())
    ready = runtime.exec(
        container,
        "/bin/sh",
        "-c",
        "nc --help 2>&1 | grep -q -e '-e PROG' || exit 3; i=0; until ok=1; for p in "
        + listening
        + '; do grep -q ":$p [0-9A-F]*:0000 0A" /proc/net/tcp /proc/net/tcp6 || ok=; done; '
        '[ "$ok" ] || [ $i = 100 ]; do i=$((i+1)); sleep 0.05; done; [ "$ok" ]',
        timeout=20,
    )
    if ready.exit_code == 3:
        raise NotExercised(Reason.SWITCHED_OFF, "the test image has no nc with -e")
    if ready.exit_code != 0:
        raise SetupFailed("a container did not open its ports")

    def left(word: str, seconds: float) -> bool:
        script = (
            f"i=0; until [ -e {word} ] || [ $i -ge {int(seconds * 10)} ]; "
            f"do i=$((i+1)); sleep 0.1; done; [ -e {word} ]"
        )
        waited = int(seconds) + 10
        done = runtime.exec(container, "/bin/sh", "-c", script, timeout=waited)
        return bool(done.exit_code == 0)

    return Ports(sandbox, number, FIRST_PORT + len(NAMES), left, container)


def _quoted(script: str) -> str:
    return script.replace("'", "'\\''")


# -- in this process --------------------------------------------------------------------------


@contextlib.contextmanager
def in_this_process(sandbox: Sandbox) -> Iterator[Ports]:
    """Open them on this host's loopback, for as long as the block lasts."""
    ended: dict[str, threading.Event] = {}
    with contextlib.ExitStack() as undo:
        number = {}
        for name in NAMES:
            server = _Server(("127.0.0.1", 0), _Handler)
            server.serves, server.ended = name, ended
            undo.callback(server.server_close)
            undo.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            number[name] = server.server_address[1]
        # Bound and not listening: refused, and nobody else's meanwhile.
        closed = undo.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))

        def left(word: str, seconds: float) -> bool:
            return word in ended and ended[word].wait(seconds)

        yield Ports(sandbox, number, closed.getsockname()[1], left)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    serves: str
    ended: dict[str, threading.Event]


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            getattr(self, f"_{self.server.serves}")()

    def _echo(self) -> None:
        while data := self.request.recv(1 << 16):
            self.wfile.write(data)

    def _tail(self) -> None:
        self._echo()
        self.wfile.write(b"bye\n")

    def _digest(self) -> None:
        data = self.rfile.read(int(self.rfile.readline()))
        self.wfile.write(hashlib.sha256(data).hexdigest().encode() + b"  -\n")

    def _source(self) -> None:
        self.wfile.write(counting(int(self.rfile.readline())))

    def _say(self) -> None:
        said = self.rfile.readline().decode().rstrip("\n")
        self.wfile.write(bytes(int(octal, 8) for octal in re.findall(r"\\0(\d{3})", said)))

    def _one(self) -> None:
        self.wfile.write(b"one\n")
        self._echo()

    def _two(self) -> None:
        self.wfile.write(b"two\n")
        self._echo()

    def _watch(self) -> None:
        line = b""
        while not line.endswith(b"\n") and (byte := self.request.recv(1)):
            line += byte
        word = line.decode().strip()
        self.server.ended[word] = threading.Event()
        self.wfile.write(b"ok\n")
        try:
            self._echo()
        finally:
            self.server.ended[word].set()


@cache
def counting(size: int) -> bytes:
    """What ``source`` sends."""
    numbers = (f"{n}\n" for n in range(1, size // 2 + 2 if size < 1000 else size // 6 + 20_000))
    return "".join(numbers).encode()[:size]


def escaped(data: bytes) -> bytes:
    """A line that makes ``say`` send these bytes."""
    return "".join(f"\\0{byte:03o}" for byte in data).encode() + b"\n"


# -- sessions ---------------------------------------------------------------------------------


def ask(runtime: Runtime, sandbox_id: str, *ports: int) -> Outcome:
    """PortForward itself. Raises NotExercised if the runtime has none, or none for this host."""
    outcome = runtime.call("PortForward", pod_sandbox_id=sandbox_id, port=ports)
    if isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
        raise NotExercised(Reason.NOT_ADVERTISED, "the runtime has no PortForward")
    if isinstance(outcome, Ok) and not runtime.client.endpoint.local:
        host = urlsplit(outcome.response.url).hostname or ""
        if host == "localhost" or host.startswith("127.") or host == "::1":
            # Meant for a kubelet, which is on the runtime's host.
            raise NotExercised(Reason.REMOTE, f"sessions are served on loopback: {host}")
    return outcome


def address(runtime: Runtime, sandbox_id: str, *ports: int) -> str:
    """The URL of a session. Raises SetupFailed, or NotExercised as ``ask``."""
    outcome = ask(runtime, sandbox_id, *ports)
    if not isinstance(outcome, Ok):
        raise SetupFailed(f"PortForward was needed to set up this test: {outcome}")
    url: str = outcome.response.url
    return url


@contextlib.contextmanager
def forwarded(
    runtime: Runtime, ports: Ports, *names: str, protocol: str = SPDY
) -> Iterator[Forward]:
    """A session for ports of these names, broken off after the block. Raises SetupFailed,
    also for what breaks down within the block."""
    numbers = [ports.number[name] for name in names]
    url = address(runtime, ports.sandbox.id, *numbers)
    try:
        forward = open_forward(url, protocol=protocol, ports=numbers)
    except StreamingError as error:
        raise SetupFailed(f"no session opened at {url}: {error}") from None
    try:
        yield forward
    except StreamingError as error:
        # Where that is a violation, a test judges it before it comes here.
        raise SetupFailed(f"a port-forward session broke down: {error}") from None
    finally:
        forward.abort()


def exchanged(
    forward: Forward, port: int, sent: bytes, expected: int, quiet: float = QUIET
) -> tuple[bytes, str]:
    """What came of a connection of its own, and why no more did ("" if enough came)."""
    try:
        with forward.connected(port, quiet) as tunnel:
            return taken(tunnel, sent, expected, quiet)
    except StreamingError as error:
        return b"", str(error)


def taken(tunnel: Tunnel, sent: bytes, expected: int, quiet: float = QUIET) -> tuple[bytes, str]:
    """Send, and take so many bytes, as long as some come; what came, and why no more did."""
    errors: list[str] = []

    def write() -> None:
        try:
            tunnel.data.write(sent)
        except StreamingError as error:
            errors.append(str(error))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    came = bytearray()
    try:
        while len(came) < expected:
            more = tunnel.data.read(quiet, expected - len(came))
            if not more:
                errors.append(f"the data stream ended ({tunnel.data.end})")
                with contextlib.suppress(Stalled):
                    errors.append(after_end(tunnel, 1.0))
                break
            came += more
    except Stalled as error:
        errors.append(str(error))
    return bytes(came), "; ".join(filter(None, errors))


def same(
    judge: Judge, clause_id: str, came: tuple[bytes, str], wanted: bytes, about: Iterable[str] = ()
) -> None:
    """What came must be this; says where it begins to differ, and why not all came."""
    data, why = came
    sessions.same(judge, clause_id, data, wanted, why, about)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a connection that should not work: where it failed, or what came."""

    place: str
    said: str
    data: bytes = field(default=b"")

    @property
    def failed(self) -> bool:
        """Whether it was refused before any data."""
        return bool(self.place) and not self.data

    def __str__(self) -> str:
        if not self.place:
            return f"no error; {self.data!r} came" + (f"; {self.said}" if self.said else "")
        return f"{self.place}: {self.said}" + (f", after {self.data!r}" if self.data else "")


def attempt(runtime: Runtime, sandbox_id: str, port: int, quiet: float = 5.0) -> Attempt:
    """Try to get an answer from ``echo``, or whatever listens there."""
    outcome = ask(runtime, sandbox_id, port)
    if not isinstance(outcome, Ok):
        return Attempt("by the call", str(outcome))
    try:
        forward = open_forward(outcome.response.url)
    except StreamingError as error:
        return Attempt("on opening", str(error))
    try:
        return tried(forward, port, quiet, b"probe\n")
    finally:
        forward.abort()


def tried(forward: Forward, port: int, quiet: float, probe: bytes = b"") -> Attempt:
    """As ``attempt``, in a session that is open.

    Without a probe where other connections matter: bytes that nobody takes are known to keep
    them waiting, and kubelets' clients end the session with its first error.
    """
    data = b""
    try:
        with forward.connected(port, quiet) as tunnel:
            with contextlib.suppress(StreamingError):
                tunnel.data.write(probe)
            data = tunnel.data.read(quiet)
            ended = tunnel.data.end
            said = "" if data else after_end(tunnel, quiet)
    except Stalled as error:
        return Attempt("", str(error), data)
    except StreamingError as error:
        return Attempt("on the session", str(error), data)
    if said:
        return Attempt("on the error stream", said, data)
    if not data and ended != "closed":
        return Attempt("on the session", f"the data stream ended ({ended})")
    return Attempt("", "", data)


def after_end(tunnel: Tunnel, quiet: float) -> str:
    """What came on the error stream of a connection whose data stream has ended.

    The data stream is reset first, as kubelets' clients do: what was sent and is taken by
    nobody may else keep all other streams waiting. Raises Stalled.
    """
    with contextlib.suppress(StreamingError):
        tunnel.data.reset()
    return tunnel.failure(quiet)
