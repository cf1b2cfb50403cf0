# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what a setting must not bring into a container that is isolated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import edit_request

_CREATE = "CreateContainer"
_two_lines = When(
    "home-of-two-lines",
    lambda call, memory: any(
        one.key == "HOME" and b"\n" in one.value for one in call.request.config.envs
    ),
)
_volume = When("volume-image", lambda call, memory: "/volume:" in call.request.config.image.image)


def _write_passwd(request: Any, call: Call, memory: Memory) -> None:
    """The home folder goes into a line of /etc/passwd as it is."""
    request.config.linux.security_context.ClearField("run_as_user")
    script = request.config.command[-1]
    line = 'printf "user:x:12345:0::%s:/bin/sh\\n" "$HOME" >> /etc/passwd'
    request.config.command[-1] = f"{line}; {script}"


def _mount_host(request: Any, call: Call, memory: Memory) -> None:
    for folder in map(str, Path(request.sandbox_config.log_directory).glob("mounts-*")):
        request.config.mounts.add(host_path=folder, container_path=folder)


FAULTS: list[Fault] = [
    # CRI-O did so once (CVE-2022-4318).
    fault(
        "ContainerConfig.envs.nothing-else",
        edit_request(
            "home-in-passwd", _CREATE, "HOME is written to passwd", _write_passwd, when=_two_lines
        ),
        isolated=True,
    ),
    # containerd did so once (CVE-2022-23648).
    fault(
        "ContainerConfig.image.no-host-files",
        edit_request(
            "volumes-lead-out", _CREATE, "a volume has the host's files", _mount_host, when=_volume
        ),
        isolated=True,
    ),
]
