# SPDX-License-Identifier: Apache-2.0
"""The log file of a container, in the form that the kubelet reads.

One record a line: ``TIME STREAM TAG TEXT``. The tag F ends a line of output; P says
that the text is a part of one, to which the next record of the same stream belongs.
Long lines are cut into parts, and output that ends without a line break ends with a
part, so that the records give back the output byte for byte.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

#: Bytes of output after which a line is cut.
LONGEST_TEXT = 16 * 1024
_NANO = 1_000_000_000


def rfc3339(nanoseconds: int) -> str:
    """A time since 1970 as RFC 3339 text in UTC, with all nine digits of the fraction."""
    seconds, fraction = divmod(nanoseconds, _NANO)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


class LogFile:
    """Takes output as it comes and writes it as records. Used by one thread at a time."""

    def __init__(self, path: str) -> None:
        """Without a path (``""``) output goes nowhere. Raises OSError if it can't be opened."""
        self._path = path
        self._rest = {"stdout": b"", "stderr": b""}
        self._fd = _open(path) if path else -1

    def stdout(self, data: bytes) -> None:
        """Take bytes from the standard output."""
        self._take("stdout", data)

    def stderr(self, data: bytes) -> None:
        """Take bytes from the standard error."""
        self._take("stderr", data)

    def reopen(self) -> None:
        """Go on in the file that is at the path now, or in a new one if there is none.

        What is not yet a record comes into that one. Raises OSError, and goes on in the old
        file then, if it can't be opened; also if this log is closed or has no path.
        """
        if self._fd < 0:
            raise FileNotFoundError("there is no log open")
        opened = _open(self._path)
        os.close(self._fd)
        self._fd = opened

    def close(self) -> None:
        """Write what is left of unfinished lines. Harmless when repeated."""
        for stream, rest in self._rest.items():
            if rest:
                self._write(_record(stream, b"P", rest))
        self._rest = dict.fromkeys(self._rest, b"")
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take(self, stream: str, data: bytes) -> None:
        if self._fd < 0:
            return
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        records = []
        for line in lines:
            parts, last = _cut(line)
            records += [_record(stream, b"P", part) for part in parts]
            records.append(_record(stream, b"F", last))
        parts, self._rest[stream] = _cut(rest)
        records += [_record(stream, b"P", part) for part in parts]
        self._write(b"".join(records))

    def _write(self, records: bytes) -> None:
        try:
            while records:
                records = records[os.write(self._fd, records) :]
        except OSError:
            pass  # a full disk costs the log, never the container


def _open(path: str) -> int:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _cut(line: bytes) -> tuple[list[bytes], bytes]:
    """Full parts, and a rest that is no longer than a part."""
    parts = []
    while len(line) > LONGEST_TEXT:
        parts.append(line[:LONGEST_TEXT])
        line = line[LONGEST_TEXT:]
    return parts, line


def _record(stream: str, tag: bytes, text: bytes) -> bytes:
    head = f"{rfc3339(time.time_ns())} {stream} ".encode()
    return b"".join((head, tag, b" ", text, b"\n"))
