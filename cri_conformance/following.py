# SPDX-License-Identifier: Apache-2.0
"""What the processes of a campaign (``-n``) say: none of them has a terminal.

Each writes its lines to a file beside the report; the one that leads reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from cri_conformance.report.files import SAID

#: Seconds between two looks.
EVERY = 1.0


class Following:
    """Tells what processes say, soon after they said it."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """``folder`` is the report's; ``say`` is called in a thread of its own."""
        self._folder, self._say = folder, say
        #: Bytes of each file that have been told.
        self._told: dict[Path, int] = {}
        self._over = Event()
        self._thread = Thread(target=self._follow, name="cri-following", daemon=True)

    def begin(self) -> None:
        """Begin to look."""
        self._thread.start()

    def end(self) -> None:
        """Look no more; returns when all has been told. May be called again."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(EVERY):
            self.look()
        self.look()

    def look(self) -> None:
        """Tell what is new."""
        for path in sorted(self._folder.glob(f"fuzz-*{SAID}")):
            worker = path.name.removeprefix("fuzz-").removesuffix(SAID)
            with path.open("rb") as file:
                file.seek(self._told.get(path, 0))
                # The last line may be half written.
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._told[path] = self._told.get(path, 0) + len(whole) + 1
                for line in whole.decode(errors="replace").split("\n"):
                    self._say(f"{worker}: {line}")
