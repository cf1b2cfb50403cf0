# SPDX-License-Identifier: Apache-2.0
"""Attacks below gRPC, each bounded in count and time. They go for calls that only look.

Half of them are what careless clients and proxies do; the others have had CVE numbers in some
server or other: rapid resets, floods of settings, of pings, of empty frames, of continuations.
"""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable

from cri_conformance.malformed.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    Connection,
    Headers,
    frame,
    literal,
    message,
)

#: Streams, frames or connections of a flood.
MANY = 300
#: Bytes of metadata: beyond the 16 KiB that grpcio takes by default.
LARGE, HUGE = 64 * 1024, 1 << 20
#: What a bomb of a few KiB unpacks to. Small enough for a server that has no limit.
_UNPACKED = 32 << 20
#: Seconds to listen where no word need come, and where one should. What comes later is as good.
_MOMENT, _WHILE = 0.05, 0.5

Attack = Callable[[Connection], None]
ATTACKS: dict[str, Attack] = {}


def _attack(name: str) -> Callable[[Attack], Attack]:
    def add(attack: Attack) -> Attack:
        ATTACKS[name] = attack
        return attack

    return add


def _each(prefix: str, variants: dict[str, Callable[[Connection], None]]) -> None:
    for name, attack in variants.items():
        ATTACKS[f"{prefix}-{name}"] = attack


# -- no HTTP/2 -----------------------------------------------------------------------


def _bytes(data: bytes) -> Attack:
    def attack(connection: Connection) -> None:
        connection.send(data)
        connection.listen(seconds=_MOMENT)

    return attack


_each(
    "preface",
    {
        "http1": _bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "garbage": _bytes(random.Random(0).randbytes(4096)),
        "cut": _bytes(PREFACE[:10]),
        "tls": _bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)),
        "alone": _bytes(PREFACE),
        "twice": _bytes(PREFACE + frame(SETTINGS, 0, 0) + PREFACE),
        "zeros": _bytes(bytes(100_000)),
    },
)


# -- headers -------------------------------------------------------------------------


def _with(change: Callable[[Headers], Headers], body: bytes | None = None) -> Attack:
    def attack(connection: Connection) -> None:
        connection.start()
        stream = connection.request(change(connection.headers()), body)
        connection.listen(stream, _WHILE)

    return attack


def _without(name: bytes) -> Attack:
    return _with(lambda headers: [pair for pair in headers if pair[0] != name])


def _set(name: bytes, value: bytes) -> Attack:
    return _with(lambda headers: [(key, value if key == name else old) for key, old in headers])


def _more(*pairs: tuple[bytes, bytes]) -> Attack:
    return _with(lambda headers: [*headers, *pairs])


