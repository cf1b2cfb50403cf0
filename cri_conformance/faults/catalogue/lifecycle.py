# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for the order of calls: what runs, ends, goes, and leaves its name behind."""

from __future__ import annotations

from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When, status_of
from cri_conformance.faults.fault import Call, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators import (
    acts_on_another,
    add_entry,
    answer_error,
    answer_ok,
    change_code,
    delay,
    does_and_fails,
    edit_request,
    ignore_request,
    in_list_state,
    leave_out,
    operator,
    resurrect,
    second_call_fails,
    set_request,
    set_value,
    side_effect,
    state_as,
    swallow,
    together,
    unlisted,
)

RUN = "RuntimeService.RunPodSandbox"
STOP_SANDBOX = "RuntimeService.StopPodSandbox"
REMOVE_SANDBOX = "RuntimeService.RemovePodSandbox"
CREATE = "RuntimeService.CreateContainer"
START = "RuntimeService.StartContainer"
STOP = "RuntimeService.StopContainer"
REMOVE = "RuntimeService.RemoveContainer"
STATE = "ContainerState.CONTAINER"

CREATED, RUNNING = types.CONTAINER_CREATED, types.CONTAINER_RUNNING
EXITED, UNKNOWN = types.CONTAINER_EXITED, types.CONTAINER_UNKNOWN

#: An image that the reference runtime has, for a create that should have failed.
_IMAGE = "localhost/cri-conformance/shell:reference"
_NETWORK = "config.linux.security_context.namespace_options.network"

_bad_handler = when.requested("runtime_handler", "no-such-handler")
_absent_image = when.requested("config.image.image", "localhost/cri-conformance/absent:none")
_absent_sandbox = When("absent-sandbox", lambda call, memory: status_of(call) is None)
_stopped_sandbox = when.in_state("SANDBOX_NOTREADY")
_started_again = When(
    "started-again",
    lambda call, memory: memory.times("StartContainer", call.request.container_id) > 1,
)
_failed_start = When(
    "failed-start",
    lambda call, memory: getattr(status_of(call), "reason", "") == "StartError",
)
_crowded = When(
    "crowded",
    lambda call, memory: len(_containers(call)) > 1,
)


def _containers(call: Call) -> list[Any]:
    chosen = types.ContainerFilter(pod_sandbox_id=call.request.pod_sandbox_id)
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=chosen))
    return list(listed.containers)


def _another_name(rpc: str) -> Operator:
    """Breaks "the name is taken": what has the name of an earlier one gets another."""

    def change(request: Any, call: Call, memory: Memory) -> None:
        request.config.metadata.attempt += 1000

    return edit_request(
        f"renames-second-{rpc}", rpc, f"a repeated {rpc} makes another", change, when=when.again
    )


def _name_taken_by_failure(rpc: str) -> Operator:
    """Breaks "the name is free after a failure": once refused, always refused."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        failed: set[str] = memory.kept("failed", set)
        about = subject(rpc, call.request)
        if about in failed:
            raise StatusError("UNKNOWN", "the name is reserved")
        try:
            return proceed(call.request)
        except StatusError:
            failed.add(about)
            raise

    return operator(
        f"keeps-name-of-failed-{rpc}", rpc, f"a name stays taken by a {rpc} that failed", step
    )


def _answers_stopped(rpc: str) -> Operator:
    """Breaks "READY on success": the id of what has the name is answered, stopped or not."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        made: dict[str, Any] = memory.kept("made", dict)
        about = subject(rpc, call.request)
        if (first := made.get(about)) is not None:
            asked = types.PodSandboxStatusRequest(pod_sandbox_id=first.pod_sandbox_id)
            try:
                state = call.upstream("PodSandboxStatus", asked).status.state
            except StatusError:
                state = None
            if state == types.SANDBOX_NOTREADY:
                return first
        response = proceed(call.request)
        made[about] = response
        return response

    return operator(
        f"answers-stopped-{rpc}", rpc, f"a repeated {rpc} answers with what is stopped", step
    )


