# SPDX-License-Identifier: Apache-2.0
"""The limits of a container: as a request has them, and as its cgroup does.

Names are those of LinuxContainerResources; what a cgroup shows is text, as the kernel
writes it. The values that tests ask for are the same in both: whole pages, and quotas
that systemd doesn't round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import Outcome
from cri_conformance.wire.runtime import Container, Runtime

MIB = 1024 * 1024
#: None of them is a default, nor too little for a shell. As long as nothing else is said.
CREATED: Mapping[str, int] = {
    "cpu_period": 50_000,
    "cpu_quota": 45_000,
    "cpu_shares": 512,
    "memory_limit_in_bytes": 96 * MIB,
}
#: Others, each of which differs from that of the creation.
UPDATED: Mapping[str, int] = {
    "cpu_period": 100_000,
    "cpu_quota": 80_000,
    "cpu_shares": 256,
    "memory_limit_in_bytes": 128 * MIB,
}
#: CPUs and memory nodes that no host has.
NO_CPUS, NO_NODES = "8190", "1022"

#: Field → (controller, file) in cgroup v1.
_V1 = {
    "cpu_period": ("cpu", "cpu.cfs_period_us"),
    "cpu_quota": ("cpu", "cpu.cfs_quota_us"),
    "cpu_shares": ("cpu", "cpu.shares"),
    "memory_limit_in_bytes": ("memory", "memory.limit_in_bytes"),
    "memory_swap_limit_in_bytes": ("memory", "memory.memsw.limit_in_bytes"),
    "cpuset_cpus": ("cpuset", "cpuset.cpus"),
    "cpuset_mems": ("cpuset", "cpuset.mems"),
}
#: Field → (file, which of its words) in cgroup v2.
_V2 = {
    "cpu_period": ("cpu.max", 1),
    "cpu_quota": ("cpu.max", 0),
    "cpu_shares": ("cpu.weight", 0),
    "memory_limit_in_bytes": ("memory.max", 0),
    "memory_swap_limit_in_bytes": ("memory.swap.max", 0),
    "cpuset_cpus": ("cpuset.cpus", 0),
    "cpuset_mems": ("cpuset.mems", 0),
}


def resources(values: Mapping[str, Any]) -> types.LinuxContainerResources:
    """The message with these fields."""
    return types.LinuxContainerResources(**values)


def update(runtime: Runtime, container: Container, **values: Any) -> Outcome:
    """UpdateContainerResources with just these fields."""
    return runtime.call(
        "UpdateContainerResources", container_id=container.id, linux=resources(values)
    )


def reported(runtime: Runtime, container: Container) -> dict[str, Any] | None:
    """What ContainerStatus reports of the fields above; None where it reports no resources."""
    status = runtime.container_status(container.id)
    if not status.resources.HasField("linux"):
        return None
    return {field: getattr(status.resources.linux, field) for field in CREATED}


# -- on the host ---------------------------------------------------------------------------


def cgroup_file(host: Host, pid: int, controller: str, name: str) -> str | None:
    """A file of a process's cgroup; None where there is no such file, or no such cgroup."""
    folder = host.cgroup(pid, controller)
    if folder is None:
        return None
    if host.cgroup_version == 2 and folder.name == "container":
        folder = folder.parent  # crun may put the processes one below the container's own
    try:
        return (folder / name).read_text().strip()
    except OSError:
        return None


def in_force(host: Host, pid: int) -> dict[str, str]:
    """What a process's cgroup shows, by field; what it doesn't show is left out."""
    shown: dict[str, str] = {}
    for field, (controller, file) in _V1.items():
        if host.cgroup_version == 1:
            text = cgroup_file(host, pid, controller, file)
        else:
            name, word = _V2[field]
            words = (cgroup_file(host, pid, controller, name) or "").split()
            text = words[word] if word < len(words) else None
        if text is not None:
            shown[field] = text
    return shown


def forms(host: Host, wanted: Mapping[str, int], field: str) -> set[str]:
    """How a cgroup may show a field of a request."""
    value = wanted[field]
    if host.cgroup_version == 1:
        return {str(value)}
    if field == "cpu_shares":
        return _weights(value)
    if field == "memory_swap_limit_in_bytes":
        return {str(value - wanted["memory_limit_in_bytes"])}
    return {"max"} if value < 0 else {str(value)}


def _weights(shares: int) -> set[str]:
    """Two ways of turning shares into the weight of v2 are in use: a linear one and a newer."""
    linear = 1 + (shares - 2) * 9999 // 262142
    level = math.log2(shares)
    curved = math.ceil(10 ** ((level * level + 125 * level) / 612 - 7 / 34))
    return {str(linear), str(curved)}


def unlimited(text: str) -> bool:
    """Whether a limit of a cgroup is none: no quota, or more memory than any host has."""
    return text in ("max", "-1") or (text.isdecimal() and int(text) > 2**60)


def remove_empty(host: Host, below: str) -> None:
    """Remove a folder of ours from all cgroup hierarchies, which must be empty by now."""
    base = host.path("/sys/fs/cgroup")
    roots = [base] if host.cgroup_version == 2 else [p for p in base.iterdir() if p.is_dir()]
    for root in {path.resolve() for path in roots}:
        top = root / below.strip("/")
        for folder in [*sorted(top.rglob("*"), reverse=True), top]:
            if folder.is_dir():
                _remove(folder)


def _remove(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # in use again, or gone meanwhile
        return