_each(
    "headers",
    {
        **{f"without-{name.decode().strip(':')}": _without(name) for name in (
            b":path", b":method", b":scheme", b":authority", b"content-type", b"te")},
        "none": _with(lambda _: []),
        "path-empty": _set(b":path", b""),
        "path-relative": _set(b":path", b"Version"),
        "path-root": _set(b":path", b"/"),
        "path-slashes": _set(b":path", b"//////"),
        "path-up": _set(b":path", b"/runtime.v1.RuntimeService/../Version"),
        "path-nul": _set(b":path", b"/runtime.v1.RuntimeService/Version\x00"),
        "path-binary": _set(b":path", bytes(range(128, 256))),
        "path-long": _set(b":path", b"/" + b"x" * LARGE),
        "method-unknown": _set(b":path", b"/runtime.v1.RuntimeService/NoSuchCall"),
        "service-unknown": _set(b":path", b"/runtime.v9.NoSuchService/Version"),
        "service-old": _set(b":path", b"/runtime.v1alpha2.RuntimeService/Version"),
        "get": _set(b":method", b"GET"),
        "connect": _set(b":method", b"CONNECT"),
        "method-empty": _set(b":method", b""),
        "type-json": _set(b"content-type", b"application/json"),
        "type-odd": _set(b"content-type", b"application/grpc+nonsense"),
        "type-empty": _set(b"content-type", b""),
        "authority-odd": _set(b":authority", b"\x00/../%2f@[::"),
        "path-twice": _with(lambda headers: [*headers[:3], (b":path", b"/"), *headers[3:]]),
        "pseudo-late": _with(lambda headers: [*headers[4:], *headers[:4]]),
        "pseudo-unknown": _more((b":nonsense", b"1")),
        "upper-case": _more((b"X-UPPER", b"1")),
        "name-empty": _more((b"", b"1")),
        "value-newline": _more((b"x-odd", b"a\r\nb: c")),
        "name-binary": _more((b"\xff\x00\x01", b"1")),
        "bin-no-base64": _more((b"x-odd-bin", b"%%%")),
        "connection": _more((b"connection", b"close"), (b"transfer-encoding", b"chunked")),
        "length-wrong": _more((b"content-length", b"99999999999999999999")),
        "length-negative": _more((b"content-length", b"-1")),
        "large": _more((b"x-large", b"z" * LARGE)),
        "huge": _more((b"x-huge", b"z" * HUGE)),
        "many": _more(*[(b"x-%d" % n, b"1") for n in range(3000)]),
        **{f"timeout-{n}": _more((b"grpc-timeout", value)) for n, value in enumerate((
            b"", b"0n", b"-1S", b"1", b"S", b"99999999H", b"999999999999999999999S", b"1x", b"1e9S",
            b"\xff"))},
        **{f"encoding-{value.decode()}": _more((b"grpc-encoding", value)) for value in (
            b"identity", b"gzip", b"nonsense")},
        "trace-odd": _more((b"grpc-trace-bin", b"AAAA"), (b"traceparent", b"00-zz-zz-ff")),
        "status-in-request": _more((b"grpc-status", b"99"), (b"grpc-message", b"%")),
    },
)  # fmt: skip


# -- bodies --------------------------------------------------------------------------


def _body(data: bytes, *more: tuple[bytes, bytes]) -> Attack:
    return _with(lambda headers: [*headers, *more], data)


_GZIP = (b"grpc-encoding", b"gzip")
_each(
    "body",
    {
        "empty": _body(b""),
        "short": _body(b"\x00\x00"),
        "flag-255": _body(message(b"", flag=255)),
        "compressed-no-encoding": _body(message(b"garbage", flag=1)),
        "compressed-garbage": _body(message(b"garbage" * 50, flag=1), _GZIP),
        "compressed-cut": _body(message(gzip.compress(b"x" * 1000)[:-12], flag=1), _GZIP),
        "compressed-bomb": _body(message(gzip.compress(bytes(_UNPACKED)), flag=1), _GZIP),
        "compressed-fine": _body(message(gzip.compress(b""), flag=1), _GZIP),
        "length-more": _body(message(b"\x0a\x01a", length=100)),
        "length-less": _body(message(b"\x0a\x05abcde", length=3)),
        "length-largest": _body(message(b"", length=2**32 - 1)),
        "length-2gib": _body(message(b"\x0a\x01a", length=2**31)),
        "two-messages": _body(message(b"") * 2),
        "hundred-messages": _body(message(b"") * 100),
        "garbage": _body(random.Random(1).randbytes(5000)),
    },
)


@_attack("body-byte-by-byte")
def _trickle(connection: Connection) -> None:
    connection.start()
    stream = connection.open(connection.headers())
    for byte in message(b"\x0a\x05abcde"):
        connection.send(frame(DATA, 0, stream, bytes([byte])))
    connection.send(frame(DATA, END_STREAM, stream))
    connection.listen(stream, _WHILE)


@_attack("body-never")
def _half_open(connection: Connection) -> None:
    connection.start()
    for _ in range(50):
        connection.body(connection.open(connection.headers()), message(b"", length=50), flags=0)
    connection.listen(seconds=_MOMENT)


@_attack("body-after-end")
def _after_end(connection: Connection) -> None:
    connection.start()
    stream = connection.request()
    for _ in range(10):
        connection.body(stream, message(b""))
    connection.listen(stream, _WHILE)


@_attack("body-unread")
def _unread(connection: Connection) -> None:
    """A client without a window for the answer, which goes without a word."""
    connection.start({4: 0})
    for _ in range(20):
        connection.request()
    connection.listen(seconds=_MOMENT)


