# SPDX-License-Identifier: Apache-2.0
"""The client's side of Exec, Attach and PortForward, blocking, with a deadline on everything.

::

    with open_session(url, stdin=True, stdout=True, stderr=True) as session:
        session.stdin.write(b"x")       # from any thread
        session.stdin.close()           # half-close, where session.half_close says so
        session.stdout.read(5.0)        # b"" at the end
        session.status(10.0).exit_code

    with open_forward(url) as forward:
        tunnel = forward.connect(8080)
        tunnel.data.write(b"GET …")
        tunnel.failure(5.0)             # what came on the error stream, "" for nothing

What comes is kept for each stream without a bound, so no order of reading can deadlock.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cri_conformance.streaming import channels, status
from cri_conformance.streaming.connection import Connection, Stream
from cri_conformance.streaming.events import (
    PORT_FORWARD,
    SPDY,
    V4,
    Event,
    Link,
    StreamingError,
)
from cri_conformance.streaming.status import Status
from cri_conformance.streaming.transport import Stalled, connect
from cri_conformance.streaming.upgrade import SpdyClient

#: Seconds for connecting, upgrading and opening the streams.
OPEN_WITHIN = 15.0
#: Bytes in which a server says how a command ended.
MOST_STATUS = 256 * 1024


def dial(
    url: str, protocol: str, subprotocols: Sequence[str], count: int, seconds: float
) -> tuple[Connection, list[Event]]:
    """An upgraded connection whose reader is not started yet, and what came early.

    ``count`` is the number of channels on a WebSocket. Raises StreamingError.
    """
    deadline = time.monotonic() + seconds
    transport = connect(url, seconds)
    link: Link
    try:
        if protocol == SPDY:
            link = SpdyClient(url, subprotocols)
        else:
            link = channels.ChannelsClient(url, subprotocols, count)
    except Exception as error:
        # A URL may hold anything; what connects need not be one that can be asked for.
        transport.close()
        raise StreamingError(f"not a URL to ask for: {url[:200]!r} ({error})") from None
    connection = Connection(link, transport)
    accepted, early = connection.pump.upgrade(deadline)
    connection.subprotocol = accepted.subprotocol
    if protocol != SPDY:
        for number in range(count):
            connection.declare(number)
    return connection, early


@dataclass(frozen=True, slots=True)
class Result:
    """All that came of a command. ``write_error`` is why not all of the input could be sent."""

    stdout: bytes
    stderr: bytes
    status: Status
    write_error: str = ""


class _Ending:
    """How sessions of either kind end: left without an error in good order, else at once."""

    connection: Connection

    def close(self) -> None:
        """End in good order, without waiting for the other side."""
        self.connection.finish()

    def abort(self, *, reset: bool = False) -> None:
        """Go away without a word, as a client that crashed (``reset``: by RST)."""
        self.connection.abort(reset=reset)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class Session(_Ending):
    """An Exec or Attach session. Streams that were not asked for are None."""

    def __init__(self, connection: Connection, streams: Mapping[str, Stream]) -> None:
        self.connection = connection
        self.stdin = streams.get("stdin")
        self.stdout = streams.get("stdout")
        self.stderr = streams.get("stderr")
        self.error = streams["error"]
        self._resize = streams.get("resize")
        self._said = bytearray()

    @property
    def subprotocol(self) -> str:
        """What the server chose."""
        return self.connection.subprotocol

    @property
    def half_close(self) -> bool:
        """Whether closing stdin alone can be said in this protocol."""
        return self.connection.half_close

    def resize(self, width: int, height: int) -> None:
        """Give the terminal a size. Raises StreamingError."""
        if self._resize is None:
            raise StreamingError("the session has no terminal")
        self._resize.write(json.dumps({"Width": width, "Height": height}).encode() + b"\n")

    def status(self, seconds: float) -> Status:
        """How the command ended, once that was said.

        Raises Stalled if it is not within ``seconds``, StreamingError if the stream ends
        without a status or with something else.
        """
        deadline = time.monotonic() + seconds
        while True:
            came = self.error.read(max(0.0, deadline - time.monotonic()))
            self._said += came
            if len(self._said) > MOST_STATUS:
                raise StreamingError(f"a status of more than {MOST_STATUS} bytes")
            with contextlib.suppress(ValueError):
                return status.parse(bytes(self._said))
            if not came:
                said = bytes(self._said[:400])
                raise StreamingError(
                    f"no status came before the error stream ended ({self.error.end}); "
                    f"what came: {said!r}"
                )

    def communicate(
        self, data: bytes | None = None, *, seconds: float, close: bool = True
    ) -> Result:
        """Send input, close it (where that can be said), take all that comes to the end.

        Raises Stalled, or StreamingError if no status comes.
        """
        deadline = time.monotonic() + seconds
        errors: list[str] = []

        def write() -> None:
            assert self.stdin is not None
            try:
                self.stdin.write(data or b"")
                if close:
                    self.stdin.close()
            except StreamingError as error:
                errors.append(str(error))

        writer = threading.Thread(target=write, daemon=True)
        if self.stdin is not None and data is not None:
            writer.start()
        said = self.status(seconds)
        out, err = (
            stream.read_all(max(0.1, deadline - time.monotonic())) if stream else b""
            for stream in (self.stdout, self.stderr)
        )
        return Result(out, err, said, "".join(errors))


def open_session(
    url: str,
    *,
    stdin: bool = False,
    stdout: bool = False,
    stderr: bool = False,
    tty: bool = False,
    protocol: str = SPDY,
    subprotocols: Sequence[str] = (V4,),
    seconds: float = OPEN_WITHIN,
) -> Session:
    """Open an Exec or Attach session; the flags must be those of the request for the URL.

    Raises Refused if the server answers with an HTTP error, StreamingError otherwise.
    """
    deadline = time.monotonic() + seconds
    connection, early = dial(url, protocol, subprotocols, 5, seconds)
    wanted = {"error": True, "stdin": stdin, "stdout": stdout, "stderr": stderr, "resize": tty}
    names = [name for name, given in wanted.items() if given]
    if protocol != SPDY:
        numbers = {
            "stdin": channels.STDIN,
            "stdout": channels.STDOUT,
            "stderr": channels.STDERR,
            "error": channels.ERROR,
            "resize": channels.RESIZE,
        }
        connection.pump.start(early)
        return Session(connection, {name: connection.streams[numbers[name]] for name in names})
    connection.pump.start(early)
    streams = {}
    try:
        for name in names:
            left = max(0.1, deadline - time.monotonic())
            streams[name] = connection.open({"streamtype": name}, left)
    except StreamingError:
        connection.abort()
        raise
    return Session(connection, streams)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One connection to a port: its bytes, and the stream on which errors are told."""

    port: int
    data: Stream
    error: Stream

    def failure(self, seconds: float) -> str:
        """What was told on the error stream, once that ended; "" for nothing. Raises Stalled."""
        return self.error.read_all(seconds).decode("utf-8", "replace").strip()

    def exchange(self, data: bytes, expected: int, seconds: float) -> bytes:
        """Send bytes while taking ``expected`` ones (or fewer, if the stream ends).

        Raises StreamingError.
        """
        errors: list[StreamingError] = []

        def write() -> None:
            try:
                self.data.write(data)
            except StreamingError as error:
                errors.append(error)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        came = self.data.read_exactly(expected, seconds)
        writer.join(seconds)
        if errors and len(came) < expected:
            raise errors[0]
        return came


