# SPDX-License-Identifier: Apache-2.0
"""What the processes of a campaign (``-n``) say: none of them has a terminal.

Each keeps its last state in a file beside the report; the one that leads reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from cri_conformance.report import campaigns

#: Seconds between two looks, and looks between two lines of progress.
EVERY, LINE_EVERY = 1.0, 10


class Following:
    """Tells of processes' findings as they come, and now and then how far each is."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """``folder`` is the report's; ``say`` is called in a thread of its own."""
        self._folder, self._say = folder, say
        self._begun: set[str] = set()
        self._told: set[tuple[str, str, str]] = set()
        self._over = Event()
        self._thread = Thread(target=self._follow, name="cri-following", daemon=True)

    def begin(self) -> None:
        """Begin to look."""
        self._thread.start()

    def end(self) -> None:
        """Look no more; returns when nothing is said any more. May be called again."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        looks = 0
        while not self._over.wait(EVERY):
            looks += 1
            self.look(lines=looks % LINE_EVERY == 0)

    def look(self, *, lines: bool) -> None:
        """Tell what is new, and of who is new, and with ``lines`` of all, how far it is."""
        for campaign in campaigns.read(self._folder, calls=False):
            for finding in campaign["findings"]:
                what = finding["clause"] or finding["kind"]
                key = (campaign["worker"], what, finding["cause"])
                if key not in self._told:
                    self._told.add(key)
                    known = f", known: {finding['reason']}" if finding["reason"] else ""
                    self._say(
                        f"{campaign['worker']} found: {what}: permitted {finding['permitted']}; "
                        f"got {finding['actual']}{known}"
                    )
            if lines or campaign["worker"] not in self._begun:
                self._begun.add(campaign["worker"])
                self._say(f"{campaign['worker']}: {campaign['line']}")
