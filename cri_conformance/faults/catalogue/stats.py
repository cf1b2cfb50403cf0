# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for the figures of containers and sandboxes, and for the calls that give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, Operator, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    add_entry,
    add_item,
    alter,
    answer_error,
    change_code,
    delay,
    drifts,
    drop,
    duplicate_item,
    edit,
    edit_request,
    falls,
    filter_by,
    ignore_filter,
    leave_out,
    leave_out_one,
    or_filters,
    or_labels,
    remembers_request,
    set_value,
    shift,
    swallow,
    swap,
    together,
    waits_for,
    zero,
)

_ONE, _LIST, _POD, _PODS = (
    "ContainerStats",
    "ListContainerStats",
    "PodSandboxStats",
    "ListPodSandboxStats",
)
_LABELLED = when.given("filter.label_selector")
_RUNNING, _READY = when.in_state("CONTAINER_RUNNING"), when.in_state("SANDBOX_READY")


def _number(value: int) -> types.UInt64Value:
    return types.UInt64Value(value=value)


# -- the calls ---------------------------------------------------------------------------


def _of_another_container(request: Any, call: Call, memory: Memory) -> None:
    running = types.ContainerFilter(state=types.ContainerStateValue(state=types.CONTAINER_RUNNING))
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=running))
    request.container_id = listed.containers[0].id


def _of_another_sandbox(request: Any, call: Call, memory: Memory) -> None:
    ready = types.PodSandboxFilter(state=types.PodSandboxStateValue(state=types.SANDBOX_READY))
    listed = call.upstream("ListPodSandbox", types.ListPodSandboxRequest(filter=ready))
    request.pod_sandbox_id = listed.items[0].id


def _exited_ones(items: list[Any], call: Call) -> Any:
    """An entry for a container that the filter chooses and that has ended."""
    ended = types.ContainerFilter(
        state=types.ContainerStateValue(state=types.CONTAINER_EXITED),
        label_selector=call.request.filter.label_selector,
    )
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=ended))
    for item in listed.containers:
        who = types.ContainerAttributes(id=item.id, metadata=item.metadata)
        return types.ContainerStats(attributes=who)
    return None


def _one_is_stopped(call: Call, memory: Memory) -> bool:
    stopped = types.PodSandboxFilter(
        state=types.PodSandboxStateValue(state=types.SANDBOX_NOTREADY),
        label_selector=call.request.filter.label_selector,
    )
    listed = call.upstream("ListPodSandbox", types.ListPodSandboxRequest(filter=stopped))
    return bool(listed.items)


def _while(removing: str, failing: str) -> Operator:
    """What is asked for while something is being removed fails (a removal takes a moment)."""
    return together(delay(removing, 0.1), answer_error(failing, when.during(removing)))


_CALLS = [
    *(
        fault(f"RuntimeService.{rpc}.{clause}", operator, also=also)
        for rpc in (_ONE, _POD)
        for clause, operator, also in (
            (
                "absent-error",
                swallow(rpc, when=when.unknown),
                [f"RuntimeService.{rpc}.absent-code"],
            ),
            ("absent-code", change_code(rpc, "UNKNOWN", when=when.unknown), []),
            ("empty-id", swallow(rpc, when=when.empty_id), []),
        )
    ),
    fault("RuntimeService.ContainerStats.running-succeeds", answer_error(_ONE, _RUNNING)),
    fault("RuntimeService.PodSandboxStats.ready-succeeds", answer_error(_POD, _READY)),
    fault(
        "RuntimeService.ContainerStats.never-another",
        edit_request(
            "another-runs",
            _ONE,
            "measures another container if this one does not run",
            _of_another_container,
            when=when.in_state("CONTAINER_EXITED"),
        ),
    ),
    fault(
        "RuntimeService.PodSandboxStats.never-another",
        edit_request(
            "another-is-ready",
            _POD,
            "measures another sandbox if this one is stopped",
            _of_another_sandbox,
            when=when.in_state("SANDBOX_NOTREADY"),
        ),
    ),
    *(
        fault(f"RuntimeService.{rpc}.prompt-during-stop", waits_for(rpc, "StopContainer"))
        for rpc in (_ONE, _LIST, _POD, _PODS)
    ),
    fault("ContainerStatsResponse.stats.set", drop(_ONE, "stats", when=_RUNNING)),
    fault("PodSandboxStatsResponse.stats.set", drop(_POD, "stats", when=_READY)),
    fault("ContainerStatsRequest.container_id.names-one", remembers_request(_ONE, "container_id")),
    fault(
        "PodSandboxStatsRequest.pod_sandbox_id.names-one",
        remembers_request(_POD, "pod_sandbox_id"),
    ),
    # -- lists
    fault("RuntimeService.ListContainerStats.all-running", leave_out_one(_LIST, when=_LABELLED)),
    fault("RuntimeService.ListPodSandboxStats.all-ready", leave_out_one(_PODS, when=_LABELLED)),
    fault(
        "RuntimeService.ListContainerStats.only-running",
        add_item(_LIST, _exited_ones, name="exited"),
    ),
    # containerd/containerd#6198: no filter, no figures.
    fault(
        "ListContainerStatsRequest.filter.absent-all",
        leave_out(_LIST, when=when.missing("filter")),
    ),
    fault(
        "ListPodSandboxStatsRequest.filter.absent-all",
        leave_out(_PODS, when=when.missing("filter")),
    ),
    fault("ListContainerStatsResponse.stats.no-duplicates", duplicate_item(_LIST, "stats")),
    fault("ListPodSandboxStatsResponse.stats.no-duplicates", duplicate_item(_PODS, "stats")),
    # containerd/containerd#10013: one that is not ready fails all.
    fault(
        "RuntimeService.ListPodSandboxStats.stopped-harmless",
        answer_error(_PODS, When("one-stopped", _one_is_stopped), "UNAVAILABLE"),
    ),
    fault("RuntimeService.ListContainerStats.during-churn", _while("RemoveContainer", _LIST)),
    # containerd/containerd#9897: "ttrpc: closed", for all.
    fault("RuntimeService.ListPodSandboxStats.during-churn", _while("RemovePodSandbox", _PODS)),
]


