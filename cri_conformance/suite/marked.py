# SPDX-License-Identifier: Apache-2.0
"""Containers that can be told on the runtime's host, and their cgroups."""

from __future__ import annotations

from typing import Any

from cri_conformance.api import types
from cri_conformance.build.messages import IDLE
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

_NAME = "CRI_CONFORMANCE_MARK"
_SEEN_WITHIN = 5.0


def marked(
    runtime: Runtime, sandbox: Sandbox, script: str = IDLE, **options: Any
) -> tuple[Container, str]:
    """A running container, and the entry of its environment by which the host shows it."""
    container, mark = marked_created(runtime, sandbox, script, **options)
    runtime.get("StartContainer", container_id=container.id)
    return container, mark


def marked_created(
    runtime: Runtime,
    sandbox: Sandbox,
    script: str = IDLE,
    *,
    resources: types.LinuxContainerResources | None = None,
) -> tuple[Container, str]:
    """A created container, to be started by the caller, and its mark."""
    value = runtime.name("mark")
    config = runtime.container_config(
        sandbox, command=["/bin/sh", "-c", script], envs={_NAME: value}
    )
    if resources is not None:
        config.linux.resources.CopyFrom(resources)
    return runtime.container(sandbox, config), f"{_NAME}={value}"


def process_of(host: Host, mark: str) -> int:
    """A process of a marked container. Raises SetupFailed if the host shows none."""
    found = poll(
        lambda: host.processes(mark), bool, _SEEN_WITHIN, f"a process with {mark} on the host"
    )
    return found[0]


def cgroup_paths(host: Host, container: Container, mark: str) -> set[str]:
    """The cgroups of a marked container's process, as /proc/PID/cgroup has their paths.

    In version 1 those that limit CPU time and memory; of others a runtime may make no use.
    """
    paths: set[str] = set()
    for line in host.read(process_of(host, mark), "cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        limiting = {"cpu", "memory"} & set(controllers.split(","))
        if limiting if host.cgroup_version == 1 else number == "0":
            # crun may put the processes one below the container's own.
            paths.add(path.removesuffix("/container"))
    # The root stands for a controller that the runtime doesn't use.
    paths -= {"/"}
    if not paths:
        raise SetupFailed(f"container {container.id[:12]} is in no cgroup of its own")
    return paths
