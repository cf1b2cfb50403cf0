# SPDX-License-Identifier: Apache-2.0
"""SPDY/3.1 framing, for both sides and without I/O, as far as Kubernetes uses it.

Frames are those of the SPDY/3.1 draft. The implementation on the other side is always
moby/spdystream or one that talks to it, and that neither sends WINDOW_UPDATE nor waits for
it: flow is controlled by TCP alone, so SETTINGS and WINDOW_UPDATE are read and have no
effect. A connection ends with GOAWAY: what is still open then is closed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from enum import IntEnum

from cri_conformance.streaming.events import (
    Closed,
    Data,
    Ended,
    Event,
    Opened,
    ProtocolError,
    Replied,
)

VERSION = 3
#: Most bytes in a DATA frame of ours: what the others send at a time.
FRAME = 32 * 1024
#: Most bytes of a header block, unpacked: far more than anybody sends.
MOST_HEADERS = 64 * 1024
#: Most bytes of a frame that is read.
MOST_FRAME = 1 << 24

FIN = 0x01
UNIDIRECTIONAL = 0x02
CANCEL = 5
PROTOCOL_ERROR = 1

_HEAD = struct.Struct("!II")
_WORD = struct.Struct("!I")
_SYN = struct.Struct("!IIBB")


class Kind(IntEnum):
    """Control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


def _dictionary() -> bytes:
    """The dictionary by which header blocks are packed: words with lengths, then plain text."""
    words = (
        "options head post put delete trace accept accept-charset accept-encoding "
        "accept-language accept-ranges age allow authorization cache-control connection "
        "content-base content-encoding content-language content-length content-location "
        "content-md5 content-range content-type date etag expect expires from host if-match "
        "if-modified-since if-none-match if-range if-unmodified-since last-modified location "
        "max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after "
        "server te trailer transfer-encoding upgrade user-agent vary via warning "
        "www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
        "keep-alive origin"
    )
    tail = (
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417"
        "502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad "
        "Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not "
        "Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
        "00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,"
        "image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,public"
        "privatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    packed = b"".join(
        _WORD.pack(len(word)) + word.replace("_", " ").encode() for word in words.split()
    )
    return packed + tail.encode()


DICTIONARY = _dictionary()