class Forward(_Ending):
    """A PortForward session."""

    def __init__(self, connection: Connection, ports: Iterable[int], protocol: str) -> None:
        self.connection = connection
        self._protocol = protocol
        self._numbers = itertools.count()
        self._ports = list(ports)

    def connect(self, port: int, seconds: float = OPEN_WITHIN) -> Tunnel:
        """Have the server connect to a port. Raises StreamingError.

        On a WebSocket each port of the request is connected to once, from the start.
        """
        if self._protocol != SPDY:
            return self._ready(port, seconds)
        headers = {"port": str(port), "requestid": str(next(self._numbers))}
        error = self.connection.open({"streamtype": "error", **headers}, seconds)
        error.close()
        return Tunnel(port, self.connection.open({"streamtype": "data", **headers}, seconds), error)

    def _ready(self, port: int, seconds: float) -> Tunnel:
        at = self._ports.index(port)
        data, error = self.connection.streams[2 * at], self.connection.streams[2 * at + 1]
        for stream in (data, error):
            named = stream.read_exactly(2, seconds)
            if int.from_bytes(named, "little") != port:
                raise StreamingError(f"channel {stream.number} says {named!r} for port {port}")
        return Tunnel(port, data, error)

    @contextlib.contextmanager
    def connected(self, port: int, seconds: float = OPEN_WITHIN) -> Iterator[Tunnel]:
        """A tunnel that is taken down after the block. Raises StreamingError."""
        tunnel = self.connect(port, seconds)
        try:
            yield tunnel
        finally:
            self.drop(tunnel)

    def drop(self, tunnel: Tunnel) -> None:
        """Take one connection down. Never raises."""
        with contextlib.suppress(StreamingError):
            tunnel.data.reset()
            tunnel.error.reset()
        self.connection.forget(tunnel.data, tunnel.error)


def open_forward(
    url: str,
    *,
    protocol: str = SPDY,
    ports: Sequence[int] = (),
    seconds: float = OPEN_WITHIN,
) -> Forward:
    """Open a PortForward session. ``ports`` are those of the request, needed on a WebSocket.

    Raises Refused if the server answers with an HTTP error, StreamingError otherwise.
    """
    subprotocols = (PORT_FORWARD,) if protocol == SPDY else (V4,)
    connection, early = dial(url, protocol, subprotocols, 2 * len(ports), seconds)
    connection.pump.start(early)
    return Forward(connection, ports, protocol)


__all__ = [
    "OPEN_WITHIN",
    "Forward",
    "Result",
    "Session",
    "Stalled",
    "Tunnel",
    "dial",
    "open_forward",
    "open_session",
]
