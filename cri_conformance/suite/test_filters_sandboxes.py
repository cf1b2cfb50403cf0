# SPDX-License-Identifier: Apache-2.0
"""ListPodSandbox: what is listed without a filter, and what each filter selects.

Every filter is held against the answer that a client would work out by itself from
what it knows of the population: first each field alone, with all of its values, then
generated ones with several fields. The kubelet finds its pods by such filters and by
nothing else.
"""

from __future__ import annotations

import itertools
import secrets
import uuid

import pytest

from cri_conformance.api import types
from cri_conformance.build.messages import POD_UID
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.population import TIER, Population, Wanted, several_fields
from cri_conformance.suite.views import differences
from cri_conformance.wire.identity import RUN_LABEL
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime

pytestmark = pytest.mark.xdist_group("population")


@clause("ListPodSandboxRequest.filter.absent-all")
def test_without_a_filter_all_are_listed(
    population: Population, runtime: Runtime, judge: Judge
) -> None:
    population.sandboxes.judge(judge, "ListPodSandboxRequest.filter.absent-all", runtime, None)


@clause("PodSandboxFilter.empty-matches-all")
def test_empty_filter_selects_all(population: Population, runtime: Runtime, judge: Judge) -> None:
    population.sandboxes.judge(judge, "PodSandboxFilter.empty-matches-all", runtime, Wanted())


@clause("PodSandboxFilter.id.only-that-one")
def test_id_selects_one(population: Population, runtime: Runtime, judge: Judge) -> None:
    for one in population.sandboxes.members:
        population.sandboxes.judge(
            judge, "PodSandboxFilter.id.only-that-one", runtime, Wanted(id=one.id)
        )


