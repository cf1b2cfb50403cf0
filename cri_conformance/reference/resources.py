# SPDX-License-Identifier: Apache-2.0
"""Resources of containers: looked at, kept and reported. Nothing enforces them here.

What no host could satisfy is refused all the same, and as a whole: a request is looked
at before anything of it is taken over.
"""

from __future__ import annotations

from pathlib import Path

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import validate
from cri_conformance.reference.state import Container, Store

#: Bounds of the kernel, in microseconds.
_LEAST_QUOTA, _PERIODS = 1_000, range(1_000, 1_000_001)
_SHARES = range(2, 262_145)
#: Fields for which a negative value means that there is no limit.
_MAY_BE_NEGATIVE = {"cpu_quota", "memory_swap_limit_in_bytes", "oom_score_adj"}
#: Of a list of CPUs: two numbers below a million.
_LONGEST_PART = 13
_SCORES = range(-1000, 1001)


class Resources:
    """The calls about resources. All raise StatusError where they refuse."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def UpdateContainerResources(
        self, request: types.UpdateContainerResourcesRequest
    ) -> types.UpdateContainerResourcesResponse:
        """What is set in the request is taken over, the rest stays.

        A container that has exited can't be updated (FAILED_PRECONDITION).
        """
        container_id = validate.object_id("container_id", request.container_id)
        container = self._store.container(container_id)
        check(request.linux)
        with container.lock:
            if container.removing or container.status.state == types.CONTAINER_EXITED:
                raise StatusError("FAILED_PRECONDITION", f"container {container_id} has exited")
            _take_over(container, request.linux)
        return types.UpdateContainerResourcesResponse()

    def UpdatePodSandboxResources(
        self, request: types.UpdatePodSandboxResourcesRequest
    ) -> types.UpdatePodSandboxResourcesResponse:
        """The config of the sandbox has them from now on, if it is READY."""
        sandbox_id = validate.object_id("pod_sandbox_id", request.pod_sandbox_id)
        sandbox = self._store.sandbox(sandbox_id)
        for part in (request.overhead, request.resources):
            check(part)
        with sandbox.lock:
            if sandbox.stopping:
                raise StatusError("FAILED_PRECONDITION", f"sandbox {sandbox_id} was stopped")
            for field in ("overhead", "resources"):
                if request.HasField(field):
                    getattr(sandbox.config.linux, field).CopyFrom(getattr(request, field))
        return types.UpdatePodSandboxResourcesResponse()


def _take_over(container: Container, asked: types.LinuxContainerResources) -> None:
    """With the container's lock held."""
    merged = types.LinuxContainerResources()
    merged.CopyFrom(container.status.resources.linux)
    if asked.hugepage_limits:
        merged.ClearField("hugepage_limits")
    merged.MergeFrom(asked)
    container.publish_resources(merged)


def check(asked: types.LinuxContainerResources) -> None:
    """Raises StatusError (INVALID_ARGUMENT) for what no host, or not this one, can satisfy."""
    for field, value in asked.ListFields():
        if isinstance(value, int) and value < 0 and field.name not in _MAY_BE_NEGATIVE:
            validate.invalid(f"{field.name} is negative: {value}")
    if 0 < asked.cpu_quota < _LEAST_QUOTA:
        validate.invalid(f"cpu_quota is below {_LEAST_QUOTA}: {asked.cpu_quota}")
    for name, value, allowed in (
        ("cpu_period", asked.cpu_period, _PERIODS),
        ("cpu_shares", asked.cpu_shares, _SHARES),
        ("oom_score_adj", asked.oom_score_adj, _SCORES),
    ):
        if value and value not in allowed:
            validate.invalid(f"{name} is not within {allowed.start} to {allowed.stop - 1}: {value}")
    _among("cpuset_cpus", asked.cpuset_cpus, "/sys/devices/system/cpu/online")
    _among("cpuset_mems", asked.cpuset_mems, "/sys/devices/system/node/online")


def _among(name: str, text: str, file: str) -> None:
    try:
        there = numbers(Path(file).read_text().strip())
    except OSError:
        there = {0}
    if missing := numbers(text) - there:
        validate.invalid(f"{name}: this host has no {min(missing)}")


def numbers(text: str) -> set[int]:
    """The numbers of a list such as ``0-2,7``. Raises StatusError (INVALID_ARGUMENT)."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()) or len(part) > _LONGEST_PART:
            validate.invalid(f"not a list of numbers: {text!r}")
        found.update(range(int(first), int(last) + 1))
    return found
