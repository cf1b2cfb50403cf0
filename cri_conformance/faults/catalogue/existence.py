# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for absence: what is not there is answered for, or its error has another code."""

from __future__ import annotations

from cri_conformance.faults import conditions as when
from cri_conformance.faults.fault import fault
from cri_conformance.faults.operators import change_code, swallow

_ABSENT = "NOT_FOUND"

FAULTS = [
    *(
        one
        for status in ("PodSandboxStatus", "ContainerStatus")
        for one in (
            fault(
                f"RuntimeService.{status}.removed-error",
                swallow(status, [_ABSENT], when=when.removed),
            ),
            fault(
                f"RuntimeService.{status}.unknown-error",
                swallow(status, [_ABSENT], when=when.never_known),
            ),
            fault(
                f"RuntimeService.{status}.not-found-code",
                change_code(status, "UNKNOWN", _ABSENT),
            ),
        )
    ),
    *(
        one
        for call in (
            "StartContainer",
            "ReopenContainerLog",
            "ExecSync",
            "UpdateContainerResources",
            "UpdatePodSandboxResources",
        )
        for one in (
            fault(f"RuntimeService.{call}.absent-error", swallow(call, [_ABSENT])),
            fault(f"RuntimeService.{call}.absent-code", change_code(call, "INTERNAL", _ABSENT)),
        )
    ),
]
