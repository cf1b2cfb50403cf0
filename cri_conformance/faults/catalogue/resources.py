# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for resources: of containers, at their creation and later, and of sandboxes."""

from __future__ import annotations

from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    acts_on_another,
    alter,
    alter_request,
    answer_error,
    edit_request,
    freezes,
    ignore_request,
    operator,
    returns_early,
    second_call_fails,
    shift,
    side_effect,
    skip_effect,
    swallow,
    together,
)

_RPC, _SANDBOX_RPC = "UpdateContainerResources", "UpdatePodSandboxResources"
_UPDATE, _SANDBOX = f"RuntimeService.{_RPC}", f"RuntimeService.{_SANDBOX_RPC}"
_REQUEST, _KEEPS = f"{_RPC}Request", f"{_RPC}Request.linux"
_CONFIG = "LinuxPodSandboxConfig"
_LIMIT = "linux.memory_limit_in_bytes"
#: What is put in where nothing was asked for.
_DEFAULTS = {"cpu_shares": 1024, "memory_limit_in_bytes": 1 << 30, "cpu_quota": 150_000}


def _fill_in(request: Any, call: Call, memory: Memory) -> None:
    for field, value in _DEFAULTS.items():
        if not getattr(request.linux, field):
            setattr(request.linux, field, value)


def _same_before(call: Call, memory: Memory) -> bool:
    asked = call.request.SerializeToString(deterministic=True)
    return memory.keep(("asked", asked), True) is not None


