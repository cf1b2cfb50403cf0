# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for repetitions: a call that its client gave up is stuck for ever."""

from __future__ import annotations

from typing import Any

from cri_conformance.api.status import StatusError
from cri_conformance.faults.fault import Call, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import operator
from cri_conformance.faults.operators.core import copy_of

#: Seconds that a call is held, so that its client may give it up (the tests do within 0.05).
_HELD = 0.25


def stuck_when_abandoned(rpc: str) -> Operator:
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


def _start_leaves_a_corpse() -> Operator:
    """containerd#9314: a start that came to nothing leaves what can't be removed."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        key = "half started", call.request.container_id
        if call.rpc == "RemoveContainer" and memory.kept(key, lambda: False):
            raise StatusError("UNKNOWN", "task must be stopped before deletion")
        if call.rpc == "StartContainer" and call.ended.wait(_HELD):
            memory.keep(key, True)
            raise StatusError("CANCELLED", "the client went away")
        return proceed(call.request)

    return operator(
        "start-leaves-a-corpse",
        ("StartContainer", "RemoveContainer"),
        "what was started for a client that went away can't be removed",
        step,
    )


def _signal_is_lost() -> Operator:
    """containerd takes the signal for sent when the stop was given up before it was."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        key = "signalled", call.request.container_id
        if memory.kept(key, lambda: False):
            silent = copy_of(call.request)
            silent.timeout = 0
            return proceed(silent)
        if call.ended.wait(_HELD):
            memory.keep(key, True)
            raise StatusError("CANCELLED", "the client went away")
        return proceed(call.request)

    return operator(
        "signal-lost-when-abandoned",
        "StopContainer",
        "after a stop that was given up no signal is sent any more",
        step,
    )


def _after(rpc: str) -> list[str]:
    return [f"RuntimeService.{rpc}.retry-after-{way}" for way in ("deadline", "cancel")]


FAULTS = [
    *(
        fault(_after(rpc), stuck_when_abandoned(rpc))
        for rpc in (
            "RunPodSandbox",
            "StopPodSandbox",
            "RemovePodSandbox",
            "CreateContainer",
            "StopContainer",
            "RemoveContainer",
        )
    ),
    fault("RuntimeService.StopContainer.retry-signalled", _signal_is_lost()),
    fault(_after("StartContainer"), _start_leaves_a_corpse()),
]
