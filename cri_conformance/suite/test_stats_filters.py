# SPDX-License-Identifier: Apache-2.0
"""What the filters of ListContainerStats and ListPodSandboxStats select.

Only of containers that run, and of sandboxes that are ready, it is said that they are
listed: what else matches may be there or not. What does not match must not be there.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import pytest

from cri_conformance.build.messages import POD_UID
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.measured import ROLE, TIER, Measured, blameless, supported
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime

pytestmark = pytest.mark.xdist_group("measured")


@dataclass(frozen=True, slots=True)
class Member:
    """One object. ``owner`` is a container's sandbox; ``sure`` ones must be listed if chosen."""

    id: str
    owner: str
    labels: Mapping[str, str]
    sure: bool


#: A filter by its fields.
Filter = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """One of the two calls, its filter's message, and all that it can list."""

    rpc: str
    filter: str
    members: tuple[Member, ...]

    def judge(self, judge: Judge, name: str, runtime: Runtime, wanted: Filter) -> None:
        """The list must hold what the filter selects, and nothing else."""
        clause_id = f"{self.filter}.{name}"
        outcome = runtime.call(self.rpc, filter=wanted)
        response = judge.response(clause_id, supported(outcome, self.rpc))
        found = {stats.attributes.id: dict(stats.attributes.labels) for stats in response.stats}
        chosen = {one.id for one in self.members if _allows(wanted, one)}
        missing = {one.id for one in self.members if one.sure} & chosen - found.keys()
        surplus = {one.id for one in self.members} & found.keys() - chosen
        # Of others only what they show of themselves can be held against the filter.
        strangers = found.keys() - {one.id for one in self.members}
        surplus |= {
            one
            for one in strangers
            if not _allows(wanted, Member(one, wanted.get("pod_sandbox_id", ""), found[one], True))
        }
        judge.that(
            clause_id,
            not missing and not surplus,
            permitted=f"with the filter {wanted or 'that is empty'}: what matches, and only that",
            actual=f"{len(missing)} missing, {len(surplus)} that do not match",
            about=[*missing, *surplus],
        )


def _allows(wanted: Filter, one: Member) -> bool:
    return (
        wanted.get("id", one.id) == one.id
        and wanted.get("pod_sandbox_id", one.owner) == one.owner
        and all(one.labels.get(k) == v for k, v in wanted.get("label_selector", {}).items())
    )


_KINDS = ("ListContainerStats", "ListPodSandboxStats")
_FILTERS = {
    "ListContainerStats": "ContainerStatsFilter",
    "ListPodSandboxStats": "PodSandboxStatsFilter",
}


def _listing(measured: Measured, rpc: str) -> Listing:
    sure = measured.running if rpc == "ListContainerStats" else measured.ready
    every: Any = measured.containers if rpc == "ListContainerStats" else measured.pods
    members = [
        Member(
            one.id,
            one.sandbox.id if rpc == "ListContainerStats" else "",
            dict(one.config.labels),
            name in sure,
        )
        for name, one in every.items()
    ]
    return Listing(rpc, _FILTERS[rpc], tuple(members))


def _both(*names: str) -> pytest.MarkDecorator:
    """A test of both calls, bound to the clauses of each one's filter."""
    return pytest.mark.parametrize(
        "rpc",
        [
            pytest.param(rpc, marks=clause(*(f"{_FILTERS[rpc]}.{name}" for name in names)), id=rpc)
            for rpc in _KINDS
        ],
    )


@_both("id.full-id", "id.unknown-empty", "id.prefix")
def test_by_id(runtime: Runtime, measured: Measured, judge: Judge, rpc: str) -> None:
    listing = _listing(measured, rpc)
    for one in listing.members:
        listing.judge(judge, "id.full-id", runtime, {"id": one.id})
    listing.judge(judge, "id.unknown-empty", runtime, {"id": secrets.token_hex(32)})
    half = listing.members[0].id[:32]
    outcome = runtime.call(rpc, filter={"id": half})
    found: Any = len(outcome.response.stats) if isinstance(outcome, Ok) else outcome
    judge.record(f"{listing.filter}.id.prefix", f"half an id selects: {found}")


