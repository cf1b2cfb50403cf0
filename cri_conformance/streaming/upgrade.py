# SPDX-License-Identifier: Apache-2.0
"""The HTTP upgrade to SPDY, for both sides, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from cri_conformance.streaming.events import (
    SPDY,
    WEBSOCKET,
    Accepted,
    Event,
    ProtocolError,
    Refused,
)
from cri_conformance.streaming.spdy import Spdy

_END = b"\r\n\r\n"
#: Most bytes of a head, and of the text that comes with a refusal.
MOST_HEAD = 64 * 1024
_PROTOCOL = "x-stream-protocol-version"


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request or response. Header names are in small letters, repeated ones
    are joined by a comma."""

    first: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """An upgrade that a client asks for. ``raw`` is the head as it came."""

    path: str
    kind: str
    subprotocols: Sequence[str]
    raw: bytes = field(repr=False, default=b"")


def parse_head(raw: bytes) -> Head:
    """Read a head, without the empty line at its end. Raises ProtocolError."""
    first, *lines = raw.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ProtocolError(f"not a header: {line!r}")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return Head(first, headers)


def parse_request(raw: bytes) -> Request:
    """Read the head of a request. Raises Refused for one that asks for no upgrade."""
    head = parse_head(raw)
    try:
        _, target, _ = head.first.split(" ")
    except ValueError:
        raise Refused(400, f"not a request: {head.first!r}") from None
    upgrade = head.headers.get("upgrade", "").lower()
    if upgrade == "websocket":
        kind, named = WEBSOCKET, head.headers.get("sec-websocket-protocol", "")
    elif upgrade == "spdy/3.1":
        kind, named = SPDY, head.headers.get(_PROTOCOL, "")
    else:
        raise Refused(400, f"an upgrade to SPDY/3.1 or websocket is needed, not {upgrade!r}")
    offered = [word.strip() for word in named.split(",") if word.strip()]
    return Request(urlsplit(target).path, kind, offered, raw + _END)


def refusal(status: int, text: str) -> bytes:
    """The answer that refuses a request."""
    body = text.encode()
    return (
        f"HTTP/1.1 {status} {_phrase(status)}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


class SpdyClient(Spdy):
    """The client's side, from the upgrade on."""

    def __init__(self, url: str, subprotocols: Sequence[str]) -> None:
        super().__init__(client=True)
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [
            f"POST {target} HTTP/1.1",
            f"Host: {parts.netloc.rpartition('@')[2]}",
            "Content-Length: 0",
            "Connection: Upgrade",
            "Upgrade: SPDY/3.1",
            *(f"X-Stream-Protocol-Version: {name}" for name in subprotocols),
        ]
        self._out += "\r\n".join(lines).encode("ascii") + _END
        self._answer: bytearray | None = bytearray()

    def receive(self, data: bytes) -> list[Event]:
        """As Link.receive. Raises Refused."""
        if self._answer is None:
            return super().receive(data)
        self._answer += data
        raw, end, rest = bytes(self._answer).partition(_END)
        if not end:
            if not data or len(raw) > MOST_HEAD:
                raise ProtocolError(f"the upgrade was not answered: {raw[:200]!r}")
            return []
        head = parse_head(raw)
        version, _, status = head.first.partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdecimal():
            raise ProtocolError(f"not an answer of HTTP: {head.first[:200]!r}")
        if int(status[:3]) != 101:
            wanted = head.headers.get("content-length", "0")
            missing = int(wanted[:9]) - len(rest) if wanted[:9].isdecimal() else 0
            if data and 0 < missing < MOST_HEAD:
                return []
            raise Refused(int(status[:3]), rest.decode("utf-8", "replace") or status[4:])
        if head.headers.get("upgrade", "").lower() != "spdy/3.1":
            raise ProtocolError(f"upgraded to {head.headers.get('upgrade', 'nothing')!r}")
        self._answer = None
        accepted = Accepted(head.headers.get(_PROTOCOL, ""))
        return [accepted, *(super().receive(rest) if rest else [])]


class SpdyServer(Spdy):
    """The server's side; takes the request at once."""

    def __init__(self, subprotocol: str) -> None:
        super().__init__(client=False)
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
        if subprotocol:
            lines.append(f"X-Stream-Protocol-Version: {subprotocol}")
        self._out += "\r\n".join(lines).encode("ascii") + _END
