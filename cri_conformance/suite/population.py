# SPDX-License-Identifier: Apache-2.0
"""Sandboxes and containers to filter, and the answer that a filter should give.

One population serves all filter tests, which only look at it. What it holds is known
from how it was made and not from the lists that are judged: ids from the calls that
made them, labels as they were sent, states by what was done. Objects of others may be
in the runtime too; of them only what they show of themselves is held against a filter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from cri_conformance.api import types
from cri_conformance.expect import Judge
from cri_conformance.wire.outcome import Outcome
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

TIER, ZONE, ROLE = "tier", "filters.example/zone", "role"
#: Values that are near to each other: parts, other case, empty. None: the label is not there.
TIERS = ("front", "Front", "fro", "", None)
ZONES = ("a", "b", None)
ROLES = ("web", "db")

_SANDBOXES = 15
_STOPPED = frozenset({1, 4, 6, 11, 13})
_CONTAINERS = 30


@dataclass(frozen=True, slots=True)
class Member:
    """One object of the population. ``owner`` is a container's sandbox."""

    id: str
    state: int
    labels: Mapping[str, str]
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter. What is None isn't set; ``labels`` is never None, as a map can't be absent."""

    id: str | None = None
    state: int | None = None
    owner: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def allows(self, item: Member) -> bool:
        """Whether an object meets every field that is set: the client's own answer."""
        return (
            self.id in (None, item.id)
            and self.state in (None, item.state)
            and self.owner in (None, item.owner)
            and all(item.labels.get(key) == value for key, value in self.labels)
        )


@dataclass(frozen=True)
class Kind:
    """One kind of object, how it is listed, and those that there are."""

    rpc: str
    members: tuple[Member, ...]

    def request(self, wanted: Wanted | None) -> Any:
        """The list request with a filter; None for one without."""
        if self.rpc == "ListPodSandbox":
            request: Any = types.ListPodSandboxRequest()
        else:
            request = types.ListContainersRequest()
        if wanted is None:
            return request
        request.filter.SetInParent()
        if wanted.id is not None:
            request.filter.id = wanted.id
        if wanted.owner is not None:
            request.filter.pod_sandbox_id = wanted.owner
        if wanted.state is not None:
            # Set even where it is zero: that is what the wrapper is for.
            request.filter.state.SetInParent()
            request.filter.state.state = wanted.state
        request.filter.label_selector.update(wanted.labels)
        return request

    def listed(self, response: Any) -> list[Any]:
        """The items of an answer."""
        return list(response.items if self.rpc == "ListPodSandbox" else response.containers)

    def ids(self, wanted: Wanted | None) -> set[str]:
        """The ids of the population's members that a filter should select."""
        return {one.id for one in self.members if wanted is None or wanted.allows(one)}

    def pairs(self) -> list[tuple[str, str]]:
        """Every label that some member carries, but for those that all have."""
        chosen = {
            (key, value)
            for one in self.members
            for key, value in one.labels.items()
            if key in (TIER, ZONE, ROLE)
        }
        return sorted(chosen)

    def judge(self, judge: Judge, clause_id: str, runtime: Runtime, wanted: Wanted | None) -> None:
        """The list must hold just what the filter selects."""
        outcome: Outcome = runtime.call(self.rpc, self.request(wanted))
        response = judge.response(clause_id, outcome)
        items = self.listed(response)
        ids = {item.id for item in items}
        expected = self.ids(wanted)
        members = self.ids(None)
        strangers = [shown(item) for item in items if item.id not in members]
        missing = sorted(expected - ids)
        surplus = [one for one in self.members if one.id in ids - expected]
        surplus += [one for one in strangers if wanted and not wanted.allows(one)]
        judge.that(
            clause_id,
            not missing and not surplus,
            permitted=f"{self.says(wanted)}: the {len(expected)} that match of the population's "
            f"{len(members)}, and no other that does not match",
            actual=f"{len(missing)} missing{self._some(missing)}, {len(surplus)} that do not match"
            + self._some([one.id for one in surplus]),
            about=[*missing[:2], *(one.id for one in surplus[:2])],
        )

    def says(self, wanted: Wanted | None) -> str:
        """A filter in words."""
        if wanted is None:
            return "without a filter"
        fields = {"id": wanted.id, "pod_sandbox_id": wanted.owner}
        shown = [f"{name} {value[:12]}…" for name, value in fields.items() if value is not None]
        if wanted.state is not None:
            shown.append(self._state(wanted.state))
        shown += [f"{key}={value!r}" for key, value in wanted.labels]
        return f"with the filter {', '.join(shown) or 'that is empty'}"

    def _some(self, ids: list[str]) -> str:
        known = {one.id: one for one in self.members}
        few = []
        for name in ids[:3]:
            one = known.get(name)
            labels = {k: v for k, v in one.labels.items() if k in (TIER, ZONE, ROLE)} if one else {}
            few.append(f"{name[:12]} {self._state(one.state)} {labels}" if one else name[:12])
        return f" ({'; '.join(few)}{'; …' if len(ids) > 3 else ''})" if few else ""

    def _state(self, state: int) -> str:
        enum: Any = types.PodSandboxState if self.rpc == "ListPodSandbox" else types.ContainerState
        return str(enum.Name(state))


