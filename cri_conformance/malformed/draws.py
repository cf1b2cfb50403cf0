# SPDX-License-Identifier: Apache-2.0
"""What to send next: the ends of what every field holds, in an order by chance, and then chance."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from cri_conformance.malformed.boundaries import boundaries
from cri_conformance.malformed.mutations import Choose, Mutation

if TYPE_CHECKING:
    from cri_conformance.malformed.yard import Base

Bases: TypeAlias = "Mapping[str, Base]"
#: Of so many draws of what takes time one is sent.
_SELDOM = 8


class Draws:
    """Each end is drawn once. The bases may be others later, with the same names and fields."""

    def __init__(self, bases: Bases, seed: int) -> None:
        self._ahead = [
            (name, mutation) for name, base in bases.items() for mutation in boundaries(base.tree)
        ]
        random.Random(seed).shuffle(self._ahead)

    def one(self, bases: Bases, choose: Choose) -> tuple[str, Sequence[Mutation]]:
        """A base's name, and what to break of it."""
        if self._ahead:
            name, mutation = self._ahead.pop()
            return name, (mutation,)
        names = list(bases)
        while True:
            name = names[choose(len(names))]
            slow = name.endswith(".full") or name.startswith("GetContainerEvents")
            if not slow or not choose(_SELDOM):
                return name, bases[name].mutator.some(choose)
