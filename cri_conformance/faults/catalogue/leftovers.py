# SPDX-License-Identifier: Apache-2.0
"""Faults of what stays on the node after an object: no clause speaks of it, campaigns find it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from cri_conformance.faults.fault import Call, Fault, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import operator

#: Ends with the runtime, whose end of the pipe is closed then.
_STAYS = [sys.executable, "-Sc", "import sys; sys.stdin.read()"]


def _outlives(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """A container that is removed while it runs leaves a process."""
    made = call.request.container_id
    runs = memory.times("StartContainer", made) and not memory.happened("StopContainer", made)
    answer = proceed(call.request)
    if runs:
        memory.keep(made, subprocess.Popen([*_STAYS, made], stdin=subprocess.PIPE))
    return answer


FAULTS: list[Fault] = [
    fault(
        (),
        operator(
            "process-outlives-RemoveContainer",
            "RemoveContainer",
            "leaves a process of a container that was removed while it ran",
            _outlives,
        ),
        misbehaves="leak",
    ),
]
