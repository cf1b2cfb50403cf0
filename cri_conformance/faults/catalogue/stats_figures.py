# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for the figures of containers and sandboxes."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults.changes import Change
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    add_item,
    alter,
    drifts,
    drop,
    duplicate_item,
    edit,
    falls,
    leave_out_one,
    set_value,
    shift,
    swap,
    zero,
)

_ONE, _LIST, _POD, _PODS = (
    "ContainerStats",
    "ListContainerStats",
    "PodSandboxStats",
    "ListPodSandboxStats",
)


def _number(value: int) -> types.UInt64Value:
    return types.UInt64Value(value=value)


# -- figures of containers ---------------------------------------------------------------


def _stamped(kind: str, rpc: str, path: str, message: type[Message] | None = None) -> list[Fault]:
    """``message`` is the type of what the reference runtime can't report: it is put there."""
    if message:
        never, wrong = message(), message(timestamp=1)
        return [
            fault(f"{kind}.timestamp.positive", set_value(rpc, path, never), name=f"{kind}-never"),
            fault(
                f"{kind}.timestamp.collection-time",
                set_value(rpc, path, wrong),
                name=f"{kind}-in-1970",
            ),
        ]
    stamp = f"{path}.timestamp"
    return [
        fault(f"{kind}.timestamp.positive", zero(rpc, stamp)),
        fault(f"{kind}.timestamp.collection-time", alter(rpc, stamp, changes.seconds)),
    ]


def _pod_wide(response: Any, call: Call, memory: Memory) -> None:
    """cri-o/cri-o#3580: each container is given the figures of its sandbox."""
    chosen = types.ContainerFilter(id=call.request.container_id)
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=chosen))
    for item in listed.containers:
        asked = types.PodSandboxStatsRequest(pod_sandbox_id=item.pod_sandbox_id)
        response.stats.cpu.CopyFrom(call.upstream(_POD, asked).stats.linux.cpu)


def _psi(**data: types.PsiData) -> types.PsiStats:
    return types.PsiStats(**data)