@clause("PodSandboxFilter.id.unknown-empty")
def test_unknown_id_selects_none(population: Population, runtime: Runtime, judge: Judge) -> None:
    unknown = secrets.token_hex(len(population.sandboxes.members[0].id) // 2)
    population.sandboxes.judge(
        judge, "PodSandboxFilter.id.unknown-empty", runtime, Wanted(id=unknown)
    )


@clause("PodSandboxFilter.id.prefix")
def test_beginning_of_an_id(population: Population, runtime: Runtime, judge: Judge) -> None:
    sandboxes = population.sandboxes
    whole = sandboxes.members[0].id
    outcome = runtime.call(sandboxes.rpc, sandboxes.request(Wanted(id=whole[: len(whole) // 2])))
    found = len(outcome.response.items) if isinstance(outcome, Ok) else outcome
    judge.record("PodSandboxFilter.id.prefix", f"half an id selects: {found}")


@pytest.mark.parametrize(
    ("clause_id", "state"),
    [
        pytest.param(name, state, marks=clause(name), id=name)
        for name, state in {
            "PodSandboxFilter.state.ready-only": types.SANDBOX_READY,
            "PodSandboxFilter.state.notready-only": types.SANDBOX_NOTREADY,
            "PodSandboxStateValue.state.zero-selects-ready": 0,
        }.items()
    ],
)
def test_state_selects_that_state(
    clause_id: str, state: int, population: Population, runtime: Runtime, judge: Judge
) -> None:
    population.sandboxes.judge(judge, clause_id, runtime, Wanted(state=state))


@clause("PodSandboxFilter.state.absent-any")
def test_without_a_state_any_state_is_selected(
    population: Population, runtime: Runtime, judge: Judge
) -> None:
    name = "PodSandboxFilter.state.absent-any"
    sandboxes = population.sandboxes
    run = (RUN_LABEL, runtime.workshop.run.nonce)
    sandboxes.judge(judge, name, runtime, Wanted(labels=(run,)))
    for one in sandboxes.members:
        sandboxes.judge(judge, name, runtime, Wanted(id=one.id))


@clause("PodSandboxFilter.label_selector.exact-pair")
def test_pair_selects_whole_values(population: Population, runtime: Runtime, judge: Judge) -> None:
    carried = [pair for pair in population.sandboxes.pairs() if pair[1]]
    # Near to what is carried, and carried by none.
    near = [(TIER, value) for value in ("f", "FRONT", "fronts", "ront")] + [("Tier", "front")]
    for pair in carried + near:
        population.sandboxes.judge(
            judge, "PodSandboxFilter.label_selector.exact-pair", runtime, Wanted(labels=(pair,))
        )


@clause("PodSandboxFilter.label_selector.pairs-anded")
def test_all_pairs_must_match(population: Population, runtime: Runtime, judge: Judge) -> None:
    for two in itertools.combinations(population.sandboxes.pairs(), 2):
        if two[0][0] != two[1][0]:
            population.sandboxes.judge(
                judge, "PodSandboxFilter.label_selector.pairs-anded", runtime, Wanted(labels=two)
            )


@clause("PodSandboxFilter.label_selector.empty-value")
def test_empty_value_is_a_value(population: Population, runtime: Runtime, judge: Judge) -> None:
    for key in (TIER, "nobody-has-this"):
        population.sandboxes.judge(
            judge,
            "PodSandboxFilter.label_selector.empty-value",
            runtime,
            Wanted(labels=((key, ""),)),
        )


@clause("PodSandboxFilter.label_selector.no-match-empty")
def test_uid_of_no_pod_selects_none(population: Population, runtime: Runtime, judge: Judge) -> None:
    population.sandboxes.judge(
        judge,
        "PodSandboxFilter.label_selector.no-match-empty",
        runtime,
        Wanted(labels=((POD_UID, str(uuid.uuid4())),)),
    )


@clause("PodSandboxFilter.fields-anded")
def test_all_fields_must_match(
    population: Population, runtime: Runtime, judge: Judge, explore: Explorer
) -> None:
    def check(wanted: Wanted) -> None:
        population.sandboxes.judge(judge, "PodSandboxFilter.fields-anded", runtime, wanted)

    explore(check, examples=60, wanted=several_fields(population.sandboxes))


@clause("RuntimeService.ListPodSandbox.each-once")
def test_no_sandbox_is_listed_twice(population: Population, runtime: Runtime, judge: Judge) -> None:
    sandboxes = population.sandboxes
    one = sandboxes.members[0]
    labels = tuple(one.labels.items())
    for wanted in (
        None,
        Wanted(),
        Wanted(id=one.id),
        Wanted(labels=labels),
        Wanted(id=one.id, state=one.state, labels=labels),
    ):
        ids = [item.id for item in runtime.get(sandboxes.rpc, sandboxes.request(wanted)).items]
        twice = sorted({found for found in ids if ids.count(found) > 1})
        judge.equal(
            "RuntimeService.ListPodSandbox.each-once", twice, [], f"twice {sandboxes.says(wanted)}:"
        )


@clause("RuntimeService.ListPodSandbox.agrees-with-status")
def test_list_and_status_agree(population: Population, runtime: Runtime, judge: Judge) -> None:
    name = "RuntimeService.ListPodSandbox.agrees-with-status"
    items = {item.id: item for item in runtime.get("ListPodSandbox").items}
    for one in population.sandboxes.members:
        status = runtime.sandbox_status(one.id)
        judge.that(
            name,
            one.id in items,
            permitted="an item for each sandbox that has a status",
            actual="none",
            about=[one.id],
        )
        if not (item := items.get(one.id)):
            continue  # a known violation
        for field in ("id", "metadata", "state", "created_at"):
            listed, told = getattr(item, field), getattr(status, field)
            judge.equal(name, listed, told, f"{field} in the list", about=[one.id])
        wrong = differences(item.labels, status.labels)
        wrong += differences(item.annotations, status.annotations)
        judge.equal(name, wrong, [], "labels and annotations:", about=[one.id])
