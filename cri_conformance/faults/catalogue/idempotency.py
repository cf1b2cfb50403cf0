# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for idempotency: a repetition that is refused, or that changes something."""

from __future__ import annotations

from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, fault
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators import (
    alter,
    answer_error,
    fails_after,
    second_call_fails,
    set_value,
    shift,
)

_STOP_POD, _REMOVE_POD = "RuntimeService.StopPodSandbox", "RuntimeService.RemovePodSandbox"
_STOP, _REMOVE = "RuntimeService.StopContainer", "RuntimeService.RemoveContainer"


def _repeated(rpc: str) -> When:
    """The object that is asked for, or its sandbox, has gone through ``rpc`` more than once."""

    def test(call: Call, memory: Memory) -> bool:
        about = subject(call.rpc, call.request)
        names = (about, memory.sandbox_of(about))
        return any(name and memory.times(rpc, name) > 1 for name in names)

    return When(f"repeated-{rpc}", test)


_ENDED_BY_ITSELF = When(
    "ended-by-itself",
    lambda call, memory: (
        when.in_state("CONTAINER_EXITED")(call, memory)
        and not memory.happened("StopContainer", call.request.container_id)
    ),
)

FAULTS = [
    fault(f"{_STOP_POD}.idempotent", second_call_fails("StopPodSandbox")),
    # cri-o/cri-o#232: what the first call has taken down is missed by the second.
    fault(f"{_STOP_POD}.after-removal", answer_error("StopPodSandbox", when.removed, "NOT_FOUND")),
    fault(f"{_STOP_POD}.unknown-id", answer_error("StopPodSandbox", when.never_known, "NOT_FOUND")),
    fault(
        f"{_STOP_POD}.repeat-changes-nothing",
        shift(
            "PodSandboxStatus",
            "status.created_at",
            changes.plus(1),
            when=_repeated("StopPodSandbox"),
        ),
    ),
    fault(
        f"{_STOP_POD}.repeat-changes-nothing",
        alter(
            "ContainerStatus",
            "status.finished_at",
            changes.plus(1_000_000),
            when=_repeated("StopPodSandbox"),
        ),
    ),
    # kubernetes/kubernetes#39069: "no such container" is passed on.
    fault(f"{_REMOVE_POD}.idempotent", second_call_fails("RemovePodSandbox", "NOT_FOUND")),
    fault(
        f"{_REMOVE_POD}.unknown-id",
        answer_error("RemovePodSandbox", when.never_known, "NOT_FOUND"),
    ),
    fault(f"{_STOP}.idempotent", second_call_fails("StopContainer")),
    fault(f"{_STOP}.ended-by-itself", answer_error("StopContainer", _ENDED_BY_ITSELF)),
    fault(f"{_STOP}.after-removal", answer_error("StopContainer", when.removed, "INTERNAL")),
    # containerd before 2.0: commit a97b11898.
    fault(
        f"{_STOP}.after-removal-success",
        answer_error("StopContainer", when.removed, "NOT_FOUND"),
    ),
    fault(f"{_STOP}.unknown-id", answer_error("StopContainer", when.never_known, "NOT_FOUND")),
    fault(f"{_REMOVE}.idempotent", second_call_fails("RemoveContainer", "NOT_FOUND")),
    fault(
        f"{_REMOVE}.removed-with-sandbox",
        fails_after("RemoveContainer", "RemovePodSandbox", "NOT_FOUND"),
    ),
    fault(f"{_REMOVE}.unknown-id", answer_error("RemoveContainer", when.never_known, "NOT_FOUND")),
    # CRI-O: each stop of an exited container notes the time anew.
    fault(
        "ContainerStatus.finished_at.immutable",
        alter(
            "ContainerStatus",
            "status.finished_at",
            changes.plus(1_000_000),
            when=_repeated("StopContainer"),
        ),
    ),
    fault(
        "ContainerStatus.exit_code.immutable",
        set_value("ContainerStatus", "status.exit_code", 137, when=_repeated("StopContainer")),
    ),
    fault(
        "ContainerStatus.reason.immutable",
        set_value("ContainerStatus", "status.reason", "Killed", when=_repeated("StopContainer")),
    ),
    fault(
        "ContainerStatus.started_at.immutable",
        alter(
            "ContainerStatus",
            "status.started_at",
            changes.plus(1),
            when=_repeated("StopContainer"),
        ),
    ),
    fault(
        "ContainerStatus.created_at.immutable",
        alter(
            "ContainerStatus",
            "status.created_at",
            changes.plus(1),
            when=_repeated("StopContainer"),
        ),
    ),
]