# -- streams -------------------------------------------------------------------------


@_attack("streams-flood")
def _flood(connection: Connection) -> None:
    connection.start()
    for _ in range(MANY):
        connection.open(connection.headers())
    connection.listen(seconds=_MOMENT)


@_attack("streams-reset")
def _rapid_reset(connection: Connection) -> None:
    connection.start()
    for _ in range(MANY):
        stream = connection.request()
        connection.send(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
    connection.listen(seconds=_MOMENT)


@_attack("streams-reset-first")
def _reset_idle(connection: Connection) -> None:
    connection.start()
    connection.send(frame(RST_STREAM, 0, 99, struct.pack(">I", 8)))
    connection.listen(seconds=_MOMENT)


@_attack("streams-finished")
def _many(connection: Connection) -> None:
    connection.start()
    last = 0
    for _ in range(MANY):
        last = connection.request()
    connection.listen(last, 2 * _WHILE)


def _on(*streams: int) -> Attack:
    def attack(connection: Connection) -> None:
        connection.start()
        for stream in streams:
            connection.open(connection.headers(), stream=stream)
            connection.body(stream, message(b""))
        connection.listen(seconds=_MOMENT)

    return attack


_each("streams", {"even": _on(2), "backwards": _on(9, 7, 5), "largest": _on(2**31 - 1, 1)})


@_attack("streams-number-0")
def _zero(connection: Connection) -> None:
    connection.start()
    connection.send(frame(HEADERS, END_HEADERS, 0, literal(b":path", b"/")))
    connection.send(frame(DATA, END_STREAM, 0, message(b"")))
    connection.listen(seconds=_MOMENT)


# -- frames --------------------------------------------------------------------------


def _frames(*frames: bytes, times: int = 1) -> Attack:
    def attack(connection: Connection) -> None:
        connection.start()
        data = b"".join(frames)
        for _ in range(times):
            connection.send(data)
        connection.listen(seconds=_MOMENT)

    return attack


def _on_stream(*frames: Callable[[int], bytes], times: int = 1) -> Attack:
    """Frames on a stream that has begun with proper headers."""

    def attack(connection: Connection) -> None:
        connection.start()
        stream = connection.open(connection.headers())
        for _ in range(times):
            connection.send(b"".join(one(stream) for one in frames))
        connection.listen(stream, _MOMENT)

    return attack


def _block(block: bytes) -> Attack:
    return _frames(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))


