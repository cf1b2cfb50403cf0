# SPDX-License-Identifier: Apache-2.0
"""The figures of containers: true to what the containers do, whole, and never running backwards.

What a container really uses is known from inside: it reads its processor time from the
kernel, and writes so many bytes. Lower bounds are exact, as whatever a
runtime measures includes that; upper bounds are wide. Runtimes gather some figures only now
and then: those are waited for.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.measured import (
    FILES,
    WORKS_WITHIN,
    WRITTEN,
    Measured,
    Part,
    eventually,
    work_until,
)
from cri_conformance.suite.scripts import wait_for_file
from cri_conformance.wire.host import Host
from cri_conformance.wire.runtime import Container, Runtime

pytestmark = pytest.mark.xdist_group("measured")

Patience = Callable[[float], float]
#: Seconds until figures must have followed what a container did.
_FOLLOWS_WITHIN, _LAYER_WITHIN = 20.0, 60.0
#: Nanoseconds by which clocks, and what they are read for, may differ.
_CLOCKS_DIFFER = 60 * 10**9

_STAMPED = (
    "CpuUsage",
    "MemoryUsage",
    "SwapUsage",
    "IoUsage",
    "NetworkUsage",
    "ProcessUsage",
)


# -- times -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=clause(f"{kind}.timestamp.positive", f"{kind}.timestamp.collection-time"),
            id=kind,
        )
        for kind in _STAMPED
    ],
)
def test_timestamps_are_of_now(measured: Measured, judge: Judge, kind: str) -> None:
    _judge_times(measured, judge, kind)


def _judge_times(measured: Measured, judge: Judge, kind: str) -> None:
    for part in measured.reported(kind):
        at = part.message.timestamp
        judge.that(
            f"{kind}.timestamp.positive",
            at > 0,
            permitted="a timestamp greater than zero",
            actual=f"{at} for {part}",
            about=[part.about],
        )
        if at <= 0:
            # As known: there is no time to be judged.
            judge.not_exercised(f"{kind}.timestamp.collection-time", Reason.NOT_ADVERTISED)
            continue
        # A runtime may look at what it has prepared before it calls it created.
        begun = measured.created.get(part.about, 0) - _CLOCKS_DIFFER
        judge.that(
            f"{kind}.timestamp.collection-time",
            begun <= at <= part.answer.answered + _CLOCKS_DIFFER,
            permitted=f"nanoseconds between {begun} and {part.answer.answered}",
            actual=f"{at} for {part}",
            about=[part.about],
        )


@clause("CpuUsage.timestamp.not-falling", "MemoryUsage.timestamp.not-falling")
def test_timestamps_do_not_go_back(measured: Measured, judge: Judge) -> None:
    for kind in ("CpuUsage", "MemoryUsage"):
        latest: dict[tuple[str, str], int] = defaultdict(int)
        for part in measured.reported(kind):
            # Of a single call: lists may come from what was gathered before.
            seen = (part.answer.rpc, part.about)
            at = part.message.timestamp
            judge.that(
                f"{kind}.timestamp.not-falling",
                at >= latest[seen],
                permitted=f"no earlier time than {latest[seen]} in the answer before",
                actual=f"{at} for {part}",
                about=[part.about],
            )
            latest[seen] = at


# -- what only grows ---------------------------------------------------------------------------

_GROWING = {
    "CpuUsage.usage_core_nano_seconds": "processor time",
    "MemoryUsage.page_faults": "page faults",
    "MemoryUsage.major_page_faults": "major page faults",
}


@clause(*(f"{name}.not-falling" for name in _GROWING))
def test_sums_never_fall(measured: Measured, judge: Judge) -> None:
    for name, what in _GROWING.items():
        kind, field = name.split(".")
        parts = [p for p in measured.reported(kind) if p.message.HasField(field)]
        if not parts:
            judge.not_exercised(f"{name}.not-falling", Reason.NOT_ADVERTISED, f"no {field}")
        _judge_growing(
            judge,
            f"{name}.not-falling",
            what,
            [(part.about, part, getattr(part.message, field).value) for part in parts],
        )


def _judge_growing(
    judge: Judge, clause_id: str, what: str, values: list[tuple[str, Part, int]]
) -> None:
    """Each object's values, in the order of their times, must not fall."""
    series: dict[str, list[tuple[int, int, Part]]] = defaultdict(list)
    for key, part, value in values:
        series[key].append((part.message.timestamp, value, part))
    for seen in series.values():
        seen.sort(key=lambda one: one[:2])
        before = 0
        for at, value, part in seen:
            judge.that(
                clause_id,
                value >= before,
                permitted=f"{what} of at least {before}, as it was before",
                actual=f"{value} at {at} for {part}",
                about=[part.about],
            )
            before = value


