# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what a sandbox or container leaves on the host when it ends."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import Any

from cri_conformance.faults.fault import Call, Fault, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators import operator

#: Seconds after which what was left ends by itself.
_LEFT_FOR = 4


def _leaves_a_process(rpc: str) -> Operator:
    """Breaks "no process is left": one with the environment of a container goes on running."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == "CreateContainer":
            response = proceed(call.request)
            envs = {variable.key: variable.value for variable in call.request.config.envs}
            for owner in (response.container_id, call.request.pod_sandbox_id):
                memory.keep(("envs", owner), envs)
            return response
        response = proceed(call.request)
        _leave(memory.kept(("envs", subject(rpc, call.request)), dict))
        return response

    return operator(
        f"leaves-a-process-{rpc}", ["CreateContainer", rpc], f"{rpc} leaves a process", step
    )


def _leave(environment: dict[str, bytes]) -> None:
    if not environment:
        return
    encoded = {key.encode(): value for key, value in environment.items()}
    left = subprocess.Popen(
        ["sleep", str(_LEFT_FOR)],
        env={b"PATH": os.fsencode(os.environ.get("PATH", os.defpath)), **encoded},
        start_new_session=True,
    )
    threading.Thread(target=left.wait, daemon=True).start()


FAULTS: list[Fault] = [
    fault(clause, _leaves_a_process(clause.split(".")[1]))
    for clause in (
        "RuntimeService.StopContainer.whole-container",
        "RuntimeService.RemoveContainer.processes-gone",
        "RuntimeService.StopPodSandbox.processes-gone",
        "RuntimeService.RemovePodSandbox.processes-gone",
    )
]
