# SPDX-License-Identifier: Apache-2.0
"""What a run has found so far, in a file that grows with it.

One line of JSON each: first what was known when the run began, then every test's record as
it comes. A run that ends in good order replaces it by results.json; of one that was killed it
stays, and ``cri-conformance report`` makes the report of it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from cri_conformance.report import json_file

NAME = "results.jsonl"
#: Grows when a line changes its meaning.
VERSION = 1


class JournalError(Exception):
    """The file holds no run; one line that says why."""


class Journal:
    """Writes the file. What can't be written is left out: no run ends of it."""

    def __init__(self, path: Path, begin: Mapping[str, Any]) -> None:
        """``begin``: suite, target, environment, leftovers and owner. Raises OSError."""
        self.path = path
        self._file: TextIO | None = path.open("w", encoding="utf-8", newline="\n")
        self._write({"journal": VERSION, **begin})

    def add(self, record: Mapping[str, Any], seconds: float) -> None:
        """A test's record, ``seconds`` after the run began."""
        self._write({"seconds": round(seconds, 3), "test": record})

    def close(self, *, remove: bool) -> None:
        """The end; ``remove`` when the report stands in its place."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        if remove:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            # One write for each line, into the kernel's hands: no kill of ours takes it back.
            self._file.write(json_file.line(line))
            self._file.flush()
        except OSError:
            # A full disk; the report at the end may still find room, or says that it does not.
            self.close(remove=False)


@dataclass(frozen=True, slots=True)
class Read:
    """What stands in a journal. ``seconds``: after the run's begin, of its last line."""

    begin: dict[str, Any]
    tests: list[dict[str, Any]]
    seconds: float


def read(path: Path) -> Read:
    """All whole lines: the last one of a killed run may be cut short. Raises JournalError."""
    lines: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                made = _parsed(line)
                if made is None:
                    break
                lines.append(made)
    except OSError as error:
        raise JournalError(f"can't read {path}: {error.strerror}") from None
    if not lines or lines[0].get("journal") != VERSION:
        raise JournalError(f"{path} does not begin as the results of a run of this version do")
    begin, tests = lines[0], [line for line in lines[1:] if "test" in line]
    return Read(begin, [line["test"] for line in tests], tests[-1]["seconds"] if tests else 0.0)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        made = json.loads(line)
    except ValueError:
        return None
    return made if isinstance(made, dict) else None
