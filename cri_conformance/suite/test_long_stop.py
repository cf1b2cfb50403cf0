# SPDX-License-Identifier: Apache-2.0
"""A stop that takes long, and all that must not wait for it.

A kubelet relists every second, asks for each status, probes, and runs other pods, while some
container takes its whole grace period to end. One stop must not make it blind to the rest of
the node; and who takes the container away altogether does not ask for its grace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.long_stop import LONG_STOP, PROMPT_WITHIN, Look, long_stop
from cri_conformance.suite.scripts import PROMPT, STUBBORN, go, listening
from cri_conformance.wire.outcome import Ok, Outcome, Refused, SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox

#: Seconds that the end of a container may take which nobody gives any grace.
FORCED_WITHIN = 15.0

Patience = Callable[[float], float]


# -- who must not wait -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def looks(module_runtime: Runtime, shared_sandbox: Sandbox, patience: Patience) -> dict[str, Look]:
    """Call → what came of it while a stop in the shared sandbox was waiting for its container.

    Under ``same sandbox``, what came of creating and starting a container in that one.
    """
    runtime, within = module_runtime, patience(PROMPT_WITHIN)
    other, new = runtime.sandbox(), runtime.sandbox_config()
    created, fresh = runtime.container(other), runtime.container_config(other)
    with long_stop(runtime, shared_sandbox) as container:
        asked: dict[str, dict[str, Any]] = {
            "PodSandboxStatus": {"pod_sandbox_id": shared_sandbox.id},
            "ListPodSandbox": {},
            "ContainerStatus": {"container_id": container.id},
            "ListContainers": {},
            "ReopenContainerLog": {"container_id": container.id},
            "ExecSync": {"container_id": container.id, "cmd": ["true"], "timeout": 10},
            "RunPodSandbox": {"config": new, "runtime_handler": other.handler},
            "CreateContainer": {
                "pod_sandbox_id": other.id,
                "config": fresh,
                "sandbox_config": other.config,
            },
            "StartContainer": {"container_id": created.id},
        }
        seen = {
            rpc: Look.taken(partial(runtime.call, rpc, **fields, deadline=within))
            for rpc, fields in asked.items()
        }
        seen["same sandbox"] = Look.taken(partial(_brought_up, runtime, shared_sandbox, within))
    return seen


def _brought_up(runtime: Runtime, sandbox: Sandbox, within: float) -> Outcome:
    created = runtime.call(
        "CreateContainer",
        pod_sandbox_id=sandbox.id,
        config=runtime.container_config(sandbox),
        sandbox_config=sandbox.config,
        deadline=within,
    )
    if not isinstance(created, Ok):
        return created
    made = created.response.container_id
    return runtime.call("StartContainer", container_id=made, deadline=within)


_PROMPT = (
    "PodSandboxStatus",
    "ListPodSandbox",
    "ContainerStatus",
    "ListContainers",
    "ReopenContainerLog",
    "ExecSync",
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
)


@pytest.mark.xdist_group("long stop")
@pytest.mark.parametrize(
    ("rpc", "name"),
    [
        *(
            pytest.param(rpc, name, marks=clause(f"RuntimeService.{name}"), id=rpc)
            for rpc in _PROMPT
            for name in (f"{rpc}.prompt-during-stop",)
        ),
        pytest.param(
            "same sandbox",
            "CreateContainer.same-sandbox-during-stop",
            marks=clause("RuntimeService.CreateContainer.same-sandbox-during-stop"),
            id="same sandbox",
        ),
    ],
)
def test_answers_during_a_long_stop(
    looks: dict[str, Look], judge: Judge, rpc: str, name: str
) -> None:
    look = looks[rpc]
    if isinstance(look.outcome, Refused) and look.outcome.code == "UNIMPLEMENTED":
        judge.skip(Reason.YOUNGER, f"the runtime has no {rpc}")
    judge.that(
        f"RuntimeService.{name}",
        isinstance(look.outcome, Ok),
        permitted=f"success within {PROMPT_WITHIN:g} s while a container is being stopped",
        actual=f"{look.outcome} after {look.seconds:.1f} s",
    )


# -- who ends the wait -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rpc",
    [
        pytest.param(rpc, marks=clause(f"RuntimeService.{rpc}.during-stop"), id=rpc)
        for rpc in ("RemoveContainer", "StopPodSandbox")
    ],
)
def test_force_does_not_wait_for_grace(
    runtime: Runtime, judge: Judge, patience: Patience, rpc: str
) -> None:
    sandbox, within = runtime.sandbox(), patience(FORCED_WITHIN)
    with long_stop(runtime, sandbox) as container:
        names: dict[str, Any] = {"pod_sandbox_id": sandbox.id}
        if rpc == "RemoveContainer":
            names = {"container_id": container.id}
        look = Look.taken(lambda: runtime.call(rpc, deadline=within, **names))
    judge.that(
        f"RuntimeService.{rpc}.during-stop",
        isinstance(look.outcome, Ok),
        permitted=f"success within {FORCED_WITHIN:g} s while a stop with {LONG_STOP} s of grace is"
        " under way",
        actual=f"{look.outcome} after {look.seconds:.1f} s",
        about=names.values(),
    )


@clause("RuntimeService.UpdateContainerResources.during-stop")
def test_an_update_does_not_keep_a_container_from_ending(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    clause_id, within = "RuntimeService.UpdateContainerResources.during-stop", patience(5.0)
    resources = types.LinuxContainerResources(cpu_shares=512)
    with long_stop(runtime, shared_sandbox) as container:
        outcome = runtime.call(
            "UpdateContainerResources",
            container_id=container.id,
            linux=resources,
            deadline=within,
        )
        judge.that(
            clause_id,
            isinstance(outcome, Ok | Refused),
            permitted=f"an answer within {PROMPT_WITHIN:g} s",
            actual=outcome,
            about=[container.id],
        )
        go(runtime, container)
        with contextlib.suppress(SetupFailed):
            runtime.wait_exited(container.id)
        state = types.ContainerState.Name(runtime.container_status(container.id).state)
        judge.equal(clause_id, state, "CONTAINER_EXITED", about=[container.id])


# -- whose client went away --------------------------------------------------------------------


@clause("RuntimeService.StopContainer.abandoned-harmless")
def test_an_abandoned_long_stop_holds_up_nobody(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    within = patience(FORCED_WITHIN)
    long, other = (listening(runtime, shared_sandbox, script) for script in (STUBBORN, PROMPT))
    runtime.call("StopContainer", container_id=long.id, timeout=86_400, cancel_after=0.2)
    for name, container, timeout in (("another", other, 30), ("the same", long, 0)):
        names: dict[str, Any] = {"container_id": container.id, "timeout": timeout}
        look = Look.taken(partial(runtime.call, "StopContainer", **names, deadline=within))
        judge.that(
            "RuntimeService.StopContainer.abandoned-harmless",
            isinstance(look.outcome, Ok),
            permitted=f"the stop of {name} container succeeds within {FORCED_WITHIN:g} s",
            actual=f"{look.outcome} after {look.seconds:.1f} s",
            about=[container.id],
        )
