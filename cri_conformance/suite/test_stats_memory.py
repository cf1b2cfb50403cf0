# SPDX-License-Identifier: Apache-2.0
"""The memory of containers: true to what they hold, and its parts no more than the whole.

A container keeps so much memory, and writes so many bytes to a file: what a runtime measures
includes the one, and takes the other for nothing that is needed. The kernel's counters may need
a moment to agree: figures are waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.measured import (
    HELD,
    MEMORY_LIMIT,
    SWAP_LIMIT,
    WRITTEN,
    Measured,
    eventually,
)
from cri_conformance.wire.host import Host
from cri_conformance.wire.runtime import Container, Runtime

pytestmark = pytest.mark.xdist_group("measured")

Patience = Callable[[float], float]
#: Seconds until figures must have followed what a container did.
_FOLLOWS_WITHIN = 20.0
_PAGE = 64 * 1024


# -- memory ------------------------------------------------------------------------------------


@clause(
    "ContainerStats.memory.set",
    "MemoryUsage.working_set_bytes.holds",
    "MemoryUsage.usage_bytes.holds",
    "MemoryUsage.rss_bytes.holds",
)
def test_memory_is_what_is_held(measured: Measured, judge: Judge, patience: Patience) -> None:
    def holds(stats: Any) -> bool:
        return bool(stats.memory.working_set_bytes.value >= HELD)

    stats = eventually(measured, "worker", holds, patience(_FOLLOWS_WITHIN))
    about = [measured.containers["worker"].id]
    judge.that(
        "ContainerStats.memory.set",
        stats.memory.HasField("working_set_bytes"),
        permitted="the working set of a running container",
        actual="none",
        about=about,
    )
    idle = measured.latest("idle").memory.working_set_bytes.value
    working = stats.memory.working_set_bytes.value
    judge.that(
        "MemoryUsage.working_set_bytes.holds",
        working >= HELD and idle < working,
        permitted=f"a working set of at least {HELD} bytes, and of less in an idle container",
        actual=f"{working} bytes, and {idle}",
        about=about,
    )
    for field in ("usage_bytes", "rss_bytes"):
        given = stats.memory.HasField(field)
        if not given:
            judge.not_exercised(f"MemoryUsage.{field}.holds", Reason.NOT_ADVERTISED, f"no {field}")
            continue
        value = getattr(stats.memory, field).value
        judge.that(
            f"MemoryUsage.{field}.holds",
            value >= HELD,
            permitted=f"at least the {HELD} bytes that the container holds",
            actual=value,
            about=about,
        )


@clause("MemoryUsage.working_set_bytes.without-inactive")
def test_written_files_are_no_working_set(
    isolation: None, host: Host, measured: Measured, judge: Judge, patience: Patience
) -> None:
    def apart(stats: Any) -> bool:
        memory = stats.memory
        return bool(memory.usage_bytes.value >= memory.working_set_bytes.value + WRITTEN // 2)

    if _shared_memory(host, measured.containers["worker"]) >= WRITTEN // 2:
        judge.skip(Reason.NEEDS_HARDWARE, "what containers write stays in memory: give a disk")
    memory = eventually(measured, "worker", apart, patience(_FOLLOWS_WITHIN)).memory
    if not (memory.HasField("usage_bytes") and memory.HasField("working_set_bytes")):
        judge.skip(Reason.NOT_ADVERTISED, "usage and working set are not both given")
    working, usage = memory.working_set_bytes.value, memory.usage_bytes.value
    judge.that(
        "MemoryUsage.working_set_bytes.without-inactive",
        usage >= working + WRITTEN // 2,
        permitted=f"a working set well below the usage: {WRITTEN} bytes are written to a file",
        actual=f"{working} of {usage} bytes",
        about=[measured.containers["worker"].id],
    )


def _shared_memory(host: Host, container: Container) -> int:
    """Bytes that it has in files which lie in memory (tmpfs): those can't be dropped."""
    for pid in host.pids():
        if container.id not in host.read(pid, "cgroup"):
            continue
        if (folder := host.cgroup(pid, "memory")) and (folder / "memory.stat").exists():
            lines = (folder / "memory.stat").read_text().splitlines()
            return next((int(line.split()[1]) for line in lines if line.startswith("shmem ")), 0)
    return 0


