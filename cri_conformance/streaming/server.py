# SPDX-License-Identifier: Apache-2.0
"""The server's side of Exec, Attach and PortForward: a thread for each session.

``Server`` listens and hands out URLs; each leads to one service, once. What a runtime
writes is the function that serves::

    server = Server(); server.start()

    def run(session: CommandSession) -> None:       # in a thread of its own
        session.on_resize(lambda width, height: ...)
        session.on_gone(process.kill)               # the client went away
        while data := session.stdin.read(FOREVER):  # b"": half-closed, or the client is gone
            ...
        session.stdout.write(b"...")                # StreamingError once the client is gone
        session.finish(status.ended(code))          # or status.failed("why")

    url = server.offer(command(run, stdin=True, stdout=True, stderr=True), "exec")

    def forward(tunnel: ServerTunnel) -> None:      # a thread for each connection to a port
        tunnel.data.read(FOREVER); tunnel.data.write(...); tunnel.fail("refused")

    url = server.offer(port_forward(forward, ports), "portforward")

Streams that the client did not ask for are None. A service that returns without ``finish``
leaves the client with a session that ended in silence. SPDY/3.1 and WebSocket are served,
v4.channel.k8s.io on both and v5.channel.k8s.io on WebSocket.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import ssl
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cri_conformance.streaming import channels, status
from cri_conformance.streaming.connection import Connection, Pump, Stream
from cri_conformance.streaming.events import (
    PORT_FORWARD,
    SPDY,
    V4,
    V5,
    Event,
    Link,
    Refused,
    StreamingError,
)
from cri_conformance.streaming.status import Status
from cri_conformance.streaming.transport import Transport
from cri_conformance.streaming.upgrade import (
    MOST_HEAD,
    Request,
    SpdyServer,
    parse_request,
    refusal,
)

#: A time-out for who waits as long as the session lasts.
FOREVER = threading.TIMEOUT_MAX
#: Seconds that a URL is good for, and how many may be open at once (what the kubelet's has).
GOOD_FOR = 60.0
MOST_OFFERS = 1000
#: Seconds for a client's request, and for the streams that belong together.
REQUEST_WITHIN = 10.0
STREAMS_WITHIN = 30.0
#: Bytes of a stream that wait to be taken before the connection is read no further.
MOST_WAITING = 4 * 1024 * 1024


@dataclass
class Incoming:
    """A client's request for an upgrade, to be accepted (or refused, by raising Refused)."""

    request: Request
    transport: Transport
    accepted: bool = field(default=False, init=False)

    def choose(self, supported: Sequence[str]) -> str:
        """The first of the client's subprotocols that is supported. Raises Refused."""
        for name in self.request.subprotocols:
            if name in supported:
                return name
        asked = ", ".join(self.request.subprotocols) or "nothing"
        raise Refused(403, f"the client speaks {asked}, the server {', '.join(supported)}")

    def link(self, subprotocol: str, count: int) -> Link:
        """Accept: the link to go on with. ``count`` is the number of channels on a WebSocket."""
        link: Link
        if self.request.kind == SPDY:
            link = SpdyServer(subprotocol)
        else:
            link = channels.ChannelsServer(self.request.raw, subprotocol, count)
        self.accepted = True
        return link

    def pump(self, subprotocol: str, count: int, sink: Callable[[Event], None]) -> Pump:
        """Accept and read: raw events, for who passes them on. It is not started yet."""
        return Pump(self.link(subprotocol, count), self.transport, sink)


#: Serves one connection, in a thread of its own.
Service = Callable[[Incoming], None]


class CommandSession:
    """An Exec or Attach session. Streams that were not asked for are None."""

    def __init__(self, connection: Connection, streams: dict[str, Stream], *, tty: bool) -> None:
        self.connection = connection
        self.tty = tty
        self.stdin = streams.get("stdin")
        self.stdout = streams.get("stdout")
        self.stderr = streams.get("stderr")
        self._error = streams["error"]
        self._resize = streams.get("resize")
        #: Set when the client has gone away, or the session has ended.
        self.gone = connection.pump.over

    def on_gone(self, function: Callable[[], None]) -> None:
        """Call ``function``, in a thread of its own, when the connection is over."""

        def wait() -> None:
            self.gone.wait()
            function()

        threading.Thread(target=wait, name="gone", daemon=True).start()

    def on_resize(self, function: Callable[[int, int], None]) -> None:
        """Call ``function`` with width and height, one by one and in order, for each new size."""
        if (stream := self._resize) is None:
            return

        def read() -> None:
            text, decoder = "", json.JSONDecoder()
            while came := stream.read(FOREVER):
                text = (text + came.decode("utf-8", "replace")).lstrip()
                while text:
                    try:
                        size, end = decoder.raw_decode(text)
                        function(int(size["Width"]), int(size["Height"]))
                    except json.JSONDecodeError:
                        break
                    except (KeyError, TypeError, ValueError):
                        return
                    text = text[end:].lstrip()

        threading.Thread(target=read, name="resize", daemon=True).start()

    def finish(self, said: Status) -> None:
        """Say how it ended and end the session in good order. Never raises."""
        with contextlib.suppress(StreamingError):
            for stream in (self.stdout, self.stderr):
                if stream is not None:
                    stream.close()
            self._error.write(status.render(said))
            self._error.close()
        self.connection.finish()