_each(
    "frames",
    {
        "settings-flood": _frames(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)), times=MANY),
        "settings-odd-length": _frames(frame(SETTINGS, 0, 0, b"abcde")),
        "settings-extreme": _frames(
            frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", n, 2**32 - 1) for n in range(10)))
        ),
        "settings-on-stream": _frames(frame(SETTINGS, 0, 1, b"")),
        "settings-frame-size-0": _frames(frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 0))),
        "settings-ack-with-data": _frames(frame(SETTINGS, 1, 0, b"x" * 6)),
        "ping-flood": _frames(frame(PING, 0, 0, b"12345678"), times=MANY),
        "ping-short": _frames(frame(PING, 0, 0, b"123")),
        "window-zero": _frames(frame(WINDOW, 0, 0, bytes(4))),
        "window-overflow": _frames(frame(WINDOW, 0, 0, struct.pack(">I", 2**31 - 1)), times=2),
        "window-short": _frames(frame(WINDOW, 0, 0, b"x")),
        "priority-itself": _frames(frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 0))),
        "priority-flood": _frames(frame(PRIORITY, 0, 3, struct.pack(">IB", 1, 0)), times=MANY),
        "push-promise": _frames(frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2))),
        "goaway-first": _frames(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0) + b"bye")),
        "goaway-short": _frames(frame(GOAWAY, 0, 0, b"x")),
        "unknown": _frames(*(frame(kind, 0xFF, 1, b"x" * 10) for kind in range(10, 40))),
        "continuation-alone": _frames(frame(CONTINUATION, END_HEADERS, 1, b"")),
        "continuation-flood": _frames(
            frame(HEADERS, 0, 1, b""), *[frame(CONTINUATION, 0, 1, b"")] * MANY
        ),
        "headers-without-end": _frames(frame(HEADERS, 0, 1, literal(b":path", b"/"))),
        "headers-interleaved": _frames(
            frame(HEADERS, 0, 1, literal(b":path", b"/")), frame(PING, 0, 0, b"12345678")
        ),
        "too-large": _frames(frame(DATA, 0, 1, bytes(20_000))),
        "length-largest": _frames(frame(DATA, 0, 1, b"x", length=2**24 - 1)),
        "cut": _frames(frame(HEADERS, END_HEADERS, 1, b"", length=100)[:9]),
        "padding-more": _on_stream(lambda n: frame(DATA, PADDED, n, b"\xff" + b"x" * 10)),
        "padding-none": _on_stream(lambda n: frame(DATA, PADDED, n, b"")),
        "data-empty-flood": _on_stream(lambda n: frame(DATA, 0, n), times=MANY),
        "data-padded-flood": _on_stream(
            lambda n: frame(DATA, PADDED, n, b"\xff" + bytes(255)), times=MANY
        ),
        "headers-twice": _on_stream(
            lambda n: frame(HEADERS, END_HEADERS, n, literal(b":path", b"/")), times=3
        ),
        "trailers": _on_stream(
            lambda n: frame(HEADERS, END_HEADERS | END_STREAM, n, literal(b"x-odd", b"1"))
        ),
        "reset-short": _on_stream(lambda n: frame(RST_STREAM, 0, n, b"x")),
        "hpack-index": _block(b"\xff\xff\xff\xff\x0f"),
        "hpack-index-0": _block(b"\x80"),
        "hpack-table": _block(b"\x3f\xe1\xff\xff\xff\x0f"),
        "hpack-huffman": _block(b"\x00\x84\xff\xff\xff\xff\x84\xff\xff\xff\xff"),
        "hpack-cut": _block(b"\x00\x7f\xff"),
        "hpack-references": _block(literal(b"a", b"b" * 4000).replace(b"\0", b"\x40", 1)
                                   + b"\xbe" * 10_000),
        "garbage": _frames(random.Random(2).randbytes(3000)),
    },
)  # fmt: skip


@_attack("connections")
def _connections(connection: Connection) -> None:
    """Many connections that say nothing, and are left all at once."""
    others = [connection.another() for _ in range(MANY // 3)]
    for number, other in enumerate(others):
        if number % 2:
            other.start()
    connection.start()
    connection.listen(connection.request(), _WHILE)
    for other in others:
        other.close()


#: The attack that has a seed.
MANGLED = "mangled"
#: Bytes of a proper request that are changed by a mangled one at most.
_CHANGES = 6


def mangled(seed: int) -> Attack:
    """Proper requests, with some bytes changed: the same for the same seed."""
    chance = random.Random(seed)

    def attack(connection: Connection) -> None:
        headers = b"".join(literal(*pair) for pair in connection.headers())
        streams = range(1, 2 + 2 * chance.randrange(4), 2)
        data = bytearray(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)))
        for stream in streams:
            data += frame(HEADERS, END_HEADERS, stream, headers)
            data += frame(DATA, END_STREAM, stream, message(b"\x0a\x05abcde"))
        start = len(PREFACE) if chance.random() < 0.9 else 0
        for _ in range(1 + chance.randrange(_CHANGES)):
            place = chance.randrange(start, len(data))
            way = chance.randrange(3)
            if way == 0:
                data[place] ^= 1 << chance.randrange(8)
            elif way == 1:
                del data[place : place + chance.randrange(1, 20)]
            else:
                data[place:place] = chance.randbytes(chance.randrange(1, 20))
            if len(data) <= start + 1:
                break
        connection.send(bytes(data))
        connection.listen(streams[-1], 0.05)

    return attack


def attack_of(name: str, seed: int = 0) -> Attack:
    """An attack by its name; only ``MANGLED`` goes by the seed. Raises KeyError."""
    return mangled(seed) if name == MANGLED else ATTACKS[name]