# -- filters -----------------------------------------------------------------------------

_several_fields = When(
    "several-fields", lambda call, memory: len(call.request.filter.ListFields()) > 1
)
_empty_filter = When(
    "empty-filter",
    lambda call, memory: call.request.HasField("filter") and not call.request.filter.ListFields(),
)


def _nobodys(field: str) -> When:
    """The filter names an object that was never made in this session."""

    def test(call: Call, memory: Memory) -> bool:
        wanted = getattr(call.request.filter, field)
        return bool(wanted) and not memory.made(wanted)

    return When(f"nobodys-{field}", test)


def _fits_nothing(call: Call, memory: Memory) -> bool:
    if not call.request.filter.label_selector:
        return False
    return not call.upstream(call.rpc, call.request).ByteSize()


def _by_key(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(key in item.labels for key in wanted)


def _in_any_case(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(item.labels.get(key, "").lower() == value.lower() for key, value in wanted.items())


def _absent_as_empty(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(item.labels.get(key, "") == value for key, value in wanted.items())


def _of_filter(rpc: str, message: str) -> list[Fault]:
    selector = "label_selector"
    return [
        fault(f"{message}.fields-anded", or_filters(rpc)),
        fault(f"{message}.fields-anded", ignore_filter(rpc, selector, when=_several_fields)),
        fault(f"{message}.empty-matches-all", leave_out(rpc, when=_empty_filter)),
        fault(f"{message}.id.full-id", ignore_filter(rpc, "id")),
        fault(f"{message}.id.unknown-empty", ignore_filter(rpc, "id", when=_nobodys("id"))),
        fault(f"{message}.id.unknown-empty", answer_error(rpc, _nobodys("id"), "NOT_FOUND")),
        fault(f"{message}.{selector}.exact-value", filter_by(rpc, selector, "by-key", _by_key)),
        fault(
            f"{message}.{selector}.exact-value",
            filter_by(rpc, selector, "in-any-case", _in_any_case),
        ),
        fault(f"{message}.{selector}.entries-anded", or_labels(rpc)),
        fault(
            f"{message}.{selector}.absent-label",
            filter_by(rpc, selector, "absent-as-empty", _absent_as_empty),
        ),
        fault(
            f"{message}.{selector}.unknown-empty",
            answer_error(rpc, When("labels-of-none", _fits_nothing), "NOT_FOUND"),
        ),
    ]


_FILTERS = [
    *_of_filter(_LIST, "ContainerStatsFilter"),
    *_of_filter(_PODS, "PodSandboxStatsFilter"),
    fault(
        "ContainerStatsFilter.pod_sandbox_id.sandbox-only", ignore_filter(_LIST, "pod_sandbox_id")
    ),
    fault(
        "ContainerStatsFilter.pod_sandbox_id.unknown-empty",
        ignore_filter(_LIST, "pod_sandbox_id", when=_nobodys("pod_sandbox_id")),
    ),
    fault(
        "ContainerStatsFilter.pod_sandbox_id.unknown-empty",
        answer_error(_LIST, _nobodys("pod_sandbox_id"), "NOT_FOUND"),
    ),
]


# -- who is meant ------------------------------------------------------------------------


def _attributes(kind: str, one: str, many: str) -> list[Fault]:
    at = f"{kind}Attributes"
    return [
        fault(f"{kind}Stats.attributes.set", drop(one, "stats.attributes")),
        fault(f"{at}.id.known", alter(many, "stats.attributes.id", changes.cut(12))),
        # pelagos#357.
        fault(f"{at}.metadata.as-status", drop(many, "stats.attributes.metadata.attempt"))
        if kind == "Container"
        else fault(f"{at}.metadata.as-status", drop(many, "stats.attributes.metadata.uid")),
        fault(f"{at}.labels.as-status", drop(one, "stats.attributes.labels")),
        fault(f"{at}.labels.as-status", add_entry(many, "stats.attributes.labels")),
        fault(f"{at}.annotations.unaltered", drop(many, "stats.attributes.annotations")),
        fault(f"{at}.annotations.unaltered", drop(one, "stats.attributes.annotations[empty]")),
    ]


_WHO = [
    *_attributes("Container", _ONE, _LIST),
    *_attributes("PodSandbox", _POD, _PODS),
    fault("PodSandboxStats.linux.set", drop(_POD, "stats.linux")),
    fault(
        "PodSandboxStats.windows.unset-on-linux",
        set_value(_POD, "stats.windows", types.WindowsPodSandboxStats()),
    ),
]


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

FAULTS: list[Fault] = [*_CALLS, *_FILTERS, *_WHO, *_FIGURES, *_PODS_FIGURES]
