# SPDX-License-Identifier: Apache-2.0
"""Who is measured, and how the calls answer; the figures themselves are judged elsewhere.

The kubelet asks for all containers or all sandboxes every ten seconds. One error, or one
entry that it can't read, and it has no figures of the whole node: then nothing is evicted
in time and nothing is scaled.
"""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.measured import Measured, blameless, supported
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Runtime

pytestmark = pytest.mark.xdist_group("measured")

#: Call → the field that names its object, and the word for it.
_SINGLE = {
    "ContainerStats": ("container_id", "container"),
    "PodSandboxStats": ("pod_sandbox_id", "sandbox"),
}


def _ask(runtime: Runtime, rpc: str, object_id: str) -> Outcome:
    named: dict[str, Any] = {_SINGLE[rpc][0]: object_id}
    return supported(runtime.call(rpc, **named), rpc)


def _each(*names: str) -> list[Any]:
    """One parameter for each of the two calls, bound to its own clauses."""
    return [
        pytest.param(rpc, marks=clause(*(f"RuntimeService.{rpc}.{name}" for name in names)), id=rpc)
        for rpc in _SINGLE
    ]


# -- one object --------------------------------------------------------------------------------


@pytest.mark.parametrize("rpc", _each("absent-error", "absent-code"))
def test_what_is_not_there_is_not_measured(
    runtime: Runtime, measured: Measured, judge: Judge, rpc: str
) -> None:
    removed = measured.removed[_SINGLE[rpc][1]]
    for absent in (secrets.token_hex(32), removed):
        outcome = _ask(runtime, rpc, absent)
        judge.refused(f"RuntimeService.{rpc}.absent-error", outcome, about=[absent])
        judge.refused(f"RuntimeService.{rpc}.absent-code", outcome, ["NOT_FOUND"], about=[absent])


@pytest.mark.parametrize("rpc", _each("empty-id"))
def test_empty_id_is_nobodys(runtime: Runtime, measured: Measured, judge: Judge, rpc: str) -> None:
    judge.refused(f"RuntimeService.{rpc}.empty-id", _ask(runtime, rpc, ""))


