# SPDX-License-Identifier: Apache-2.0
"""UpdateContainerResources as its answers and the status show it.

A kubelet resizes running containers by it, and believes what the status reports
afterwards. What has to be in force is judged beside this, where there is a host to look at.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from cri_conformance.api import types
from cri_conformance.build import messages
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite import limits
from cri_conformance.suite.container_life import look
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Container, Runtime, Sandbox
from cri_conformance.wire.together import together

_UPDATE = "RuntimeService.UpdateContainerResources"
_FIELD = "LinuxContainerResources"
_KEEPS = "UpdateContainerResourcesRequest.linux"
_AFTER = "ContainerStatus.resources.after-update"
#: Rounds of updates at the same time.
_ROUNDS = 6
_ANNOTATION = "cri-conformance.example/with-an-update"


def _sized(runtime: Runtime, sandbox: Sandbox, *, start: bool = True) -> Container:
    config = runtime.container_config(sandbox)
    config.linux.resources.CopyFrom(limits.resources(limits.CREATED))
    container = runtime.container(sandbox, config)
    if start:
        runtime.get("StartContainer", container_id=container.id)
    return container


def _reported(runtime: Runtime, container: Container, judge: Judge) -> dict[str, Any]:
    shown = limits.reported(runtime, container)
    if shown is None:
        judge.skip(Reason.NOT_ADVERTISED, "ContainerStatus reports no resources")
    return shown


@pytest.fixture(scope="module")
def sized(module_runtime: Runtime, shared_sandbox: Sandbox) -> Container:
    """A running container with limits, which tests change one after the other."""
    return _sized(module_runtime, shared_sandbox)


@clause(f"{_UPDATE}.in-place")
@pytest.mark.parametrize("start", [False, True], ids=["created", "running"])
def test_limits_can_be_changed(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, start: bool
) -> None:
    container = _sized(runtime, shared_sandbox, start=start)
    # Up and down: neither the old limit nor what came with it may be in the way.
    for factor in (2, 4, 1):
        values = {**limits.UPDATED, "memory_limit_in_bytes": factor * 64 * limits.MIB}
        judge.ok(
            f"{_UPDATE}.in-place", limits.update(runtime, container, **values), about=[container.id]
        )


@clause(f"{_UPDATE}.synchronous")
def test_an_update_is_reported_at_once(runtime: Runtime, sized: Container, judge: Judge) -> None:
    for values in (limits.UPDATED, limits.CREATED):
        if not isinstance(limits.update(runtime, sized, **values), Ok):
            judge.skip(Reason.NOT_ADVERTISED, "the update is refused")
        shown = _reported(runtime, sized, judge)
        judge.equal(f"{_UPDATE}.synchronous", shown, dict(values), about=[sized.id])


@clause(f"{_UPDATE}.not-restarted")
def test_an_update_restarts_nothing(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    marker = runtime.name("word")
    container = runtime.running(shared_sandbox, command=["/bin/sh", "-c", messages.IDLE, marker])

    def life() -> tuple[object, ...]:
        status = runtime.container_status(container.id)
        # Of /proc/PID/stat the process id, and when the process was started.
        words = look(runtime, container, marker, "stat").decode().split()
        return (types.ContainerState.Name(status.state), status.started_at, words[0], words[21])

    before = life()
    runtime.get(
        "UpdateContainerResources",
        container_id=container.id,
        linux=limits.resources(limits.UPDATED),
    )
    judge.equal(f"{_UPDATE}.not-restarted", life(), before, about=[container.id])


@clause(_AFTER, f"{_KEEPS}.zero-keeps")
def test_only_named_fields_change(
    runtime: Runtime, sized: Container, judge: Judge, explore: Explorer
) -> None:
    def check(values: dict[str, int]) -> None:
        before = _reported(runtime, sized, judge)
        if not isinstance(limits.update(runtime, sized, **values), Ok):
            judge.skip(Reason.NOT_ADVERTISED, "the update is refused")
        shown = _reported(runtime, sized, judge)
        others = {field: before[field] for field in before if field not in values}
        judge.equal(f"{_KEEPS}.zero-keeps", {f: shown[f] for f in others}, others, about=[sized.id])
        judge.equal(_AFTER, {f: shown[f] for f in values}, values, about=[sized.id])

    explore(
        check,
        examples=8,
        tried=tuple({"values": {f: limits.UPDATED[f]}} for f in limits.UPDATED),
        values=st.fixed_dictionaries(
            {},
            optional={
                "cpu_period": st.sampled_from([50_000, 100_000]),
                "cpu_quota": st.sampled_from([20_000, 45_000, 100_000, 200_000]),
                "cpu_shares": st.sampled_from([2, 10, 1024, 4096]),
                "memory_limit_in_bytes": st.integers(64, 256).map(lambda n: n * limits.MIB),
            },
        ),
    )


@pytest.mark.parametrize(
    "field",
    [pytest.param(f, marks=clause(f"{_FIELD}.{f}.reported"), id=f) for f in limits.CREATED],
)
def test_each_limit_is_reported(
    runtime: Runtime, sized: Container, judge: Judge, field: str
) -> None:
    for values in (limits.UPDATED, limits.CREATED):
        runtime.get(
            "UpdateContainerResources",
            container_id=sized.id,
            linux=limits.resources(values),
        )
        shown = _reported(runtime, sized, judge)
        judge.equal(
            f"{_FIELD}.{field}.reported", shown[field], values[field], field, about=[sized.id]
        )


@clause(f"{_UPDATE}.repeated")
def test_an_update_can_be_repeated(runtime: Runtime, sized: Container, judge: Judge) -> None:
    runtime.get(
        "UpdateContainerResources", container_id=sized.id, linux=limits.resources(limits.UPDATED)
    )
    before = limits.reported(runtime, sized)
    judge.ok(
        f"{_UPDATE}.repeated", limits.update(runtime, sized, **limits.UPDATED), about=[sized.id]
    )
    judge.equal(f"{_UPDATE}.repeated", limits.reported(runtime, sized), before, about=[sized.id])


# -- what can't be done -----------------------------------------------------------------------


@clause(f"{_UPDATE}.impossible-error")
def test_the_impossible_is_refused(runtime: Runtime, sized: Container, judge: Judge) -> None:
    outcome = limits.update(runtime, sized, cpuset_cpus=limits.NO_CPUS)
    judge.refused(f"{_UPDATE}.impossible-error", outcome, about=[sized.id])


@clause(f"{_UPDATE}.error-unreported")
def test_an_error_changes_nothing_that_is_reported(
    runtime: Runtime, sized: Container, judge: Judge
) -> None:
    runtime.get(
        "UpdateContainerResources", container_id=sized.id, linux=limits.resources(limits.CREATED)
    )
    before = _reported(runtime, sized, judge)
    outcome = limits.update(runtime, sized, **limits.UPDATED, cpuset_cpus=limits.NO_CPUS)
    if isinstance(outcome, Ok):
        judge.skip(Reason.NOT_ADVERTISED, "no update is refused")
    judge.equal(
        f"{_UPDATE}.error-unreported", limits.reported(runtime, sized), before, about=[sized.id]
    )


# -- beside others ----------------------------------------------------------------------------


@clause(f"{_UPDATE}.concurrent")
def test_updates_at_the_same_time(runtime: Runtime, sized: Container, judge: Judge) -> None:
    for n in range(1, _ROUNDS + 1):
        parts = [
            {"cpu_shares": 100 + n},
            {"cpu_quota": 20_000 + 1000 * n},
            {"memory_limit_in_bytes": (100 + n) * limits.MIB},
        ]
        outcomes = together(
            *(lambda part=part: limits.update(runtime, sized, **part) for part in parts)
        )
        shown = _reported(runtime, sized, judge)
        for part, outcome in zip(parts, outcomes, strict=True):
            if isinstance(outcome, Ok):
                seen = {field: shown[field] for field in part}
                judge.equal(f"{_UPDATE}.concurrent", seen, part, about=[sized.id])
    if f"{_UPDATE}.concurrent" not in judge.records:
        judge.skip(Reason.NOT_ADVERTISED, "all updates are refused")


@clause(f"{_UPDATE}.this-container-only")
def test_other_containers_keep_theirs(
    runtime: Runtime, shared_sandbox: Sandbox, sized: Container, judge: Judge
) -> None:
    other = _sized(runtime, shared_sandbox)
    before = _reported(runtime, other, judge)
    runtime.get(
        "UpdateContainerResources", container_id=sized.id, linux=limits.resources(limits.UPDATED)
    )
    judge.equal(
        f"{_UPDATE}.this-container-only",
        limits.reported(runtime, other),
        before,
        about=[other.id, sized.id],
    )


@clause(f"{_UPDATE}.exited", f"{_UPDATE}.exited-stays")
def test_an_exited_container(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    container = runtime.exited(shared_sandbox, "exit 5")

    def life() -> tuple[object, ...]:
        status = runtime.container_status(container.id)
        state = types.ContainerState.Name(status.state)
        return (state, status.exit_code, status.started_at, status.finished_at)

    before = life()
    outcome = limits.update(runtime, container, cpu_shares=300)
    judge.record(f"{_UPDATE}.exited", outcome)
    judge.equal(f"{_UPDATE}.exited-stays", life(), before, about=[container.id])


# -- what comes with it -----------------------------------------------------------------------


@clause("UpdateContainerResourcesRequest.annotations.not-kept", f"{_KEEPS}.oom-score-adj")
def test_what_comes_with_an_update(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    container = _sized(runtime, shared_sandbox)
    runtime.call(
        "UpdateContainerResources",
        container_id=container.id,
        linux=limits.resources(limits.UPDATED),
        annotations={_ANNOTATION: "x"},
    )
    judge.equal(
        "UpdateContainerResourcesRequest.annotations.not-kept",
        dict(runtime.container_status(container.id).annotations),
        dict(container.config.annotations),
        about=[container.id],
    )
    outcome = limits.update(runtime, container, oom_score_adj=500)
    score = runtime.exec(container, "cat", "/proc/1/oom_score_adj").stdout.decode().strip()
    judge.record(f"{_KEEPS}.oom-score-adj", f"{outcome}; then it is {score}")
