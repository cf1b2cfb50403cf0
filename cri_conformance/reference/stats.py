# SPDX-License-Identifier: Apache-2.0
"""Figures of containers and sandboxes, measured when they are asked for.

They come from /proc and from the containers' own directories. What can't be measured
without cgroups and network namespaces (limits, traffic, waiting times) is not reported.
Work of a process whose end nobody in the container has seen is lost to the kernel's
books; a sum that was once reported is never reported smaller.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import filters, usage, validate
from cri_conformance.reference.processes import Processes
from cri_conformance.reference.state import Container, Sandbox, Store
from cri_conformance.reference.sweep import StateDirectory


@dataclass(frozen=True, slots=True)
class Measured:
    """One running container at one moment."""

    container: Container
    usage: usage.Usage
    timestamp: int
    stats: types.ContainerStats


class Stats:
    """The calls about figures. They raise StatusError where they refuse."""

    def __init__(self, store: Store, processes: Processes, directory: StateDirectory) -> None:
        self._store = store
        self._processes = processes
        self._directory = directory
        self._lock = threading.Lock()
        #: What was reported of each object.
        self._work: dict[str, usage.Work] = {}

    def ContainerStats(self, request: types.ContainerStatsRequest) -> types.ContainerStatsResponse:
        """NOT_FOUND if it is not there, FAILED_PRECONDITION if it does not run."""
        container_id = validate.object_id("container_id", request.container_id)
        container = self._store.container(container_id)
        for measured in self.measure([container]):
            return types.ContainerStatsResponse(stats=measured.stats)
        raise StatusError("FAILED_PRECONDITION", f"container {container_id} does not run")

    def ListContainerStats(
        self, request: types.ListContainerStatsRequest
    ) -> types.ListContainerStatsResponse:
        """Running containers that match the filter, oldest first."""
        chosen = [
            container
            for container in list(self._store.containers.values())
            if filters.container_figures(container.item, request.filter)
        ]
        return types.ListContainerStatsResponse(stats=[one.stats for one in self.measure(chosen)])

    def PodSandboxStats(
        self, request: types.PodSandboxStatsRequest
    ) -> types.PodSandboxStatsResponse:
        """NOT_FOUND if it is not there. What a stopped one had used stays known."""
        sandbox_id = validate.object_id("pod_sandbox_id", request.pod_sandbox_id)
        sandbox = self._store.sandbox(sandbox_id)
        running = self.measure(list(sandbox.containers.values()))
        return types.PodSandboxStatsResponse(stats=self._sandbox(sandbox, running))

    def ListPodSandboxStats(
        self, request: types.ListPodSandboxStatsRequest
    ) -> types.ListPodSandboxStatsResponse:
        """Sandboxes that match the filter, oldest first."""
        chosen = [
            sandbox
            for sandbox in list(self._store.sandboxes.values())
            if filters.sandbox_figures(sandbox.item, request.filter)
        ]
        stats = [self._sandbox(sandbox, running) for sandbox, running in self._of(chosen)]
        return types.ListPodSandboxStatsResponse(stats=stats)

    def sandboxes(self) -> list[tuple[Sandbox, list[Measured]]]:
        """All sandboxes with what was measured of their running containers."""
        return self._of(list(self._store.sandboxes.values()))

    def _of(self, sandboxes: list[Sandbox]) -> list[tuple[Sandbox, list[Measured]]]:
        """The same of some: all in one look at the processes of the host, which costs most."""
        containers = [list(sandbox.containers.values()) for sandbox in sandboxes]
        measured = {one.container.id: one for one in self.measure(chain(*containers))}
        return [
            (sandbox, [measured[one.id] for one in own if one.id in measured])
            for sandbox, own in zip(sandboxes, containers, strict=True)
        ]

    def measure(self, containers: Iterable[Container]) -> list[Measured]:
        """Those of the containers that run."""
        leaders = {
            container.id: (container, process.pid)
            for container in containers
            if (process := container.process) and container.running
        }
        if not leaders:
            return []
        members = self._processes.members({name: pid for name, (_, pid) in leaders.items()})
        return [
            self._measured(container, usage.of(members[name]))
            for name, (container, _) in leaders.items()
            # One that has ended meanwhile is none of those that run.
            if container.running
        ]

    def _measured(self, container: Container, used: usage.Usage) -> Measured:
        layer, inodes = usage.of_folder(self._directory.work(container.id))
        work, now = self._account(container.id, used.work)
        stats = types.ContainerStats(
            attributes=types.ContainerAttributes(
                id=container.id,
                metadata=container.item.metadata,
                labels=container.item.labels,
                annotations=container.item.annotations,
            ),
            cpu=_cpu(work, now),
            writable_layer=types.FilesystemUsage(
                timestamp=now,
                fs_id=types.FilesystemIdentifier(
                    mountpoint=usage.mountpoint(self._directory.work(container.id))
                ),
                used_bytes=_number(layer),
                inodes_used=_number(inodes),
            ),
        )
        if used.memory is not None:
            stats.memory.CopyFrom(_memory(used.memory, work, now))
            stats.swap.CopyFrom(
                types.SwapUsage(timestamp=now, swap_usage_bytes=_number(used.memory.swapped))
            )
        return Measured(container, usage.Usage(used.processes, work, used.memory), now, stats)

    def _sandbox(self, sandbox: Sandbox, running: list[Measured]) -> types.PodSandboxStats:
        sums = sum_of(running)
        work, now = self._account(sandbox.id, sums.work)
        linux = types.LinuxPodSandboxStats(
            cpu=_cpu(work, now),
            process=types.ProcessUsage(timestamp=now, process_count=_number(sums.processes)),
            containers=[one.stats for one in running],
        )
        if sums.memory is not None:
            linux.memory.CopyFrom(_memory(sums.memory, work, now))
        return types.PodSandboxStats(
            attributes=types.PodSandboxAttributes(
                id=sandbox.id,
                metadata=sandbox.item.metadata,
                labels=sandbox.item.labels,
                annotations=sandbox.item.annotations,
            ),
            linux=linux,
        )

    def _account(self, object_id: str, work: usage.Work) -> tuple[usage.Work, int]:
        """Enter a sum into the books: what to report, and the time of it."""
        with self._lock:
            if object_id not in self._work:
                known = self._store.sandboxes.keys() | self._store.containers.keys()
                for gone in self._work.keys() - known:
                    del self._work[gone]
            reported = work.at_least(self._work.get(object_id, usage.Work()))
            self._work[object_id] = reported
            return reported, self._store.clock.now()


def sum_of(running: Iterable[Measured]) -> usage.Usage:
    """All containers of a sandbox together."""
    processes, work = 0, usage.Work()
    memory: usage.Memory | None = usage.Memory()
    for one in running:
        processes += one.usage.processes
        work += one.usage.work
        held = one.usage.memory
        memory = memory + held if memory is not None and held is not None else None
    return usage.Usage(processes, work, memory)


def _number(value: int) -> types.UInt64Value:
    return types.UInt64Value(value=value)


def _cpu(work: usage.Work, timestamp: int) -> types.CpuUsage:
    return types.CpuUsage(timestamp=timestamp, usage_core_nano_seconds=_number(work.cpu))


def _memory(memory: usage.Memory, work: usage.Work, timestamp: int) -> types.MemoryUsage:
    return types.MemoryUsage(
        timestamp=timestamp,
        working_set_bytes=_number(memory.working),
        usage_bytes=_number(memory.resident),
        rss_bytes=_number(memory.anonymous),
        page_faults=_number(work.minor_faults),
        major_page_faults=_number(work.major_faults),
    )