def _same_name_elsewhere() -> Operator:
    """Breaks "a name within its sandbox": the same name in another sandbox is the first's."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        made: dict[bytes, tuple[str, Any]] = memory.kept("made", dict)
        name = call.request.config.metadata.SerializeToString(deterministic=True)
        owner, first = made.get(name, ("", None))
        if first is not None and owner != call.request.pod_sandbox_id:
            return first
        response = proceed(call.request)
        made[name] = (call.request.pod_sandbox_id, response)
        return response

    return operator(
        "answers-namesake-CreateContainer",
        "CreateContainer",
        "a name that is taken in another sandbox gets that one's container",
        step,
    )


_after_a_create = When("after-any-create", lambda call, memory: memory.times("CreateContainer") > 0)


FAULTS = [
    # -- RunPodSandbox ----------------------------------------------------------------
    fault(
        f"{RUN}.ready-on-success",
        state_as("PodSandboxStatus", "status.state", types.SANDBOX_READY, types.SANDBOX_NOTREADY),
    ),
    fault(
        f"{RUN}.listed-on-success",
        leave_out("ListPodSandbox", in_list_state(types.SANDBOX_READY, "ready")),
    ),
    fault(f"{RUN}.duplicate-metadata", _another_name("RunPodSandbox")),
    fault(f"{RUN}.duplicate-of-stopped", _answers_stopped("RunPodSandbox")),
    fault(
        f"{RUN}.next-attempt",
        answer_error("RunPodSandbox", when.given("config.metadata.attempt")),
    ),
    fault(
        f"{RUN}.failed-not-ready",
        together(
            ignore_request("RunPodSandbox", "runtime_handler", when=_bad_handler),
            does_and_fails("RunPodSandbox", _bad_handler),
            name="runs-and-fails-RunPodSandbox-bad-handler",
        ),
    ),
    fault(f"{RUN}.name-free-after-failure", _name_taken_by_failure("RunPodSandbox")),
    fault(f"{RUN}.name-free-after-removal", second_call_fails("RunPodSandbox")),
    fault(
        "RuntimeCondition.status.runtime-serves",
        answer_error("RunPodSandbox", when.requested(_NETWORK, types.NODE)),
    ),
    fault(
        "RuntimeCondition.status.network-serves",
        answer_error("RunPodSandbox", when.requested(_NETWORK, types.POD)),
        ordinary=False,
    ),
    # -- StopPodSandbox ---------------------------------------------------------------
    fault(
        f"{STOP_SANDBOX}.not-ready",
        state_as("PodSandboxStatus", "status.state", types.SANDBOX_NOTREADY, types.SANDBOX_READY),
    ),
    fault(f"{STOP_SANDBOX}.stays-listed", unlisted("sandbox", event="StopPodSandbox")),
    fault(
        [f"{STOP_SANDBOX}.containers-exited", f"{STOP_SANDBOX}.stubborn-container"],
        state_as(
            "ContainerStatus", "status.state", EXITED, RUNNING, when=when.after("StopPodSandbox")
        ),
    ),
    fault(f"{STOP_SANDBOX}.stubborn-time", delay("StopPodSandbox", 15.1, when=_crowded)),
    fault(f"{STOP_SANDBOX}.others-untouched", acts_on_another("StopPodSandbox", "ListPodSandbox")),
    # -- RemovePodSandbox -------------------------------------------------------------
    fault(f"{REMOVE_SANDBOX}.gone", resurrect("ListPodSandbox", "RemovePodSandbox")),
    fault(
        f"{REMOVE_SANDBOX}.ready-sandbox",
        answer_error("RemovePodSandbox", when.in_state("SANDBOX_READY")),
    ),
    fault(
        [
            f"{REMOVE_SANDBOX}.running-containers-removed",
            f"{REMOVE_SANDBOX}.other-containers-removed",
        ],
        resurrect("ListContainers", "RemovePodSandbox"),
    ),
    fault(
        f"{REMOVE_SANDBOX}.others-untouched",
        acts_on_another("RemovePodSandbox", "ListPodSandbox"),
    ),
    # -- CreateContainer --------------------------------------------------------------
    fault(
        [f"{CREATE}.unknown-sandbox", f"{CREATE}.removed-sandbox"],
        answer_ok("CreateContainer", _absent_sandbox),
    ),
    fault(f"{CREATE}.absent-image", answer_ok("CreateContainer", _absent_image)),
    fault(f"{CREATE}.stopped-sandbox", answer_ok("CreateContainer", _stopped_sandbox)),
    fault(
        f"{CREATE}.stopped-sandbox-code",
        change_code("CreateContainer", "NOT_FOUND", when=_stopped_sandbox),
    ),
    fault(
        f"{CREATE}.failed-not-listed",
        together(
            set_request("CreateContainer", "config.image.image", _IMAGE, when=_absent_image),
            does_and_fails("CreateContainer", _absent_image),
            name="creates-and-fails-CreateContainer-absent-image",
        ),
    ),
    fault(f"{CREATE}.name-free-after-failure", _name_taken_by_failure("CreateContainer")),
    fault(
        "CreateContainerRequest.sandbox_config.repeat-harmless",
        add_entry("PodSandboxStatus", "status.annotations", when=_after_a_create),
    ),
    # -- names ------------------------------------------------------------------------
    fault("ContainerMetadata.unique-in-sandbox", _another_name("CreateContainer")),
    fault(
        "ContainerMetadata.next-attempt",
        answer_error("CreateContainer", when.given("config.metadata.attempt")),
    ),
    fault("ContainerMetadata.other-sandbox", _same_name_elsewhere()),
    # -- StartContainer ---------------------------------------------------------------
    fault(
        f"{START}.left-created",
        set_value("ContainerStatus", "status.state", CREATED, when=when.after("StartContainer")),
        also=[f"{STATE}_RUNNING.after-start"],
    ),
    fault(
        f"{START}.runs-once",
        answer_error("StartContainer", when.in_state("CONTAINER_CREATED")),
        ordinary=False,
    ),
    fault(
        f"{START}.running-again-harmless",
        side_effect(
            "StartContainer",
            "StopContainer",
            first=True,
            when=when.in_state("CONTAINER_RUNNING"),
        ),
    ),
    fault(
        f"{START}.running-again-error",
        answer_ok("StartContainer", when.in_state("CONTAINER_RUNNING")),
    ),
    fault(
        f"{START}.exited-not-revived",
        together(
            answer_ok("StartContainer", when.in_state("CONTAINER_EXITED")),
            set_value("ContainerStatus", "status.state", RUNNING, when=_started_again),
            name="revives-StartContainer",
        ),
        also=[f"{START}.exited-error"],
    ),
    fault(f"{START}.exited-error", answer_ok("StartContainer", when.in_state("CONTAINER_EXITED"))),
    fault(
        f"{START}.bad-command",
        swallow("StartContainer", when=when.in_state("CONTAINER_CREATED")),
    ),
    fault(
        f"{START}.failed-not-running",
        set_value(
            "ContainerStatus",
            "status.state",
            RUNNING,
            where=lambda status: status.reason == "StartError",
        ),
    ),
    fault(
        f"{START}.stopped-sandbox",
        state_as(
            "ContainerStatus", "status.state", CREATED, RUNNING, when=when.after("StopPodSandbox")
        ),
    ),
    # -- StopContainer ----------------------------------------------------------------
    fault(
        f"{STOP}.exited",
        state_as(
            "ContainerStatus", "status.state", EXITED, RUNNING, when=when.after("StopContainer")
        ),
    ),
    fault(
        f"{STOP}.created-container",
        answer_error("StopContainer", when.in_state("CONTAINER_CREATED")),
    ),
    fault(f"{STOP}.others-untouched", acts_on_another("StopContainer", "ListContainers")),
    # -- RemoveContainer --------------------------------------------------------------
    fault(f"{REMOVE}.gone", resurrect("ListContainers", "RemoveContainer")),
    fault(f"{REMOVE}.created", answer_error("RemoveContainer", when.in_state("CONTAINER_CREATED"))),
    fault(f"{REMOVE}.running", answer_error("RemoveContainer", when.in_state("CONTAINER_RUNNING"))),
    fault(
        f"{REMOVE}.exited",
        answer_error(
            "RemoveContainer", when.in_state("CONTAINER_EXITED") & ~when.after("StopContainer")
        ),
    ),
    fault(f"{REMOVE}.failed-start", answer_error("RemoveContainer", _failed_start)),
    fault(
        f"{REMOVE}.in-stopped-sandbox",
        answer_error("RemoveContainer", when.after("StopPodSandbox")),
    ),
    fault(f"{REMOVE}.others-untouched", acts_on_another("RemoveContainer", "ListContainers")),
    # -- states -----------------------------------------------------------------------
    fault(
        f"{STATE}_CREATED.before-start",
        state_as("ListContainers", "containers.state", CREATED, EXITED),
    ),
    fault(
        f"{STATE}_CREATED.nothing-runs",
        together(
            side_effect("CreateContainer", "StartContainer"),
            swallow("StartContainer"),
            name="starts-at-CreateContainer",
        ),
        also=[f"{STATE}_CREATED.before-start"],
    ),
    fault(
        f"{STATE}_RUNNING.after-start",
        state_as("ListContainers", "containers.state", RUNNING, EXITED),
    ),
    fault(
        f"{STATE}_RUNNING.left-on-exit",
        state_as(
            "ContainerStatus", "status.state", EXITED, RUNNING, when=~when.after("StopContainer")
        ),
    ),
    fault(
        "ContainerStatus.state.forward-only",
        state_as("ContainerStatus", "status.state", EXITED, CREATED),
    ),
    fault(
        f"{STATE}_EXITED.on-exit",
        state_as("ListContainers", "containers.state", EXITED, CREATED),
    ),
    fault(f"{STATE}_EXITED.kept", unlisted("container", event="StopContainer")),
    fault(
        f"{STATE}_UNKNOWN.not-in-normal-life",
        state_as("ContainerStatus", "status.state", RUNNING, UNKNOWN),
    ),
]
