# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for calls at the same time: the losers of a race are refused, lists lose objects,
and one long stop holds up the rest."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When, status_of
from cri_conformance.faults.fault import Call, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators import (
    Which,
    answer_error,
    delay,
    edit_request,
    gives_same_answer,
    leave_out,
    one_at_a_time,
    operator,
    overlap_fails,
    side_effect,
    skip_effect,
    together,
    waits_for,
)
from cri_conformance.faults.operators.core import copy_of

_RUN = "RuntimeService.RunPodSandbox"
#: The exit code of containers that end by themselves in the tests of such races.
_OWN_CODE = 3


def _stop_loses_to_exit() -> Operator:
    """containerd before 2.2 (c9afcc2bc): an exit during the stop makes the stop fail."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        before = status_of(call)
        response = proceed(call.request)
        if before is not None and before.state == types.CONTAINER_RUNNING:
            after = status_of(call)
            if after is not None and after.exit_code == _OWN_CODE:
                raise StatusError("UNKNOWN", "ttrpc: closed")
        return response

    return operator("stop-loses-to-exit", "StopContainer", "an exit makes a stop fail", step)


def _was_asked_for_by_several() -> When:
    """Calls on an object that overlapped once, the last of them included."""
    raced: WeakKeyDictionary[Memory, set[str]] = WeakKeyDictionary()

    def test(call: Call, memory: Memory) -> bool:
        seen = raced.setdefault(memory, set())
        name = subject(call.rpc, call.request)
        if when.overlapping(call, memory):
            seen.add(name)
        return name in seen

    return When("asked-for-by-several", test)


def _own_code_seen(call: Call, memory: Memory) -> bool:
    """A container of the sandbox has ended by itself."""
    chosen = types.ContainerFilter(pod_sandbox_id=call.request.pod_sandbox_id)
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=chosen))
    for item in listed.containers:
        asked = types.ContainerStatusRequest(container_id=item.id)
        if call.upstream("ContainerStatus", asked).status.exit_code == _OWN_CODE:
            return True
    return False


def _has_own_code(call: Call, memory: Memory) -> bool:
    """Whether a container of the sandbox ends by itself about now.

    Given a moment to: what the suite leaves to chance on a real runtime must not be one here.
    """
    return any(_own_code_seen(call, memory) or call.ended.wait(0.02) for _ in range(20))


def _sandbox_stop_loses() -> Operator:
    """cri-o/cri-o commit b106fcd710: two ways to stop one container get into each other's way."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == "StopContainer":
            sandbox = memory.sandbox_of(call.request.container_id)
            if sandbox and memory.await_running("StopPodSandbox", sandbox, 1, when.WINDOW):
                raise StatusError("UNKNOWN", "the container is being stopped with its sandbox")
        return proceed(call.request)

    return operator(
        "stop-loses-to-sandbox", "StopContainer", "a stop fails beside its sandbox's", step
    )


def _abandoned_stop_keeps_the_lock() -> Operator:
    """cri-o/cri-o#9754: whose client went away waits on, and every other stop for it."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if (held := memory.kept("held", lambda: "")) and _runs(held, call):
            call.ended.wait(30)
        if call.request.timeout >= 86_400 and call.ended.wait(5):
            memory.keep("held", call.request.container_id)
            raise StatusError("CANCELLED", "the client went away")
        return proceed(call.request)

    return operator(
        "abandoned-stop-keeps-the-lock", "StopContainer", "an abandoned stop holds up all", step
    )


def _exits_are_lost() -> Operator:
    """containerd/cri#434: of many exits at once one is not noted, and never will be."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == "StartContainer":
            if when.in_company(call, memory) and not memory.count("lost exits"):
                memory.keep("lost", call.request.container_id)
            return proceed(call.request)
        response = proceed(call.request)
        lost = memory.kept("lost", lambda: "") == response.status.id
        if not lost or not response.status.finished_at:
            return response
        response = copy_of(response)
        response.status.state = types.CONTAINER_RUNNING
        response.status.finished_at = response.status.exit_code = 0
        return response

    return operator(
        "exit-lost-in-a-crowd",
        ("StartContainer", "ContainerStatus"),
        "of many that end at once one goes on as RUNNING",
        step,
    )


