# SPDX-License-Identifier: Apache-2.0
"""What a mode is to a campaign, which knows no more of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from cri_conformance.fuzz.trying import Plays

if TYPE_CHECKING:
    from cri_conformance.fuzz.campaign import Campaign


class Over(Exception):
    """A mode can't go on; says why, in one line."""


class Player(Protocol):
    """A mode in a campaign."""

    def turn(self, seed: int, number: int) -> None:
        """Play for some seconds. Whatever is found goes to ``Campaign.found``.

        May raise Halt when the campaign is over, Over if this mode is, and RuntimeGone.
        """

    def close(self) -> None:
        """Remove whatever it shares between turns."""


class Mode(Plays, Protocol):
    """A way of looking."""

    says: str
    #: How much of a campaign's time it has, against the others.
    weight: int

    @property
    def steps(self) -> type:
        """What plays its stories."""

    @property
    def told(self) -> Collection[str]:
        """The methods of that which stories may name."""

    def open(self, campaign: Campaign) -> Player:
        """Raises NotExercised where this mode has nothing to look at."""
