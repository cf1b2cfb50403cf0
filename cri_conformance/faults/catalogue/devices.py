# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for devices in a container, where containers are isolated."""

from __future__ import annotations

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import alter_request, ignore_request, set_request

_CREATE = "CreateContainer"
_PERMISSIONS = "config.devices.permissions"
_CAPABILITIES = "config.linux.security_context.capabilities"

FAULTS: list[Fault] = [
    fault(
        "Device.container_path.node",
        set_request(_CREATE, "config.devices.host_path", "/dev/null"),
        isolated=True,
    ),
    fault(
        "Device.permissions.read",
        alter_request(_CREATE, _PERMISSIONS, changes.replaced("w", "rw")),
        isolated=True,
    ),
    fault(
        "Device.permissions.read",
        alter_request(_CREATE, _PERMISSIONS, changes.replaced("r", "m")),
        isolated=True,
    ),
    fault(
        "Device.permissions.write",
        alter_request(_CREATE, _PERMISSIONS, changes.replaced("r", "rw")),
        isolated=True,
    ),
    fault(
        "Device.permissions.write",
        alter_request(_CREATE, _PERMISSIONS, changes.replaced("w", "m")),
        isolated=True,
    ),
    fault(
        "Device.permissions.mknod",
        set_request(_CREATE, _CAPABILITIES, types.Capability(drop_capabilities=["MKNOD"])),
        isolated=True,
        name="no-device-can-be-made",
    ),
    fault("CDIDevice.name.injected", ignore_request(_CREATE, "config.CDI_devices"), isolated=True),
]
