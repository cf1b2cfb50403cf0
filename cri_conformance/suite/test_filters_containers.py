# SPDX-License-Identifier: Apache-2.0
"""ListContainers: what is listed without a filter, and what each filter selects.

As for sandboxes: each field alone with all of its values, then generated filters with
several, held against the client's own answer. A container that a filter misses is lost
to the kubelet: never stopped, never removed, its restarts never counted.
"""

from __future__ import annotations

import itertools
import secrets
import uuid
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.build.messages import POD_UID
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.population import ROLE, TIER, Population, Wanted, several_fields
from cri_conformance.wire.outcome import Ok, Refused
from cri_conformance.wire.runtime import Runtime

pytestmark = pytest.mark.xdist_group("population")


@clause("ListContainersRequest.filter.absent-lists-all")
def test_without_a_filter_all_are_listed(
    population: Population, runtime: Runtime, judge: Judge
) -> None:
    population.containers.judge(
        judge, "ListContainersRequest.filter.absent-lists-all", runtime, None
    )


@clause("ContainerFilter.empty-matches-all")
def test_empty_filter_selects_all(population: Population, runtime: Runtime, judge: Judge) -> None:
    population.containers.judge(judge, "ContainerFilter.empty-matches-all", runtime, Wanted())


@clause("ContainerFilter.id.full-id")
def test_id_selects_one(population: Population, runtime: Runtime, judge: Judge) -> None:
    for one in population.containers.members:
        population.containers.judge(judge, "ContainerFilter.id.full-id", runtime, Wanted(id=one.id))


