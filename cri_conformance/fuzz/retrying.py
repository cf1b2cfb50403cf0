# SPDX-License-Identifier: Apache-2.0
"""Calls that are given up, and what a kubelet does then; stops at the same time; names used again.

After a call without an answer nobody knows what became of it. What it was to make may come into
being at any moment, or go again, and nothing is said of it: only that the kubelet comes to its
aim. It repeats a creation, runs a pod with the next attempt if one is listed, and starts no
container twice: it makes the next one, stops the first and removes it.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import multiple, precondition, rule

from cri_conformance.api import types
from cri_conformance.contract.findings import BY_RESTART
from cri_conformance.fuzz.equalities import Looker
from cri_conformance.fuzz.story import Story
from cri_conformance.model.states import ContainerState, SandboxState
from cri_conformance.model.table import Answer, Rule
from cri_conformance.model.world import Came
from cri_conformance.suite.repeating import (
    container_listed,
    pod_attempt,
    succeeded,
)
from cri_conformance.suite.scripts import PROMPT, PROMPT_CODE, wait_for_file
from cri_conformance.suite.shown import in_a_word
from cri_conformance.suite.stepper import GIVEN_UP
from cri_conformance.suite.test_stateful import Lifecycle, Steps
from cri_conformance.wire.outcome import Ok, SetupFailed
from cri_conformance.wire.together import together

#: Methods of RetrySteps that are steps of a story.
TOLD = ("run_given_up", "create_given_up", "start_given_up", "stop_at_once", "stop_prompt")
#: The call that a step gives up, where it does not name it.
_GIVES_UP = {
    "run_given_up": "RunPodSandbox",
    "create_given_up": "CreateContainer",
    "start_given_up": "StartContainer",
    "stop_prompt": "StopContainer",
    "pull_given_up": "PullImage",
    "remove_given_up": "RemoveImage",
}
#: Seconds after which a call is given up: in its first moments, and in the midst of it.
MOMENTS = (0.001, 0.002, 0.005, 0.02, 0.1)
#: Graces of stops at the same time, in seconds, and a deadline for the longest.
GRACES, STOPS_WITHIN = (5, 1, 0), 30.0
#: Seconds that one which ends on its signal has for it, and until its status must show that.
GRACE, SLACK = 2, 5.0


def given_up(story: Story) -> tuple[str, ...]:
    """The calls that a story gives up, each with the word for it if that is by a restart."""
    found: set[str] = set()
    for step in story:
        how = step["with"]
        if step["do"] == "restart_crowded":
            found.update(f"{call}{BY_RESTART}" for call in how["calls"])
        elif way := how.get("way"):
            call = _GIVES_UP.get(step["do"]) or how["call"]
            found.add(f"{call}{BY_RESTART}" if way == "restart" else call)
    return tuple(sorted(found))


class Retrier(Looker):
    """Gives calls up that make or start something."""

    def run_request(self, config: types.PodSandboxConfig) -> types.RunPodSandboxRequest:
        """For a sandbox of which nobody will know whether it is there."""
        self.given_up.add(config.metadata.name)
        handler = self.runtime.workshop.handler
        return types.RunPodSandboxRequest(config=config, runtime_handler=handler)

    def run_given_up(self, config: types.PodSandboxConfig, way: str, seconds: float) -> str:
        """A sandbox; its id, or ""."""
        outcome = self._first("RunPodSandbox", self.run_request(config), way, seconds)
        if not isinstance(outcome, Ok):
            outcome = self._repeated(pod_attempt(self.runtime, config))
            rule_ = Rule(Answer.OK, f"RuntimeService.RunPodSandbox.retry-after-{way}")
            self._answer([rule_], "RunPodSandbox", outcome)
        self._stray, self.answered = "", in_a_word(outcome)
        return self._new_sandbox(outcome, config)

    def create_request(
        self, sandbox_id: str, config: types.ContainerConfig
    ) -> types.CreateContainerRequest:
        """The same for a container."""
        self.given_up.add(config.metadata.name)
        return types.CreateContainerRequest(
            pod_sandbox_id=sandbox_id,
            config=config,
            sandbox_config=self.sandboxes[sandbox_id].config,
        )

    def create_given_up(
        self, sandbox_id: str, config: types.ContainerConfig, way: str, seconds: float
    ) -> str:
        """A container in a sandbox that is READY; its id, or "" where only the list has it."""
        sandbox, name = self.sandboxes[sandbox_id], config.metadata.name
        request = self.create_request(sandbox_id, config)
        outcome = self._first("CreateContainer", request, way, seconds)
        if not isinstance(outcome, Ok):
            outcome = self._repeated(
                partial(self.runtime.create, sandbox, config),
                lambda last: succeeded(last) or container_listed(self.runtime, sandbox, name),
            )
            self._that(
                f"RuntimeService.CreateContainer.retry-after-{way}",
                succeeded(outcome) or container_listed(self.runtime, sandbox, name),
                "the call succeeds, or the container is there from the first",
                str(outcome),
                sandbox_id,
            )
        self._stray, self.answered = "", in_a_word(outcome)
        return self._new_container(outcome, config, sandbox, ContainerState.CREATED, False)

    def start_given_up(self, container_id: str, way: str, seconds: float) -> str:
        """The start of a CREATED container; the id of the next one, if that had to be made.

        Raises SetupFailed if it can't be.
        """
        first = self.containers[container_id]
        request = types.StartContainerRequest(container_id=container_id)
        outcome = self._first("StartContainer", request, way, seconds)
        if isinstance(outcome, Ok):
            self._judged("StartContainer", container_id, outcome)
            return ""
        self._stray = ""
        self.world = self.world.apply("StartContainer", container_id, Came.UNKNOWN)
        config = types.ContainerConfig()
        config.CopyFrom(first.config)
        config.metadata.attempt += 1
        created = self.runtime.create(first.sandbox, config)
        mortal = self.world.thing(container_id).mortal
        made = self._new_container(created, config, first.sandbox, ContainerState.CREATED, mortal)
        if not made:
            raise SetupFailed(f"the attempt after a start that was given up: {created}")
        clause = f"RuntimeService.StartContainer.retry-after-{way}"
        for call, about in (
            ("StartContainer", made),
            ("StopContainer", container_id),
            ("RemoveContainer", container_id),
        ):
            last = self._repeated(partial(self.runtime.call, call, container_id=about))
            self._judged(call, about, last, (Rule(Answer.OK, clause),))
        return made

    def stop_at_once(self, container_id: str) -> None:
        """Stops of a RUNNING container at the same time, with long and short graces."""
        outcomes = together(
            *[
                partial(
                    self.runtime.call,
                    "StopContainer",
                    container_id=container_id,
                    timeout=grace,
                    deadline=STOPS_WITHIN,
                )
                for grace in GRACES
            ]
        )
        concurrent = Rule(Answer.OK, "RuntimeService.StopContainer.concurrent")
        for outcome in outcomes:
            self._judged("StopContainer", container_id, outcome, (concurrent,))

    def start_prompt(self, container_id: str) -> None:
        """Start one that ends on its signal, until it listens. Raises SetupFailed."""
        self.container_call("StartContainer", container_id)
        wait_for_file(self.runtime, self.containers[container_id], "ready")

    def stop_prompt(self, container_id: str, way: str, seconds: float) -> None:
        """Its stop, given up and repeated."""
        self.start_prompt(container_id)
        self.give_up("StopContainer", container_id, way, seconds, timeout=GRACE)
        self.ended_on_signal(container_id, "RuntimeService.StopContainer.retry-signalled")

    def ended_on_signal(self, container_id: str, clause: str) -> None:
        """It has ended with its own code."""
        with contextlib.suppress(SetupFailed):
            self.runtime.wait_exited(container_id, SLACK)
        code = self.runtime.container_status(container_id).exit_code
        told = f"exit code {PROMPT_CODE}, with which it ends on its signal"
        self._that(clause, code == PROMPT_CODE, told, str(code), container_id)


class RetrySteps(Steps):
    """Its steps, each followed by a look at everything."""

    stepper: Retrier

    def create_prompt(self, sandbox: str) -> str:
        """A container that ends on its signal, in a sandbox that is READY."""
        if not self.world.thing(sandbox).within(SandboxState.READY):
            return ""
        config = self._container_config(sandbox)
        config.command[:] = ["/bin/sh", "-c", PROMPT]
        return self.stepper.create(sandbox, config)

    def stop_prompt(self, sandbox: str, way: str, seconds: float) -> str:
        made = self.create_prompt(sandbox)
        if made:
            self.stepper.stop_prompt(made, way, seconds)
        self.stepper.look()
        return made

    def run_given_up(self, way: str, seconds: float) -> str:
        made = self.stepper.run_given_up(self._sandbox_config(), way, seconds)
        self.stepper.look()
        return made

    def create_given_up(self, sandbox: str, way: str, seconds: float) -> str:
        if not self.world.thing(sandbox).within(SandboxState.READY):
            return ""
        config = self._container_config(sandbox)
        made = self.stepper.create_given_up(sandbox, config, way, seconds)
        self.stepper.look()
        return made

    def start_given_up(self, container: str, way: str, seconds: float) -> str:
        thing = self.world.thing(container)
        owner = self.world.thing(thing.sandbox)
        if not (thing.within(ContainerState.CREATED) and owner.within(SandboxState.READY)):
            return ""
        made = self.stepper.start_given_up(container, way, seconds)
        self.stepper.look(container)
        return made

    def stop_at_once(self, container: str) -> None:
        if self.world.thing(container).within(ContainerState.RUNNING):
            self.stepper.stop_at_once(container)
            self.stepper.look(container)


_WAYS = st.sampled_from(sorted(GIVEN_UP))
_MOMENTS = st.sampled_from(MOMENTS)


class RetryRules(Lifecycle):
    """The same as rules of a state machine."""

    steps: Any

    @precondition(Lifecycle._room_for_sandbox)
    @rule(target=Lifecycle.sandboxes, way=_WAYS, seconds=_MOMENTS)
    def run_given_up(self, way: str, seconds: float) -> Any:
        return self.steps.run_given_up(way, seconds) or multiple()

    @precondition(Lifecycle._room_for_container)
    @rule(target=Lifecycle.containers, sandbox=Lifecycle.sandboxes, way=_WAYS, seconds=_MOMENTS)
    def create_given_up(self, sandbox: str, way: str, seconds: float) -> Any:
        return self.steps.create_given_up(sandbox, way, seconds) or multiple()

    @precondition(Lifecycle._room_for_container)
    @rule(target=Lifecycle.containers, sandbox=Lifecycle.sandboxes, way=_WAYS, seconds=_MOMENTS)
    def start_given_up(self, sandbox: str, way: str, seconds: float) -> Any:
        # Of a new one: few that chance points to have not been started.
        made = self.steps.create(sandbox)
        return (made and self.steps.start_given_up(made, way, seconds)) or made or multiple()

    @precondition(Lifecycle._room_for_container)
    @rule(target=Lifecycle.containers, sandbox=Lifecycle.sandboxes)
    def stop_at_once(self, sandbox: str) -> Any:
        made = self.steps.create(sandbox)
        if made:
            self.steps.on_container("StartContainer", made)
            self.steps.stop_at_once(made)
        return made or multiple()

    @precondition(Lifecycle._room_for_container)
    @rule(target=Lifecycle.containers, sandbox=Lifecycle.sandboxes, way=_WAYS, seconds=_MOMENTS)
    def stop_prompt(self, sandbox: str, way: str, seconds: float) -> Any:
        return self.steps.stop_prompt(sandbox, way, seconds) or multiple()

    @precondition(Lifecycle._room_for_sandbox)
    @rule(target=Lifecycle.sandboxes, sandbox=Lifecycle.sandboxes)
    def use_name_again(self, sandbox: str) -> Any:
        """The name of a sandbox goes to the next one at once."""
        known = not self.steps.world.thing(sandbox).within(SandboxState.NEVER)
        if not (known and self._is_last(sandbox)):
            return multiple()
        self.steps.on_sandbox("RemovePodSandbox", sandbox)
        return self.steps.run_again(sandbox) or multiple()
