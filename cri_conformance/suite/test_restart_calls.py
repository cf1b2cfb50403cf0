# SPDX-License-Identifier: Apache-2.0
"""Calls that a restart of the runtime breaks off: what is half done must be in nobody's way.

The kubelet learns only that the connection broke. It repeats what it has asked for, as after
any other call without an answer, and comes to its aim: nothing may be stuck, no name be taken by
what is not there.

All calls are under way at once, and the runtime is killed some moments later; several times, as
how long a call takes is the runtime's affair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.settings import Settings
from cri_conformance.suite.repeating import (
    MINUTE,
    container_listed,
    next_attempt,
    pod_attempt,
    repeated,
    succeeded,
)
from cri_conformance.suite.restart import CALL_TAKES, HANGS, Restarter, interrupted
from cri_conformance.suite.scripts import PROMPT, listening
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed, Unknown
from cri_conformance.wire.runtime import Runtime, Sandbox

#: Seconds from the calls to the restart: at the gate, and at night.
MOMENTS = {False: (0.0, 0.03), True: (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)}
#: Seconds until a status must show what a call has done.
_SLACK = 5.0


@dataclass
class Broken:
    """What became of one call: as it ended, and after it was repeated."""

    first: Outcome
    last: list[Outcome] = field(default_factory=list)
    #: The state shown afterwards, and that which must be; "" for none.
    shown: str = ""
    wanted: str = ""
    about: str = ""


#: Makes what a call is about: the call, and what is done after the restart given how it ended.
Plan = Callable[
    [Runtime, Sandbox, float], tuple[Callable[[], Outcome], Callable[[Outcome], Broken]]
]


def _run(runtime: Runtime, shared: Sandbox, within: float) -> Any:
    config = runtime.sandbox_config()
    handler = runtime.workshop.handler
    request = types.RunPodSandboxRequest(config=config, runtime_handler=handler)

    def after(first: Outcome) -> Broken:
        return Broken(first, [repeated(pod_attempt(runtime, config), succeeded, within)])

    return partial(runtime.call, "RunPodSandbox", request, deadline=CALL_TAKES), after


def _create(runtime: Runtime, shared: Sandbox, within: float) -> Any:
    config = runtime.container_config(shared)
    request = types.CreateContainerRequest(
        pod_sandbox_id=shared.id, config=config, sandbox_config=shared.config
    )

    def after(first: Outcome) -> Broken:
        name = config.metadata.name
        last = repeated(
            partial(runtime.create, shared, config),
            lambda outcome: succeeded(outcome) or container_listed(runtime, shared, name),
            within,
        )
        there = succeeded(last) or container_listed(runtime, shared, name)
        return Broken(first, [Ok(None) if there else last], about=shared.id)

    return partial(runtime.call, "CreateContainer", request, deadline=CALL_TAKES), after


def _start(runtime: Runtime, shared: Sandbox, within: float) -> Any:
    container = runtime.container(shared)

    def after(first: Outcome) -> Broken:
        return Broken(first, next_attempt(runtime, container, within), about=container.id)

    call = partial(runtime.call, "StartContainer", container_id=container.id, deadline=CALL_TAKES)
    return call, after


def _repeatable(
    rpc: str, make: Callable[[Runtime, Sandbox], dict[str, Any]], wanted: str = ""
) -> Plan:
    def plan(runtime: Runtime, shared: Sandbox, within: float) -> Any:
        names = make(runtime, shared)
        about = next(iter(names.values()))

        def after(first: Outcome) -> Broken:
            last = repeated(partial(runtime.call, rpc, **names), succeeded, within)
            broken = Broken(first, [last], about=about, wanted=wanted)
            if wanted == "SANDBOX_NOTREADY":
                state = runtime.sandbox_status(about).state
                broken.shown = types.PodSandboxState.Name(state)
            elif wanted:
                # The first stop may have ended it, and the runtime be about to note it down.
                with contextlib.suppress(SetupFailed):
                    runtime.wait_exited(about, _SLACK)
                broken.shown = types.ContainerState.Name(runtime.container_status(about).state)
            return broken

        return partial(runtime.call, rpc, **names, deadline=CALL_TAKES), after

    return plan


def _full_sandbox(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    sandbox = runtime.sandbox()
    runtime.running(sandbox)
    return {"pod_sandbox_id": sandbox.id}


def _running(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    return {"container_id": listening(runtime, shared, PROMPT).id}


def _stopping(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    return {**_running(runtime, shared), "timeout": 2}


_PLANS: dict[str, Plan] = {
    "RunPodSandbox": _run,
    "StopPodSandbox": _repeatable("StopPodSandbox", _full_sandbox, "SANDBOX_NOTREADY"),
    "RemovePodSandbox": _repeatable("RemovePodSandbox", _full_sandbox),
    "CreateContainer": _create,
    "StartContainer": _start,
    "StopContainer": _repeatable("StopContainer", _stopping, "CONTAINER_EXITED"),
    "RemoveContainer": _repeatable("RemoveContainer", _running),
}


@pytest.fixture(scope="module")
def broken(
    module_runtime: Runtime,
    restart: Restarter,
    chosen: Settings,
    patience: Callable[[float], float],
) -> dict[str, list[Broken]]:
    """What became of each call, in each round."""
    found: dict[str, list[Broken]] = {rpc: [] for rpc in _PLANS}
    within = patience(MINUTE)
    moments = MOMENTS[chosen.nightly] if restart.real else (0.0,)
    for seconds in moments:
        # Of a round of its own: what can't be removed goes with it.
        sandbox = module_runtime.sandbox()
        plans = {rpc: plan(module_runtime, sandbox, within) for rpc, plan in _PLANS.items()}
        firsts = interrupted(
            module_runtime, restart, {rpc: call for rpc, (call, _) in plans.items()}, seconds
        )
        for rpc, (_, after) in plans.items():
            found[rpc].append(after(firsts[rpc]))
    return found


@pytest.mark.parametrize(
    "rpc",
    [
        pytest.param(rpc, marks=clause(f"RuntimeService.{rpc}.retry-after-restart"))
        for rpc in _PLANS
    ],
)
def test_repeated_until_it_succeeds(
    broken: dict[str, list[Broken]], judge: Judge, rpc: str
) -> None:
    clause_id = f"RuntimeService.{rpc}.retry-after-restart"
    for one in broken[rpc]:
        about = [one.about] if one.about else []
        judge.that(
            clause_id,
            not (isinstance(one.first, Unknown) and one.first.why == HANGS),
            permitted="the call that was under way is answered or broken off",
            actual=one.first,
            about=about,
        )
        for outcome in one.last:
            judge.ok(clause_id, outcome, about=about)
        judge.equal(clause_id, one.shown, one.wanted, "state afterwards:", about=about)
