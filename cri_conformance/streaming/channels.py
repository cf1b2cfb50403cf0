# SPDX-License-Identifier: Apache-2.0
"""Numbered channels over a WebSocket: v4.channel.k8s.io and v5.channel.k8s.io, without I/O.

Each message begins with the number of its channel. The channels are there from the start;
only v5 can close one of them (a message to channel 255 that names it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cri_conformance.streaming.events import (
    V5,
    Accepted,
    Closed,
    Data,
    Ended,
    Event,
    ProtocolError,
    Refused,
    StreamingError,
)

if TYPE_CHECKING:
    from websockets.protocol import Protocol

#: Channels of an exec or attach session.
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
#: The channel on which v5 closes others.
CLOSE = 255
#: Most bytes in a message of ours, and of one that is read.
MESSAGE = 32 * 1024
MOST_MESSAGE = 64 * 1024 * 1024


class Channels:
    """What both sides share. A link but for the handshake."""

    def __init__(self, protocol: Protocol, count: int) -> None:
        self._protocol = protocol
        self._count = count
        self._theirs_open = set(range(count))
        self._ours_open = set(range(count))
        self._message = bytearray()
        self._over = False
        self.half_close = False

    # -- what comes ----------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """As Link.receive."""
        if self._over:
            return []
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        events: list[Event] = []
        for came in self._protocol.events_received():
            events += self._came(came)
        if not self._over and (not data or self._protocol.parser_exc is not None):
            why = self._protocol.parser_exc or "the connection was closed"
            events += self._ended(False, str(why))
        return events

    def _came(self, came: Any) -> list[Event]:
        from websockets.frames import Frame, Opcode

        if not isinstance(came, Frame):
            return self._handshake(came)
        if came.opcode is Opcode.CLOSE:
            return self._ended(True, "")
        if came.opcode not in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            return []
        self._message += came.data
        if len(self._message) > MOST_MESSAGE:
            raise ProtocolError(f"a message of more than {MOST_MESSAGE} bytes")
        if not came.fin:
            return []
        whole = bytes(self._message)
        self._message.clear()
        return self._whole(whole)

    def _whole(self, message: bytes) -> list[Event]:
        if not message:
            return []
        channel, data = message[0], message[1:]
        if channel == CLOSE and self.half_close:
            if data and data[0] in self._theirs_open:
                self._theirs_open.discard(data[0])
                return [Closed(data[0])]
            return []
        if channel >= self._count:
            raise ProtocolError(f"a message for channel {channel}")
        # An empty one says no more than that the session is there.
        return [Data(channel, data)] if data and channel in self._theirs_open else []

    def _handshake(self, came: Any) -> list[Event]:
        # The server has taken the request before; only a client's answer is still to come.
        raise ProtocolError("a handshake where there was one")

    def _ended(self, orderly: bool, why: str) -> list[Event]:
        self._over = True
        still = sorted(self._theirs_open)
        self._theirs_open.clear()
        self._ours_open.clear()
        return [*(Closed(channel, reset=True) for channel in still), Ended(orderly, why)]

    # -- what goes -----------------------------------------------------------------

    def open(self, headers: Mapping[str, str]) -> int:
        """As Link.open."""
        raise StreamingError("a WebSocket has its channels from the start")

    def reply(self, stream: int) -> None:
        """As Link.reply."""

    def send(self, stream: int, data: bytes) -> None:
        """As Link.send."""
        if stream in self._ours_open:
            for at in range(0, len(data), MESSAGE) if data else (0,):
                self._protocol.send_binary(bytes([stream]) + data[at : at + MESSAGE])

    def close(self, stream: int) -> None:
        """As Link.close."""
        if stream in self._ours_open and self.half_close:
            self._protocol.send_binary(bytes([CLOSE, stream]))
        self._ours_open.discard(stream)

    def reset(self, stream: int) -> None:
        """As Link.reset."""
        self.close(stream)
        self._theirs_open.discard(stream)

    def end(self) -> None:
        """As Link.end."""
        from websockets.protocol import State

        if not self._over and self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)

    def to_send(self) -> bytes:
        """As Link.to_send."""
        return b"".join(self._protocol.data_to_send())


class ChannelsClient(Channels):
    """The client's side, from the upgrade on."""

    def __init__(self, url: str, subprotocols: Sequence[str], count: int) -> None:
        from websockets.client import ClientProtocol
        from websockets.typing import Subprotocol
        from websockets.uri import parse_uri

        address = "ws" + url.removeprefix("http")  # http and https alike
        protocol = ClientProtocol(
            parse_uri(address),
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            max_size=MOST_MESSAGE,
        )
        super().__init__(protocol, count)
        protocol.send_request(protocol.connect())
        self._client = protocol
        self._taken = False

    def receive(self, data: bytes) -> list[Event]:
        """As Link.receive. Raises Refused."""
        events = super().receive(data)
        if not self._taken and self._client.handshake_exc is not None:
            raise ProtocolError(f"the upgrade failed: {self._client.handshake_exc}")
        return events

    def _handshake(self, came: Any) -> list[Event]:
        if came.status_code != 101:
            raise Refused(came.status_code, (came.body or b"").decode("utf-8", "replace"))
        if self._client.handshake_exc is not None:
            raise ProtocolError(f"the upgrade failed: {self._client.handshake_exc}")
        self._taken = True
        named = self._client.subprotocol or ""
        self.half_close = named == V5
        return [Accepted(named)]


class ChannelsServer(Channels):
    """The server's side; takes the request at once. Raises Refused for a malformed one."""

    def __init__(self, raw: bytes, subprotocol: str, count: int) -> None:
        from websockets.server import ServerProtocol
        from websockets.typing import Subprotocol

        protocol = ServerProtocol(
            select_subprotocol=lambda *_: Subprotocol(subprotocol) if subprotocol else None,
            max_size=MOST_MESSAGE,
        )
        super().__init__(protocol, count)
        protocol.receive_data(raw)
        for came in protocol.events_received():
            response = protocol.accept(came)  # type: ignore[arg-type]
            if response.status_code != 101:
                raise Refused(response.status_code, bytes(response.body or b"").decode())
            protocol.send_response(response)
            self.half_close = subprotocol == V5
            return
        raise Refused(400, f"not an upgrade: {protocol.handshake_exc}")
