# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for repetitions: a call that its client gave up is stuck for ever."""

from __future__ import annotations

from typing import Any

from cri_conformance.api.status import StatusError
from cri_conformance.faults.fault import Call, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import operator

#: Seconds that a call is held, so that its client may give it up (the tests do within 0.05).
_HELD = 0.25


def _stuck_when_abandoned(rpc: str) -> Operator:
    """containerd/cri#371, containerd#4604: it leaves a mark that no later call gets past."""

    def subject_of(call: Call) -> tuple[str, str]:
        if rpc in ("RunPodSandbox", "CreateContainer"):
            return "stuck", call.request.config.metadata.name
        return "stuck", call.request.SerializeToString().hex()

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        key = subject_of(call)
        if memory.kept(key, lambda: False):
            raise StatusError("UNKNOWN", "another call for this is at work already")
        if call.ended.wait(_HELD):
            memory.keep(key, True)
            raise StatusError("CANCELLED", "the client went away")
        return proceed(call.request)

    return operator(f"stuck-when-abandoned-{rpc}", rpc, f"{rpc} given up is stuck for ever", step)


FAULTS = [
    fault(f"RuntimeService.{rpc}.retry-after-deadline", _stuck_when_abandoned(rpc))
    for rpc in (
        "RunPodSandbox",
        "StopPodSandbox",
        "RemovePodSandbox",
        "CreateContainer",
        "RemoveContainer",
    )
]