def shown(item: Any) -> Member:
    """An item of a list, by what it says of itself."""
    owner = getattr(item, "pod_sandbox_id", "")
    return Member(item.id, item.state, dict(item.labels), owner)


@st.composite
def several_fields(draw: st.DrawFn, kind: Kind) -> Wanted:
    """Filters with at least two fields, mostly of one member, so that something matches."""
    owned = any(one.owner for one in kind.members)
    names = ["id", "state", "labels", *(["owner"] if owned else [])]
    fields = draw(st.lists(st.sampled_from(names), min_size=2, unique=True))
    anyone = st.sampled_from(kind.members)
    target = draw(anyone)
    of = {name: draw(st.one_of(st.just(target), st.just(target), anyone)) for name in fields}
    labels: list[tuple[str, str]] = []
    if "labels" in of:
        carried = st.sampled_from(sorted(of["labels"].labels.items()))
        labels = draw(st.lists(carried, min_size=1, max_size=3, unique=True))
    return Wanted(
        id=of["id"].id if "id" in of else None,
        state=of["state"].state if "state" in of else None,
        owner=of["owner"].owner if "owner" in of else None,
        labels=tuple(labels),
    )


@dataclass(frozen=True)
class Population:
    """All that there is to filter."""

    sandboxes: Kind
    containers: Kind


def settle(runtime: Runtime) -> Population:
    """Make the population. Raises SetupFailed."""
    homes = [
        runtime.sandbox(labels=_labels(n), annotations={"number": str(n)})
        for n in range(_SANDBOXES)
    ]
    containers = list(_settle_containers(runtime, homes))
    for n in _STOPPED:
        runtime.get("StopPodSandbox", pod_sandbox_id=homes[n].id)
    states = [
        types.SANDBOX_NOTREADY if n in _STOPPED else types.SANDBOX_READY for n in range(_SANDBOXES)
    ]
    sandboxes = [
        Member(home.id, state, dict(home.config.labels))
        for home, state in zip(homes, states, strict=True)
    ]
    return Population(
        Kind("ListPodSandbox", tuple(sandboxes)), Kind("ListContainers", tuple(containers))
    )


def _settle_containers(runtime: Runtime, homes: list[Sandbox]) -> Iterable[Member]:
    made: list[tuple[Container, types.ContainerState.ValueType]] = []
    for n in range(_CONTAINERS):
        # Some sandboxes have none, others several; what a stopped sandbox holds has exited,
        # as nothing is said of what becomes of its other containers but that they don't run.
        place = n % (_SANDBOXES - 3)
        states = (types.CONTAINER_CREATED, types.CONTAINER_RUNNING, types.CONTAINER_EXITED)
        state = types.CONTAINER_EXITED if place in _STOPPED else states[(n + n // 7) % 3]
        labels = _labels(n)
        if state == types.CONTAINER_CREATED:
            container = runtime.container(homes[place], labels=labels)
        elif state == types.CONTAINER_RUNNING:
            container = runtime.running(homes[place], labels=labels)
        else:
            container = runtime.running(homes[place], "exit 0", labels=labels)
        made.append((container, state))
    for container, state in made:
        if state == types.CONTAINER_EXITED:
            runtime.wait_exited(container.id)
        yield Member(container.id, state, dict(container.config.labels), container.sandbox.id)


def _labels(n: int) -> dict[str, str]:
    given = {TIER: TIERS[n % 5], ZONE: ZONES[n % 3], ROLE: ROLES[n // 2 % 2]}
    return {key: value for key, value in given.items() if value is not None}
