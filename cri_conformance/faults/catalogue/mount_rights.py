# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for ids, options and labels of mounts, where containers have their own."""

from __future__ import annotations

from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import ignore_request, set_request, together

_CREATE = "CreateContainer"
_MOUNTS = "config.mounts"

FAULTS: list[Fault] = [
    fault(
        # One of the two alone is refused, as the kernel maps both or none.
        ["Mount.uidMappings.ids-mapped", "Mount.gidMappings.ids-mapped"],
        together(
            ignore_request(_CREATE, f"{_MOUNTS}.uidMappings"),
            ignore_request(_CREATE, f"{_MOUNTS}.gidMappings"),
        ),
        name="mounts-without-mappings",
        isolated=True,
    ),
    fault(
        [f"Mount.mount_options.{option}" for option in ("noexec", "nosuid", "nodev")],
        ignore_request(_CREATE, f"{_MOUNTS}.mount_options"),
        name="mounts-without-options",
        isolated=True,
    ),
    fault(
        "Mount.selinux_relabel.relabelled",
        ignore_request(_CREATE, f"{_MOUNTS}.selinux_relabel"),
        isolated=True,
    ),
    fault(
        "Mount.selinux_relabel.unset-keeps-label",
        set_request(_CREATE, f"{_MOUNTS}.selinux_relabel", True),
        isolated=True,
    ),
]
