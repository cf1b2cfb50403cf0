# SPDX-License-Identifier: Apache-2.0
"""The figures of whole sandboxes: their containers' and what goes beyond one container.

A sandbox has its own cgroup and network here, as a kubelet gives it. Its sums include all
that its containers use, and are asked for after theirs: whatever was used then is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.measured import FORKS, HELD, Measured, eventually
from cri_conformance.wire.runtime import Container, Runtime

pytestmark = pytest.mark.xdist_group("measured")

Patience = Callable[[float], float]
#: Seconds until figures must have followed what a container did.
_FOLLOWS_WITHIN = 20.0
_RPC = "PodSandboxStats"


# -- containers --------------------------------------------------------------------------------


@clause(
    "LinuxPodSandboxStats.containers.all-running",
    "LinuxPodSandboxStats.containers.own-only",
    "LinuxPodSandboxStats.containers.no-duplicates",
    "LinuxPodSandboxStats.containers.not-running",
)
def test_containers_of_a_sandbox(measured: Measured, judge: Judge) -> None:
    running = {one.id: one.sandbox.id for one in measured.running.values()}
    others: set[str] = set()
    for answer in measured.of(_RPC, "ListPodSandboxStats"):
        pod_id = answer.about
        ids = [stats.attributes.id for stats in answer.stats.linux.containers]
        own = {one for one, owner in running.items() if owner == pod_id}
        foreign = [one for one in ids if running.get(one, pod_id) != pod_id]
        others |= set(ids) - own
        judge.that(
            "LinuxPodSandboxStats.containers.all-running",
            own <= set(ids),
            permitted=f"its {len(own)} running containers",
            actual=f"{len(own - set(ids))} of them are missing in {answer.rpc}",
            about=[pod_id],
        )
        judge.equal("LinuxPodSandboxStats.containers.own-only", foreign, [], "of other sandboxes:")
        twice = sorted({one for one in ids if ids.count(one) > 1})
        judge.equal("LinuxPodSandboxStats.containers.no-duplicates", twice, [], "listed twice:")
    idle = {one.id for name, one in measured.containers.items() if name not in measured.running}
    judge.record(
        "LinuxPodSandboxStats.containers.not-running",
        f"{len(others & idle)} of {len(idle)} that do not run have entries",
    )


# -- sums --------------------------------------------------------------------------------------


@clause("LinuxPodSandboxStats.cpu.set", "LinuxPodSandboxStats.cpu.covers-containers")
def test_processor_time_of_a_sandbox(measured: Measured, judge: Judge, patience: Patience) -> None:
    def used(stats: Any) -> int:
        value: int = stats.cpu.usage_core_nano_seconds.value
        return value

    together = used(measured.latest("worker")) + used(measured.latest("idle"))
    stats = eventually(
        measured, "work", lambda s: used(s.linux) >= together, patience(_FOLLOWS_WITHIN), _RPC
    )
    about = [measured.pods["work"].id]
    judge.that(
        "LinuxPodSandboxStats.cpu.set",
        stats.linux.cpu.HasField("usage_core_nano_seconds"),
        permitted="processor time of a sandbox with running containers",
        actual="none",
        about=about,
    )
    judge.that(
        "LinuxPodSandboxStats.cpu.covers-containers",
        used(stats.linux) >= together,
        permitted=f"at least the {together} ns that its containers had used before",
        actual=used(stats.linux),
        about=about,
    )


@clause("LinuxPodSandboxStats.memory.set", "LinuxPodSandboxStats.memory.covers-containers")
def test_memory_of_a_sandbox(measured: Measured, judge: Judge, patience: Patience) -> None:
    def held(stats: Any) -> int:
        memory = stats.linux.memory
        # All that is in use may be left out; the working set is part of it.
        return int(max(memory.usage_bytes.value, memory.working_set_bytes.value))

    stats = eventually(measured, "work", lambda s: held(s) >= HELD, patience(_FOLLOWS_WITHIN), _RPC)
    about = [measured.pods["work"].id]
    judge.that(
        "LinuxPodSandboxStats.memory.set",
        stats.linux.memory.HasField("working_set_bytes"),
        permitted="the working set of a sandbox with running containers",
        actual="none",
        about=about,
    )
    judge.that(
        "LinuxPodSandboxStats.memory.covers-containers",
        held(stats) >= HELD,
        permitted=f"at least the {HELD} bytes that a container in it holds",
        actual=held(stats),
        about=about,
    )


@clause(
    "LinuxPodSandboxStats.process.reported",
    "LinuxPodSandboxStats.io.reported",
    "ProcessUsage.process_count.counts-forks",
)
def test_processes_of_a_sandbox(measured: Measured, judge: Judge, patience: Patience) -> None:
    # The worker, those that it has started, what holds its memory; and the idle container.
    least = 1 + FORKS + 1 + 1

    def count(stats: Any) -> int:
        value: int = stats.linux.process.process_count.value
        return value

    stats = eventually(
        measured, "work", lambda s: count(s) >= least, patience(_FOLLOWS_WITHIN), _RPC
    )
    for name in ("process", "io"):
        word = "reported" if stats.linux.HasField(name) else "not reported"
        judge.record(f"LinuxPodSandboxStats.{name}.reported", word)
    if not stats.linux.process.HasField("process_count"):
        judge.not_exercised(
            "ProcessUsage.process_count.counts-forks", Reason.NOT_ADVERTISED, "no process_count"
        )
        return
    judge.that(
        "ProcessUsage.process_count.counts-forks",
        count(stats) >= least,
        permitted=f"at least the {least} processes that were started",
        actual=count(stats),
        about=[measured.pods["work"].id],
    )


# -- network -----------------------------------------------------------------------------------

#: Field → the column of /proc/net/dev after the interface's name.
_COLUMNS = {"rx_bytes": 0, "rx_errors": 2, "tx_bytes": 8, "tx_errors": 10}
Counters = dict[str, dict[str, int]]


def _counters(runtime: Runtime, container: Container) -> Counters:
    """What a sandbox counts on each of its interfaces."""
    shown = runtime.exec(container, "cat", "/proc/net/dev").stdout.decode(errors="replace")
    found: Counters = {}
    for line in shown.splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        found[name.strip()] = {field: int(numbers[at]) for field, at in _COLUMNS.items()}
    return found


def _default_route(runtime: Runtime, container: Container) -> str:
    """The interface of the default route, of either family; "" if there is none."""
    look = "cat /proc/net/route; cat /proc/net/ipv6_route; true"
    said: bytes = runtime.exec(container, "/bin/sh", "-c", look).stdout
    shown = said.decode(errors="replace")
    for line in shown.splitlines():
        fields = line.split()
        if len(fields) == 11 and fields[1] == fields[7] == "00000000":
            return fields[0]
        if len(fields) == 10 and fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo":
            return fields[9]
    return ""


@clause(
    "LinuxPodSandboxStats.network.set",
    "NetworkUsage.default_interface.default-route",
    "NetworkUsage.interfaces.without-default",
    "NetworkUsage.interfaces.loopback",
    "NetworkInterfaceUsage.name.of-the-sandbox",
)
def test_interfaces_of_a_sandbox(
    runtime: Runtime, measured: Measured, judge: Judge, isolation: None
) -> None:
    container = measured.containers["idle"]
    about = [measured.pods["work"].id]
    linux = measured.latest("work", _RPC).linux
    judge.that(
        "LinuxPodSandboxStats.network.set",
        linux.HasField("network"),
        permitted="the traffic of a sandbox with a network of its own",
        actual="none",
        about=about,
    )
    if not linux.HasField("network"):
        judge.skip(Reason.NOT_ADVERTISED, "no traffic is reported")
    default = _default_route(runtime, container)
    named = linux.network.default_interface.name
    if default:
        judge.equal(
            "NetworkUsage.default_interface.default-route", named, default, "the default interface"
        )
    else:
        judge.not_exercised(
            "NetworkUsage.default_interface.default-route",
            Reason.NOT_ADVERTISED,
            "the sandbox has no default route",
        )
    others = [one.name for one in linux.network.interfaces]
    judge.that(
        "NetworkUsage.interfaces.without-default",
        named not in others and len(others) == len(set(others)),
        permitted=f"other interfaces than {named}, each once",
        actual=others,
        about=about,
    )
    listed = "listed" if "lo" in others else "not listed"
    judge.record("NetworkUsage.interfaces.loopback", listed)
    seen = _counters(runtime, container)
    strange = [name for name in (named, *others) if name and name not in seen]
    judge.that(
        "NetworkInterfaceUsage.name.of-the-sandbox",
        not strange,
        permitted=f"interfaces of the sandbox: {', '.join(seen)}",
        actual=strange,
        about=about,
    )


#: What headers, and packets lost between two places of counting, may make of a few bytes; and
#: of a few errors.
_BYTES_DIFFER, _ERRORS_DIFFER = 16 * 1024, 100
#: Sends much and gets nothing back, by the default route to an address that nobody has: so the
#: two directions differ, where the container may send such packets at all.
_SEND = "ping -c 1 -s 60000 -W 1 192.0.2.1 >/dev/null 2>&1; true"


def _bounds(field: str, counted: int) -> tuple[int, int]:
    """What may be reported where the sandbox counts so many."""
    if field.endswith("_errors"):
        return counted - _ERRORS_DIFFER, counted + _ERRORS_DIFFER
    return counted // 2 - _BYTES_DIFFER, counted * 2 + _BYTES_DIFFER


@clause(*(f"NetworkInterfaceUsage.{field}.as-counted" for field in _COLUMNS))
def test_traffic_is_what_the_sandbox_counts(
    runtime: Runtime, measured: Measured, judge: Judge, isolation: None, patience: Patience
) -> None:
    container = measured.containers["idle"]
    runtime.exec(container, "/bin/sh", "-c", _SEND)
    before = _counters(runtime, container)

    def interfaces(stats: Any) -> list[Any]:
        network = stats.linux.network
        return [network.default_interface, *network.interfaces]

    def caught_up(stats: Any) -> bool:
        return all(
            getattr(one, field).value >= _bounds(field, before[one.name][field])[0]
            for one in interfaces(stats)
            if one.name in before
            for field in _COLUMNS
            if one.HasField(field)
        )

    stats = eventually(measured, "work", caught_up, patience(_FOLLOWS_WITHIN), _RPC)
    after = _counters(runtime, container)
    judged = False
    for one in interfaces(stats):
        for field in _COLUMNS:
            if one.name not in before or not one.HasField(field):
                continue
            judged = True
            value = getattr(one, field).value
            low = _bounds(field, before[one.name][field])[0]
            high = _bounds(field, after[one.name][field])[1]
            judge.that(
                f"NetworkInterfaceUsage.{field}.as-counted",
                low <= value <= high,
                permitted=f"{field} of {one.name} between {low} and {high}",
                actual=value,
                about=[measured.pods["work"].id],
            )
    if not judged:
        judge.skip(Reason.NOT_ADVERTISED, "no traffic is reported")


@clause("LinuxPodSandboxStats.network.on-node-network")
def test_sandbox_on_the_network_of_the_node(
    runtime: Runtime, measured: Measured, judge: Judge, isolation: None
) -> None:
    config = runtime.sandbox_config(network=types.NODE)
    if parent := measured.pods["work"].config.linux.cgroup_parent:
        config.linux.cgroup_parent = f"{parent}-{config.metadata.name}"
    sandbox = runtime.sandbox(config)
    outcome = runtime.call(_RPC, pod_sandbox_id=sandbox.id)
    response = getattr(outcome, "response", None)
    given = response is not None and response.stats.linux.HasField("network")
    judge.record(
        "LinuxPodSandboxStats.network.on-node-network",
        f"{outcome}, traffic {'given' if given else 'not given'}",
    )
