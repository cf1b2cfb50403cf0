# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 client that may say anything: frames as they are written, right or wrong.

Only the compression of headers comes from a library (hpack, which is imported late: it is needed
for this alone). Every wait has a bound, and nothing is retried.
"""

from __future__ import annotations

import itertools
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any

from cri_conformance.wire.endpoint import Endpoint

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW, CONTINUATION = (
    range(10)
)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
LARGEST_FRAME = 16_384
#: Bytes of answers kept of one stream: more than any call here is answered with.
_KEPT = 1 << 20

Headers = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int = -1) -> bytes:
    """A frame; ``length`` if it is to lie."""
    size = len(payload) if length < 0 else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(data: bytes, *, flag: int = 0, length: int = -1) -> bytes:
    """A message as gRPC frames it; ``length`` if it is to lie."""
    return struct.pack(">BI", flag, len(data) if length < 0 else length) + data


def literal(name: bytes, value: bytes) -> bytes:
    """A header as plain as HPACK allows, without any check of what is in it."""
    return b"\x00" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    size = len(text)
    if size < 0x7F:
        return bytes([size])
    out, size = bytearray(b"\x7f"), size - 0x7F
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*out, size])


@dataclass
class Answer:
    """What came on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    ended: bool = False
    reset: int | None = None


@dataclass
class Heard:
    """What came on a connection. ``closed``: the other side hung up."""

    answers: dict[int, Answer] = field(default_factory=dict)
    goaway: str = ""
    closed: bool = False
    junk: bytes = b""

    def text(self) -> str:
        """All that was said in words."""
        words = [self.goaway, self.junk.decode(errors="replace")]
        for answer in self.answers.values():
            words += [f"{name}: {value}" for name, value in answer.headers.items()]
        return "\n".join(filter(None, words))


class Connection:
    """One connection. ``metadata`` goes with each request of ``request``."""

    def __init__(
        self, endpoint: Endpoint, metadata: tuple[tuple[str, str], ...] = (), seconds: float = 2.0
    ) -> None:
        """``seconds`` bound each wait. Raises OSError if nobody listens."""
        from hpack import Decoder

        self._endpoint, self._given, self._seconds = endpoint, metadata, seconds
        self._metadata = [(name.encode(), value.encode()) for name, value in metadata]
        self._decoder: Any = Decoder()
        self._buffer = b""
        self._block = b""
        self._streams = itertools.count(1, 2)
        self.heard = Heard()
        if endpoint.socket is not None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(seconds)
            self._socket.connect(str(endpoint.socket))
        else:
            host, _, port = endpoint.target.removeprefix("dns:///").rpartition(":")
            self._socket = socket.create_connection((host.strip("[]"), int(port)), seconds)

    def another(self) -> Connection:
        """A second one to the same endpoint."""
        return Connection(self._endpoint, self._given, self._seconds)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    # -- saying ----------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write bytes. That the other side hung up, or takes no more, is no error here."""
        if self.heard.closed:
            return
        try:
            self._socket.sendall(data)
        except TimeoutError:
            pass  # it takes no more for now, which is its right
        except OSError:
            self.heard.closed = True

    def start(self, settings: dict[int, int] | None = None) -> None:
        """The preface and our settings, as any client begins."""
        payload = b"".join(struct.pack(">HI", *pair) for pair in (settings or {}).items())
        self.send(PREFACE + frame(SETTINGS, 0, 0, payload))

    def stream(self) -> int:
        """The number of a new stream."""
        return next(self._streams)

    def headers(self, path: bytes = b"/runtime.v1.RuntimeService/Version") -> Headers:
        """Those of a proper request."""
        return [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            *self._metadata,
        ]

    def open(self, headers: Headers, *, flags: int = END_HEADERS, stream: int = 0) -> int:
        """Begin a request with these headers, however many bytes they are."""
        stream = stream or self.stream()
        block = b"".join(literal(name, value) for name, value in headers)
        parts = [block[at : at + LARGEST_FRAME] for at in range(0, len(block), LARGEST_FRAME)]
        first, *rest = parts or [b""]
        out = [frame(HEADERS, flags & ~END_HEADERS if rest else flags, stream, first)]
        for index, part in enumerate(rest):
            out.append(frame(CONTINUATION, END_HEADERS * (index == len(rest) - 1), stream, part))
        self.send(b"".join(out))
        return stream

    def body(self, stream: int, data: bytes, *, flags: int = END_STREAM) -> None:
        """The body of a request, in frames that are not too large."""
        parts = [data[at : at + LARGEST_FRAME] for at in range(0, len(data), LARGEST_FRAME)]
        *rest, last = parts or [b""]
        for part in rest:
            self.send(frame(DATA, 0, stream, part))
        self.send(frame(DATA, flags, stream, last))

    def request(self, headers: Headers | None = None, body: bytes | None = None) -> int:
        """A whole request, proper unless it is given otherwise."""
        stream = self.open(self.headers() if headers is None else headers)
        self.body(stream, message(b"") if body is None else body)
        return stream

    # -- hearing ---------------------------------------------------------------------

    def listen(self, stream: int = 0, seconds: float | None = None) -> Heard:
        """Take what comes until that stream has ended, the other side hung up, or time is over."""
        until = time.monotonic() + (self._seconds if seconds is None else seconds)
        while not self.heard.closed and not self._over(stream):
            left = until - time.monotonic()
            if left <= 0:
                break
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                break
            except OSError:
                data = b""
            if not data:
                self.heard.closed = True
            self._take(data)
        self._socket.settimeout(self._seconds)
        return self.heard

    def _over(self, stream: int) -> bool:
        answer = self.heard.answers.get(stream)
        return answer is not None and (answer.ended or answer.reset is not None)

    def _take(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", self._buffer[3:9])
            if kind > 32 or size > _KEPT:
                # No HTTP/2: an HTTP/1 server's answer, say.
                self.heard.junk = (self.heard.junk + self._buffer)[:_KEPT]
                self._buffer = b""
                return
            if len(self._buffer) < 9 + size:
                return
            payload, self._buffer = self._buffer[9 : 9 + size], self._buffer[9 + size :]
            self._frame(kind, flags, stream & 0x7FFFFFFF, payload)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.heard.goaway = payload[8:].decode(errors="replace") or "goaway"
        elif stream:
            answer = self.heard.answers.setdefault(stream, Answer())
            if kind == DATA:
                answer.data = (answer.data + payload)[:_KEPT]
                self.send(
                    frame(WINDOW, 0, 0, struct.pack(">I", len(payload)))
                    + frame(WINDOW, 0, stream, struct.pack(">I", len(payload)))
                    if payload
                    else b""
                )
            elif kind == RST_STREAM:
                answer.reset = int.from_bytes(payload[:4], "big")
            elif kind in (HEADERS, CONTINUATION):
                self._block += payload
                if flags & END_HEADERS:
                    self._decode(answer)
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                answer.ended = True

    def _decode(self, answer: Answer) -> None:
        from hpack import HPACKError

        block, self._block = self._block, b""
        try:
            for name, value in self._decoder.decode(block):
                answer.headers[str(name)] = str(value)
        except HPACKError:
            answer.headers["undecodable"] = block.hex()
