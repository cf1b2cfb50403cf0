# SPDX-License-Identifier: Apache-2.0
"""Bytes over TCP, with TLS where the URL wants it. One thread reads while others write.

TLS is done in memory, beside the socket: an SSL object of its own must not be used by two
threads at once, and a write that blocks would keep the reader from reading.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from urllib.parse import urlsplit

from cri_conformance.streaming.events import StreamingError

_CHUNK = 256 * 1024
#: Seconds a write may wait for the other side to take anything.
STALLED = 60.0


class Stalled(StreamingError, TimeoutError):
    """The other side did not do its part in time."""


class Transport:
    """A connected socket. Reading is for one thread, the rest for any."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """``tls`` makes this the client's side of TLS, or the server's, by its own protocol."""
        self._sock = sock
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writing = threading.Lock()
        self._tls_lock = threading.Lock()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if tls is not None:
            server = tls.protocol == ssl.PROTOCOL_TLS_SERVER
            self._tls = tls.wrap_bio(self._in, self._out, server_side=server)
        self._shut = False
        self._closing = threading.Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the socket was given back."""
        return self._closed

    def handshake(self, deadline: float) -> None:
        """Agree on TLS, where there is any. Raises StreamingError."""
        while self._tls is not None:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._send_raw(self._out.read())
                self._in.write(self._receive_raw(deadline) or _eof())
            except ssl.SSLError as error:
                raise StreamingError(f"no TLS: {error}") from None
        self._send_raw(self._out.read())

    def receive(self, deadline: float | None = None) -> bytes:
        """What has come, b"" at the end or when the connection is broken. Raises Stalled."""
        if self._tls is None:
            return self._receive_raw(deadline)
        while True:
            with self._tls_lock:
                try:
                    return self._tls.read(_CHUNK)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:  # the end without a goodbye, or a broken record
                    return b""
            raw = self._receive_raw(deadline)
            with self._tls_lock:
                if raw:
                    self._in.write(raw)
                else:
                    self._in.write_eof()

    def send(self, data: bytes) -> None:
        """Send all of it. Raises StreamingError."""
        with self._writing:
            if self._tls is not None:
                with self._tls_lock:
                    try:
                        if data:
                            self._tls.write(data)
                    except ssl.SSLError as error:
                        raise StreamingError(f"TLS: {error}") from None
                    data = self._out.read()
            self._send_raw(data)

    def shut(self) -> None:
        """Send no more; reading goes on."""
        with self._writing, contextlib.suppress(OSError, StreamingError, ssl.SSLError):
            self._shut = True
            if self._tls is not None:
                with self._tls_lock:
                    with contextlib.suppress(ssl.SSLError):
                        self._tls.unwrap()
                    data = self._out.read()
                self._send_raw(data)
            self._sock.shutdown(socket.SHUT_WR)

    def abort(self, *, reset: bool = False) -> None:
        """End both directions at once; whoever reads or writes notices. ``reset``: by RST."""
        with self._closing, contextlib.suppress(OSError):
            if self._closed:
                return
            if reset:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self._sock.shutdown(socket.SHUT_RDWR)
                return
        if reset:
            self.close()

    def close(self) -> None:
        """Give the socket back."""
        with self._closing:
            self._closed = True
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RD)
            self._sock.close()

    def _receive_raw(self, deadline: float | None) -> bytes:
        while True:
            try:
                return self._sock.recv(_CHUNK)
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
            except OSError:
                return b""

    def _send_raw(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, time.monotonic() + STALLED)
            except OSError as error:
                why = "was closed" if self._closed else f"is broken: {error}"
                raise StreamingError(f"the connection {why}") from None

    def _wait(self, event: int, deadline: float | None) -> None:
        poll = select.poll()
        try:
            poll.register(self._sock, event)
        except ValueError:
            raise StreamingError("the connection was closed") from None
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left):
            raise Stalled("the other side did not answer in time")


def _eof() -> bytes:
    raise StreamingError("the connection was closed within the TLS handshake")


def connect(url: str, seconds: float) -> Transport:
    """A connection to where a URL leads. Raises StreamingError.

    The certificate is not checked: runtimes sign their own.
    """
    deadline = time.monotonic() + seconds
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise StreamingError(f"not a URL: {url!r} ({error})") from None
    if parts.scheme not in ("http", "https") or not host:
        raise StreamingError(f"not an absolute http or https URL: {url!r}")
    context = None
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        sock = socket.create_connection((host, port or (443 if context else 80)), timeout=seconds)
    except OSError as error:
        raise StreamingError(f"no connection to {parts.netloc}: {error}") from None
    transport = Transport(sock, context)
    try:
        transport.handshake(deadline)
    except StreamingError:
        transport.close()
        raise
    return transport
