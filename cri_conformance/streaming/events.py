# SPDX-License-Identifier: Apache-2.0
"""What both protocols have in common: streams over one connection, as events.

A *link* is one side of one connection without any I/O: bytes go in, events come out, and
what it wants sent waits in ``to_send``. It begins with the HTTP upgrade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

SPDY = "spdy"
WEBSOCKET = "websocket"

V4 = "v4.channel.k8s.io"
V5 = "v5.channel.k8s.io"
PORT_FORWARD = "portforward.k8s.io"


class StreamingError(Exception):
    """A session that could not be opened or did not go on; one line that says why."""


class ProtocolError(StreamingError):
    """The other side sent what the protocol does not have."""


class Refused(StreamingError):
    """The server answered the upgrade with an HTTP error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {' '.join(text.split())}")
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Accepted:
    """The upgrade went through, with this subprotocol ("" for none)."""

    subprotocol: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The other side opened a stream."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replied:
    """The other side took a stream that this one opened."""

    stream: int


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes on a stream, never none."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The other side sends no more on a stream; ``reset``: and takes no more."""

    stream: int
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event. ``orderly``: the other side said that it ends."""

    orderly: bool
    why: str = ""


Event = Accepted | Opened | Replied | Data | Closed | Ended


class Link(Protocol):
    """One side of a connection, without I/O. Not safe to use from several threads."""

    #: Whether one direction of a stream can be closed alone.
    half_close: bool

    def receive(self, data: bytes) -> list[Event]:
        """Take what came; b"" says that nothing more will. Raises StreamingError."""
        ...

    def open(self, headers: Mapping[str, str]) -> int:
        """Open a stream. Raises StreamingError where there is none to be opened."""
        ...

    def reply(self, stream: int) -> None:
        """Take a stream that the other side opened."""
        ...

    def send(self, stream: int, data: bytes) -> None:
        """Send bytes on a stream; without effect on one that is closed."""
        ...

    def close(self, stream: int) -> None:
        """Send no more on a stream, where the protocol can say so."""
        ...

    def reset(self, stream: int) -> None:
        """Send and take no more on a stream, where the protocol can say so."""
        ...

    def end(self) -> None:
        """Say that this side ends the connection."""
        ...

    def to_send(self) -> bytes:
        """What has to be sent now, once."""
        ...
