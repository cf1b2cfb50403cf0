# SPDX-License-Identifier: Apache-2.0
"""Objects that are not there: an id never given out, one removed, one gone with its sandbox.

A kubelet lists first and asks for each status then; in between anything may have gone.
It goes on only when the answer is NOT_FOUND, and takes every other error for the failure
of the runtime. So absence has to be told, and told by that code.
"""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.wire.outcome import Refused
from cri_conformance.wire.runtime import Runtime

#: The two ways for an object to be gone, and to never have been.
REMOVED, NEVER = ("removed", "removed-with-its-sandbox"), ("never-known",)
_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "PodSandboxStatus": ("pod_sandbox_id", {}),
    "ContainerStatus": ("container_id", {}),
    "StartContainer": ("container_id", {}),
    "ReopenContainerLog": ("container_id", {}),
    "ExecSync": ("container_id", {"cmd": ["true"], "timeout": 5}),
    "UpdateContainerResources": ("container_id", {}),
    "UpdatePodSandboxResources": ("pod_sandbox_id", {}),
}
#: Calls that older runtimes don't have; the others are as old as the contract.
_YOUNG = {"UpdatePodSandboxResources"}

#: Clause → which absent ids it speaks of, and the code that it wants ("" for any).
_CLAUSES: dict[str, tuple[tuple[str, ...], str]] = {
    "PodSandboxStatus.removed-error": (REMOVED, ""),
    "PodSandboxStatus.unknown-error": (NEVER, ""),
    "PodSandboxStatus.not-found-code": (REMOVED + NEVER, "NOT_FOUND"),
    "ContainerStatus.removed-error": (REMOVED, ""),
    "ContainerStatus.unknown-error": (NEVER, ""),
    "ContainerStatus.not-found-code": (REMOVED + NEVER, "NOT_FOUND"),
    "StartContainer.absent-error": (REMOVED + NEVER, ""),
    "StartContainer.absent-code": (REMOVED + NEVER, "NOT_FOUND"),
    "ReopenContainerLog.absent-error": (REMOVED + NEVER, ""),
    "ReopenContainerLog.absent-code": (REMOVED + NEVER, "NOT_FOUND"),
    "ExecSync.absent-error": (REMOVED + NEVER, ""),
    "ExecSync.absent-code": (REMOVED + NEVER, "NOT_FOUND"),
    "UpdateContainerResources.absent-error": (REMOVED + NEVER, ""),
    "UpdateContainerResources.absent-code": (REMOVED + NEVER, "NOT_FOUND"),
    "UpdatePodSandboxResources.absent-error": (REMOVED + NEVER, ""),
    "UpdatePodSandboxResources.absent-code": (REMOVED + NEVER, "NOT_FOUND"),
}


@pytest.fixture(scope="module")
def absent_ids(module_runtime: Runtime) -> dict[str, dict[str, str]]:
    """Field that names an object → how it came to be absent → its id."""
    sandbox, other = module_runtime.sandbox(), module_runtime.sandbox()
    removed = module_runtime.exited(sandbox)
    swept = module_runtime.container(sandbox)
    module_runtime.get("RemoveContainer", container_id=removed.id)
    module_runtime.get("StopPodSandbox", pod_sandbox_id=other.id)
    for made in (sandbox, other):
        module_runtime.get("RemovePodSandbox", pod_sandbox_id=made.id)
    removed_word, swept_word = REMOVED
    return {
        "pod_sandbox_id": {
            removed_word: sandbox.id,
            # A sandbox has nothing to go with: this one was stopped before.
            swept_word: other.id,
            NEVER[0]: secrets.token_hex(32),
        },
        "container_id": {
            removed_word: removed.id,
            swept_word: swept.id,
            NEVER[0]: secrets.token_hex(32),
        },
    }


@pytest.mark.xdist_group("absent")
@pytest.mark.parametrize(
    ("name", "absences", "code"),
    [
        pytest.param(name, *wanted, marks=clause(f"RuntimeService.{name}"), id=name)
        for name, wanted in _CLAUSES.items()
    ],
)
def test_what_is_not_there_is_refused(
    runtime: Runtime,
    judge: Judge,
    absent_ids: dict[str, dict[str, str]],
    name: str,
    absences: tuple[str, ...],
    code: str,
) -> None:
    rpc = name.split(".")[0]
    field, others = _FIELDS[rpc]
    for absence in absences:
        object_id = absent_ids[field][absence]
        outcome = runtime.call(rpc, **{field: object_id, **others})
        if rpc in _YOUNG and isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
            judge.skip(Reason.YOUNGER, f"no {rpc}")
        judge.refused(f"RuntimeService.{name}", outcome, [code] if code else (), about=[object_id])
