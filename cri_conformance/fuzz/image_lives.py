# SPDX-License-Identifier: Apache-2.0
"""The mode ``images``: sequences of pulls, tags that move and removals, with the model of image
names as oracle.

The steps are the suite's (``suite/image_stepper.py``) and more: what is equal after each
(``image_equalities.py``), further ways to ask (``image_asking.py``), pulls that fail or take a
password (``image_failing.py``), containers (``image_using.py``), calls at the same time or given up
(``image_crowds.py``). It needs a runtime that comes to our registry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from cri_conformance.expect.judge import Judge
from cri_conformance.fuzz import image_asking, image_crowds, image_failing, image_using
from cri_conformance.fuzz.campaign import Bench, Campaign
from cri_conformance.fuzz.image_asking import AskRules
from cri_conformance.fuzz.image_crowds import CrowdedRules, ImageSteps
from cri_conformance.fuzz.image_equalities import BOTH
from cri_conformance.fuzz.image_failing import FailRules
from cri_conformance.fuzz.image_using import UseRules
from cri_conformance.fuzz.machine import turn
from cri_conformance.fuzz.story import Recorder, Story, play
from cri_conformance.fuzz.tools import Tools
from cri_conformance.suite.image_stepper import DIGEST, ID, PLACES, TAG

#: The methods of ImageSteps that are steps of a story.
TOLD = (
    "move",
    "pull",
    "remove",
    *image_asking.TOLD,
    *image_failing.TOLD,
    *image_using.TOLD,
    *image_crowds.TOLD,
)
#: So many kinds of images there are (``suite/image_variants.py``).
_KINDS = 6
_PLACE, _NUMBER = st.integers(0, PLACES - 1), st.integers(0, _KINDS - 1)


def _steps(
    tools: Tools, judge: Judge, patience: float, meanwhile: Callable[[], None]
) -> ImageSteps:
    return ImageSteps(
        tools.pulls,
        judge,
        tools.images,
        host_root=tools.host_root,
        patience=patience,
        meanwhile=meanwhile,
        doubtful=tools.doubtful,
    )


class ImageLives(CrowdedRules, UseRules, FailRules, AskRules, RuleBasedStateMachine):
    """Any of the steps, in any order."""

    campaign: ClassVar[Campaign]
    steps: Any

    def __init__(self) -> None:
        super().__init__()
        campaign = self.campaign
        steps = _steps(campaign.tools, campaign.judge, campaign.patience, campaign.tick)
        self.recorder = Recorder(steps, TOLD, after=self._after)
        self.steps = self.recorder

    def _after(self) -> None:
        self.campaign.alive()
        self.campaign.step()

    @initialize(numbers=st.tuples(*[_NUMBER] * PLACES), pulled=st.sets(_PLACE))
    def begin(self, numbers: tuple[int, ...], pulled: set[int]) -> None:
        for place, number in enumerate(numbers):
            self.steps.move(place, number)
        for place in sorted(pulled):
            self.steps.pull(place)

    @rule(place=_PLACE, number=_NUMBER)
    def move(self, place: int, number: int) -> None:
        self.steps.move(place, number)

    @rule(place=_PLACE, by=st.sampled_from((TAG, DIGEST, BOTH)), for_pod=st.booleans())
    def pull(self, place: int, by: str, for_pod: bool) -> None:
        self.steps.pull(place, by, for_pod)

    # What most steps are about: something that is there.
    @rule(place=_PLACE)
    def pull_plainly(self, place: int) -> None:
        self.steps.pull(place)

    @rule(place=_PLACE, by=st.sampled_from((TAG, DIGEST, ID)))
    def remove(self, place: int, by: str) -> None:
        self.steps.remove(place, by)

    def teardown(self) -> None:
        self.steps.close()


class ImagesPlayer:
    """The mode in a campaign."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        # Made before the first turn: a runtime may not come to our registry.
        assert len(campaign.tools.images) == _KINDS

    def turn(self, seed: int, number: int) -> None:
        campaign = self._campaign

        def ended(machine: Any, error: Exception) -> None:
            campaign.found(error, machine.recorder.story)

        turn(
            ImageLives,
            seed=seed,
            database=campaign.database,
            reuse=number == 0,
            begin=campaign.begin,
            ended=ended,
            campaign=campaign,
        )

    def close(self) -> None:
        """The registry goes with the campaign's tools."""


class ImagesMode:
    """Sequences over images."""

    name = "images"
    says = "pulls, tags that move and removals, held against the model of images"
    weight = 1
    steps, told = ImageSteps, TOLD

    def open(self, campaign: Campaign) -> ImagesPlayer:
        return ImagesPlayer(campaign)

    def play(self, bench: Bench, story: Story) -> str:
        steps = _steps(bench.tools, bench.judge, bench.patience, bench.tick)
        try:
            return play(steps, story)
        finally:
            bench.in_time = steps.in_time
            steps.close()