@clause("MemoryUsage.working_set_bytes.within-usage", "MemoryUsage.rss_bytes.within-usage")
def test_parts_of_memory_are_not_more_than_all(
    measured: Measured, judge: Judge, patience: Patience
) -> None:
    """Of a container that does nothing: the kernel's counters need a moment to agree."""
    for field in ("working_set_bytes", "rss_bytes"):
        clause_id = f"MemoryUsage.{field}.within-usage"

        def within(stats: Any, field: str = field) -> bool:
            return bool(getattr(stats.memory, field).value <= stats.memory.usage_bytes.value)

        stats = eventually(measured, "worker", within, patience(_FOLLOWS_WITHIN))
        if not stats.memory.HasField(field) or not stats.memory.HasField("usage_bytes"):
            judge.not_exercised(clause_id, Reason.NOT_ADVERTISED, "not both are reported")
            continue
        judge.that(
            clause_id,
            within(stats),
            permitted=f"at most the {stats.memory.usage_bytes.value} bytes in use",
            actual=getattr(stats.memory, field).value,
            about=[measured.containers["worker"].id],
        )


@clause("MemoryUsage.page_faults.counted")
def test_page_faults_are_counted(measured: Measured, judge: Judge) -> None:
    parts = [p for p in measured.reported("MemoryUsage") if p.message.HasField("page_faults")]
    running = {one.id for one in measured.running.values()}
    for part in parts:
        judge.that(
            "MemoryUsage.page_faults.counted",
            part.message.page_faults.value or part.about not in running,
            permitted="some page faults of a container that runs",
            actual=f"0 for {part}",
            about=[part.about],
        )
    if not parts:
        judge.skip(Reason.NOT_ADVERTISED, "no page_faults are reported")


@clause("MemoryUsage.available_bytes.limit-minus-working-set")
def test_available_memory_is_what_the_limit_leaves(
    measured: Measured, judge: Judge, isolation: None
) -> None:
    memory = measured.latest("limited").memory
    if not memory.HasField("available_bytes"):
        judge.skip(Reason.NOT_ADVERTISED, "no available_bytes is reported")
    both = memory.available_bytes.value + memory.working_set_bytes.value
    judge.that(
        "MemoryUsage.available_bytes.limit-minus-working-set",
        abs(both - MEMORY_LIMIT) <= _PAGE,
        permitted=f"available and working set together {MEMORY_LIMIT} bytes, the limit",
        actual=f"{memory.available_bytes.value} + {memory.working_set_bytes.value} = {both}",
        about=[measured.containers["limited"].id],
    )


# -- swap --------------------------------------------------------------------------------------


@clause("SwapUsage.swap_available_bytes.within-limit", "SwapUsage.swap_usage_bytes.on-swap")
def test_swap(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    swap = measured.latest("limited").swap
    if measured.has_swap_limit and swap.HasField("swap_available_bytes"):
        both = swap.swap_available_bytes.value + swap.swap_usage_bytes.value
        judge.that(
            "SwapUsage.swap_available_bytes.within-limit",
            both <= SWAP_LIMIT,
            permitted=f"available and used swap together at most {SWAP_LIMIT} bytes, the limit",
            actual=both,
            about=[measured.containers["limited"].id],
        )
    else:
        judge.not_exercised(
            "SwapUsage.swap_available_bytes.within-limit",
            Reason.NOT_ADVERTISED,
            "no available swap is reported, or there are no limits on swap",
        )
    worker = measured.containers["worker"]
    used = measured.latest("worker").swap
    if not used.HasField("swap_usage_bytes"):
        judge.not_exercised("SwapUsage.swap_usage_bytes.on-swap", Reason.NOT_ADVERTISED)
        return
    space = _swap_space(runtime, worker)
    judge.that(
        "SwapUsage.swap_usage_bytes.on-swap",
        used.swap_usage_bytes.value <= space,
        permitted=f"at most the {space} bytes of swap space that there are",
        actual=used.swap_usage_bytes.value,
        about=[worker.id],
    )


def _swap_space(runtime: Runtime, container: Container) -> int:
    shown = runtime.exec(container, "cat", "/proc/meminfo").stdout.decode(errors="replace")
    for line in shown.splitlines():
        if line.startswith("SwapTotal:"):
            return int(line.split()[1]) * 1024
    return 0
