# SPDX-License-Identifier: Apache-2.0
"""The mode ``lives``: sequences over sandboxes and containers, with the model as oracle.

The machine is the suite's own (``suite/test_stateful.py``), with more steps: ``EXTENSIONS`` are
classes of rules that are mixed into it, ``LivesSteps`` is what their steps are made by. Every
method of it that is named in ``TOLD`` is part of a story, so that it can be played again.
"""

from __future__ import annotations

from typing import Any, ClassVar

from cri_conformance.expect.judge import Judge
from cri_conformance.fuzz.campaign import Bench, Campaign
from cri_conformance.fuzz.equalities import Looker, names_of
from cri_conformance.fuzz.machine import turn
from cri_conformance.fuzz.story import Recorder, Story, play
from cri_conformance.suite.test_stateful import Lifecycle, Steps
from cri_conformance.wire.runtime import Runtime

#: The methods of LivesSteps that are steps of a story.
TOLD = [
    "run",
    "run_wrong_then_right",
    "run_again",
    "on_sandbox",
    "unknown_sandbox",
    "create",
    "create_wrong_then_right",
    "create_again",
    "on_container",
    "await_exit",
    "unknown_container",
]


class LivesSteps(Steps):
    """The steps of a life, each followed by a look at everything, and the cheap equalities."""

    def __init__(self, runtime: Runtime, judge: Judge, tools: dict[str, Any]) -> None:
        super().__init__(runtime, judge)
        self.stepper = Looker(runtime, judge)
        self.tools = tools

    def state_of(self, object_id: str) -> str:
        """Where an object may be, in words."""
        thing = self.world.things.get(object_id)
        return names_of(thing.states) if thing else ""


class Lives(Lifecycle):
    """Any of the steps, in any order."""

    campaign: ClassVar[Campaign]

    def __init__(self) -> None:
        super().__init__()
        campaign = self.campaign
        steps = LivesSteps(campaign.runtime, campaign.judge, campaign.tools)
        self.recorder = Recorder(steps, TOLD, after=self._after)
        self.steps = self.recorder  # type: ignore[assignment]

    def _after(self) -> None:
        last = self.recorder.story[-1]
        given = last["with"]
        call = given.get("call", last["do"])
        self.campaign.meter.meet(call, "", self.recorder.stepper.answered)
        self.campaign.alive()
        self.campaign.step()


#: Classes of rules that are mixed into the machine, by the mode that brings them.
EXTENSIONS: dict[str, type] = {}


class LivesPlayer:
    """The mode in a campaign."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        chosen = campaign.settings.fuzz_modes
        mixed = [kind for name, kind in EXTENSIONS.items() if not chosen or name in chosen]
        self._machine = type("Lives", (*mixed, Lives), {})

    def turn(self, seed: int, number: int) -> None:
        campaign = self._campaign

        def ended(machine: Any, error: Exception) -> None:
            campaign.found(error, machine.recorder.story)

        turn(
            self._machine,
            seed=seed,
            database=campaign.database,
            reuse=number == 0,
            begin=campaign.begin,
            ended=ended,
            campaign=campaign,
            runtime=campaign.runtime,
            judge=campaign.judge,
        )

    def close(self) -> None:
        """Nothing is shared between turns."""


class LivesMode:
    """Sequences over sandboxes and containers."""

    name = "lives"
    says = "sequences of calls on sandboxes and containers, held against the model"

    def open(self, campaign: Campaign) -> LivesPlayer:
        return LivesPlayer(campaign)

    def play(self, bench: Bench, story: Story) -> None:
        play(LivesSteps(bench.runtime, bench.judge, bench.tools), story)