def command(
    run: Callable[[CommandSession], None],
    *,
    stdin: bool = False,
    stdout: bool = False,
    stderr: bool = False,
    tty: bool = False,
) -> Service:
    """The service of one Exec or Attach, with the flags of its request."""
    wanted = {"error": True, "stdin": stdin, "stdout": stdout, "stderr": stderr, "resize": tty}
    names = {name for name, given in wanted.items() if given}

    def serve(incoming: Incoming) -> None:
        if incoming.request.kind == SPDY:
            connection = Connection(
                incoming.link(incoming.choose((V4,)), 0), incoming.transport, most=MOST_WAITING
            )
            streams = _await_named(connection, names)
        else:
            subprotocol = incoming.choose((V5, V4))
            connection = Connection(
                incoming.link(subprotocol, 5), incoming.transport, most=MOST_WAITING
            )
            connection.subprotocol = subprotocol
            numbers = ("stdin", "stdout", "stderr", "error", "resize")
            declared = {name: connection.declare(at) for at, name in enumerate(numbers)}
            streams = {name: declared[name] for name in names}
            for name in declared.keys() - names:
                declared[name].end = "closed"  # what comes on it is dropped
            connection.pump.start()
            first = next(name for name in ("stdout", "stderr", "error") if name in names)
            # An empty message: the session is there.
            connection.pump.do(lambda link: link.send(streams[first].number, b""))
        if streams is None:
            connection.abort()
            return
        run(CommandSession(connection, streams, tty=tty))

    return serve


def _await_named(connection: Connection, names: set[str]) -> dict[str, Stream] | None:
    """The streams of these types, once the client has opened them all; None if it doesn't."""
    found: dict[str, Stream] = {}

    def opened(stream: Stream) -> None:
        name = stream.headers.get("streamtype", "")
        if name not in names or name in found:
            stream.reset()
            return
        connection.pump.do(lambda link: link.reply(stream.number))
        with connection.changed:
            found[name] = stream
            connection.changed.notify_all()

    connection.on_open = opened
    connection.pump.start()
    with connection.changed:
        connection.changed.wait_for(
            lambda: found.keys() == names or connection.over is not None, STREAMS_WITHIN
        )
    return found if found.keys() == names else None


class ServerTunnel:
    """One connection to a port that a client asked for."""

    def __init__(self, connection: Connection, port: int, data: Stream, error: Stream) -> None:
        self.connection = connection
        self.port = port
        self.data = data
        self.error = error
        #: Set when the client has gone away with all its tunnels.
        self.gone = connection.pump.over

    def fail(self, message: str) -> None:
        """Tell the client why there is no connection, or no more. Never raises."""
        with contextlib.suppress(StreamingError):
            self.error.write(message.encode())


def port_forward(
    forward: Callable[[ServerTunnel], None],
    ports: Sequence[int] = (),
    *,
    begin: Callable[[], None] = lambda: None,
) -> Service:
    """The service of one PortForward, with the ports of its request.

    ``begin`` may raise Refused when the client comes. On SPDY a client may name any port.
    """

    def run(connection: Connection, port: int, data: Stream, error: Stream) -> None:
        try:
            forward(ServerTunnel(connection, port, data, error))
        except StreamingError:
            pass  # the client has gone away
        except Exception as mistake:
            traceback.print_exc()
            ServerTunnel(connection, port, data, error).fail(str(mistake))
        finally:
            with contextlib.suppress(StreamingError):
                error.close()
                data.close()
            connection.forget(data, error)

    def serve(incoming: Incoming) -> None:
        begin()
        if incoming.request.kind == SPDY:
            subprotocol = incoming.choose((PORT_FORWARD,)) if incoming.request.subprotocols else ""
            connection = Connection(
                incoming.link(subprotocol, 0), incoming.transport, most=MOST_WAITING
            )
            connection.on_open = _Pairs(connection, run)
            connection.pump.start()
            return
        if not ports:
            raise Refused(400, "a WebSocket needs the ports in the request for the URL")
        link = incoming.link(incoming.choose((V4,)), 2 * len(ports))
        connection = Connection(link, incoming.transport, most=MOST_WAITING)
        pairs = [(connection.declare(2 * at), connection.declare(2 * at + 1)) for at in _all(ports)]
        connection.pump.start()
        threads = []
        for port, (data, error) in zip(ports, pairs, strict=True):
            for stream in (data, error):
                stream.write(port.to_bytes(2, "little"))
            threads.append(_thread(run, connection, port, data, error))
        for thread in threads:
            thread.join()
        connection.finish()

    return serve