@clause("ContainerFilter.id.unknown-empty")
def test_unknown_id_selects_none(population: Population, runtime: Runtime, judge: Judge) -> None:
    unknown = secrets.token_hex(len(population.containers.members[0].id) // 2)
    population.containers.judge(
        judge, "ContainerFilter.id.unknown-empty", runtime, Wanted(id=unknown)
    )


@clause("ContainerFilter.pod_sandbox_id.sandbox-only")
def test_sandbox_selects_its_containers(
    population: Population, runtime: Runtime, judge: Judge
) -> None:
    for sandbox in population.sandboxes.members:
        population.containers.judge(
            judge,
            "ContainerFilter.pod_sandbox_id.sandbox-only",
            runtime,
            Wanted(owner=sandbox.id),
        )


@clause("ContainerFilter.pod_sandbox_id.unknown-empty")
def test_unknown_sandbox_selects_none(
    population: Population, runtime: Runtime, judge: Judge
) -> None:
    unknown = secrets.token_hex(len(population.sandboxes.members[0].id) // 2)
    population.containers.judge(
        judge, "ContainerFilter.pod_sandbox_id.unknown-empty", runtime, Wanted(owner=unknown)
    )


@clause("ContainerFilter.id.prefix", "ContainerFilter.pod_sandbox_id.prefix")
def test_beginnings_of_ids(population: Population, runtime: Runtime, judge: Judge) -> None:
    one = population.containers.members[0]
    for name, wanted in {
        "ContainerFilter.id.prefix": Wanted(id=_half(one.id)),
        "ContainerFilter.pod_sandbox_id.prefix": Wanted(owner=_half(one.owner)),
    }.items():
        outcome = runtime.call("ListContainers", population.containers.request(wanted))
        found: Any = len(outcome.response.containers) if isinstance(outcome, Ok) else outcome
        judge.record(name, f"half an id selects: {found}")


def _half(whole: str) -> str:
    return whole[: len(whole) // 2]


@clause("ContainerFilter.state.exact-state")
@pytest.mark.parametrize(
    "state", ["CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED"], ids=str.lower
)
def test_state_selects_that_state(
    state: str, population: Population, runtime: Runtime, judge: Judge
) -> None:
    population.containers.judge(
        judge,
        "ContainerFilter.state.exact-state",
        runtime,
        Wanted(state=types.ContainerState.Value(state)),
    )


@clause("ContainerStateValue.state.zero-is-created")
def test_zero_selects_created(population: Population, runtime: Runtime, judge: Judge) -> None:
    population.containers.judge(
        judge, "ContainerStateValue.state.zero-is-created", runtime, Wanted(state=0)
    )


@clause("ContainerFilter.label_selector.exact-value")
def test_pair_selects_whole_values(population: Population, runtime: Runtime, judge: Judge) -> None:
    carried = [pair for pair in population.containers.pairs() if pair[1]]
    # Near to what is carried, and carried by none.
    near = [(TIER, value) for value in ("f", "FRONT", "fronts", "ront")] + [("Tier", "front")]
    for pair in carried + near:
        population.containers.judge(
            judge, "ContainerFilter.label_selector.exact-value", runtime, Wanted(labels=(pair,))
        )


@clause("ContainerFilter.label_selector.entries-anded")
def test_all_pairs_must_match(population: Population, runtime: Runtime, judge: Judge) -> None:
    for two in itertools.combinations(population.containers.pairs(), 2):
        if two[0][0] != two[1][0]:
            population.containers.judge(
                judge, "ContainerFilter.label_selector.entries-anded", runtime, Wanted(labels=two)
            )


@clause("ContainerFilter.label_selector.absent-label")
def test_label_that_is_not_there(population: Population, runtime: Runtime, judge: Judge) -> None:
    for pair in ((TIER, ""), ("nobody-has-this", ""), ("nobody-has-this", "web"), (ROLE, "")):
        population.containers.judge(
            judge, "ContainerFilter.label_selector.absent-label", runtime, Wanted(labels=(pair,))
        )


@clause("ContainerFilter.label_selector.unknown-empty")
def test_uid_of_no_pod_selects_none(population: Population, runtime: Runtime, judge: Judge) -> None:
    population.containers.judge(
        judge,
        "ContainerFilter.label_selector.unknown-empty",
        runtime,
        Wanted(labels=((POD_UID, str(uuid.uuid4())),)),
    )


@clause("ContainerFilter.fields-anded")
def test_all_fields_must_match(
    population: Population, runtime: Runtime, judge: Judge, explore: Explorer
) -> None:
    def check(wanted: Wanted) -> None:
        population.containers.judge(judge, "ContainerFilter.fields-anded", runtime, wanted)

    explore(check, examples=80, wanted=several_fields(population.containers))


@clause("ListContainersResponse.containers.no-duplicates")
def test_no_container_is_listed_twice(
    population: Population, runtime: Runtime, judge: Judge
) -> None:
    containers = population.containers
    one = containers.members[0]
    labels = tuple(one.labels.items())
    for wanted in (
        None,
        Wanted(),
        Wanted(id=one.id),
        Wanted(owner=one.owner),
        Wanted(id=one.id, labels=labels),
        Wanted(id=one.id, owner=one.owner, state=one.state, labels=labels),
    ):
        ids = [item.id for item in containers.listed(_list(runtime, population, wanted))]
        twice = sorted({found for found in ids if ids.count(found) > 1})
        judge.equal(
            "ListContainersResponse.containers.no-duplicates",
            twice,
            [],
            f"twice {containers.says(wanted)}:",
        )


def _list(runtime: Runtime, population: Population, wanted: Wanted | None) -> Any:
    return runtime.get("ListContainers", population.containers.request(wanted))


@clause("ListContainersResponse.containers.each-has-status")
def test_every_listed_container_has_a_status(
    population: Population, runtime: Runtime, judge: Judge
) -> None:
    listed = [item.id for item in runtime.get("ListContainers").containers]
    for container_id in listed:
        outcome = runtime.call("ContainerStatus", container_id=container_id)
        if isinstance(outcome, Refused) and not _still_listed(runtime, container_id):
            continue
        judge.ok("ListContainersResponse.containers.each-has-status", outcome)


def _still_listed(runtime: Runtime, container_id: str) -> bool:
    return any(item.id == container_id for item in runtime.get("ListContainers").containers)
