# SPDX-License-Identifier: Apache-2.0
"""Limits as the processes in a container feel them: CPUs, CPU time, memory.

Seen from inside, so that no host is needed. A busy host takes from what a process gets and
never adds to it: so a limit that is kept looks kept on any host.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite import limits
from cri_conformance.suite.scripts import listening
from cri_conformance.wire.outcome import Ok, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

_UPDATE = "RuntimeService.UpdateContainerResources"
_FIELD = "LinuxContainerResources"
_OOM = "ContainerStatus.reason.oom-killed"
#: A twentieth of a CPU; a busy process without a quota gets far more, also on a busy host.
_QUOTA = {"cpu_period": 100_000, "cpu_quota": 5_000}
_PERCENT = 5
#: Of the kernel: a quota is given out in slices, and time is counted in ticks.
_TOLERANCE = 4
#: Keeps busy for a second, and ends with the percentage of a CPU that it got as its exit code.
_MEASURE = (
    "look() { read -r s </proc/$$/stat; set -- ${s##*) }; used=$((${12} + ${13}));"
    " read -r now _ </proc/uptime; now=${now%.*}${now#*.}; };"
    " look; used0=$used; now0=$now; while look; [ $((now - now0)) -lt 100 ]; do :; done;"
    " exit $((100 * (used - used0) / (now - now0)))"
)
#: The same, from when it is told to stop.
_MEASURE_LATER = f"n=; trap n=1 TERM; : >ready; while [ -z $n ]; do :; done; {_MEASURE}"
_LITTLE = 24 * limits.MIB
_MUCH = limits.resources({"memory_limit_in_bytes": 32 * _LITTLE})
#: Takes eight times as much, in one process, and ends with 0 if it gets it.
_EATS = f"exec dd if=/dev/zero of=/dev/null bs={8 * _LITTLE} count=1"
#: Seconds in which a process that eats memory has met any limit of that size.
_EATEN_WITHIN = 15.0

pytestmark = pytest.mark.usefixtures("isolation")


@dataclass(frozen=True, slots=True)
class Busy:
    """How busy two containers ended, by when they were given their quota."""

    created: types.ContainerStatus
    updated: types.ContainerStatus | None


@pytest.fixture(scope="module")
def busy(module_runtime: Runtime, shared_sandbox: Sandbox) -> Busy:
    """Two busy containers, measured side by side, that have ended."""
    runtime = module_runtime
    updated = listening(runtime, shared_sandbox, _MEASURE_LATER)
    created = _with(runtime, shared_sandbox, _MEASURE, **_QUOTA)
    outcome = limits.update(runtime, updated, **_QUOTA)
    runtime.get("StopContainer", container_id=updated.id, timeout=20, deadline=40)
    statuses = [runtime.wait_exited(one.id, 30) for one in (created, updated)]
    for one in (created, updated):
        runtime.get("RemoveContainer", container_id=one.id)
    return Busy(statuses[0], statuses[1] if isinstance(outcome, Ok) else None)


def _with(runtime: Runtime, sandbox: Sandbox, script: str, **values: int | str) -> Container:
    config = runtime.container_config(sandbox, command=["/bin/sh", "-c", script])
    config.linux.resources.CopyFrom(limits.resources(values))
    container = runtime.container(sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    return container


def _judge_share(judge: Judge, name: str, status: types.ContainerStatus) -> None:
    judge.that(
        name,
        status.exit_code <= _PERCENT + _TOLERANCE,
        permitted=f"about {_PERCENT} % of a CPU",
        actual=f"{status.exit_code} % of a CPU",
        about=[status.id],
    )


@clause(f"{_FIELD}.cpu_quota.throttles")
def test_a_quota_throttles(busy: Busy, judge: Judge) -> None:
    _judge_share(judge, f"{_FIELD}.cpu_quota.throttles", busy.created)


@clause(f"{_UPDATE}.cpu-obeyed")
def test_a_quota_throttles_what_runs(busy: Busy, judge: Judge) -> None:
    if busy.updated is None:
        judge.skip(Reason.NOT_ADVERTISED, "the update is refused")
    _judge_share(judge, f"{_UPDATE}.cpu-obeyed", busy.updated)


@clause(f"{_FIELD}.cpu_quota.negative")
def test_a_negative_quota(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    container = _with(runtime, shared_sandbox, "exec sleep 3600", **_QUOTA)
    outcome = limits.update(runtime, container, cpu_quota=-1)
    shown = limits.reported(runtime, container)
    judge.record(f"{_FIELD}.cpu_quota.negative", f"{outcome}; reported then: {shown}")


# -- memory ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Eaters:
    """Containers that ate memory until they met a limit, by when they were given it."""

    created: types.ContainerStatus
    updated: types.ContainerStatus | None


@pytest.fixture(scope="module")
def eaters(module_runtime: Runtime, shared_sandbox: Sandbox) -> Eaters:
    """Both eat at the same time; one had its limit lowered while it ran."""
    script = f"until [ -e go ]; do sleep 0.05; done; {_EATS}"
    updated = _with(module_runtime, shared_sandbox, script, memory_limit_in_bytes=16 * _LITTLE)
    created = _with(module_runtime, shared_sandbox, _EATS, memory_limit_in_bytes=_LITTLE)
    lowered = limits.update(module_runtime, updated, memory_limit_in_bytes=_LITTLE)
    module_runtime.exec(updated, "/bin/sh", "-c", ": > go")
    statuses = [_ended(module_runtime, one.id) for one in (created, updated)]
    for one in (created, updated):
        module_runtime.get("RemoveContainer", container_id=one.id)
    return Eaters(statuses[0], statuses[1] if isinstance(lowered, Ok) else None)


def _ended(runtime: Runtime, container_id: str) -> types.ContainerStatus:
    """Its last status. What ended it may come to be known a moment after its end."""
    with contextlib.suppress(SetupFailed):
        runtime.wait_exited(container_id, _EATEN_WITHIN)
        return poll(
            lambda: runtime.container_status(container_id),
            lambda status: status.reason == "OOMKilled",
            2.0,
            "the reason",
        )
    return runtime.container_status(container_id)


def _judge_eater(judge: Judge, name: str, status: types.ContainerStatus) -> None:
    """It ends with 0 when it has eaten its fill, which is far more than its limit."""
    state = types.ContainerState.Name(status.state)
    judge.that(
        name,
        not (status.state == types.CONTAINER_EXITED and status.exit_code == 0),
        permitted=f"a process that eats {8 * _LITTLE} bytes does not get them",
        actual=f"{state}, exit code {status.exit_code}: it has got them",
        about=[status.id],
    )


@clause(f"{_FIELD}.memory_limit_in_bytes.enforced")
def test_a_memory_limit_is_enforced(eaters: Eaters, judge: Judge) -> None:
    _judge_eater(judge, f"{_FIELD}.memory_limit_in_bytes.enforced", eaters.created)


@clause(f"{_UPDATE}.memory-obeyed")
def test_a_lowered_memory_limit_is_enforced(eaters: Eaters, judge: Judge) -> None:
    if eaters.updated is None:
        judge.skip(Reason.NOT_ADVERTISED, "the update is refused")
    _judge_eater(judge, f"{_UPDATE}.memory-obeyed", eaters.updated)


@clause(_OOM)
def test_the_end_of_memory_is_told(eaters: Eaters, judge: Judge) -> None:
    status = eaters.created
    if status.exit_code != 128 + 9:
        # Refused more memory, the process ended by itself: nothing has killed it.
        judge.skip(Reason.NOT_ADVERTISED, f"no process was killed: exit code {status.exit_code}")
    judge.equal(_OOM, status.reason, "OOMKilled", "reason:", about=[status.id])


@clause(f"{_FIELD}.memory_limit_in_bytes.below-use", f"{_UPDATE}.error-unreported")
def test_a_limit_below_what_is_used(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    # A string of that length, which the shell then has to keep.
    grows = f"x=0123456789abcdef; while [ ${{#x}} -lt {2 * _LITTLE} ]; do x=$x$x; done"
    container = listening(
        runtime, shared_sandbox, f"{grows}; : >ready; while :; do read -r y; done"
    )
    runtime.get("UpdateContainerResources", container_id=container.id, linux=_MUCH)
    before = limits.reported(runtime, container)
    outcome = limits.update(runtime, container, memory_limit_in_bytes=_LITTLE)
    status = runtime.container_status(container.id)
    state = types.ContainerState.Name(status.state)
    judge.record(f"{_FIELD}.memory_limit_in_bytes.below-use", f"{outcome}; then {state}")
    name = f"{_UPDATE}.error-unreported"
    if isinstance(outcome, Ok):
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "it is not refused")
    elif before is None:
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "no resources are reported")
    else:
        judge.equal(name, limits.reported(runtime, container), before, about=[container.id])


# -- where it may run ------------------------------------------------------------------------


def _allowed(runtime: Runtime, container: Container, key: str) -> list[int]:
    """A list such as Cpus_allowed_list in /proc/self/status of a new process."""
    text = runtime.exec(container, "cat", "/proc/self/status").stdout.decode()
    lines = (line.partition(":") for line in text.splitlines())
    listed = next((value.strip() for name, _, value in lines if name == key), "")
    found: list[int] = []
    for part in filter(None, listed.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


@clause(f"{_FIELD}.cpuset_cpus.confined")
def test_cpus(runtime: Runtime, shared_sandbox: Sandbox, idle: Container, judge: Judge) -> None:
    there = _allowed(runtime, idle, "Cpus_allowed_list")
    if len(there) < 2:
        judge.skip(Reason.NEEDS_HARDWARE, "two CPUs, and a /proc that tells of them")
    for cpu in (there[0], there[-1]):
        container = _with(runtime, shared_sandbox, "exec sleep 3600", cpuset_cpus=str(cpu))
        allowed = _allowed(runtime, container, "Cpus_allowed_list")
        judge.equal(f"{_FIELD}.cpuset_cpus.confined", allowed, [cpu], about=[container.id])


@clause(f"{_FIELD}.cpuset_mems.confined")
def test_memory_nodes(
    runtime: Runtime, shared_sandbox: Sandbox, idle: Container, judge: Judge
) -> None:
    there = _allowed(runtime, idle, "Mems_allowed_list")
    if not there:
        judge.skip(Reason.NEEDS_HARDWARE, "a /proc that tells of memory nodes")
    node = there[0]
    container = _with(runtime, shared_sandbox, "exec sleep 3600", cpuset_mems=str(node))
    allowed = _allowed(runtime, container, "Mems_allowed_list")
    judge.equal(f"{_FIELD}.cpuset_mems.confined", allowed, [node], about=[container.id])
    # On a host with one node only this shows that the field is looked at.
    _judge_not_run(
        judge,
        f"{_FIELD}.cpuset_mems.confined",
        runtime,
        shared_sandbox,
        {"cpuset_mems": limits.NO_NODES},
    )


@clause(f"{_FIELD}.cpuset_cpus.absent-refused")
def test_cpus_that_are_not_there(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    _judge_not_run(
        judge,
        f"{_FIELD}.cpuset_cpus.absent-refused",
        runtime,
        shared_sandbox,
        {"cpuset_cpus": limits.NO_CPUS},
    )


def _judge_not_run(
    judge: Judge, name: str, runtime: Runtime, sandbox: Sandbox, values: dict[str, str]
) -> None:
    config = runtime.container_config(sandbox)
    config.linux.resources.CopyFrom(limits.resources(values))
    judge.refused(name, runtime.create_and_start(sandbox, config))


@clause(f"{_FIELD}.oom_score_adj.in-force")
def test_oom_score(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    # Upwards, which needs no privilege of the runtime.
    container = _with(runtime, shared_sandbox, "exec sleep 3600", oom_score_adj=950)
    shown = runtime.exec(container, "cat", "/proc/1/oom_score_adj").stdout.decode().strip()
    judge.equal(f"{_FIELD}.oom_score_adj.in-force", shown, "950", about=[container.id])