class Spdy:
    """One side of a SPDY connection, after the upgrade. A link but for the handshake."""

    half_close = True

    def __init__(self, *, client: bool) -> None:
        self._next = 1 if client else 2
        self._theirs = 0 if client else 1  # parity of the ids that the other side gives
        self._last = 0
        self._buffer = bytearray()
        self._out = bytearray()
        self._pack = zlib.compressobj(9, zdict=DICTIONARY)
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)
        #: Streams on which this side, and on which the other one, may still send.
        self._ours_open: set[int] = set()
        self._theirs_open: set[int] = set()
        self._over = False

    # -- what comes ----------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """As Link.receive."""
        if self._over:
            return []
        if not data:
            return [*self._close_all(), Ended(False, "the connection was closed")]
        self._buffer += data
        events: list[Event] = []
        for word, flags, body in self._frames():
            if word & 0x80000000:
                events += self._control(word, flags, body)
            else:
                events += self._data(word, flags, body)
            if events and isinstance(events[-1], Ended):
                break
        return events

    def _frames(self) -> Iterator[tuple[int, int, bytes]]:
        at = 0
        try:
            while len(self._buffer) - at >= _HEAD.size:
                word, rest = _HEAD.unpack_from(self._buffer, at)
                length = rest & (MOST_FRAME - 1)
                end = at + _HEAD.size + length
                if len(self._buffer) < end:
                    break
                body = bytes(self._buffer[at + _HEAD.size : end])
                at = end
                yield word, rest >> 24, body
        finally:
            del self._buffer[:at]

    def _control(self, word: int, flags: int, body: bytes) -> list[Event]:
        if (word >> 16) & 0x7FFF != VERSION:
            raise ProtocolError(f"a control frame of SPDY version {(word >> 16) & 0x7FFF}")
        kind = word & 0xFFFF
        try:
            if kind == Kind.SYN_STREAM:
                return self._syn_stream(flags, body)
            if kind in (Kind.SYN_REPLY, Kind.HEADERS):
                return self._reply(kind, flags, body)
            if kind == Kind.RST_STREAM:
                stream, _ = _HEAD.unpack(body)
                known = stream in self._theirs_open or stream in self._ours_open
                self._ours_open.discard(stream)
                self._theirs_open.discard(stream)
                return [Closed(stream, reset=True)] if known else []
            if kind == Kind.PING:
                (number,) = _WORD.unpack(body)
                if number % 2 == self._theirs:
                    self._frame(Kind.PING, 0, body)
                return []
            if kind == Kind.GOAWAY:
                self._over = True
                return [*self._close_all(), Ended(True)]
        except struct.error:
            raise ProtocolError(f"a frame of kind {kind} with {len(body)} bytes") from None
        if kind in (Kind.SETTINGS, Kind.WINDOW_UPDATE):
            return []
        raise ProtocolError(f"a control frame of kind {kind}")

    def _syn_stream(self, flags: int, body: bytes) -> list[Event]:
        stream, _, _, _ = _SYN.unpack_from(body)
        headers = self._headers(body[_SYN.size :])
        if stream % 2 != self._theirs or stream <= self._last:
            self._frame(Kind.RST_STREAM, 0, _HEAD.pack(stream, PROTOCOL_ERROR))
            return []
        self._last = stream
        if not flags & UNIDIRECTIONAL:
            self._ours_open.add(stream)
        if flags & FIN:
            return [Opened(stream, headers), Closed(stream)]
        self._theirs_open.add(stream)
        return [Opened(stream, headers)]

    def _reply(self, kind: int, flags: int, body: bytes) -> list[Event]:
        (stream,) = _WORD.unpack_from(body)
        self._headers(body[_WORD.size :])
        events: list[Event] = [Replied(stream)] if kind == Kind.SYN_REPLY else []
        return events + (self._finished(stream) if flags & FIN else [])

    def _data(self, stream: int, flags: int, body: bytes) -> list[Event]:
        if stream not in self._theirs_open:
            return []  # of a stream that was reset: it crossed on the way
        events: list[Event] = [Data(stream, body)] if body else []
        return events + (self._finished(stream) if flags & FIN else [])

    def _finished(self, stream: int) -> list[Event]:
        if stream not in self._theirs_open:
            return []
        self._theirs_open.discard(stream)
        return [Closed(stream)]

    def _close_all(self) -> list[Event]:
        self._over = True
        still = sorted(self._theirs_open)
        self._theirs_open.clear()
        self._ours_open.clear()
        return [Closed(stream, reset=True) for stream in still]

    def _headers(self, packed: bytes) -> dict[str, str]:
        try:
            block = self._unpack.decompress(packed, MOST_HEADERS)
        except zlib.error as error:
            raise ProtocolError(f"headers that can't be unpacked: {error}") from None
        if self._unpack.unconsumed_tail:
            raise ProtocolError(f"headers of more than {MOST_HEADERS} bytes")
        texts = []
        try:
            (count,) = _WORD.unpack_from(block)
            at = _WORD.size
            for _ in range(count * 2):
                (length,) = _WORD.unpack_from(block, at)
                at += _WORD.size
                if at + length > len(block):
                    raise ProtocolError("a header that is longer than its block")
                texts.append(block[at : at + length].decode("utf-8", "replace"))
                at += length
        except struct.error:
            raise ProtocolError("a header block that ends too early") from None
        return {name.lower(): value for name, value in zip(texts[::2], texts[1::2], strict=True)}

    # -- what goes -----------------------------------------------------------------

    def open(self, headers: Mapping[str, str]) -> int:
        """As Link.open."""
        if self._over:
            raise ProtocolError("the connection is over")
        stream, self._next = self._next, self._next + 2
        self._ours_open.add(stream)
        self._theirs_open.add(stream)
        self._frame(Kind.SYN_STREAM, 0, _SYN.pack(stream, 0, 0, 0) + self._packed(headers))
        return stream

    def reply(self, stream: int) -> None:
        """As Link.reply."""
        if not self._over:
            self._frame(Kind.SYN_REPLY, 0, _WORD.pack(stream) + self._packed({}))

    def send(self, stream: int, data: bytes) -> None:
        """As Link.send."""
        if stream in self._ours_open:
            for at in range(0, len(data), FRAME):
                part = data[at : at + FRAME]
                self._out += _HEAD.pack(stream, len(part)) + part

    def close(self, stream: int) -> None:
        """As Link.close."""
        if stream in self._ours_open:
            self._ours_open.discard(stream)
            self._out += _HEAD.pack(stream, FIN << 24)

    def reset(self, stream: int) -> None:
        """As Link.reset."""
        if stream in self._ours_open or stream in self._theirs_open:
            self._ours_open.discard(stream)
            self._theirs_open.discard(stream)
            self._frame(Kind.RST_STREAM, 0, _HEAD.pack(stream, CANCEL))

    def ping(self, number: int) -> None:
        """Ask whether the other side is there; ``number`` has the parity of this side's ids."""
        self._frame(Kind.PING, 0, _WORD.pack(number))

    def end(self) -> None:
        """As Link.end."""
        if not self._over:
            self._frame(Kind.GOAWAY, 0, _HEAD.pack(self._last, 0))

    def to_send(self) -> bytes:
        """As Link.to_send."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def _frame(self, kind: Kind, flags: int, body: bytes) -> None:
        self._out += _HEAD.pack((0x8000 | VERSION) << 16 | kind, flags << 24 | len(body)) + body

    def _packed(self, headers: Mapping[str, str]) -> bytes:
        block = bytearray(_WORD.pack(len(headers)))
        for text in (text for item in headers.items() for text in (item[0].lower(), item[1])):
            block += _WORD.pack(len(text.encode())) + text.encode()
        return self._pack.compress(bytes(block)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
