# SPDX-License-Identifier: Apache-2.0
"""Limits in force: what a container's cgroup has, after its creation and after updates.

The cgroup is looked at on the host, in version 1 as well as 2. What it can't show, as the
host lacks a controller, is not exercised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite import limits
from cri_conformance.suite.marked import cgroup_paths, marked, marked_created, process_of
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

_UPDATE = "RuntimeService.UpdateContainerResources"
_FIELD = "LinuxContainerResources"
_KEEPS = "UpdateContainerResourcesRequest.linux.zero-keeps-in-force"
_PARENT = "LinuxPodSandboxConfig.cgroup_parent"
_SWAP = {**limits.CREATED, "memory_swap_limit_in_bytes": 112 * limits.MIB}
#: Below what the kernel takes, in microseconds: refused only when it is put in force.
_TOO_SMALL_A_QUOTA = 5

pytestmark = pytest.mark.usefixtures("isolation")


@dataclass(frozen=True, slots=True)
class Sized:
    """A running container that was created with limits, and its first process on the host."""

    container: Container
    pid: int


def _sized(
    host: Host, runtime: Runtime, sandbox: Sandbox, values: Mapping[str, int] = limits.CREATED
) -> Sized:
    container, mark = marked(runtime, sandbox, resources=limits.resources(values))
    return Sized(container, process_of(host, mark))


@pytest.fixture(scope="module")
def sized(host: Host, module_runtime: Runtime, shared_sandbox: Sandbox) -> Sized:
    """One that tests update, one after the other."""
    return _sized(host, module_runtime, shared_sandbox)


def _judge(
    judge: Judge, name: str, host: Host, sized: Sized, field: str, wanted: Mapping[str, int]
) -> None:
    shown = limits.in_force(host, sized.pid)
    if field not in shown:
        judge.not_exercised(name, Reason.NEEDS_HARDWARE, f"no cgroup file for {field}")
        return
    permitted = limits.forms(host, wanted, field)
    judge.that(
        name,
        shown[field] in permitted,
        permitted=f"{field} is {' or '.join(sorted(permitted))}",
        actual=shown[field],
        about=[sized.container.id],
    )


@clause(
    f"{_FIELD}.cpu_period.in-force",
    f"{_FIELD}.cpu_shares.in-force",
    f"{_FIELD}.memory_swap_limit_in_bytes.in-force",
)
def test_limits_of_the_creation(
    host: Host, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    sized = _sized(host, runtime, shared_sandbox, _SWAP)
    for field in ("cpu_period", "cpu_shares", "memory_swap_limit_in_bytes"):
        _judge(judge, f"{_FIELD}.{field}.in-force", host, sized, field, _SWAP)


@clause(f"{_FIELD}.zero-unset")
def test_no_limits_unless_asked_for(
    host: Host, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container, mark = marked_created(
        runtime, shared_sandbox, resources=types.LinuxContainerResources()
    )
    started = runtime.call("StartContainer", container_id=container.id)
    judge.ok(f"{_FIELD}.zero-unset", started, about=[container.id])
    shown = limits.in_force(host, process_of(host, mark))
    for field in ("cpu_quota", "memory_limit_in_bytes"):
        if field in shown:
            judge.that(
                f"{_FIELD}.zero-unset",
                limits.unlimited(shown[field]),
                permitted=f"no {field}",
                actual=shown[field],
                about=[container.id],
            )


@clause(f"{_FIELD}.unified.in-force")
def test_settings_of_cgroup_v2(
    host: Host, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    if host.cgroup_version != 2:
        judge.skip(Reason.NEEDS_HARDWARE, "a host with cgroup v2")
    wanted = {"memory.high": str(80 * limits.MIB), "memory.low": str(8 * limits.MIB)}
    container, mark = marked(
        runtime, shared_sandbox, resources=types.LinuxContainerResources(unified=wanted)
    )
    pid = process_of(host, mark)
    shown = {name: limits.cgroup_file(host, pid, "memory", name) for name in wanted}
    judge.equal(f"{_FIELD}.unified.in-force", shown, wanted, about=[container.id])
    # What is honoured at the creation is honoured later, if it is not refused then.
    wanted["memory.high"] = str(120 * limits.MIB)
    if isinstance(limits.update(runtime, container, unified=wanted), Ok):
        shown = {name: limits.cgroup_file(host, pid, "memory", name) for name in wanted}
        judge.equal(f"{_FIELD}.unified.in-force", shown, wanted, about=[container.id])


@clause(
    f"{_FIELD}.hugepage_limits.each-size",
    "HugepageLimit.page_size.binary-units",
    "HugepageLimit.page_size.unknown-size",
    "HugepageLimit.limit.in-force",
)
def test_limits_of_huge_pages(
    host: Host, runtime: Runtime, shared_sandbox: Sandbox, idle: Container, judge: Judge
) -> None:
    sizes = host.path("/sys/kernel/mm/hugepages")
    kib = sorted(int(p.name.removeprefix("hugepages-")[:-2]) for p in sizes.glob("hugepages-*kB"))
    wanted = {_page_size(size): 2 * size * 1024 for size in kib}
    files = {size: _huge_file(host, size) for size in wanted}
    _, mark = marked(runtime, shared_sandbox)
    there = limits.cgroup_file(host, process_of(host, mark), "hugetlb", files.get("2MB", ""))
    if "2MB" not in wanted or there is None:
        judge.skip(Reason.NEEDS_HARDWARE, "huge pages, and their cgroup controller")
    asked = [types.HugepageLimit(page_size=size, limit=n) for size, n in wanted.items()]
    container, mark = marked(
        runtime, shared_sandbox, resources=types.LinuxContainerResources(hugepage_limits=asked)
    )
    pid = process_of(host, mark)
    shown = {size: limits.cgroup_file(host, pid, "hugetlb", files[size]) for size in wanted}
    permitted = {size: str(number) for size, number in wanted.items()}
    about = [container.id]
    judge.equal("HugepageLimit.limit.in-force", shown["2MB"], permitted["2MB"], "2MB", about=about)
    judge.equal("HugepageLimit.page_size.binary-units", shown["2MB"], permitted["2MB"], about=about)
    judge.equal(f"{_FIELD}.hugepage_limits.each-size", shown, permitted, about=about)
    config = runtime.container_config(shared_sandbox)
    config.linux.resources.hugepage_limits.add(page_size="77MB", limit=77 * limits.MIB)
    outcome = runtime.create_and_start(shared_sandbox, config)
    judge.record("HugepageLimit.page_size.unknown-size", outcome)


def _page_size(kib: int) -> str:
    return (
        f"{kib // 1024**2}GB"
        if kib >= 1024**2
        else f"{kib // 1024}MB"
        if kib >= 1024
        else f"{kib}KB"
    )


def _huge_file(host: Host, size: str) -> str:
    return f"hugetlb.{size}.{'max' if host.cgroup_version == 2 else 'limit_in_bytes'}"


# -- by updates -----------------------------------------------------------------------------


@clause(f"{_UPDATE}.synchronous-in-force")
def test_an_update_is_in_force_at_once(
    host: Host, runtime: Runtime, sized: Sized, judge: Judge
) -> None:
    for values in (limits.UPDATED, limits.CREATED):
        if not isinstance(limits.update(runtime, sized.container, **values), Ok):
            judge.skip(Reason.NOT_ADVERTISED, "the update is refused")
        for field in values:
            _judge(judge, f"{_UPDATE}.synchronous-in-force", host, sized, field, values)


@clause(_KEEPS)
def test_unnamed_limits_stay_in_force(
    host: Host, runtime: Runtime, sized: Sized, judge: Judge
) -> None:
    runtime.get(
        "UpdateContainerResources",
        container_id=sized.container.id,
        linux=limits.resources(limits.CREATED),
    )
    for named in ("cpu_shares", "memory_limit_in_bytes"):
        change = {named: limits.UPDATED[named]}
        if not isinstance(limits.update(runtime, sized.container, **change), Ok):
            judge.skip(Reason.NOT_ADVERTISED, "the update is refused")
    for field in ("cpu_period", "cpu_quota"):
        _judge(judge, _KEEPS, host, sized, field, limits.CREATED)


@clause(f"{_UPDATE}.before-start")
def test_an_update_before_the_start(
    host: Host, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container, mark = marked_created(
        runtime, shared_sandbox, resources=limits.resources(limits.CREATED)
    )
    if not isinstance(limits.update(runtime, container, **limits.UPDATED), Ok):
        judge.skip(Reason.NOT_ADVERTISED, "the update is refused")
    runtime.get("StartContainer", container_id=container.id)
    sized = Sized(container, process_of(host, mark))
    for field in limits.UPDATED:
        _judge(judge, f"{_UPDATE}.before-start", host, sized, field, limits.UPDATED)


@clause(f"{_UPDATE}.error-unapplied", f"{_UPDATE}.error-half-applied")
def test_an_error_changes_nothing_in_force(
    host: Host, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    sized = _sized(host, runtime, shared_sandbox)
    before = limits.in_force(host, sized.pid)
    late = {"cpu_shares": 256, "cpu_quota": _TOO_SMALL_A_QUOTA}
    outcome = limits.update(runtime, sized.container, **late)
    after = limits.in_force(host, sized.pid)
    changed = [
        f"{name} {text} → {after.get(name)}"
        for name, text in before.items()
        if after.get(name) != text
    ]
    judge.record(
        f"{_UPDATE}.error-half-applied", f"{outcome}; changed: {', '.join(changed) or 'nothing'}"
    )
    limits.update(runtime, sized.container, **limits.CREATED)
    before = limits.in_force(host, sized.pid)
    impossible = {"cpu_shares": 256, "cpuset_cpus": limits.NO_CPUS}
    if isinstance(limits.update(runtime, sized.container, **impossible), Ok):
        judge.not_exercised(
            f"{_UPDATE}.error-unapplied", Reason.NOT_ADVERTISED, "the update is not refused"
        )
        return
    judge.equal(
        f"{_UPDATE}.error-unapplied",
        limits.in_force(host, sized.pid),
        before,
        about=[sized.container.id],
    )


# -- where the cgroups are --------------------------------------------------------------------


@clause(f"{_PARENT}.contains-the-pod", f"{_PARENT}.systemd-form")
def test_the_cgroups_are_below_the_parent(host: Host, runtime: Runtime, judge: Judge) -> None:
    configured = runtime.call("RuntimeConfig")
    systemd = (
        isinstance(configured, Ok)
        and configured.response.HasField("linux")
        and configured.response.linux.cgroup_driver == types.SYSTEMD
    )
    # As a kubelet names it, by what the runtime says of its driver.
    name = runtime.name("parent")
    parent = f"/{name.replace('-', '')}.slice" if systemd else f"/{name}"
    config = runtime.sandbox_config()
    config.linux.cgroup_parent = parent
    try:
        sandbox = runtime.sandbox(config)
        container, mark = marked(runtime, sandbox)
        paths = cgroup_paths(host, container, mark)
        judge.that(
            f"{_PARENT}.contains-the-pod",
            all(parent.strip("/") in path.split("/") for path in paths),
            permitted=f"cgroups below {parent}",
            actual=sorted(paths),
            about=[container.id, sandbox.id],
        )
        judge.record(f"{_PARENT}.systemd-form", f"{parent} leads to {sorted(paths)}")
        runtime.get("RemovePodSandbox", pod_sandbox_id=sandbox.id)
    finally:
        # A kubelet's to remove, and here we are the kubelet.
        limits.remove_empty(host, parent)
