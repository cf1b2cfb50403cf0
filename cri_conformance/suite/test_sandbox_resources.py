# SPDX-License-Identifier: Apache-2.0
"""What a sandbox is told of its resources, at its start and by UpdatePodSandboxResources.

They are the kubelet's sums and estimates: the cgroup of the pod is the kubelet's own. So
nothing has to come into force by them; but they must be taken, and do no harm.
"""

from __future__ import annotations

from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.build.messages import IDLE
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite import limits
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

_UPDATE = "RuntimeService.UpdatePodSandboxResources"
_REQUEST = "UpdatePodSandboxResourcesRequest"
_CONFIG = "LinuxPodSandboxConfig"
_OVERHEAD = limits.resources({"cpu_shares": 20, "memory_limit_in_bytes": 16 * limits.MIB})
_SUM = limits.resources(limits.UPDATED)


@pytest.fixture(scope="module")
def summed(module_runtime: Runtime) -> Sandbox:
    """A sandbox that was told of its overhead and of its containers' sum."""
    config = module_runtime.sandbox_config()
    config.linux.overhead.CopyFrom(_OVERHEAD)
    config.linux.resources.CopyFrom(_SUM)
    return module_runtime.sandbox(config)


@pytest.mark.parametrize(
    ("field", "part"),
    [
        pytest.param(field, part, marks=clause(f"{_CONFIG}.{field}.accepted"), id=field)
        for field, part in (("overhead", _OVERHEAD), ("resources", _SUM))
    ],
)
def test_a_sandbox_takes_it(
    runtime: Runtime, judge: Judge, field: str, part: types.LinuxContainerResources
) -> None:
    config = runtime.sandbox_config()
    getattr(config.linux, field).CopyFrom(part)
    judge.ok(f"{_CONFIG}.{field}.accepted", runtime.run_sandbox(config))


@clause(f"{_CONFIG}.resources.not-the-containers")
def test_the_sum_is_no_limit_of_a_container(
    runtime: Runtime, summed: Sandbox, judge: Judge
) -> None:
    sized = runtime.container_config(summed, command=["/bin/sh", "-c", IDLE])
    sized.linux.resources.CopyFrom(limits.resources(limits.CREATED))
    for config, permitted in (
        (sized, dict(limits.CREATED)),
        (runtime.container_config(summed), dict.fromkeys(limits.CREATED, 0)),
    ):
        container = runtime.container(summed, config)
        runtime.get("StartContainer", container_id=container.id)
        shown = limits.reported(runtime, container)
        if shown is None and permitted == limits.CREATED:
            judge.skip(Reason.NOT_ADVERTISED, "ContainerStatus reports no resources")
        # What is filled in where nothing was asked for is the runtime's choice, but for the sum.
        taken = {f: v for f, v in (shown or {}).items() if permitted[f] or v == limits.UPDATED[f]}
        judge.equal(
            f"{_CONFIG}.resources.not-the-containers",
            taken,
            {field: value for field, value in permitted.items() if value},
            about=[container.id],
        )


# -- changed later ------------------------------------------------------------------------------


def _tell(runtime: Runtime, sandbox: Sandbox, **parts: Any) -> Outcome:
    return runtime.call("UpdatePodSandboxResources", pod_sandbox_id=sandbox.id, **parts)


def _implemented(outcome: Outcome, judge: Judge) -> None:
    if isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
        judge.skip(Reason.YOUNGER, "no UpdatePodSandboxResources")


@clause(
    f"{_UPDATE}.accepted",
    f"{_UPDATE}.repeated",
    f"{_REQUEST}.overhead.optional",
    f"{_REQUEST}.resources.optional",
)
def test_it_can_be_told_anew(runtime: Runtime, summed: Sandbox, judge: Judge) -> None:
    both = _tell(runtime, summed, overhead=_OVERHEAD, resources=_SUM)
    _implemented(both, judge)
    judge.record(f"{_UPDATE}.accepted", both)
    if not isinstance(both, Ok):
        judge.skip(Reason.NOT_ADVERTISED, "the call is refused, as it may be")
    judge.ok(
        f"{_UPDATE}.repeated",
        _tell(runtime, summed, overhead=_OVERHEAD, resources=_SUM),
        about=[summed.id],
    )
    judge.ok(
        f"{_REQUEST}.overhead.optional", _tell(runtime, summed, resources=_SUM), about=[summed.id]
    )
    judge.ok(
        f"{_REQUEST}.resources.optional",
        _tell(runtime, summed, overhead=_OVERHEAD),
        about=[summed.id],
    )


@clause(f"{_UPDATE}.harmless")
def test_it_does_no_harm(runtime: Runtime, judge: Judge) -> None:
    sandbox = runtime.sandbox()
    config = runtime.container_config(sandbox)
    config.linux.resources.CopyFrom(limits.resources(limits.CREATED))
    container = runtime.container(sandbox, config)
    runtime.get("StartContainer", container_id=container.id)

    def life() -> tuple[object, ...]:
        state = types.PodSandboxState.Name(runtime.sandbox_status(sandbox.id).state)
        return (state, *_shown(runtime, container))

    before = life()
    _implemented(_tell(runtime, sandbox, overhead=_OVERHEAD, resources=_SUM), judge)
    judge.equal(f"{_UPDATE}.harmless", life(), before, about=[sandbox.id, container.id])


def _shown(runtime: Runtime, container: Container) -> tuple[object, ...]:
    status = runtime.container_status(container.id)
    state = types.ContainerState.Name(status.state)
    return (state, status.started_at, limits.reported(runtime, container))
