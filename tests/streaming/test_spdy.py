# SPDX-License-Identifier: Apache-2.0
"""SPDY framing: bytes in any pieces, both sides against each other, and what is refused."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri_conformance.streaming.events import Closed, Data, Ended, Opened, ProtocolError, Replied
from cri_conformance.streaming.spdy import DICTIONARY, FRAME, Spdy


def passed(sender: Spdy, receiver: Spdy, piece: int = 1 << 20) -> list[object]:
    """What the receiver makes of all that the sender has to send, cut into pieces."""
    sent = sender.to_send()
    return [
        event
        for at in range(0, len(sent), piece)
        for event in receiver.receive(sent[at : at + piece])
    ]


def joined(events: list[object]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Data))


def test_the_dictionary_is_that_of_the_draft() -> None:
    # The checksum by which zlib names it in every first header block.
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@settings(max_examples=60, deadline=None)
@given(
    headers=st.lists(st.dictionaries(st.text("abcdef-", min_size=1), st.text()), max_size=4),
    data=st.binary(max_size=3000),
    piece=st.integers(1, 700),
)
def test_a_round_trip_in_any_pieces(headers: list[dict[str, str]], data: bytes, piece: int) -> None:
    client, server = Spdy(client=True), Spdy(client=False)
    for named in headers:
        number = client.open(named)
        client.send(number, data)
        client.close(number)
        events = passed(client, server, piece)
        assert events[0] == Opened(number, named)
        assert joined(events) == data
        assert events[-1] == Closed(number)
        server.reply(number)
        server.send(number, data[::-1])
        server.close(number)
        events = passed(server, client, piece)
        assert events[0] == Replied(number)
        assert joined(events) == data[::-1]
        assert events[-1] == Closed(number)


def test_much_data_is_cut_into_frames() -> None:
    client, server = Spdy(client=True), Spdy(client=False)
    number = client.open({})
    client.send(number, b"x" * (3 * FRAME + 1))
    sizes = [len(e.data) for e in passed(client, server) if isinstance(e, Data)]
    assert sizes == [FRAME, FRAME, FRAME, 1]


def test_pings_are_answered_and_others_ignored() -> None:
    client, server = Spdy(client=True), Spdy(client=False)
    client.ping(7)
    assert passed(client, server) == []
    echoed = server.to_send()
    assert echoed == struct.pack("!III", 0x80030006, 4, 7)
    assert client.receive(echoed) == []
    assert client.to_send() == b""
    for kind, body in ((4, b"\0\0\0\0"), (9, b"\0" * 8)):  # SETTINGS, WINDOW_UPDATE
        assert client.receive(struct.pack("!II", 0x80030000 | kind, len(body)) + body) == []


def test_a_reset_ends_a_stream_and_what_crossed_is_dropped() -> None:
    client, server = Spdy(client=True), Spdy(client=False)
    number = client.open({})
    passed(client, server)
    client.send(number, b"crossing")
    server.reset(number)
    assert passed(client, server) == []
    assert passed(server, client) == [Closed(number, reset=True)]
    client.send(number, b"late")
    client.close(number)
    assert client.to_send() == b""


def test_goaway_and_a_lost_connection_close_everything() -> None:
    for orderly in (True, False):
        client, server = Spdy(client=True), Spdy(client=False)
        numbers = [client.open({}), client.open({})]
        passed(client, server)
        if orderly:
            server.end()
            events = passed(server, client)
        else:
            events = client.receive(b"")
        closed = [Closed(number, reset=True) for number in numbers]
        assert events[:2] == closed
        assert isinstance(events[2], Ended)
        assert events[2].orderly is orderly
        assert client.receive(b"more") == []
        with pytest.raises(ProtocolError):
            client.open({})


def test_a_stream_with_a_wrong_number_is_reset() -> None:
    other, server = Spdy(client=False), Spdy(client=False)
    other.open({})
    assert passed(other, server) == []
    assert server.to_send() == struct.pack("!IIII", 0x80030003, 8, 2, 1)


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("!II", 0x80020001, 0),  # another version
        struct.pack("!II", 0x80030042, 0),  # no such kind
        struct.pack("!II", 0x80030006, 2) + b"\0\0",  # a short ping
        struct.pack("!II", 0x80030001, 12) + b"\0\0\0\1" + b"\0" * 8,  # no header block
        struct.pack("!IIIIH", 0x80030001, 22, 1, 0, 0) + b"not zlib at all",
    ],
)
def test_what_is_no_spdy_is_told(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        Spdy(client=False).receive(frame + b"\0" * 8)


def test_headers_that_unpack_to_far_too_much_are_refused() -> None:
    client, server = Spdy(client=True), Spdy(client=False)
    client.open({"a": "x" * 1_000_000})
    with pytest.raises(ProtocolError, match="headers of more"):
        passed(client, server)
