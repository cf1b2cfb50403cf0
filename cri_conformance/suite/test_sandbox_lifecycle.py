# SPDX-License-Identifier: Apache-2.0
"""Sandboxes in order: READY once run, NOTREADY once stopped, gone once removed.

The lifecycle table judges each call by itself. Here are the promises that reach
further: to the containers in a sandbox, to the neighbours of one, to the name that a
failed or ended sandbox leaves behind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, NotExercised, clause
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

_RUN = "RuntimeService.RunPodSandbox"
_STOP = "RuntimeService.StopPodSandbox"
_REMOVE = "RuntimeService.RemovePodSandbox"

#: Survives SIGTERM and SIGINT, as a container does whose main process handles them badly.
STUBBORN = "trap '' TERM INT; while :; do sleep 1; done"
#: Seconds that the stop of a sandbox may take before no runtime is that slow.
_STOP_DEADLINE = 60.0


def listed_sandboxes(runtime: Runtime, name: str) -> list[types.PodSandbox]:
    """The sandboxes in the list whose metadata have a name of ours."""
    items = runtime.get("ListPodSandbox").items
    return [item for item in items if item.metadata.name == name]


def listed_ids(runtime: Runtime) -> set[str]:
    """The ids of all containers in the list."""
    return {item.id for item in runtime.get("ListContainers").containers}


def _state(runtime: Runtime, container: Container) -> str:
    return types.ContainerState.Name(runtime.container_status(container.id).state)


# -- run ----------------------------------------------------------------------------------


@clause(f"{_RUN}.listed-on-success")
def test_a_sandbox_that_was_run_is_listed_once(runtime: Runtime, judge: Judge) -> None:
    sandbox = runtime.sandbox()
    ids = [item.id for item in runtime.get("ListPodSandbox").items]
    judge.equal(f"{_RUN}.listed-on-success", ids.count(sandbox.id), 1, "times in the list")


@clause(f"{_RUN}.next-attempt")
def test_the_next_attempt_of_a_stopped_sandbox_is_a_new_one(runtime: Runtime, judge: Judge) -> None:
    first = runtime.sandbox()
    runtime.get("StopPodSandbox", pod_sandbox_id=first.id)
    config = types.PodSandboxConfig()
    config.CopyFrom(first.config)
    config.metadata.attempt += 1
    made = judge.response(f"{_RUN}.next-attempt", runtime.run_sandbox(config), about=[first.id])
    judge.that(
        f"{_RUN}.next-attempt",
        made.pod_sandbox_id != first.id,
        permitted="an id of its own",
        actual="the id of the stopped sandbox",
        about=[first.id],
    )


def _refused_run(runtime: Runtime, config: types.PodSandboxConfig) -> Refused:
    """The refusal of a RunPodSandbox with this config and something wrong beside it."""
    bad = types.PodSandboxConfig()
    bad.CopyFrom(config)
    # A group without a user must be refused; an unknown handler should be.
    bad.linux.security_context.run_as_group.value = 1000
    for outcome in (
        runtime.run_sandbox(config, "no-such-handler"),
        runtime.run_sandbox(bad),
    ):
        if isinstance(outcome, Refused):
            return outcome
        if isinstance(outcome, Ok):
            runtime.get("RemovePodSandbox", pod_sandbox_id=outcome.response.pod_sandbox_id)
    raise NotExercised(Reason.NO_OCCASION, "no RunPodSandbox that the runtime refuses was found")


@clause(f"{_RUN}.failed-not-ready", f"{_RUN}.failed-leftover")
def test_a_refused_run_leaves_no_ready_sandbox(runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    _refused_run(runtime, config)
    left = [
        types.PodSandboxState.Name(item.state)
        for item in listed_sandboxes(runtime, config.metadata.name)
    ]
    judge.record(f"{_RUN}.failed-leftover", " ".join(left) or "nothing is left")
    judge.that(
        f"{_RUN}.failed-not-ready",
        "SANDBOX_READY" not in left,
        permitted="no SANDBOX_READY sandbox with its metadata",
        actual=" ".join(left),
    )


@clause(f"{_RUN}.name-free-after-failure")
def test_a_corrected_run_gets_the_name_of_a_refused_one(runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    _refused_run(runtime, config)
    if left := listed_sandboxes(runtime, config.metadata.name):
        # The promise is made for calls that left nothing; the kubelet would take the next attempt.
        raise NotExercised(Reason.NO_OCCASION, f"the refused call left {left[0].id} in the list")
    judge.ok(f"{_RUN}.name-free-after-failure", runtime.run_sandbox(config))


@clause("RuntimeCondition.status.runtime-serves")
def test_a_ready_runtime_starts_a_container_on_the_hosts_network(
    runtime: Runtime, judge: Judge
) -> None:
    serves = "RuntimeCondition.status.runtime-serves"
    _ready_or_skip(runtime, "RuntimeReady")
    config = runtime.sandbox_config(network=types.NODE)
    made = judge.response(serves, runtime.run_sandbox(config))
    sandbox = Sandbox(made.pod_sandbox_id, config)
    container = judge.response(serves, runtime.create(sandbox, runtime.container_config(sandbox)))
    judge.ok(serves, runtime.call("StartContainer", container_id=container.container_id))


@clause("RuntimeCondition.status.network-serves")
def test_a_ready_network_takes_a_sandbox(runtime: Runtime, judge: Judge) -> None:
    _ready_or_skip(runtime, "NetworkReady")
    outcome = runtime.run_sandbox(runtime.sandbox_config(network=types.POD))
    judge.ok("RuntimeCondition.status.network-serves", outcome)


def _ready_or_skip(runtime: Runtime, kind: str) -> None:
    conditions = {one.type: one.status for one in runtime.get("Status").status.conditions}
    if not conditions.get(kind):
        raise NotExercised(Reason.NO_OCCASION, f"the condition {kind} is not true")


# -- stop ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stopped:
    """A sandbox that was stopped, what was in it, and its neighbour."""

    sandbox: Sandbox
    running: Container
    stubborn: Container
    neighbour: Sandbox
    neighbours_container: Container
    seconds: float
    outcome: Outcome


@pytest.fixture(scope="module")
def stopped(module_runtime: Runtime) -> Stopped:
    """Two sandboxes alike, of which one was stopped; its containers were running."""
    sandbox, neighbour = module_runtime.sandbox(), module_runtime.sandbox()
    running = module_runtime.running(sandbox)
    stubborn = module_runtime.running(sandbox, STUBBORN)
    neighbours_container = module_runtime.running(neighbour)
    # Its trap must stand before the stop signal comes.
    module_runtime.exec(stubborn, "true")
    began = time.monotonic()
    outcome = module_runtime.call(
        "StopPodSandbox", pod_sandbox_id=sandbox.id, deadline=_STOP_DEADLINE
    )
    seconds = time.monotonic() - began
    return Stopped(sandbox, running, stubborn, neighbour, neighbours_container, seconds, outcome)


@clause(f"{_STOP}.containers-exited")
@pytest.mark.xdist_group("stopped")
def test_running_containers_are_exited_when_the_stop_returns(
    runtime: Runtime, judge: Judge, stopped: Stopped
) -> None:
    judge.equal(
        f"{_STOP}.containers-exited",
        _state(runtime, stopped.running),
        "CONTAINER_EXITED",
        about=[stopped.sandbox.id, stopped.running.id],
    )


@clause(f"{_STOP}.stubborn-container")
@pytest.mark.xdist_group("stopped")
def test_a_container_that_ignores_its_signal_is_exited_too(
    runtime: Runtime, judge: Judge, stopped: Stopped
) -> None:
    about = [stopped.sandbox.id, stopped.stubborn.id]
    judge.ok(f"{_STOP}.stubborn-container", stopped.outcome, about=about)
    judge.equal(
        f"{_STOP}.stubborn-container",
        _state(runtime, stopped.stubborn),
        "CONTAINER_EXITED",
        about=about,
    )


@clause(f"{_STOP}.stubborn-time")
@pytest.mark.xdist_group("stopped")
def test_a_container_that_ignores_its_signal_does_not_hold_the_stop_up(
    judge: Judge, stopped: Stopped
) -> None:
    judge.within(f"{_STOP}.stubborn-time", stopped.seconds, at_most=15.0, what="the stop")


@clause(f"{_STOP}.stays-listed")
@pytest.mark.xdist_group("stopped")
def test_a_stopped_sandbox_can_still_be_listed_and_asked_for(
    runtime: Runtime, judge: Judge, stopped: Stopped
) -> None:
    stays, sandbox = f"{_STOP}.stays-listed", stopped.sandbox
    judge.ok(stays, runtime.call("PodSandboxStatus", pod_sandbox_id=sandbox.id), about=[sandbox.id])
    found = listed_sandboxes(runtime, sandbox.config.metadata.name)
    judge.equal(stays, [item.id for item in found], [sandbox.id], about=[sandbox.id])


@clause(f"{_STOP}.not-ready")
@pytest.mark.xdist_group("stopped")
def test_a_stopped_sandbox_is_not_ready_in_status_and_list(
    runtime: Runtime, judge: Judge, stopped: Stopped
) -> None:
    sandbox = stopped.sandbox
    status = runtime.sandbox_status(sandbox.id).state
    listed = [item.state for item in listed_sandboxes(runtime, sandbox.config.metadata.name)]
    judge.equal(
        f"{_STOP}.not-ready",
        [types.PodSandboxState.Name(state) for state in (status, *listed)],
        ["SANDBOX_NOTREADY"] * 2,
        "in status and list",
        about=[sandbox.id],
    )


@clause(f"{_STOP}.others-untouched")
@pytest.mark.xdist_group("stopped")
def test_the_stop_leaves_the_neighbour_alone(
    runtime: Runtime, judge: Judge, stopped: Stopped
) -> None:
    judge.equal(
        f"{_STOP}.others-untouched",
        _neighbour(runtime, stopped.neighbour, stopped.neighbours_container),
        "SANDBOX_READY CONTAINER_RUNNING",
        about=[stopped.neighbour.id, stopped.neighbours_container.id],
    )


def _neighbour(runtime: Runtime, sandbox: Sandbox, container: Container) -> str:
    state = types.PodSandboxState.Name(runtime.sandbox_status(sandbox.id).state)
    return f"{state} {_state(runtime, container)}"


# -- remove -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Removed:
    """A sandbox that was removed while ready, what was in it, and its neighbour."""

    sandbox: Sandbox
    running: Container
    created: Container
    exited: Container
    neighbour: Sandbox
    neighbours_container: Container
    outcome: Outcome


@pytest.fixture(scope="module")
def removed(module_runtime: Runtime) -> Removed:
    """Two sandboxes alike, of which one was removed without a stop."""
    sandbox, neighbour = module_runtime.sandbox(), module_runtime.sandbox()
    created = module_runtime.container(sandbox)
    exited = module_runtime.exited(sandbox)
    running = module_runtime.running(sandbox)
    neighbours_container = module_runtime.running(neighbour)
    outcome = module_runtime.call(
        "RemovePodSandbox", pod_sandbox_id=sandbox.id, deadline=_STOP_DEADLINE
    )
    return Removed(sandbox, running, created, exited, neighbour, neighbours_container, outcome)


@clause(f"{_REMOVE}.ready-sandbox")
@pytest.mark.xdist_group("removed")
def test_a_ready_sandbox_with_running_containers_is_removed(judge: Judge, removed: Removed) -> None:
    judge.ok(f"{_REMOVE}.ready-sandbox", removed.outcome, about=[removed.sandbox.id])


@clause(f"{_REMOVE}.gone")
@pytest.mark.xdist_group("removed")
def test_a_removed_sandbox_is_not_listed(runtime: Runtime, judge: Judge, removed: Removed) -> None:
    found = listed_sandboxes(runtime, removed.sandbox.config.metadata.name)
    judge.equal(
        f"{_REMOVE}.gone", [item.id for item in found], [], "listed", about=[removed.sandbox.id]
    )


@clause(f"{_REMOVE}.running-containers-removed")
@pytest.mark.xdist_group("removed")
def test_running_containers_go_with_their_sandbox(
    runtime: Runtime, judge: Judge, removed: Removed
) -> None:
    _gone_with_it(runtime, judge, "running-containers-removed", removed.running)


@clause(f"{_REMOVE}.other-containers-removed")
@pytest.mark.xdist_group("removed")
def test_created_and_exited_containers_go_with_their_sandbox(
    runtime: Runtime, judge: Judge, removed: Removed
) -> None:
    _gone_with_it(runtime, judge, "other-containers-removed", removed.created, removed.exited)


def _gone_with_it(runtime: Runtime, judge: Judge, name: str, *containers: Container) -> None:
    ids = [container.id for container in containers]
    there = sorted(listed_ids(runtime).intersection(ids))
    judge.equal(f"{_REMOVE}.{name}", there, [], "listed", about=ids)


@clause(f"{_REMOVE}.others-untouched")
@pytest.mark.xdist_group("removed")
def test_the_removal_leaves_the_neighbour_alone(
    runtime: Runtime, judge: Judge, removed: Removed
) -> None:
    judge.equal(
        f"{_REMOVE}.others-untouched",
        _neighbour(runtime, removed.neighbour, removed.neighbours_container),
        "SANDBOX_READY CONTAINER_RUNNING",
        about=[removed.neighbour.id, removed.neighbours_container.id],
    )
