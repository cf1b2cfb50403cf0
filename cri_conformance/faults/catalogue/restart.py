# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for restarts of the runtime.

A restarted runtime is seen by its answer to Version, for which the client waits; so that is from
when on they strike, whether anything was restarted or not.
"""

from __future__ import annotations

from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import drop

_restarted = When("restarted", lambda call, memory: memory.times("Version") > 0)

FAULTS: list[Fault] = [
    fault(
        "ContainerStatus.labels.survive-restart",
        drop("ContainerStatus", "status.labels", when=_restarted),
    ),
    fault(
        "ContainerStatus.annotations.survive-restart",
        drop("ContainerStatus", "status.annotations", when=_restarted),
    ),
]
