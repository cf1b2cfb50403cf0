# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for a container's mounts as listed."""

from __future__ import annotations

from pathlib import Path

from cri_conformance.faults import changes
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter,
    drop,
    duplicate_item,
    ignore_request,
    leave_out_one,
)

_CREATE, _STATUS = "CreateContainer", "ContainerStatus"
_READONLY = "status.mounts.readonly"


def _host_path_missing(call: Call, memory: Memory) -> bool:
    return any(not Path(mount.host_path).exists() for mount in call.request.config.mounts)


FAULTS: list[Fault] = [
    fault("ContainerStatus.mounts.requested-listed", duplicate_item(_STATUS, "status.mounts")),
    fault("ContainerStatus.mounts.requested-listed", leave_out_one(_STATUS, path="status.mounts")),
    fault(
        "ContainerStatus.mounts.termination-path",
        alter(_STATUS, "status.mounts.host_path", changes.suffixed("-copy")),
    ),
    fault("Mount.readonly.reported", drop(_STATUS, _READONLY)),
    fault("Mount.propagation.reported", drop(_STATUS, "status.mounts.propagation")),
    fault("Mount.recursive_read_only.reported", drop(_STATUS, "status.mounts.recursive_read_only")),
    fault(
        "Mount.host_path.missing-error",
        ignore_request(_CREATE, "config.mounts", when=When("no-host-path", _host_path_missing)),
    ),
    fault(
        ["Mount.recursive_read_only.needs-readonly", "Mount.recursive_read_only.needs-private"],
        ignore_request(_CREATE, "config.mounts.recursive_read_only"),
    ),
]
