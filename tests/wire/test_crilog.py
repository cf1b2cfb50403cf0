# SPDX-License-Identifier: Apache-2.0
"""The parser of container logs: what is a record, what is none, and what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri_conformance.wire import crilog

HEAD = b"2026-11-25T23:44:08.123456789Z stdout F "


def test_a_record() -> None:
    record = crilog.parse(b"2016-10-06T00:17:09.669794202Z stderr P a text ")
    assert record == crilog.Record(1475713029_669794202, "Z", "stderr", ("P",), b"a text ")
    assert record.partial


@pytest.mark.parametrize(
    ("text", "nanoseconds", "zone"),
    [
        ("1970-01-01T00:00:00Z", 0, "Z"),
        ("1970-01-01T00:00:00.5Z", 500_000_000, "Z"),
        ("1970-01-01T00:00:00.000000001Z", 1, "Z"),
        ("1970-01-01T00:00:00.0000000019Z", 1, "Z"),
        ("1970-01-01T01:00:00+01:00", 0, "+01:00"),
        ("1969-12-31T18:30:00.25-05:30", 250_000_000, "-05:30"),
        ("2024-02-29T00:00:00Z", 1709164800_000000000, "Z"),
    ],
)
def test_times(text: str, nanoseconds: int, zone: str) -> None:
    assert crilog.parse_time(text) == (nanoseconds, zone)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"stdout F hello",
        HEAD.rstrip(),  # without the blank after the tag the kubelet finds no tag
        HEAD.replace(b"stdout", b"stdlog"),
        HEAD.replace(b"stdout", b"STDOUT"),
        HEAD.replace(b" F ", b" X "),
        HEAD.replace(b" F ", b"  "),
        HEAD.replace(b" stdout", b"  stdout"),
        HEAD.replace(b"T", b" "),
        HEAD.replace(b"Z", b""),
        HEAD.replace(b"Z", b"+1:00"),
        HEAD.replace(b"Z", b"+24:00"),
        HEAD.replace(b"2026-11-25", b"2026-02-30"),
        HEAD.replace(b"23:44:08", b"23:44:60"),
        HEAD.replace(b"2026-11-25", "٢٠٢٦-11-25".encode()),
        b'{"log":"hello\\n","stream":"stdout","time":"2026-11-25T23:44:08Z"}',
    ],
)
def test_no_record(line: bytes) -> None:
    with pytest.raises(crilog.NoRecord):
        crilog.parse(line)


def test_unknown_tags_come_after_the_first() -> None:
    assert crilog.parse(HEAD.replace(b" F ", b" F:x:y ") + b"z").tags == ("F", "x", "y")


def test_what_is_no_record_does_not_hide_the_rest() -> None:
    log = crilog.Log.read(HEAD + b"a\nwhat is this\n" + HEAD + b"b\n" + HEAD[:9])
    assert log.output("stdout") == b"a\nb\n"
    assert [line for line, _ in log.wrong] == [b"what is this"]
    assert log.torn == HEAD[:9]


def test_difference_in_words() -> None:
    assert "from byte 2 on b'X' instead of b'c'" in crilog.first_difference(b"abX", b"abc")
    assert "1 bytes, of 3 written; from byte 1 on" in crilog.first_difference(b"a", b"abc")
    assert crilog.first_difference(b"a", b"a") == "no difference"


_PIECES = st.lists(
    st.tuples(st.sampled_from(crilog.STREAMS), st.binary(max_size=12), st.booleans()), max_size=20
)


@given(pieces=_PIECES)
def test_joined_are_the_bytes_that_were_written(
    pieces: list[tuple[str, bytes, bool]],
) -> None:
    written = dict.fromkeys(crilog.STREAMS, b"")
    lines = []
    for stream, text, ends in pieces:
        text = text.replace(b"\n", b"")
        written[stream] += text + b"\n" * ends
        head = HEAD.replace(b"stdout", stream.encode())
        lines.append((head if ends else head.replace(b" F ", b" P ")) + text + b"\n")
    log = crilog.Log.read(b"".join(lines))
    assert not log.wrong
    assert not log.torn
    for stream, expected in written.items():
        assert log.output(stream) == expected
