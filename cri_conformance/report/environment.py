# SPDX-License-Identifier: Apache-2.0
"""The machine that the suite runs on, as far as files tell. Nothing is executed."""

from __future__ import annotations

import os
import platform
import shlex
from importlib import metadata
from pathlib import Path

from cri_conformance.report.schema import Environment

#: Packages that have a part in a verdict.
PACKAGES = ("grpcio", "protobuf", "hypothesis", "pytest", "pytest-timeout", "pytest-xdist")


def environment(root: Path = Path("/")) -> Environment:
    """Never fails: what is not there is left empty. ``root`` is where /etc, /proc and /sys are."""
    uname = os.uname()
    return Environment(
        hostname=uname.nodename,
        kernel=uname.release,
        machine=uname.machine,
        os=_os_name(root),
        cgroup=_cgroup(root),
        security_modules=_security_modules(root),
        python=platform.python_version(),
        packages=_packages(),
        root=os.geteuid() == 0,
        cpus=os.cpu_count() or 0,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _os_name(root: Path) -> str:
    for place in ("etc/os-release", "usr/lib/os-release"):
        for line in _read(root / place).splitlines():
            key, _, value = line.partition("=")
            if key == "PRETTY_NAME":
                try:
                    return " ".join(shlex.split(value))
                except ValueError:
                    return value
    return ""


def _cgroup(root: Path) -> str:
    """By what is mounted: version 2 has its controllers file at the top of a hierarchy."""
    top = root / "sys/fs/cgroup"
    if _exists(top / "cgroup.controllers"):
        return "v2"
    if _exists(top / "unified/cgroup.controllers"):
        return "hybrid"
    # An empty folder is there wherever sysfs is, mounted or not.
    return "v1" if any(_exists(top / name) for name in ("memory", "cpu", "systemd", "pids")) else ""


def _security_modules(root: Path) -> list[str]:
    """The kernel's list; where securityfs is not mounted, the traces of the two large ones."""
    if listed := _read(root / "sys/kernel/security/lsm"):
        return [name for name in listed.split(",") if name]
    found = []
    if _read(root / "sys/module/apparmor/parameters/enabled") == "Y":
        found.append("apparmor")
    if _exists(root / "sys/fs/selinux/enforce"):
        found.append("selinux")
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
