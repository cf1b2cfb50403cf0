# SPDX-License-Identifier: Apache-2.0
"""The mode ``images``: pulls, tags that move and removals, with the model of images as oracle.

The machine is the suite's own (``suite/test_images_stateful.py``); here its steps are written
down, so that they can be played again. It needs a runtime that comes to our registry.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from cri_conformance.fuzz.campaign import Bench, Campaign
from cri_conformance.fuzz.machine import turn
from cri_conformance.fuzz.story import Recorder, Story, play
from cri_conformance.fuzz.tools import Tools
from cri_conformance.suite.test_images_stateful import Lives

_PLACES, _IMAGES = st.integers(0, 2), st.integers(0, 3)
_TOLD = ("move", "pull", "remove")


def _attributes(tools: Tools) -> dict[str, Any]:
    """What the machine works with. The images are the same for a whole campaign."""
    pulls = tools.pulls
    return {"pulls": pulls, "images": tools.images}


class ImageLives(Lives):
    """The suite's steps, told and counted."""

    campaign: ClassVar[Campaign]

    def __init__(self) -> None:
        super().__init__()
        inner = super()
        self.recorder = Recorder(inner, _TOLD, after=self._after)

    def _after(self) -> None:
        self.campaign.alive()
        self.campaign.step()

    @rule(place=_PLACES, number=_IMAGES)
    def move(self, place: int, number: int) -> None:
        self.recorder.move(place=place, number=number)

    @rule(place=_PLACES)
    def pull(self, place: int) -> None:
        self.recorder.pull(place=place)

    @rule(place=_PLACES, by_digest=st.booleans())
    def remove(self, place: int, by_digest: bool) -> None:
        self.recorder.remove(place=place, by_digest=by_digest)


class ImagesPlayer:
    """The mode in a campaign."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._attributes = _attributes(campaign.tools)

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
            judge=campaign.judge,
            **self._attributes,
        )

    def close(self) -> None:
        """The registry goes with the campaign's tools."""


class ImagesMode:
    """Sequences over images."""

    name = "images"
    says = "pulls, tags that move and removals, held against the model of images"
    weight = 1
    steps, told = Lives, _TOLD

    def open(self, campaign: Campaign) -> ImagesPlayer:
        return ImagesPlayer(campaign)

    def play(self, bench: Bench, story: Story) -> str:
        attributes = {**_attributes(bench.tools), "judge": bench.judge}
        machine: Any = type("ImageLives", (Lives,), attributes)()
        machine.begin()
        try:
            return play(machine, story)
        finally:
            machine.teardown()
