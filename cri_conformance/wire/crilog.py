# SPDX-License-Identifier: Apache-2.0
"""The log file of a container, read as the kubelet reads it but more strictly.

One record a line: ``TIME STREAM TAGS TEXT``. TIME is RFC 3339 with any fraction of a second
and any zone, STREAM is stdout or stderr, TAGS are words joined by colons, and the first of
them says whether a line of output goes on in the next record of its stream (P) or ends here
(F). TEXT is all the rest, whatever bytes it has. What was written is bytes, so all of this is.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

STREAMS = ("stdout", "stderr")
_NANO = 1_000_000_000
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)


class NoRecord(ValueError):
    """A line that is no record; the message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a log. ``time`` is in nanoseconds since 1970, ``zone`` as it stands there."""

    time: int
    zone: str
    stream: str
    tags: tuple[str, ...]
    text: bytes

    @property
    def partial(self) -> bool:
        """Whether the next record of this stream goes on with the same line of output."""
        return self.tags[0] == "P"


def parse(line: bytes) -> Record:
    """One line, without its end. Raises NoRecord."""
    parts = line.split(b" ", 3)
    if len(parts) < 4:
        raise NoRecord("it has no four parts divided by single blanks")
    when, stream, tags = (part.decode("ascii", "replace") for part in parts[:3])
    time, zone = parse_time(when)
    if stream not in STREAMS:
        raise NoRecord(f"the stream is {stream!r}, not stdout or stderr")
    words = tuple(tags.split(":"))
    if words[0] not in ("P", "F"):
        raise NoRecord(f"the first tag is {words[0]!r}, not P or F")
    return Record(time, zone, stream, words, parts[3])


def parse_time(text: str) -> tuple[int, str]:
    """(nanoseconds since 1970, zone) of an RFC 3339 time. Raises NoRecord."""
    found = _TIME.fullmatch(text)
    if not found:
        raise NoRecord(f"{text!r} is no RFC 3339 time")
    *whole, fraction, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = map(int, whole)
    try:
        # Checks the ranges: the 31st of February is no time.
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError as error:
        raise NoRecord(f"{text!r} is no time: {error}") from None
    seconds = calendar.timegm(moment.timetuple())
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            raise NoRecord(f"{text!r} has no zone that there is")
        ahead = int(hours) * 3600 + int(minutes) * 60
        seconds -= ahead if sign == "+" else -ahead
    nanoseconds = int((fraction or "0")[:9].ljust(9, "0"))
    return seconds * _NANO + nanoseconds, f"{sign}{hours}:{minutes}" if sign else "Z"


@dataclass(frozen=True, slots=True)
class Log:
    """What stands in a log file, or in several that follow one another.

    ``wrong`` are lines that are no records, each with why; ``torn`` is what stands behind the
    last line end (a record that is just being written, or one cut off).
    """

    records: tuple[Record, ...]
    wrong: tuple[tuple[bytes, str], ...]
    torn: bytes

    @classmethod
    def read(cls, data: bytes) -> Log:
        """All of a file."""
        *lines, torn = data.split(b"\n")
        records, wrong = [], []
        for line in lines:
            try:
                records.append(parse(line))
            except NoRecord as why:
                wrong.append((line, str(why)))
        return cls(tuple(records), tuple(wrong), torn)

    def of(self, stream: str) -> tuple[Record, ...]:
        """The records of one stream, in order."""
        return tuple(record for record in self.records if record.stream == stream)

    def output(self, stream: str) -> bytes:
        """What the records of a stream say was written."""
        return joined(self.of(stream))


def joined(records: Iterable[Record]) -> bytes:
    """The output that records of one stream stand for: all but partial ones end a line."""
    return b"".join(
        part for record in records for part in (record.text, b"" if record.partial else b"\n")
    )


def first_difference(found: bytes, written: bytes) -> str:
    """Where two outputs part, in words, with a little of what stands there."""
    if found == written:
        return "no difference"
    pairs = enumerate(zip(found, written, strict=False))
    at = next((n for n, (a, b) in pairs if a != b), min(len(found), len(written)))
    return (
        f"{len(found)} bytes, of {len(written)} written; from byte {at} on "
        f"{found[at : at + 24]!r} instead of {written[at : at + 24]!r}"
    )
