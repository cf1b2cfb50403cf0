# SPDX-License-Identifier: Apache-2.0
"""Containers from their end on: EXITED by themselves or by a stop, and then gone.

What ended stays to be asked about until it is removed, and the end of one container is
no other's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cri_conformance.api import types
from cri_conformance.build.messages import IDLE
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.views import container_state, container_states
from cri_conformance.wire.outcome import Ok, SetupFailed, Unknown
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

_STOP = "RuntimeService.StopContainer"
_REMOVE = "RuntimeService.RemoveContainer"
_STATE = "ContainerState.CONTAINER"

#: Seconds after which a process that ended must no longer be reported as running.
_FEW_SECONDS = 10.0


# -- end ----------------------------------------------------------------------------------


@clause(f"{_STATE}_RUNNING.left-on-exit")
def test_a_container_that_ends_by_itself_is_not_running_any_more(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.running(shared_sandbox, "exit 5")
    began = time.monotonic()
    try:
        runtime.wait_exited(container.id, _FEW_SECONDS)
        seen = "no longer CONTAINER_RUNNING"
    except SetupFailed:
        seen = container_state(runtime, container.id)
    judge.that(
        f"{_STATE}_RUNNING.left-on-exit",
        seen != "CONTAINER_RUNNING",
        permitted=f"not CONTAINER_RUNNING within {_FEW_SECONDS:g} s of its end",
        actual=f"{seen} after {time.monotonic() - began:.1f} s",
        about=[container.id],
    )


def _by_itself(runtime: Runtime, container: Container) -> None:
    # The list tells of its end too, and is not what is judged.
    poll(
        lambda: container_states(runtime, container),
        lambda views: "CONTAINER_RUNNING" not in views,
        _FEW_SECONDS,
        "the container to end",
    )


def _by_a_stop(runtime: Runtime, container: Container) -> None:
    runtime.get("StopContainer", container_id=container.id, timeout=1)


@clause(
    f"{_STATE}_EXITED.on-exit",
    f"{_STATE}_EXITED.kept",
    f"{_STATE}_UNKNOWN.not-in-normal-life",
    "ContainerStatus.state.forward-only",
)
@pytest.mark.parametrize(
    ("script", "end"), [("exit 7", _by_itself), (IDLE, _by_a_stop)], ids=["by-itself", "by-a-stop"]
)
def test_a_container_that_ended_is_exited_and_stays(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    script: str,
    end: Callable[[Runtime, Container], None],
) -> None:
    container = runtime.container(shared_sandbox, command=["/bin/sh", "-c", script])
    seen = container_states(runtime, container)
    runtime.get("StartContainer", container_id=container.id)
    seen += container_states(runtime, container)
    end(runtime, container)
    status = runtime.call("ContainerStatus", container_id=container.id)
    judge.ok(f"{_STATE}_EXITED.kept", status, about=[container.id])
    ended = container_states(runtime, container)
    judge.that(
        f"{_STATE}_UNKNOWN.not-in-normal-life",
        "CONTAINER_UNKNOWN" not in (*seen, *ended),
        permitted="CREATED, RUNNING and EXITED only",
        actual=" ".join((*seen, *ended)),
        about=[container.id],
    )
    # Every second one, as the list is a view of its own.
    states = [*seen, *ended][1::2]
    judge.that(
        "ContainerStatus.state.forward-only",
        states == sorted(states, key=types.ContainerState.Value),
        permitted="CREATED, then RUNNING, then EXITED",
        actual=" ".join(states),
        about=[container.id],
    )
    judge.that(
        f"{_STATE}_EXITED.kept",
        "not listed" not in ended,
        permitted="in the list",
        actual=ended[0],
        about=[container.id],
    )
    judge.equal(
        f"{_STATE}_EXITED.on-exit",
        ended,
        ["CONTAINER_EXITED"] * 2,
        "in list and status",
        about=[container.id],
    )


@clause(f"{_STOP}.exited")
def test_a_stopped_container_is_exited(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.running(shared_sandbox)
    outcome = runtime.call("StopContainer", container_id=container.id, timeout=2)
    judge.ok(f"{_STOP}.exited", outcome, about=[container.id])
    judge.equal(
        f"{_STOP}.exited",
        container_states(runtime, container),
        ["CONTAINER_EXITED"] * 2,
        "in list and status",
        about=[container.id],
    )


@clause(f"{_STOP}.created-container", f"{_STOP}.created-state")
def test_a_stop_before_the_start(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    container = runtime.container(shared_sandbox)
    outcome = runtime.call("StopContainer", container_id=container.id, timeout=1)
    judge.record(f"{_STOP}.created-state", container_state(runtime, container.id))
    judge.ok(f"{_STOP}.created-container", outcome, about=[container.id])


@clause(f"{_STOP}.others-untouched")
def test_a_stop_leaves_the_neighbours_alone(runtime: Runtime, judge: Judge) -> None:
    sandbox = runtime.sandbox()
    other = runtime.running(sandbox)
    container = runtime.running(sandbox)
    runtime.get("StopContainer", container_id=container.id, timeout=1)
    _others(runtime, judge, f"{_STOP}.others-untouched", sandbox, [(other, "CONTAINER_RUNNING")])


@clause(f"{_REMOVE}.others-untouched")
def test_a_removal_leaves_the_neighbours_alone(runtime: Runtime, judge: Judge) -> None:
    sandbox = runtime.sandbox()
    others = [
        (runtime.container(sandbox), "CONTAINER_CREATED"),
        (runtime.exited(sandbox), "CONTAINER_EXITED"),
        (runtime.running(sandbox), "CONTAINER_RUNNING"),
    ]
    container = runtime.running(sandbox)
    runtime.get("RemoveContainer", container_id=container.id)
    _others(runtime, judge, f"{_REMOVE}.others-untouched", sandbox, others)


def _others(
    runtime: Runtime,
    judge: Judge,
    bound: str,
    sandbox: Sandbox,
    others: list[tuple[Container, str]],
) -> None:
    state = types.PodSandboxState.Name(runtime.sandbox_status(sandbox.id).state)
    seen = [state, *(_look(runtime, other) for other, _ in others)]
    judge.equal(
        bound,
        seen,
        ["SANDBOX_READY", *(expected for _, expected in others)],
        "sandbox and other containers",
        about=[sandbox.id, *(other.id for other, _ in others)],
    )


def _look(runtime: Runtime, container: Container) -> str:
    status = runtime.call("ContainerStatus", container_id=container.id)
    if isinstance(status, Ok):
        return types.ContainerState.Name(status.response.status.state)
    return str(status)


# -- remove -------------------------------------------------------------------------------

_STUBBORN = "trap '' TERM INT; while :; do sleep 1; done"


@clause(f"{_REMOVE}.gone", "RuntimeService.ListContainers.despite-half-done")
def test_a_removed_container_is_not_listed(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.exited(shared_sandbox)
    runtime.get("RemoveContainer", container_id=container.id)
    listed = judge.response(
        "RuntimeService.ListContainers.despite-half-done",
        runtime.call("ListContainers"),
        about=[container.id],
    )
    ids = [item.id for item in listed.containers]
    judge.equal(f"{_REMOVE}.gone", ids.count(container.id), 0, "times in the list")


@clause(f"{_REMOVE}.running-time")
def test_how_long_the_removal_of_a_stubborn_container_takes(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.running(shared_sandbox, _STUBBORN)
    runtime.exec(container, "true")
    began = time.monotonic()
    outcome = runtime.call("RemoveContainer", container_id=container.id, deadline=60.0)
    seconds = time.monotonic() - began
    # In whole seconds: the same words each time.
    took = "no answer" if isinstance(outcome, Unknown) else f"about {seconds:.0f} s"
    judge.record(f"{_REMOVE}.running-time", f"{outcome}, {took}")