def _half(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """What can be done is done, and the whole is refused."""
    try:
        return proceed(call.request)
    except StatusError:
        possible = types.UpdateContainerResourcesRequest(
            container_id=call.request.container_id,
            linux=types.LinuxContainerResources(cpu_shares=call.request.linux.cpu_shares),
        )
        if possible.linux.cpu_shares:
            call.upstream(_RPC, possible)
        raise


def _seen_in_status(name: str, says: str, work: Any) -> Operator:
    """After an update of a container, whatever came of it, its status is changed by ``work``."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        key = ("updated", call.request.container_id)
        if call.rpc == _RPC:
            memory.keep(key, call.request)
            return proceed(call.request)
        response = type(answer := proceed(call.request))()
        response.CopyFrom(answer)
        if updated := memory.kept(key, lambda: None):
            work(response.status, updated)
        return response

    return operator(name, [_RPC, "ContainerStatus"], says, step)


def _ends_later(status: Any, update: Any) -> None:
    if status.state == types.CONTAINER_EXITED:
        status.finished_at += 1


def _started_later(status: Any, update: Any) -> None:
    status.started_at += 1


def _keeps_annotations(status: Any, update: Any) -> None:
    status.annotations.update(update.annotations)


def _limit_of_sum(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """Containers of a sandbox report the sum that the sandbox was told of as their limit."""
    response = proceed(call.request)
    if call.rpc == "RunPodSandbox":
        asked = call.request.config.linux.resources.memory_limit_in_bytes
        memory.keep(("sum", response.pod_sandbox_id), asked)
        return response
    changed = type(response)()
    changed.CopyFrom(response)
    owner = memory.sandbox_of(call.request.container_id)
    if total := memory.kept(("sum", owner), lambda: 0):
        changed.status.resources.linux.memory_limit_in_bytes = total
    return changed


def _limit_all(request: Any, call: Call, memory: Memory) -> None:
    if not request.config.linux.resources.memory_limit_in_bytes:
        request.config.linux.resources.memory_limit_in_bytes = 1 << 30


_larger = Change("sixteen-times", lambda size: size * 16)
_decimal = Change("decimal", lambda size: size // 1024**2 * 1000**2)
_same_update = When("same-update", _same_before)

FAULTS: list[Fault] = [
    # -- of a container, later
    fault(f"{_UPDATE}.in-place", answer_error(_RPC, when.given(_LIMIT)), ordinary=False),
    fault(
        f"{_UPDATE}.not-restarted",
        _seen_in_status("started-later", "an update is a restart", _started_later),
    ),
    fault(f"{_UPDATE}.synchronous", returns_early(_RPC, late=1.0)),
    fault("ContainerStatus.resources.after-update", freezes("ContainerStatus", "status.resources")),
    fault(
        f"{_KEEPS}.zero-keeps",
        edit_request("fill-in-defaults", _RPC, "what is unset is set to a default", _fill_in),
    ),
    fault(f"{_UPDATE}.repeated", answer_error(_RPC, _same_update)),
    fault(f"{_UPDATE}.impossible-error", swallow(_RPC)),
    fault(
        f"{_UPDATE}.error-unreported",
        operator("half-done", _RPC, "the possible half of the impossible is done", _half),
    ),
    fault(f"{_UPDATE}.empty-id", swallow(_RPC, when=when.empty_id)),
    fault(
        f"{_UPDATE}.concurrent",
        skip_effect(_RPC, when.overlapping & when.given("linux.cpu_shares")),
    ),
    fault(f"{_UPDATE}.this-container-only", acts_on_another(_RPC, "ListContainers")),
    fault(
        f"{_UPDATE}.exited-stays",
        _seen_in_status("ends-later", "an update of what has ended moves its end", _ends_later),
    ),
    fault(
        f"{_REQUEST}.annotations.not-kept",
        _seen_in_status("keeps-annotations", "annotations come by updates", _keeps_annotations),
    ),
    *(
        fault(
            f"LinuxContainerResources.{field}.reported",
            shift("ContainerStatus", f"status.resources.linux.{field}", changes.plus(1)),
        )
        for field in ("cpu_period", "cpu_quota", "cpu_shares", "memory_limit_in_bytes")
    ),
    # -- in force, where there are cgroups
    *(
        fault(
            f"LinuxContainerResources.{field}.{name}",
            ignore_request("CreateContainer", f"config.linux.resources.{field}"),
            isolated=True,
        )
        for field, name in (
            ("cpu_period", "in-force"),
            ("cpu_shares", "in-force"),
            ("memory_swap_limit_in_bytes", "in-force"),
            ("cpu_quota", "throttles"),
            ("oom_score_adj", "in-force"),
            ("cpuset_mems", "confined"),
            ("hugepage_limits", "each-size"),
            ("unified", "in-force"),
        )
    ),
    fault(
        [
            "LinuxContainerResources.cpuset_cpus.confined",
            "LinuxContainerResources.cpuset_cpus.absent-refused",
        ],
        ignore_request("CreateContainer", "config.linux.resources.cpuset_cpus"),
        isolated=True,
    ),
    fault(
        "LinuxContainerResources.memory_limit_in_bytes.enforced",
        alter_request("CreateContainer", "config.linux.resources.memory_limit_in_bytes", _larger),
        isolated=True,
    ),
    fault(
        ["HugepageLimit.limit.in-force", "HugepageLimit.page_size.binary-units"],
        alter_request("CreateContainer", "config.linux.resources.hugepage_limits.limit", _decimal),
        isolated=True,
    ),
    fault(
        "LinuxContainerResources.zero-unset",
        edit_request("limit-all", "CreateContainer", "what is unset is limited", _limit_all),
        isolated=True,
    ),
    fault(
        "ContainerStatus.reason.oom-killed",
        alter("ContainerStatus", "status.reason", changes.replaced("OOMKilled", "Error")),
        isolated=True,
    ),
    fault(
        f"{_UPDATE}.synchronous-in-force",
        returns_early(_RPC, late=1.0),
        name="early-in-force",
        isolated=True,
    ),
    fault(
        _KEEPS + ".zero-keeps-in-force",
        edit_request("fill-in-in-force", _RPC, "what is unset is set to a default", _fill_in),
        isolated=True,
    ),
    fault(
        [f"{_UPDATE}.memory-obeyed", f"{_UPDATE}.cpu-obeyed", f"{_UPDATE}.before-start"],
        skip_effect(_RPC),
        isolated=True,
    ),
    fault(
        f"{_UPDATE}.error-unapplied",
        operator("half-applied", _RPC, "the possible half of the impossible is done", _half),
        isolated=True,
    ),
    fault(
        f"{_CONFIG}.cgroup_parent.contains-the-pod",
        together(
            ignore_request("RunPodSandbox", "config.linux.cgroup_parent"),
            ignore_request("CreateContainer", "sandbox_config.linux.cgroup_parent"),
        ),
        isolated=True,
    ),
    # -- of a sandbox
    fault(
        f"{_CONFIG}.overhead.accepted",
        answer_error("RunPodSandbox", when.given("config.linux.overhead")),
    ),
    fault(
        f"{_CONFIG}.resources.accepted",
        answer_error("RunPodSandbox", when.given("config.linux.resources")),
    ),
    fault(
        f"{_CONFIG}.resources.not-the-containers",
        operator(
            "limit-of-sum",
            ["RunPodSandbox", "ContainerStatus"],
            "each container is given the sum of all as its limit",
            _limit_of_sum,
        ),
    ),
    fault(f"{_SANDBOX}.repeated", second_call_fails(_SANDBOX_RPC)),
    fault(
        f"{_SANDBOX_RPC}Request.overhead.optional",
        answer_error(_SANDBOX_RPC, when.missing("overhead")),
    ),
    fault(
        f"{_SANDBOX_RPC}Request.resources.optional",
        answer_error(_SANDBOX_RPC, when.missing("resources")),
    ),
    fault(f"{_SANDBOX}.harmless", side_effect(_SANDBOX_RPC, "StopPodSandbox")),
]