@clause(
    "ContainerStatsFilter.pod_sandbox_id.sandbox-only",
    "ContainerStatsFilter.pod_sandbox_id.unknown-empty",
    "ContainerStatsFilter.pod_sandbox_id.prefix",
)
def test_by_sandbox(runtime: Runtime, measured: Measured, judge: Judge) -> None:
    listing = _listing(measured, "ListContainerStats")
    for pod in measured.pods.values():
        listing.judge(judge, "pod_sandbox_id.sandbox-only", runtime, {"pod_sandbox_id": pod.id})
    unknown = {"pod_sandbox_id": secrets.token_hex(32)}
    listing.judge(judge, "pod_sandbox_id.unknown-empty", runtime, unknown)
    half = measured.pods["work"].id[:32]
    outcome = runtime.call("ListContainerStats", filter={"pod_sandbox_id": half})
    found: Any = len(outcome.response.stats) if isinstance(outcome, Ok) else outcome
    judge.record("ContainerStatsFilter.pod_sandbox_id.prefix", f"half an id selects: {found}")


@_both(
    "label_selector.exact-value",
    "label_selector.entries-anded",
    "label_selector.absent-label",
)
def test_by_labels(runtime: Runtime, measured: Measured, judge: Judge, rpc: str) -> None:
    listing = _listing(measured, rpc)

    def by(name: str, **labels: str) -> None:
        listing.judge(judge, f"label_selector.{name}", runtime, {"label_selector": labels})

    for tier in ("front", "Front", "fro", "f"):
        by("exact-value", **{TIER: tier})
    for role, tier in product(("web", "db"), ("front", "Front", "nobodys")):
        by("entries-anded", **{ROLE: role, TIER: tier})
    for key in (TIER, ROLE, "nobody-has-this"):
        by("absent-label", **{key: ""})


@_both("label_selector.unknown-empty")
def test_by_labels_of_none(runtime: Runtime, measured: Measured, judge: Judge, rpc: str) -> None:
    unknown = {"label_selector": {POD_UID: str(uuid.uuid4())}}
    _listing(measured, rpc).judge(judge, "label_selector.unknown-empty", runtime, unknown)


@_both("fields-anded")
def test_all_fields_must_match(
    runtime: Runtime, measured: Measured, judge: Judge, rpc: str
) -> None:
    listing = _listing(measured, rpc)
    for wanted in _several(listing, measured):
        listing.judge(judge, "fields-anded", runtime, wanted)


def _several(listing: Listing, measured: Measured) -> Iterator[Filter]:
    """Filters of two fields and more, of one object and of two that differ."""
    for one, other in combinations(listing.members[:4], 2):
        labels = {key: one.labels[key] for key in (TIER, ROLE) if key in one.labels}
        for target in (one, other):
            yield {"id": target.id, "label_selector": labels}
            if one.owner:
                yield {"id": one.id, "pod_sandbox_id": target.owner}
                yield {"pod_sandbox_id": target.owner, "label_selector": labels}
                yield {"id": one.id, "pod_sandbox_id": target.owner, "label_selector": labels}


@clause("ContainerStatsFilter.empty-matches-all")
def test_empty_filter_selects_all_containers(
    runtime: Runtime, measured: Measured, judge: Judge
) -> None:
    _listing(measured, "ListContainerStats").judge(judge, "empty-matches-all", runtime, {})


@clause("PodSandboxStatsFilter.empty-matches-all")
def test_empty_filter_selects_all_sandboxes(
    runtime: Runtime, measured: Measured, judge: Judge
) -> None:
    outcome = supported(runtime.call("ListPodSandboxStats", filter={}), "ListPodSandboxStats")
    if not isinstance(outcome, Ok) and (reason := blameless(runtime)):
        judge.skip(*reason)
    _listing(measured, "ListPodSandboxStats").judge(judge, "empty-matches-all", runtime, {})