@clause(
    "RuntimeService.ContainerStats.running-succeeds",
    "ContainerStatsResponse.stats.set",
    "ContainerStatsRequest.container_id.names-one",
)
def test_running_container_is_measured(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    for container in measured.running.values():
        outcome = _ask(runtime, "ContainerStats", container.id)
        response = judge.response("RuntimeService.ContainerStats.running-succeeds", outcome)
        judge.that(
            "ContainerStatsResponse.stats.set",
            response.HasField("stats"),
            permitted="figures of a running container",
            actual="an answer without",
            about=[container.id],
        )
        judge.equal(
            "ContainerStatsRequest.container_id.names-one",
            response.stats.attributes.id,
            container.id,
            "the answer is about",
        )


@clause(
    "RuntimeService.PodSandboxStats.ready-succeeds",
    "PodSandboxStatsResponse.stats.set",
    "PodSandboxStatsRequest.pod_sandbox_id.names-one",
)
def test_ready_sandbox_is_measured(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    for pod in measured.ready.values():
        outcome = _ask(runtime, "PodSandboxStats", pod.id)
        response = judge.response("RuntimeService.PodSandboxStats.ready-succeeds", outcome)
        judge.that(
            "PodSandboxStatsResponse.stats.set",
            response.HasField("stats"),
            permitted="figures of a ready sandbox",
            actual="an answer without",
            about=[pod.id],
        )
        judge.equal(
            "PodSandboxStatsRequest.pod_sandbox_id.names-one",
            response.stats.attributes.id,
            pod.id,
            "the answer is about",
        )


@clause(
    "RuntimeService.ContainerStats.not-running",
    "RuntimeService.ContainerStats.never-another",
    "RuntimeService.PodSandboxStats.not-ready",
    "RuntimeService.PodSandboxStats.never-another",
)
def test_what_does_not_run_is_not_taken_for_another(
    runtime: Runtime, measured: Measured, judge: Judge
) -> None:
    shown: dict[str, list[str]] = {rpc: [] for rpc in _SINGLE}
    for rpc, name in (
        ("ContainerStats", "created"),
        ("ContainerStats", "exited"),
        ("PodSandboxStats", "stopped"),
    ):
        one = measured.containers.get(name) or measured.pods[name]
        outcome = _ask(runtime, rpc, one.id)
        answered = outcome.response.stats if isinstance(outcome, Ok) else None
        found = answered.attributes.id if answered is not None else ""
        judge.that(
            f"RuntimeService.{rpc}.never-another",
            found in ("", one.id),
            permitted="an error, nothing, or figures under its own id",
            actual=f"figures of {found}",
            about=[one.id],
        )
        shown[rpc].append(
            f"{name}: {outcome}" + (" without figures" if not found and answered else "")
        )
    judge.record("RuntimeService.ContainerStats.not-running", "; ".join(shown["ContainerStats"]))
    judge.record("RuntimeService.PodSandboxStats.not-ready", "; ".join(shown["PodSandboxStats"]))


@clause("ContainerStatsRequest.container_id.prefix", "PodSandboxStatsRequest.pod_sandbox_id.prefix")
def test_beginnings_of_ids(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    for clause_id, rpc, one in (
        (
            "ContainerStatsRequest.container_id.prefix",
            "ContainerStats",
            measured.containers["idle"],
        ),
        ("PodSandboxStatsRequest.pod_sandbox_id.prefix", "PodSandboxStats", measured.pods["work"]),
    ):
        outcome = _ask(runtime, rpc, one.id[: len(one.id) // 2])
        judge.record(clause_id, f"half an id: {outcome}")


# -- who an answer is about --------------------------------------------------------------------


@clause(
    "ContainerStats.attributes.set",
    "ContainerAttributes.id.known",
    "ContainerAttributes.metadata.as-status",
    "ContainerAttributes.labels.as-status",
    "ContainerAttributes.annotations.unaltered",
)
def test_containers_are_who_they_are(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    made = {container.id: container for container in measured.containers.values()}
    status = {one: runtime.container_status(one) for one in made}
    for answer, stats in measured.container_stats():
        who = stats.attributes
        where = f"in {answer.rpc}"
        judge.that(
            "ContainerStats.attributes.set",
            who.id and who.metadata.name,
            permitted=f"attributes with an id and a name {where}",
            actual=f"id {who.id!r}, name {who.metadata.name!r}",
        )
        judge.that(
            "ContainerAttributes.id.known",
            who.id in made,
            permitted=f"the full id of a container {where}",
            actual=who.id,
        )
        sent = made[who.id].config
        for clause_id, actual, permitted in (
            ("metadata.as-status", who.metadata, status[who.id].metadata),
            ("labels.as-status", dict(who.labels), dict(status[who.id].labels)),
            ("annotations.unaltered", dict(who.annotations), dict(sent.annotations)),
        ):
            judge.equal(
                f"ContainerAttributes.{clause_id}", actual, permitted, where, about=[who.id]
            )


@clause(
    "PodSandboxStats.attributes.set",
    "PodSandboxAttributes.id.known",
    "PodSandboxAttributes.metadata.as-status",
    "PodSandboxAttributes.labels.as-status",
    "PodSandboxAttributes.annotations.unaltered",
    "PodSandboxStats.linux.set",
    "PodSandboxStats.windows.unset-on-linux",
)
def test_sandboxes_are_who_they_are(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    made = {pod.id: pod for pod in measured.pods.values()}
    ready = {pod.id for pod in measured.ready.values()}
    status = {one: runtime.sandbox_status(one) for one in made}
    for answer in measured.of("PodSandboxStats", "ListPodSandboxStats"):
        stats, who = answer.stats, answer.stats.attributes
        where = f"in {answer.rpc}"
        judge.that(
            "PodSandboxStats.attributes.set",
            who.id,
            permitted=f"attributes with an id {where}",
            actual="none",
        )
        judge.that(
            "PodSandboxAttributes.id.known",
            who.id in made,
            permitted=f"the full id of a sandbox {where}",
            actual=who.id,
        )
        sent = made[who.id].config
        for clause_id, actual, permitted in (
            ("metadata.as-status", who.metadata, status[who.id].metadata),
            ("labels.as-status", dict(who.labels), dict(status[who.id].labels)),
            ("annotations.unaltered", dict(who.annotations), dict(sent.annotations)),
        ):
            judge.equal(
                f"PodSandboxAttributes.{clause_id}", actual, permitted, where, about=[who.id]
            )
        judge.that(
            "PodSandboxStats.linux.set",
            stats.HasField("linux") or who.id not in ready,
            permitted=f"figures for Linux {where}",
            actual="none",
            about=[who.id],
        )
        judge.that(
            "PodSandboxStats.windows.unset-on-linux",
            not stats.HasField("windows"),
            permitted=f"no figures for Windows {where}",
            actual="some",
            about=[who.id],
        )


# -- lists -------------------------------------------------------------------------------------


@clause(
    "RuntimeService.ListContainerStats.all-running",
    "RuntimeService.ListContainerStats.only-running",
    "ListContainerStatsRequest.filter.absent-all",
    "ListContainerStatsResponse.stats.no-duplicates",
)
def test_running_containers_are_listed(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    running = {"state": {"state": types.CONTAINER_RUNNING}}
    before = {item.id for item in runtime.get("ListContainers", filter=running).containers}
    lists = {
        "absent-all": supported(runtime.call("ListContainerStats"), "ListContainerStats"),
        "all-running": runtime.call(
            "ListContainerStats", filter={"label_selector": measured.label}
        ),
    }
    after = {item.id for item in runtime.get("ListContainers", filter=running).containers}
    ours = {container.id for container in measured.running.values()}
    for name, clause_id, expected in (
        ("absent-all", "ListContainerStatsRequest.filter.absent-all", before & after),
        ("all-running", "RuntimeService.ListContainerStats.all-running", ours),
    ):
        ids = _ids(judge, clause_id, lists[name])
        missing = expected - set(ids)
        judge.that(
            clause_id,
            not missing,
            permitted=f"all {len(expected)} containers that run",
            actual=f"{len(missing)} of them are missing",
            about=missing,
        )
        _judge_once(judge, "ListContainerStatsResponse.stats.no-duplicates", ids)
        idle = [one.id for name, one in measured.containers.items() if one.id not in ours]
        judge.that(
            "RuntimeService.ListContainerStats.only-running",
            not set(idle) & set(ids),
            permitted="no container that does not run",
            actual=f"{len(set(idle) & set(ids))} of {len(idle)} that do not",
            about=idle,
        )


@clause(
    "ListPodSandboxStatsRequest.filter.absent-all",
    "RuntimeService.ListPodSandboxStats.all-ready",
    "RuntimeService.ListPodSandboxStats.stopped-harmless",
    "RuntimeService.ListPodSandboxStats.stopped-listed",
    "ListPodSandboxStatsResponse.stats.no-duplicates",
)
def test_ready_sandboxes_are_listed(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    rpc = "ListPodSandboxStats"
    ours = {pod.id for pod in measured.ready.values()}
    chosen = supported(runtime.call(rpc, filter={"label_selector": measured.label}), rpc)
    ids = _ids(judge, "RuntimeService.ListPodSandboxStats.stopped-harmless", chosen)
    _judge_all(judge, "RuntimeService.ListPodSandboxStats.all-ready", ours, ids)
    _judge_once(judge, "ListPodSandboxStatsResponse.stats.no-duplicates", ids)
    stopped = measured.pods["stopped"].id
    judge.record(
        "RuntimeService.ListPodSandboxStats.stopped-listed",
        f"a stopped sandbox is {'' if stopped in ids else 'not '}listed",
    )
    clause_id = "ListPodSandboxStatsRequest.filter.absent-all"
    before = _ready(runtime)
    outcome = runtime.call(rpc)
    if not isinstance(outcome, Ok) and (reason := blameless(runtime)):
        judge.not_exercised(clause_id, *reason)
        return
    ids = _ids(judge, clause_id, outcome)
    _judge_all(judge, clause_id, before & _ready(runtime), ids)


def _ready(runtime: Runtime) -> set[str]:
    wanted = {"state": {"state": types.SANDBOX_READY}}
    return {item.id for item in runtime.get("ListPodSandbox", filter=wanted).items}


def _ids(judge: Judge, clause_id: str, outcome: Outcome) -> list[str]:
    return [stats.attributes.id for stats in judge.response(clause_id, outcome).stats]


def _judge_all(judge: Judge, clause_id: str, expected: set[str], ids: list[str]) -> None:
    missing = expected - set(ids)
    judge.that(
        clause_id,
        not missing,
        permitted=f"all {len(expected)} sandboxes that are ready",
        actual=f"{len(missing)} of them are missing",
        about=missing,
    )


def _judge_once(judge: Judge, clause_id: str, ids: list[str]) -> None:
    twice = sorted({one for one in ids if ids.count(one) > 1})
    judge.equal(clause_id, twice, [], "listed twice:")
