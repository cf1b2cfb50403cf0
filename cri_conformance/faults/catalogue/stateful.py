# SPDX-License-Identifier: Apache-2.0
"""Faults that only a longer story shows: each call by itself is right under them."""

from __future__ import annotations

from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators import Which, edit, leave_out, operator, state_as


def _siblings(memory: Memory, container_id: str) -> int:
    """How many containers were made in the sandbox of one, that one among them."""
    owner = memory.sandbox_of(container_id)
    made: dict[str, set[str]] = memory.kept("siblings", dict)
    made.setdefault(owner, set()).add(container_id)
    return len(made[owner])


_after_a_sibling_went = When(
    "after-a-container-was-removed",
    lambda call, memory: memory.times("RemoveContainer") > 0,
)


def _running_ends_with_a_sibling() -> Operator:
    """Breaks "stays so": where several containers were seen in a sandbox, those that run are
    listed as EXITED."""

    def work(response: Any, call: Call, memory: Memory) -> None:
        for item in response.containers:
            if _siblings(memory, item.id) > 1 and item.state == types.CONTAINER_RUNNING:
                item.state = types.CONTAINER_EXITED

    return edit(
        "ListContainers-siblings-exited",
        "ListContainers",
        "containers with siblings are listed as EXITED while they run",
        work,
    )


def _removed_answers_by_name() -> Operator:
    """Breaks "is answered with an error": a removed sandbox whose name is in use again is
    answered with its successor."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        names: dict[str, str] = memory.kept("names", dict)
        latest: dict[str, str] = memory.kept("latest", dict)
        if call.rpc == "RunPodSandbox":
            response = proceed(call.request)
            name = subject(call.rpc, call.request)
            names[response.pod_sandbox_id] = name
            latest[name] = response.pod_sandbox_id
            return response
        try:
            return proceed(call.request)
        except StatusError:
            successor = latest.get(names.get(call.request.pod_sandbox_id, ""), "")
            if successor in ("", call.request.pod_sandbox_id):
                raise
            asked = types.PodSandboxStatusRequest(pod_sandbox_id=successor)
            return call.upstream("PodSandboxStatus", asked)

    return operator(
        "PodSandboxStatus-answers-successor",
        ("RunPodSandbox", "PodSandboxStatus"),
        "a removed sandbox is answered with the one that has its name now",
        step,
    )


FAULTS = [
    fault("ContainerState.CONTAINER_RUNNING.after-start", _running_ends_with_a_sibling()),
    fault(
        "RuntimeService.RunPodSandbox.ready-on-success",
        state_as(
            "PodSandboxStatus",
            "status.state",
            types.SANDBOX_READY,
            types.SANDBOX_NOTREADY,
            when=_after_a_sibling_went,
        ),
    ),
    fault("RuntimeService.PodSandboxStatus.removed-error", _removed_answers_by_name()),
    fault(
        "ContainerState.CONTAINER_EXITED.kept",
        leave_out(
            "ListContainers",
            Which(
                "exited-beside-removed",
                lambda item, call, memory: (
                    item.state == types.CONTAINER_EXITED and memory.times("RemovePodSandbox") > 0
                ),
            ),
        ),
    ),
]