_SUM, _MEMORY, _LAYER = (
    "stats.cpu.usage_core_nano_seconds.value",
    "stats.memory",
    "stats.writable_layer",
)
_KIBIBYTES = Change("in-KiB", lambda size: size // 1024)
_FIGURES = [
    *_stamped("CpuUsage", _ONE, "stats.cpu"),
    *_stamped("MemoryUsage", _ONE, "stats.memory"),
    *_stamped("SwapUsage", _ONE, "stats.swap"),
    *_stamped("FilesystemUsage", _LIST, "stats.writable_layer"),
    *_stamped("ProcessUsage", _POD, "stats.linux.process"),
    *_stamped("IoUsage", _ONE, "stats.io", types.IoUsage),
    *_stamped("NetworkUsage", _POD, "stats.linux.network", types.NetworkUsage),
    *(
        fault(
            f"{kind}.timestamp.not-falling",
            drifts(_ONE, f"stats.{field}.timestamp", changes.plus(-5 * 10**9)),
        )
        for kind, field in (("CpuUsage", "cpu"), ("MemoryUsage", "memory"))
    ),
    # -- processors
    fault("CpuUsage.usage_core_nano_seconds.not-falling", falls(_ONE, _SUM, 10**12)),
    fault("ContainerStats.cpu.set", drop(_ONE, "stats.cpu")),
    fault(
        "CpuUsage.usage_core_nano_seconds.nanoseconds",
        alter(_ONE, _SUM, Change("in-microseconds", lambda sum_: sum_ // 1000)),
    ),
    fault(
        "CpuUsage.usage_core_nano_seconds.nanoseconds",
        alter(_ONE, _SUM, Change("in-picoseconds", lambda sum_: sum_ * 1000)),
    ),
    fault(
        "CpuUsage.usage_core_nano_seconds.each-its-own",
        edit("pod-wide-cpu", _ONE, "gives each container the figures of its sandbox", _pod_wide),
    ),
    # containerd/containerd#9531: zero before there were two samples.
    fault(
        "CpuUsage.usage_nano_cores.busy-not-zero",
        set_value(_LIST, "stats.cpu.usage_nano_cores", _number(0)),
    ),
    fault(
        "CpuUsage.usage_nano_cores.within-cores",
        set_value(_LIST, "stats.cpu.usage_nano_cores", _number(10**15)),
        name="set-ListContainerStats.stats.cpu.usage_nano_cores-vast",
    ),
    # -- memory
    fault("ContainerStats.memory.set", drop(_ONE, "stats.memory")),
    fault(
        "MemoryUsage.working_set_bytes.holds",
        alter(_ONE, f"{_MEMORY}.working_set_bytes.value", _KIBIBYTES),
    ),
    fault(
        "MemoryUsage.working_set_bytes.within-usage",
        alter(_ONE, f"{_MEMORY}.working_set_bytes.value", changes.times(10)),
    ),
    fault("MemoryUsage.usage_bytes.holds", alter(_ONE, f"{_MEMORY}.usage_bytes.value", _KIBIBYTES)),
    fault("MemoryUsage.rss_bytes.holds", alter(_ONE, f"{_MEMORY}.rss_bytes.value", _KIBIBYTES)),
    fault(
        "MemoryUsage.rss_bytes.within-usage",
        alter(_ONE, f"{_MEMORY}.rss_bytes.value", changes.times(10)),
    ),
    fault(
        "MemoryUsage.page_faults.not-falling", falls(_ONE, f"{_MEMORY}.page_faults.value", 10**12)
    ),
    fault(
        "MemoryUsage.page_faults.counted",
        set_value(_ONE, f"{_MEMORY}.page_faults", _number(0)),
    ),
    fault(
        "MemoryUsage.major_page_faults.not-falling",
        falls(_ONE, f"{_MEMORY}.major_page_faults.value", 10**12),
    ),
    fault(
        "MemoryUsage.available_bytes.limit-minus-working-set",
        alter(_ONE, f"{_MEMORY}.available_bytes.value", changes.plus(2**20)),
        isolated=True,
    ),
    fault(
        "SwapUsage.swap_available_bytes.within-limit",
        set_value(
            _ONE,
            "stats.swap",
            types.SwapUsage(timestamp=1, swap_available_bytes=_number(2**40)),
        ),
    ),
    # Memory and swap together, as memory.memsw of the first cgroups has them.
    fault(
        "SwapUsage.swap_usage_bytes.on-swap",
        set_value(_ONE, "stats.swap.swap_usage_bytes", _number(2**50)),
    ),
    # -- waiting: the reference runtime reports none, so the fault does
    fault(
        "PsiStats.Full.within-some",
        set_value(
            _ONE,
            "stats.cpu.psi",
            _psi(Full=types.PsiData(Total=2), Some=types.PsiData(Total=1)),
        ),
    ),
    fault("PsiData.Total.not-falling", falls(_ONE, "stats.cpu.psi.Some.Total", 10**12)),
    *(
        fault(
            f"PsiData.{name}.percentage",
            set_value(_ONE, f"stats.memory.psi.Some.{name}", 100.5),
        )
        for name in ("Avg10", "Avg60", "Avg300")
    ),
    # -- the writable layer
    fault("ContainerStats.writable_layer.reported", drop(_ONE, _LAYER)),
    fault("FilesystemUsage.fs_id.names-one", drop(_ONE, f"{_LAYER}.fs_id")),
    fault(
        "FilesystemIdentifier.mountpoint.exists",
        alter(_ONE, f"{_LAYER}.fs_id.mountpoint", changes.suffixed("/nowhere")),
    ),
    fault(
        "FilesystemUsage.used_bytes.grows", alter(_ONE, f"{_LAYER}.used_bytes.value", _KIBIBYTES)
    ),
    fault(
        "FilesystemUsage.used_bytes.grows",
        shift(_ONE, f"{_LAYER}.used_bytes.value", changes.plus(10**7)),
    ),
    fault(
        "FilesystemUsage.inodes_used.grows", set_value(_ONE, f"{_LAYER}.inodes_used", _number(1))
    ),
]


# -- figures of sandboxes ----------------------------------------------------------------


def _foreign(items: list[Any], call: Call) -> Any:
    """The figures of a container of another sandbox."""
    own = {stats.attributes.id for stats in items}
    for stats in call.upstream(_LIST, types.ListContainerStatsRequest()).stats:
        if own and stats.attributes.id not in own:
            return stats
    return None


def _default_again(response: Any, call: Call, memory: Memory) -> None:
    network = response.stats.linux.network
    network.interfaces.append(network.default_interface)


_LINUX, _NETWORK = "stats.linux", "stats.linux.network"
_PODS_FIGURES = [
    fault("LinuxPodSandboxStats.cpu.set", drop(_POD, f"{_LINUX}.cpu")),
    # kata-containers#8035.
    fault(
        "LinuxPodSandboxStats.cpu.covers-containers",
        set_value(_POD, f"{_LINUX}.cpu.usage_core_nano_seconds", _number(0)),
    ),
    fault("LinuxPodSandboxStats.memory.set", drop(_POD, f"{_LINUX}.memory")),
    # That of the sandbox's own process alone.
    fault(
        "LinuxPodSandboxStats.memory.covers-containers",
        set_value(
            _POD,
            f"{_LINUX}.memory",
            types.MemoryUsage(
                timestamp=1, working_set_bytes=_number(400_000), usage_bytes=_number(500_000)
            ),
        ),
    ),
    fault(
        "ProcessUsage.process_count.counts-forks",
        set_value(_POD, f"{_LINUX}.process.process_count", _number(2)),
    ),
    fault(
        "LinuxPodSandboxStats.containers.all-running",
        leave_out_one(_PODS, path="stats.linux.containers"),
    ),
    fault(
        "LinuxPodSandboxStats.containers.own-only",
        add_item(_POD, _foreign, path="stats.linux.containers", name="foreign"),
    ),
    fault(
        "LinuxPodSandboxStats.containers.no-duplicates",
        duplicate_item(_PODS, "stats.linux.containers"),
    ),
    # -- network: only where there are network namespaces
    fault("LinuxPodSandboxStats.network.set", drop(_POD, _NETWORK), isolated=True),
    fault(
        "NetworkUsage.default_interface.default-route",
        set_value(_POD, f"{_NETWORK}.default_interface.name", "lo"),
        isolated=True,
    ),
    fault(
        "NetworkUsage.interfaces.without-default",
        edit("default-again", _POD, "lists the default interface once more", _default_again),
        isolated=True,
    ),
    fault(
        "NetworkInterfaceUsage.name.of-the-sandbox",
        add_item(
            _POD,
            types.NetworkInterfaceUsage(name="veth-of-host"),
            path=f"{_NETWORK}.interfaces",
            name="veth-of-host",
        ),
        isolated=True,
    ),
    *(
        fault(
            f"NetworkInterfaceUsage.{name}.as-counted",
            shift(_POD, f"{_NETWORK}.default_interface.{name}.value", changes.plus(10**6)),
            isolated=True,
        )
        for name in ("rx_bytes", "rx_errors", "tx_bytes", "tx_errors")
    ),
    # As they are counted at the other end.
    fault(
        "NetworkInterfaceUsage.rx_bytes.as-counted",
        swap(
            _POD,
            f"{_NETWORK}.default_interface.rx_bytes",
            f"{_NETWORK}.default_interface.tx_bytes",
        ),
        also=["NetworkInterfaceUsage.tx_bytes.as-counted"],
        isolated=True,
    ),
]

FAULTS: list[Fault] = [*_FIGURES, *_PODS_FIGURES]
