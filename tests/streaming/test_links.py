# SPDX-License-Identifier: Apache-2.0
"""Whatever a broken or hostile peer sends: an event, or a StreamingError, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri_conformance.streaming import status
from cri_conformance.streaming.channels import ChannelsClient, ChannelsServer
from cri_conformance.streaming.events import (
    SPDY,
    V4,
    V5,
    WEBSOCKET,
    Accepted,
    Closed,
    Data,
    Ended,
    Link,
    ProtocolError,
    Refused,
    StreamingError,
)
from cri_conformance.streaming.spdy import Spdy
from cri_conformance.streaming.upgrade import SpdyClient, SpdyServer, parse_request, refusal

URL = "http://127.0.0.1:1/exec/token?a=b"


def agreed(subprotocol: str = V5) -> tuple[ChannelsClient, ChannelsServer]:
    """Both sides of a WebSocket after the upgrade."""
    client = ChannelsClient(URL, [subprotocol], 5)
    server = ChannelsServer(client.to_send(), subprotocol, 5)
    assert client.receive(server.to_send()) == [Accepted(subprotocol)]
    return client, server


MAKERS: list[Callable[[], Link]] = [
    lambda: SpdyClient(URL, [V4]),
    lambda: SpdyServer(V4),
    lambda: Spdy(client=True),
    lambda: ChannelsClient(URL, [V4], 5),
    lambda: agreed()[0],
    lambda: agreed()[1],
]


@pytest.mark.parametrize("make", MAKERS)
def test_noise_is_told_in_one_way(make: Callable[[], Link]) -> None:
    @settings(max_examples=80, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=60),
                st.builds(
                    lambda kind, rest: bytes([0x80, 3, 0, kind]) + rest,
                    st.integers(0, 12),
                    st.binary(max_size=40),
                ),
                st.sampled_from([b"HTTP/1.1 ", b"101 x\r\n\r\n", b"\r\n\r\n", b"\x82\x03\x01ab"]),
            ),
            max_size=6,
        )
    )
    def check(pieces: list[bytes]) -> None:
        link = make()
        with contextlib.suppress(StreamingError):
            for piece in [*pieces, b""]:
                link.receive(piece)
        link.to_send()

    check()


@pytest.mark.parametrize("raw", [b"", b"GET", b"GET / HTTP/1.1\r\nno colon", b"A B C D\r\nx: y"])
def test_a_bad_request_is_refused(raw: bytes) -> None:
    with pytest.raises(StreamingError):
        parse_request(raw)


def test_requests_are_read() -> None:
    raw = SpdyClient(URL, ["a", "b"]).to_send().removesuffix(b"\r\n\r\n")
    asked = parse_request(raw)
    assert (asked.path, asked.kind, asked.subprotocols) == ("/exec/token", SPDY, ["a", "b"])
    raw = ChannelsClient(URL, ["a", "b"], 1).to_send().removesuffix(b"\r\n\r\n")
    asked = parse_request(raw)
    assert (asked.path, asked.kind, asked.subprotocols) == ("/exec/token", WEBSOCKET, ["a", "b"])


@pytest.mark.parametrize("kind", [SPDY, WEBSOCKET])
def test_a_refusal_comes_with_its_text(kind: str) -> None:
    link = SpdyClient(URL, []) if kind == SPDY else ChannelsClient(URL, [], 5)
    answer = refusal(418, "no  such\nthing ☂")
    for at in range(len(answer) - 1):
        assert link.receive(answer[at : at + 1]) == []
    with pytest.raises(Refused, match="HTTP 418: no such thing ☂"):
        link.receive(answer[-1:])


def test_an_upgrade_to_something_else_is_told() -> None:
    with pytest.raises(ProtocolError, match="upgraded to 'h2c'"):
        SpdyClient(URL, []).receive(b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n")
    with pytest.raises(ProtocolError):
        ChannelsClient(URL, [], 5).receive(b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n")


@settings(max_examples=40, deadline=None)
@given(data=st.binary(min_size=1, max_size=3000), piece=st.integers(1, 500))
def test_channels_in_any_pieces(data: bytes, piece: int) -> None:
    client, server = agreed()
    client.send(0, data)
    client.close(0)
    client.send(0, b"late")
    sent = client.to_send()
    events = [e for at in range(0, len(sent), piece) for e in server.receive(sent[at : at + piece])]
    assert b"".join(e.data for e in events if isinstance(e, Data)) == data
    assert events[-1] == Closed(0)
    server.send(3, data[::-1])
    server.end()
    events = client.receive(server.to_send())
    assert events[0] == Data(3, data[::-1])
    assert events[-1] == Ended(True)
    assert sum(isinstance(event, Closed) for event in events) == 5


def test_v4_cannot_close_a_channel() -> None:
    client, server = agreed(V4)
    assert not client.half_close
    client.close(0)
    assert client.to_send() == b""
    server.send(1, b"still")
    assert client.receive(server.to_send()) == [Data(1, b"still")]


def test_a_channel_that_there_is_not_is_told() -> None:
    client, server = agreed()
    client._protocol.send_binary(b"\x09x")
    with pytest.raises(ProtocolError, match="channel 9"):
        server.receive(client.to_send())


@given(code=st.integers(0, 255))
def test_statuses_round_trip(code: int) -> None:
    said = status.parse(status.render(status.ended(code)))
    assert (said.exit_code, said.success) == (code, code == 0)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"status":"Maybe"}', b"\xff"])
def test_what_is_no_status(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a Status"):
        status.parse(raw)