def _runs(container_id: str, call: Call) -> bool:
    asked = types.ContainerStatusRequest(container_id=container_id)
    try:
        state = call.upstream("ContainerStatus", asked).status.state
    except StatusError:
        return False
    return bool(state == types.CONTAINER_RUNNING)


def _stop_in_this_sandbox(call: Call, memory: Memory) -> bool:
    chosen = types.ContainerFilter(pod_sandbox_id=call.request.pod_sandbox_id)
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=chosen))
    return any(memory.running("StopContainer", item.id) for item in listed.containers)


_where_a_stop_goes_on = When("where-a-stop-goes-on", _stop_in_this_sandbox)


def _own_attempt(request: Any, call: Call, memory: Memory) -> None:
    request.config.metadata.attempt = memory.count("attempts") + 1


def _staying_out_of(rpc: str) -> Which:
    return Which(f"during-{rpc}", lambda item, call, memory: memory.running(rpc) > 0)


FAULTS = [
    # cri-o/cri-o commit 6414bad641.
    *(
        fault(f"RuntimeService.{rpc}.concurrent", overlap_fails(rpc))
        for rpc in ("StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer")
    ),
    # Who comes second is told OK, and nobody has done it.
    *(
        fault(
            f"RuntimeService.{rpc}.concurrent-gone", skip_effect(rpc, _was_asked_for_by_several())
        )
        for rpc in ("RemovePodSandbox", "RemoveContainer")
    ),
    fault("RuntimeService.StopContainer.racing-exit", _stop_loses_to_exit()),
    fault(
        "RuntimeService.StopPodSandbox.racing-exit",
        answer_error("StopPodSandbox", When("one-ended", _has_own_code), message="ttrpc: closed"),
    ),
    fault(
        f"{_RUN}.concurrent-duplicates",
        edit_request(
            "own-attempt",
            "RunPodSandbox",
            "makes another sandbox for each call",
            _own_attempt,
            when=when.in_company,
        ),
    ),
    fault(f"{_RUN}.concurrent-pods", answer_error("RunPodSandbox", when.in_company)),
    fault(
        f"{_RUN}.concurrent-pods",
        gives_same_answer("RunPodSandbox", when=when.in_company),
        name="same-sandbox-for-all-at-once",
    ),
    fault(
        "RuntimeService.StartContainer.concurrent",
        side_effect("StartContainer", "StopContainer", when=when.overlapping),
    ),
    fault(
        "RuntimeService.ListPodSandbox.during-churn",
        together(
            delay("RunPodSandbox", 0.02),
            leave_out("ListPodSandbox", _staying_out_of("RunPodSandbox")),
        ),
    ),
    fault(
        "RuntimeService.ListContainers.during-churn",
        together(
            delay("RemoveContainer", 0.02),
            leave_out("ListContainers", _staying_out_of("RemoveContainer")),
        ),
    ),
    # cri-o/cri-o#6297: looking waits for the stop.
    *(
        fault(f"RuntimeService.{rpc}.prompt-during-stop", waits_for(rpc, "StopContainer"))
        for rpc in (
            "PodSandboxStatus",
            "ListPodSandbox",
            "ContainerStatus",
            "ListContainers",
            "ReopenContainerLog",
            "RunPodSandbox",
            "CreateContainer",
            "StartContainer",
        )
    ),
    # cri-o/cri-o commit 3e0aa19bd0: what is updated and stopped at once is stuck.
    fault(
        "RuntimeService.UpdateContainerResources.during-stop",
        waits_for("UpdateContainerResources", "StopContainer"),
    ),
    fault("ContainerState.CONTAINER_RUNNING.left-on-exit", _exits_are_lost()),
    fault("RuntimeService.StopPodSandbox.racing-stops", _sandbox_stop_loses()),
    fault("RuntimeService.StopContainer.abandoned-harmless", _abandoned_stop_keeps_the_lock()),
    fault(
        "RuntimeService.ExecSync.prompt-during-stop",
        waits_for("ExecSync", "StopContainer", when=when.requested("cmd", ["true"])),
    ),
    fault(
        "RuntimeService.CreateContainer.same-sandbox-during-stop",
        waits_for("CreateContainer", "StopContainer", when=_where_a_stop_goes_on),
    ),
    # cri-o/cri-o#9754: every stop on the node waits for one.
    fault("RuntimeService.StopContainer.parallel", one_at_a_time("StopContainer")),
]
