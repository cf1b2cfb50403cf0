# SPDX-License-Identifier: Apache-2.0
"""A relay between a client and a streaming server, which breaks one promise on the way.

What is streamed does not pass through gRPC, so a fault hands the client the URL of a relay
in place of the runtime's. The relay speaks the client's protocol to both sides, stream by
stream, and lets a *tamper* see each move: what opens, what is sent, what ends. One server
for the process; its sessions end with either side, and it refuses when there are too many.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

from cri_conformance.streaming.channels import ChannelsClient
from cri_conformance.streaming.connection import Pump
from cri_conformance.streaming.events import (
    SPDY,
    Accepted,
    Closed,
    Data,
    Ended,
    Event,
    Link,
    Opened,
    Refused,
    Replied,
    StreamingError,
)
from cri_conformance.streaming.server import Incoming, Server, Service
from cri_conformance.streaming.transport import connect
from cri_conformance.streaming.upgrade import SpdyClient

#: Sessions at once, in one process.
MOST_SESSIONS = 256
#: Seconds for reaching the runtime's streaming server.
CONNECT_WITHIN = 10.0
#: Seconds that a session whose one side is gone is kept for the other.
LEFT_OPEN = 30.0

Side = Literal["client", "server"]
#: Names of an exec or attach session's channels on a WebSocket, by number.
_COMMAND = ("stdin", "stdout", "stderr", "error", "resize")


@dataclass(frozen=True, slots=True)
class Move:
    """One thing on its way: ``what`` happens to a stream, ``toward`` whom.

    ``stream`` is stdin, stdout, stderr, error or resize; in a port-forward data/N or error/N
    for connection N (N is the client's requestid, or counts from 0 on a WebSocket). "over" is
    the end of the whole session, which has no stream.
    """

    toward: Side
    stream: str
    what: Literal["open", "data", "end", "over"]
    data: bytes = b""
    #: An end of both directions at once; of a session: one without a goodbye.
    reset: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The stream without the number of its connection."""
        return self.stream.partition("/")[0]

    def of(self, toward: Side, *kinds: str, what: str = "data") -> bool:
        """Whether this is a move of that kind."""
        return self.toward == toward and self.what == what and (not kinds or self.kind in kinds)


#: What becomes of a move: itself, others, none. Each direction comes from a thread of its own;
#: a tamper that waits, waits with ``Relay.gone``.
Tamper = Callable[[Move], Iterable[Move]]
#: Makes the tamper of one session.
MakeTamper = Callable[["Relay"], Tamper]


class Relay:
    """One session."""

    def __init__(self, url: str, ports: Sequence[int] | None, make: MakeTamper) -> None:
        """``ports`` are those of a PortForward request, None for another session."""
        self._url = url
        #: Those of the request; none for another session than a port-forward.
        self.ports = tuple(ports or ())
        #: SPDY or WEBSOCKET, known when a client has come.
        self.kind = ""
        self._channels: Sequence[str] = _COMMAND
        if ports is not None:
            numbers = range(len(ports))
            self._channels = [f"{kind}/{at}" for at in numbers for kind in ("data", "error")]
        #: Set when either side is gone.
        self.gone = threading.Event()
        self._make = make
        self._tamper: Tamper
        self._names: dict[Side, dict[int, str]] = {"client": {}, "server": {}}
        self._numbers: dict[Side, dict[str, int]] = {"client": {}, "server": {}}
        self._pumps: dict[Side, Pump] = {}

    def serve(self, incoming: Incoming, answers: Callable[[str], str]) -> None:
        """Reach the runtime's server, then take the client. Raises Refused as that did.

        ``answers`` may change the stream protocol that the client is told.
        """
        with _sessions.one():
            request = incoming.request
            self.kind = request.kind
            self._tamper = self._make(self)
            link: Link
            if request.kind == SPDY:
                link = SpdyClient(self._url, request.subprotocols)
            else:
                link = ChannelsClient(self._url, request.subprotocols, len(self._channels))
            try:
                up = Pump(
                    link,
                    connect(self._url, CONNECT_WITHIN),
                    lambda event: self._came("client", event),
                )
                accepted, early = up.upgrade(_soon())
            except Refused:
                raise
            except StreamingError as error:
                raise Refused(502, f"the relay found no server: {error}") from None
            self._pumps["server"] = up
            self._pumps["client"] = down = incoming.pump(
                answers(accepted.subprotocol),
                len(self._channels),
                lambda event: self._came("server", event),
            )
            if request.kind != SPDY:
                for number, name in enumerate(self._channels):
                    self._know(name, number, number)
            try:
                down.start()
                up.start(early)
                self.gone.wait()
            finally:
                self.gone.set()
            for pump in (down, up):
                if not pump.over.wait(LEFT_OPEN):
                    pump.abort()

    def send(self, move: Move) -> None:
        """Make a move, without asking the tamper. Never raises."""
        try:
            self._send(move)
        except StreamingError:
            self.gone.set()

    def _send(self, move: Move) -> None:
        pump = self._pumps[move.toward]
        if move.what == "over":
            if move.reset:
                pump.abort()
            else:
                pump.finish()
            self.gone.set()
            return
        if move.what == "open":
            pump.do(lambda link: self._open(move, link))
            return
        number = self._numbers[move.toward].get(move.stream)
        if number is None:
            return
        if move.what == "data":
            pump.write(number, move.data)
        elif move.reset:
            pump.do(lambda link: link.reset(number))
        else:
            pump.do(lambda link: link.close(number))

    def _open(self, move: Move, link: Link) -> None:
        self._know(move.stream, self._numbers["client"][move.stream], link.open(move.headers))

    def _know(self, name: str, client: int, server: int) -> None:
        for side, number in (("client", client), ("server", server)):
            self._names[side][number] = name  # type: ignore[index]
            self._numbers[side][name] = number  # type: ignore[index]

    def _came(self, toward: Side, event: Event) -> None:
        """Called by the thread that reads from the other side."""
        came_from: Side = "server" if toward == "client" else "client"
        if isinstance(event, Accepted):
            return
        if isinstance(event, Ended):
            self._pass(Move(toward, "", "over", reset=not event.orderly))
            self.gone.set()
            return
        if isinstance(event, Opened):
            name = _named(event.headers, len(self._numbers["client"]))
            self._numbers["client"][name] = event.stream
            self._names["client"][event.stream] = name
            self._pass(Move(toward, name, "open", headers=event.headers))
            return
        name = self._names[came_from].get(event.stream, "")
        if isinstance(event, Replied):
            number = self._numbers[toward].get(name)
            if number is not None:
                self._pumps[toward].do(lambda link: link.reply(number))
        elif isinstance(event, Data):
            self._pass(Move(toward, name, "data", event.data))
        elif isinstance(event, Closed):
            self._pass(Move(toward, name, "end", reset=event.reset))

    def _pass(self, move: Move) -> None:
        for made in self._tamper(move):
            self.send(made)


def _named(headers: Mapping[str, str], count: int) -> str:
    kind = headers.get("streamtype", "")
    if "port" not in headers:
        return kind
    return f"{kind}/{headers.get('requestid') or count}"


def _soon() -> float:
    return time.monotonic() + CONNECT_WITHIN


class _Sessions:
    """Counts them."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(MOST_SESSIONS)

    def one(self) -> _Sessions:
        if not self._free.acquire(blocking=False):
            raise Refused(503, f"the relay has {MOST_SESSIONS} sessions already")
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._free.release()


_sessions = _Sessions()


@cache
def _server() -> Server:
    """The process's own; begun with the first diverted session."""
    server = Server()
    server.start()
    atexit.register(server.close)
    return server


def relayed(
    url: str,
    make: MakeTamper,
    *,
    ports: Sequence[int] | None = None,
    answers: Callable[[str], str] = str,
) -> str:
    """The URL of a relay to ``url``. ``ports`` are those of a PortForward request.

    ``answers`` may change the stream protocol that the client is told.
    """
    return offered(lambda incoming: Relay(url, ports, make).serve(incoming, answers))


def offered(service: Service) -> str:
    """The URL of a service of the relay's own, in place of a session of the runtime's."""
    return _server().offer(service, "relay")


def untouched(relay: Relay) -> Tamper:
    """Passes everything on."""
    return lambda move: (move,)


def moved(move: Move, **changes: object) -> Move:
    """A move with something changed."""
    return replace(move, **changes)  # type: ignore[arg-type]
