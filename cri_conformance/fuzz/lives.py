# SPDX-License-Identifier: Apache-2.0
"""The mode ``lives``: sequences over sandboxes and containers, with the model as oracle.

The machine is the suite's own (``suite/test_stateful.py``) with more steps: those here, calls that
are given up (``retrying.py``), restarts of the runtime (``restarting.py``, ``crowd.py``), what is
said in logs and to commands (``speaking.py``). Every method of LivesSteps that is named in ``TOLD``
is part of a story, so that it can be played again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import multiple, precondition, rule

from cri_conformance.api import types
from cri_conformance.build.constraints import CONSTRAINTS
from cri_conformance.build.fields import Ours
from cri_conformance.build.generate import spoil, spoiling
from cri_conformance.expect.judge import Judge
from cri_conformance.fuzz import crowd, restarting, retrying, speaking
from cri_conformance.fuzz.campaign import Bench, Campaign
from cri_conformance.fuzz.crowd import CrowdRules, CrowdSteps
from cri_conformance.fuzz.equalities import names_of
from cri_conformance.fuzz.listening import Listener
from cri_conformance.fuzz.machine import turn
from cri_conformance.fuzz.patches import clause_of, laid_over, patches
from cri_conformance.fuzz.retrying import RetryRules
from cri_conformance.fuzz.speaking import SpeakRules
from cri_conformance.fuzz.story import Recorder, Story, play
from cri_conformance.fuzz.tools import Tools
from cri_conformance.model.states import ContainerState, SandboxState
from cri_conformance.suite.test_stateful import Lifecycle
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime

_Config = TypeVar("_Config", types.PodSandboxConfig, types.ContainerConfig)

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
    "give_up",
    "await_exit",
    "unknown_container",
    "create_patched",
    "create_spoiled",
    "run_patched",
    "run_spoiled",
    "open_call",
    "filtered",
    *retrying.TOLD,
    *restarting.TOLD,
    *speaking.TOLD,
    *crowd.TOLD,
]
#: Calls that change no state of an object, and what they are given.
_OPEN_CALLS = ("UpdateContainerResources", "ReopenContainerLog", "ContainerStats")


class LivesSteps(CrowdSteps):
    """The steps of a life, each followed by a look at everything, and the cheap equalities."""

    def __init__(
        self,
        runtime: Runtime,
        judge: Judge,
        tools: Tools,
        patience: float,
        meanwhile: Callable[[], None],
    ) -> None:
        super().__init__(runtime, judge)
        self.stepper = Listener(runtime, judge, tools.restarter)
        self.stepper.patience, self.stepper.meanwhile = patience, meanwhile
        self.tools = tools

    def state_of(self, object_id: str) -> str:
        """Where an object may be, in words."""
        thing = self.world.things.get(object_id)
        return names_of(thing.states) if thing else ""

    def _sandbox_config(self) -> types.PodSandboxConfig:
        return _annotated(super()._sandbox_config())

    def _container_config(self, sandbox: str) -> types.ContainerConfig:
        return _annotated(super()._container_config(sandbox))

    # -- with generated configs ------------------------------------------------------

    def create_patched(self, sandbox: str, patch: types.ContainerConfig) -> str:
        """A container with a few fields drawn. Unless a clause says so the runtime may refuse."""
        config = laid_over(self._container_config(sandbox), patch, self.tools.folder)
        ready = self.world.thing(sandbox).within(SandboxState.READY)
        clause = clause_of(patch) if ready else ""
        made = (
            self.stepper.create(sandbox, config, clause=clause)
            if clause
            else self.stepper.create_open(sandbox, config)
        )
        self.stepper.look()
        return made

    def run_patched(self, patch: types.PodSandboxConfig) -> str:
        """A sandbox with a few fields drawn."""
        config = laid_over(self._sandbox_config(), patch, self.tools.folder)
        clause = clause_of(patch)
        made = self.stepper.run(config, clause=clause) if clause else self.stepper.run_open(config)
        self.stepper.look()
        return made

    def create_spoiled(self, sandbox: str, row: str) -> None:
        """A container that must be refused, at the latest when it starts."""
        owner = self.stepper.sandboxes[sandbox]
        plain = types.CreateContainerRequest(
            pod_sandbox_id=sandbox,
            config=self._container_config(sandbox),
            sandbox_config=owner.config,
        )
        rule = _ROWS[row]
        request = spoil(plain, rule, Ours(folder=self.tools.folder))
        if request is None or not self.world.thing(sandbox).within(SandboxState.READY):
            return
        outcome = self.runtime.call("CreateContainer", request)
        if isinstance(outcome, Ok) and rule.by_start:
            made = outcome.response.container_id
            outcome = self.runtime.call("StartContainer", container_id=made)
            self.runtime.call("RemoveContainer", container_id=made)
        self.stepper.refused(rule.clause, outcome)
        self.stepper.look()

    def run_spoiled(self, row: str) -> None:
        """A sandbox that must be refused."""
        rule = _ROWS[row]
        plain = types.RunPodSandboxRequest(
            config=self._sandbox_config(), runtime_handler=self.runtime.workshop.handler
        )
        request = spoil(plain, rule, Ours(folder=self.tools.folder))
        if request is None:
            return
        self.stepper.refused(rule.clause, self.runtime.call("RunPodSandbox", request))
        self.stepper.look()

    # -- calls that change no state --------------------------------------------------

    def open_call(
        self, call: str, container: str, resources: types.LinuxContainerResources | None = None
    ) -> None:
        """One of these calls about a container."""
        fields: dict[str, Any] = {}
        if call == "UpdateContainerResources":
            fields["linux"] = resources
        self.stepper.open_call(call, container, **fields)
        self.stepper.look(container)

    def filtered(self, container: str = "", sandbox: str = "", state: int = -1) -> None:
        """ListContainers by several fields at once, against what the whole list has."""
        self.stepper.filtered(container, sandbox, state)


def _annotated(config: _Config) -> _Config:
    """With something that the equalities can compare."""
    config.annotations["example.com/lives"] = '{"a": ["b", "ü"]}'
    return config


_ROWS = {row.id: row for row in CONSTRAINTS}
_CREATE_ROWS = sorted(
    row.id
    for row in spoiling(types.CreateContainerRequest.DESCRIPTOR)
    if "recursive_read_only" not in row.clause
)
_RUN_ROWS = sorted(row.id for row in spoiling(types.RunPodSandboxRequest.DESCRIPTOR))


class Lives(SpeakRules, RetryRules):
    """Any of the steps, in any order."""

    gives_up = True

    campaign: ClassVar[Campaign]
    steps: Any

    def __init__(self) -> None:
        super().__init__()
        campaign = self.campaign
        steps = LivesSteps(
            campaign.runtime, campaign.judge, campaign.tools, campaign.patience, campaign.tick
        )
        self.recorder = Recorder(steps, TOLD, after=self._after)
        self.steps = self.recorder

    def _after(self) -> None:
        self.campaign.alive()
        self.campaign.step()

    # -- more steps ------------------------------------------------------------------

    @precondition(Lifecycle._room_for_container)
    @rule(
        target=Lifecycle.containers,
        sandbox=Lifecycle.sandboxes,
        patch=patches("ContainerConfig"),
        start=st.booleans(),
    )
    def create_patched(self, sandbox: str, patch: Any, start: bool) -> Any:
        made = self.steps.create_patched(sandbox, patch)
        if made and start:
            self.steps.on_container("StartContainer", made)
        return made or multiple()

    # Few containers that chance points to come so far.
    @precondition(Lifecycle._room_for_container)
    @rule(target=Lifecycle.containers, sandbox=Lifecycle.sandboxes)
    def create_and_end(self, sandbox: str) -> Any:
        made = self.steps.create(sandbox, mortal=True)
        if made:
            self.steps.on_container("StartContainer", made)
            self.await_exit(made)
        return made or multiple()

    @precondition(Lifecycle._room_for_container)
    @rule(target=Lifecycle.containers, sandbox=Lifecycle.sandboxes)
    def create_and_fail(self, sandbox: str) -> Any:
        made = self.steps.create(sandbox, doomed=True)
        if made:
            self.steps.on_container("StartContainer", made)
        return made or multiple()

    @precondition(Lifecycle._room_for_sandbox)
    @rule(target=Lifecycle.sandboxes, patch=patches("PodSandboxConfig"))
    def run_patched(self, patch: Any) -> Any:
        return self.steps.run_patched(patch) or multiple()

    @rule(sandbox=Lifecycle.sandboxes, row=st.sampled_from([*_CREATE_ROWS, *_RUN_ROWS]))
    def spoiled(self, sandbox: str, row: str) -> None:
        if row in _RUN_ROWS:
            self.steps.run_spoiled(row)
        else:
            self.steps.create_spoiled(sandbox, row)

    @rule(
        call=st.sampled_from(_OPEN_CALLS),
        container=Lifecycle.containers,
        resources=patches("LinuxContainerResources"),
    )
    def open_call(self, call: str, container: str, resources: Any) -> None:
        if call == "UpdateContainerResources":
            self.steps.open_call(call, container, resources)
        else:
            self.steps.open_call(call, container)

    # Else it would be the step that is always possible, and every third.
    @precondition(lambda self: self.steps.alive(ContainerState))
    @rule(
        container=st.one_of(st.just(""), Lifecycle.containers),
        sandbox=st.one_of(st.just(""), Lifecycle.sandboxes),
        state=st.sampled_from([-1, 0, 1, 2]),
    )
    def filtered(self, container: str, sandbox: str, state: int) -> None:
        self.steps.filtered(container, sandbox, state)


class LivesAndRestarts(CrowdRules, Lives):
    """With restarts of the runtime among the steps."""


class LivesPlayer:
    """The mode in a campaign."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        # With several processes one would restart the runtime under the others.
        restarts = campaign.settings.restart_command and not campaign.worker
        self._machine = LivesAndRestarts if restarts else Lives

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
    # Most of what a runtime does can be seen here, and a sequence takes long.
    weight = 3
    steps, told = LivesSteps, TOLD

    def open(self, campaign: Campaign) -> LivesPlayer:
        return LivesPlayer(campaign)

    def play(self, bench: Bench, story: Story) -> str:
        steps = LivesSteps(bench.runtime, bench.judge, bench.tools, bench.patience, bench.tick)
        try:
            return play(steps, story)
        finally:
            bench.in_time = steps.stepper.in_time