# -- processors --------------------------------------------------------------------------------


@clause(
    "ContainerStats.cpu.set",
    "CpuUsage.usage_core_nano_seconds.nanoseconds",
    "CpuUsage.usage_core_nano_seconds.each-its-own",
)
def test_processor_time_is_what_was_used(
    runtime: Runtime, measured: Measured, judge: Judge, patience: Patience
) -> None:
    def used(stats: Any) -> int:
        return int(stats.cpu.usage_core_nano_seconds.value)

    worker = measured.containers["worker"]
    stats = eventually(
        measured, "worker", lambda s: used(s) >= measured.worked, patience(_FOLLOWS_WITHIN)
    )
    judge.that(
        "ContainerStats.cpu.set",
        stats.cpu.HasField("usage_core_nano_seconds"),
        permitted="processor time of a running container",
        actual="none",
        about=[worker.id],
    )
    alive = time.time_ns() - measured.created[worker.id] + _CLOCKS_DIFFER
    most = alive * _processors(runtime, worker)
    judge.that(
        "CpuUsage.usage_core_nano_seconds.nanoseconds",
        measured.worked <= used(stats) <= most,
        permitted=f"at least the {measured.worked} ns that it read itself, and at most {most}",
        actual=used(stats),
        about=[worker.id],
    )
    idle = measured.containers["idle"]
    judge.that(
        "CpuUsage.usage_core_nano_seconds.each-its-own",
        used(measured.latest("idle")) < used(stats),
        permitted=f"less than {used(stats)} ns for one that was idle beside one that worked",
        actual=used(measured.latest("idle")),
        about=[idle.id, worker.id],
    )


def _processors(runtime: Runtime, container: Container) -> int:
    """Processors that a container can see, which are all that it can use."""
    shown = runtime.exec(container, "cat", "/proc/cpuinfo").stdout.decode(errors="replace")
    # Not every architecture lists them one by one.
    return max(len([line for line in shown.splitlines() if line.startswith("processor")]), 1)


_RATE = "usage_nano_cores"


