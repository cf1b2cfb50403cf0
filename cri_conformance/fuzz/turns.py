# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: modes share the time of a campaign, whatever a sequence of theirs takes.

With a time to keep the mode comes next that has had the least of it for its weight, with what its
findings took to be tried; a turn that has had its part ends with its sequence. With steps to make
they come one after the other, so that the same seed plays the same again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cri_conformance.fuzz.machine import Halt
from cri_conformance.fuzz.mode import Mode, Player
from cri_conformance.settings import Budget

#: Turns that each mode should have at least, and the seconds of the shortest.
ROUNDS, SHORTEST = 4, 5.0


class TurnOver(Halt):
    """Ends a turn, not the campaign."""


@dataclass
class Share:
    """What a mode has had: turns, and seconds in them."""

    mode: Mode
    player: Player
    turns: int = 0
    seconds: float = 0.0


class Turns:
    """The modes of one process of a campaign."""

    def __init__(self, players: Sequence[tuple[Mode, Player]], budget: Budget) -> None:
        self._going = [Share(mode, player) for mode, player in players]
        self._seconds = budget.seconds
        self._weights = sum(mode.weight for mode, _ in players)
        self._until = math.inf
        self._begun = False

    def next(self) -> Share | None:
        """Whose turn it is; nobody's if no mode goes on."""

        def had(share: Share) -> float:
            return share.seconds / share.mode.weight if self._seconds else share.turns

        return min(self._going, key=had, default=None)

    @contextmanager
    def turn(self, share: Share) -> Iterator[None]:
        """While a mode has its turn."""
        began = time.monotonic()
        if self._seconds:
            part = self._seconds * share.mode.weight / self._weights / ROUNDS
            self._until = began + max(SHORTEST, part)
        self._begun = False
        try:
            yield
        finally:
            share.turns += 1
            share.seconds += time.monotonic() - began

    def begin(self) -> None:
        """A sequence begins. Raises TurnOver if the turn has had its part: one it always has."""
        if self._begun and time.monotonic() > self._until:
            raise TurnOver
        self._begun = True

    def ends(self, share: Share) -> None:
        """A mode can't go on."""
        self._going.remove(share)

    def unplayed(self, steps: Mapping[str, int]) -> list[str]:
        """The modes that could go on and have made none of these steps, by mode."""
        return [one.mode.name for one in self._going if not steps.get(one.mode.name)]
