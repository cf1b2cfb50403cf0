# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for restarts of the runtime.

A restarted runtime is seen by its answer to Version, for which the client waits; so that is from
when on they strike, whether anything was restarted or not.
"""

from __future__ import annotations

from typing import Any

from cri_conformance.api import types
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import answer_error, drop, edit

_restarted = When("restarted", lambda call, memory: memory.times("Version") > 0)
#: The exit code of containers that end in the tests of restarts.
_CODE = 5


def _end_unseen(response: Any, call: Call, memory: Memory) -> None:
    status = response.status
    if status.exit_code == _CODE:
        status.state = types.CONTAINER_RUNNING
        status.exit_code = status.finished_at = 0


def _end_unknown(response: Any, call: Call, memory: Memory) -> None:
    if response.status.exit_code == _CODE:
        response.status.exit_code = 255
        response.status.finished_at += 1_000_000_000


FAULTS: list[Fault] = [
    fault(
        "ContainerStatus.labels.survive-restart",
        drop("ContainerStatus", "status.labels", when=_restarted),
    ),
    fault(
        "ContainerStatus.annotations.survive-restart",
        drop("ContainerStatus", "status.annotations", when=_restarted),
    ),
    # containerd commit ead5c1ee6: an end that comes too early after the start is not noticed.
    fault(
        "ContainerStatus.state.survives-restart",
        edit(
            "end-unseen-at-the-start",
            "ContainerStatus",
            "what ended runs after a restart",
            _end_unseen,
            when=_restarted,
        ),
    ),
    # CRI-O: with the file of a process's exit code the code itself is gone.
    fault(
        "ContainerStatus.exit_code.survives-restart",
        edit(
            "end-unknown-after-the-start",
            "ContainerStatus",
            "exit codes are lost by a restart",
            _end_unknown,
            when=_restarted,
        ),
    ),
    # containerd commit c19193574.
    fault(
        "RuntimeService.Status.starting-code",
        answer_error("Status", ~_restarted, message="server is not initialized yet"),
        ordinary=False,
    ),
]