@clause(f"CpuUsage.{_RATE}.busy-not-zero", f"CpuUsage.{_RATE}.within-cores")
def test_rate_of_a_busy_container(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    """Asked when it has worked for a moment, and when it has for another; not in between: in a
    time so short it may not have had a processor at all, or a tick of the kernel's clock that
    counts for more than the time since the last answer."""
    measured.of("ListContainerStats")
    moments = {"some": 10, "more": 30, "further": 50, "last": 70}
    script = "".join(work_until(*moment) for moment in (*moments.items(), ("over", 300)))
    busy = runtime.running(measured.pods["work"], script)
    most = _processors(runtime, busy) * 15 * 10**8
    rates: dict[str, list[int]] = {"ListContainerStats": [], "ContainerStats": []}
    for number, moment in enumerate(moments):
        wait_for_file(runtime, busy, moment, WORKS_WITHIN)
        rpc = list(rates)[number % 2]
        if rpc == "ContainerStats":
            found = [runtime.get(rpc, container_id=busy.id).stats]
        else:
            found = runtime.get(rpc, filter={"id": busy.id}).stats
        told = [stats.cpu.usage_nano_cores for stats in found if stats.cpu.HasField(_RATE)]
        rates[rpc] += [rate.value for rate in told]
    runtime.get("RemoveContainer", container_id=busy.id)
    if not any(rates.values()):
        judge.skip(Reason.NOT_ADVERTISED, "no usage_nano_cores is reported")
    for rpc, given in rates.items():
        judge.that(
            "CpuUsage.usage_nano_cores.within-cores",
            # Somebody else may have asked a moment before one of them, but not before each.
            min(filter(None, given), default=0) <= most,
            permitted=f"at most {most} ns a second, more than all processors can give",
            actual=f"rates {given} in {rpc}",
            about=[busy.id],
        )
    judge.that(
        "CpuUsage.usage_nano_cores.busy-not-zero",
        all(rate for given in rates.values() for rate in given),
        permitted="no rate, or one greater than zero, of a container that has always been busy",
        actual=f"rates {rates}",
        about=[busy.id],
    )


# -- waiting -----------------------------------------------------------------------------------


@clause(
    "PsiStats.Full.within-some",
    "PsiStats.Some.reported",
    "PsiData.Total.not-falling",
    *(f"PsiData.{name}.percentage" for name in ("Avg10", "Avg60", "Avg300")),
)
def test_waiting_times(measured: Measured, judge: Judge) -> None:
    found = list(_waiting(measured))
    if not found:
        judge.skip(Reason.NOT_ADVERTISED, "no waiting times are reported")
    totals: list[tuple[str, Part, int]] = []
    for part in found:
        psi = part.message.psi
        for name in ("Full", "Some"):
            data = getattr(psi, name)
            totals.append((f"{part.about} {part.kind} {name}", part, data.Total))
            for average in ("Avg10", "Avg60", "Avg300"):
                judge.that(
                    f"PsiData.{average}.percentage",
                    0 <= getattr(data, average) <= 100,
                    permitted="a percentage between 0 and 100",
                    actual=f"{getattr(data, average)} in {name} of {part}",
                    about=[part.about],
                )
        judge.that(
            "PsiStats.Full.within-some",
            psi.Full.Total <= psi.Some.Total or not psi.HasField("Some"),
            permitted=f"at most {psi.Some.Total} ns, in which at least one task waited",
            actual=f"{psi.Full.Total} ns in {part}",
            about=[part.about],
        )
    alone = sum(
        part.message.psi.HasField("Some") != part.message.psi.HasField("Full") for part in found
    )
    judge.record("PsiStats.Some.reported", f"{alone} of {len(found)} have one without the other")
    _judge_growing(judge, "PsiData.Total.not-falling", "waiting time", totals)


def _waiting(measured: Measured) -> Iterator[Part]:
    measured.of("ContainerStats", "ListContainerStats")
    for kind in ("CpuUsage", "MemoryUsage", "IoUsage"):
        yield from (part for part in measured.parts(kind) if part.message.HasField("psi"))


@clause(
    "ContainerStats.swap.reported",
    "ContainerStats.io.reported",
    "CpuUsage.psi.reported",
    "MemoryUsage.psi.reported",
    "IoUsage.psi.reported",
    "MemoryUsage.available_bytes.without-limit",
)
def test_what_is_reported_at_all(measured: Measured, judge: Judge) -> None:
    stats = measured.latest("worker")
    for field in ("swap", "io"):
        judge.record(f"ContainerStats.{field}.reported", _word(stats.HasField(field)))
    for kind, field in (("CpuUsage", "cpu"), ("MemoryUsage", "memory"), ("IoUsage", "io")):
        judge.record(f"{kind}.psi.reported", _word(getattr(stats, field).HasField("psi")))
    given = stats.memory.HasField("available_bytes")
    shown = stats.memory.available_bytes.value if given else "nothing"
    judge.record("MemoryUsage.available_bytes.without-limit", f"given: {shown}")


def _word(reported: bool) -> str:
    return "reported" if reported else "not reported"


# -- the writable layer: last, as runtimes look at disks seldom ---------------------------------


@clause("ContainerStats.writable_layer.reported", "FilesystemUsage.fs_id.names-one")
def test_layer_says_where_it_is(measured: Measured, judge: Judge) -> None:
    stats = measured.latest("worker")
    about = [measured.containers["worker"].id]
    judge.that(
        "ContainerStats.writable_layer.reported",
        stats.HasField("writable_layer"),
        permitted="disk space of a running container",
        actual="none",
        about=about,
    )
    if not stats.HasField("writable_layer"):
        judge.skip(Reason.NOT_ADVERTISED, "no writable layer is reported")
    judge.that(
        "FilesystemUsage.fs_id.names-one",
        stats.writable_layer.fs_id.mountpoint,
        permitted="a file system with a mountpoint",
        actual="none",
        about=about,
    )


@clause("FilesystemIdentifier.mountpoint.exists", "FilesystemIdentifier.mountpoint.is-mountpoint")
def test_file_system_is_there(measured: Measured, judge: Judge, host: Host) -> None:
    named = measured.latest("worker").writable_layer.fs_id.mountpoint
    if not named:
        judge.skip(Reason.NOT_ADVERTISED, "no file system is named")
    here = host.path(named)
    judge.that(
        "FilesystemIdentifier.mountpoint.exists",
        named.startswith("/") and here.exists(),
        permitted="an absolute path that exists on the runtime's host",
        actual=named,
        about=[measured.containers["worker"].id],
    )
    mounted = "is" if here.is_mount() else "is not"
    judge.record("FilesystemIdentifier.mountpoint.is-mountpoint", f"it {mounted} mounted there")


@clause("FilesystemUsage.used_bytes.grows", "FilesystemUsage.inodes_used.grows")
def test_layer_grows_with_what_is_written(
    measured: Measured, judge: Judge, patience: Patience
) -> None:
    def layer(stats: Any) -> tuple[int, int]:
        return stats.writable_layer.used_bytes.value, stats.writable_layer.inodes_used.value

    def grown(stats: Any) -> bool:
        used, inodes = layer(stats)
        given = stats.writable_layer.HasField("inodes_used")
        return used >= WRITTEN and (inodes >= FILES or not given)

    stats = eventually(measured, "worker", grown, patience(_LAYER_WITHIN))
    if not stats.writable_layer.HasField("used_bytes"):
        judge.skip(Reason.NOT_ADVERTISED, "no used_bytes is reported")
    about = [measured.containers["worker"].id]
    used, inodes = layer(stats)
    beside = layer(measured.latest("idle"))[0]
    judge.that(
        "FilesystemUsage.used_bytes.grows",
        used >= WRITTEN and beside < WRITTEN,
        permitted=f"at least the {WRITTEN} bytes that were written, and fewer for one beside it",
        actual=f"{used} bytes, and {beside}",
        about=about,
    )
    if not stats.writable_layer.HasField("inodes_used"):
        judge.not_exercised("FilesystemUsage.inodes_used.grows", Reason.NOT_ADVERTISED)
        return
    judge.that(
        "FilesystemUsage.inodes_used.grows",
        inodes >= FILES,
        permitted=f"at least the {FILES} files that were made",
        actual=inodes,
        about=about,
    )


@clause("FilesystemUsage.timestamp.positive", "FilesystemUsage.timestamp.collection-time")
def test_timestamps_of_a_layer_are_of_now(
    measured: Measured, judge: Judge, patience: Patience
) -> None:
    """Runtimes look at layers only now and then: what was seen before they did counts too."""

    def looked_at(stats: Any) -> bool:
        return bool(stats.writable_layer.timestamp > 0)

    eventually(measured, "worker", looked_at, patience(_FOLLOWS_WITHIN))
    _judge_times(measured, judge, "FilesystemUsage")
