# SPDX-License-Identifier: Apache-2.0
"""Pulls, tags that move, and removals in orders that nobody planned, held against the model.

After each step every name that was ever used is asked for, and the list is compared with the
answers. What the contract leaves open the model takes over from the first answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.image_stepper import (
    DIGEST,
    LIST,
    PLACES,
    PULL,
    REMOVE,
    TAG,
    ImageStepper,
)
from cri_conformance.suite.image_variants import Variant
from cri_conformance.suite.pulls import Pulls

_PLACES, _NUMBERS = st.integers(0, PLACES - 1), st.integers(0, PLACES)
_BY = st.sampled_from((TAG, DIGEST))

_JUDGED = (
    f"{PULL}.present-afterwards",
    f"{PULL}.tag-moved",
    f"{REMOVE}.gone",
    f"{REMOVE}.idempotent",
    f"{REMOVE}.others-untouched",
    f"{REMOVE}.pull-after-removal",
    f"{LIST}.pulled-is-listed",
)


class Lives(RuleBasedStateMachine):
    """Its attributes are set by ``Explorer.machine``."""

    pulls: ClassVar[Pulls]
    judge: ClassVar[Judge]
    images: ClassVar[Sequence[Variant]]

    def __init__(self) -> None:
        super().__init__()
        self.steps = ImageStepper(self.pulls, self.judge, self.images)

    @rule(place=_PLACES, number=_NUMBERS)
    def move(self, place: int, number: int) -> None:
        self.steps.move(place, number)

    @rule(place=_PLACES)
    def pull(self, place: int) -> None:
        self.steps.pull(place)

    @rule(place=_PLACES, by=_BY)
    def remove(self, place: int, by: str) -> None:
        self.steps.remove(place, by)

    def teardown(self) -> None:
        self.steps.close()


@clause(*_JUDGED)
def test_lives_of_images(explore: Explorer, pulls: Pulls, judge: Judge) -> None:
    images = [Variant(pulls.image()) for _ in range(PLACES + 1)]
    # Chance may not reach every clause: one life that does goes first.
    tour = ImageStepper(pulls, judge, images)
    tour.pull(0)
    tour.pull(1)
    tour.move(0, 3)
    tour.pull(0)
    tour.remove(1, DIGEST)
    tour.remove(1)
    tour.pull(1)
    tour.remove(0)
    for place in range(PLACES):
        tour.remove(place, DIGEST)
    tour.close()
    explore.machine(Lives, examples=6, steps=12, pulls=pulls, judge=judge, images=images)