def _all(ports: Sequence[int]) -> range:
    return range(len(ports))


def _thread(target: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, name="tunnel", daemon=True)
    thread.start()
    return thread


class _Pairs:
    """Puts the data and the error stream of each request together. Called by the reader."""

    def __init__(self, connection: Connection, run: Callable[..., None]) -> None:
        self._connection = connection
        self._run = run
        self._halves: dict[str, dict[str, Stream]] = {}

    def __call__(self, stream: Stream) -> None:
        kind, port = (stream.headers.get(name, "") for name in ("streamtype", "port"))
        asked = stream.headers.get("requestid") or str(stream.number - 2 * (kind == "data"))
        known = self._halves.setdefault(asked, {})
        if (
            kind not in ("data", "error")
            or not (port.isdecimal() and 0 < int(port) < 1 << 16)
            or kind in known
        ):
            stream.reset()
            self._connection.forget(stream)
            return
        known[kind] = stream
        self._connection.pump.do(lambda link: link.reply(stream.number))
        if len(known) == 2:
            del self._halves[asked]
            data = known["data"]
            _thread(self._run, self._connection, int(data.headers["port"]), data, known["error"])


@dataclass(frozen=True)
class _Offer:
    service: Service
    until: float


class Server:
    """Listens on loopback and hands out URLs, each good for one connection."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        """``tls``: a context for a server, with its certificate loaded."""
        self._tls = tls
        self._host = host
        self._offers: OrderedDict[str, _Offer] = OrderedDict()
        self._transports: set[Transport] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((host, 0), backlog=128)
        self._port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="streaming", daemon=True)

    @property
    def address(self) -> str:
        """The beginning of its URLs."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    def start(self) -> None:
        """Take connections."""
        self._thread.start()

    def offer(self, service: Service, path: str, *, seconds: float = GOOD_FOR) -> str:
        """A URL that leads to a service, once, within this time."""
        token = secrets.token_urlsafe(16)
        now = time.monotonic()
        with self._lock:
            self._offers[f"/{path}/{token}"] = _Offer(service, now + seconds)
            while len(self._offers) > MOST_OFFERS or (
                self._offers and next(iter(self._offers.values())).until < now
            ):
                self._offers.popitem(last=False)
        return f"{self.address}/{path}/{token}"

    def close(self) -> None:
        """Listen no more and end all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            open_now = list(self._transports)
            self._offers.clear()
        for transport in open_now:
            transport.abort()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            _thread(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        transport = Transport(sock, self._tls)
        with self._lock:
            self._transports = {known for known in self._transports if not known.closed}
            self._transports.add(transport)
        incoming: Incoming | None = None
        try:
            deadline = time.monotonic() + REQUEST_WITHIN
            transport.handshake(deadline)
            incoming = Incoming(_read_request(transport, deadline), transport)
            self._find(incoming.request.path)(incoming)
        except Refused as error:
            with contextlib.suppress(StreamingError):
                transport.send(refusal(error.status, error.text))
            transport.shut()
        except StreamingError:
            transport.abort()
        except Exception:
            traceback.print_exc()
            transport.abort()
        finally:
            if incoming is None or not incoming.accepted:
                transport.close()

    def _find(self, path: str) -> Service:
        with self._lock:
            offer = self._offers.pop(path, None)
        if offer is None or offer.until < time.monotonic():
            raise Refused(404, "there is no such session, or no more")
        return offer.service


def _read_request(transport: Transport, deadline: float) -> Request:
    raw = bytearray()
    while b"\r\n\r\n" not in raw:
        came = transport.receive(deadline)
        if not came:
            raise StreamingError("the client went away before its request")
        raw += came
        if len(raw) > MOST_HEAD:
            raise Refused(431, "the request's head is too long")
    head, _, rest = bytes(raw).partition(b"\r\n\r\n")
    if rest:
        raise Refused(400, "the client sent more before it had an answer")
    return parse_request(head)
