# SPDX-License-Identifier: Apache-2.0
"""The runtime's log, of which only what is new is read."""

from __future__ import annotations

from pathlib import Path


class Log:
    """What is there when this is made is of others."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._read = path, 0
        self.skip()

    def skip(self) -> None:
        """What is there now is of no interest."""
        try:
            self._read = self._path.stat().st_size if self._path else 0
        except OSError:
            self._read = 0

    def new(self) -> str:
        """What came since; "" where it can't be read."""
        if self._path is None:
            return ""
        try:
            with self._path.open("rb") as file:
                # A log that is shorter than before was rotated.
                file.seek(self._read if self._read <= file.seek(0, 2) else 0)
                return file.read().decode(errors="replace")
        except OSError:
            return ""
