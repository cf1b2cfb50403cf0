# SPDX-License-Identifier: Apache-2.0
"""The cheap equalities: what was sent = status = list = attributes of the figures, at any time.

They cost no call but the two lists of figures: lists and statuses are those that the look at
everything has brought anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cri_conformance.api import types
from cri_conformance.model.states import ContainerState, SandboxState, State
from cri_conformance.suite.shown import in_a_word, state_name, status_shown
from cri_conformance.suite.stepper import STEPPER_LABEL, Stepper
from cri_conformance.wire.outcome import Ok, Outcome

#: Part of an object → the clauses on it in status, list and attributes.
_CONTAINER = {
    "name": ("ContainerMetadata.name.in-status", "ContainerMetadata.name.in-list"),
    "attempt": ("ContainerMetadata.attempt.in-status", "ContainerMetadata.attempt.in-list"),
    "labels": ("ContainerStatus.labels.as-sent", "Container.labels.as-sent"),
    "annotations": ("ContainerStatus.annotations.unaltered", "Container.annotations.unaltered"),
}
_SANDBOX = {
    "name": ("PodSandboxMetadata.name.in-status", "PodSandboxMetadata.name.in-list"),
    "attempt": ("PodSandboxMetadata.attempt.in-status", "PodSandboxMetadata.attempt.in-list"),
    "uid": ("PodSandboxMetadata.uid.in-status", "PodSandboxMetadata.uid.in-list"),
    "namespace": (
        "PodSandboxMetadata.namespace.in-status",
        "PodSandboxMetadata.namespace.in-list",
    ),
    "labels": ("PodSandboxStatus.labels.as-sent", "PodSandbox.labels.as-sent"),
    "annotations": ("PodSandboxStatus.annotations.identical", "PodSandbox.annotations.identical"),
}
_REMOVED = (SandboxState.REMOVED, ContainerState.REMOVED, ContainerState.SWEPT)
_ORDER = ("CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED")


@dataclass
class Looker(Stepper):
    """A stepper that also holds the equalities after each look."""

    #: Names for which a call was given up that makes something. What has one of them and was
    #: never answered may come and go at any moment: nothing is said of it.
    given_up: set[str] = field(default_factory=set)
    _items: dict[str, Any] = field(default_factory=dict)
    _statuses: dict[str, Any] = field(default_factory=dict)
    _created: dict[str, int] = field(default_factory=dict)
    _no_figures: set[str] = field(default_factory=set)

    def look(self, *also: str) -> None:
        self._statuses.clear()
        super().look(*also, *self._lately_removed())
        for object_id, status in self._statuses.items():
            self._equal(object_id, status)
        if self.answered == "OK":
            # What a refused call has left as it was, the last look has compared.
            for call in ("ListContainerStats", "ListPodSandboxStats"):
                self._figures(call)

    def _lately_removed(self) -> list[str]:
        """The sandbox and the container that went last: what is gone has to stay so."""
        last: dict[bool, str] = {}
        for object_id, thing in self.world.things.items():
            if thing.within(*_REMOVED):
                last[object_id in self.sandboxes] = object_id
        return list(last.values())

    # -- steps whose answer is open --------------------------------------------------

    def create_open(self, sandbox_id: str, config: types.ContainerConfig) -> str:
        """A new container whose config the runtime may refuse, now or when it starts."""
        sandbox = self.sandboxes[sandbox_id]
        ready = self.world.thing(sandbox_id).within(SandboxState.READY)
        outcome = self.runtime.create(sandbox, config)
        self._judged("CreateContainer", sandbox_id, outcome, silent=True)
        self._stray = "RuntimeService.CreateContainer.failed-not-listed"
        state = ContainerState.CREATED if ready else ContainerState.LEFT
        made = self._new_container(outcome, config, sandbox, state, False)
        if made and ready:
            self.world = self.world.maybe(made, ContainerState.DOOMED)
        return made

    def run_open(self, config: types.PodSandboxConfig) -> str:
        """A new sandbox whose config the runtime may refuse."""
        outcome = self.runtime.run_sandbox(config)
        self.answered = in_a_word(outcome)
        self._stray = "RuntimeService.RunPodSandbox.failed-not-ready"
        return self._new_sandbox(outcome, config)

    def refused(self, clause: str, outcome: Outcome, about: str = "") -> None:
        """The call must have failed."""
        self.answered = in_a_word(outcome)
        if clause in self.judge.bound:
            self.judge.refused(clause, outcome, about=(about,) if about else ())

    def open_call(self, call: str, object_id: str, **fields: Any) -> Outcome:
        """A call that changes no state: refused of an object that is gone, else open."""
        name = "pod_sandbox_id" if object_id in self.sandboxes else "container_id"
        given: dict[str, Any] = {name: object_id, **fields}
        gone = self.world.thing(object_id).gone
        self._stray = ""
        outcome = self.runtime.call(call, **given)
        self.answered = in_a_word(outcome)
        if gone and self.answered != "UNIMPLEMENTED":
            self.refused(f"RuntimeService.{call}.absent-error", outcome, object_id)
        return outcome

    def filtered(self, container_id: str, sandbox_id: str, state: int) -> None:
        """ListContainers by several fields: just what meets them all of what the list has."""
        asked = types.ContainerFilter(
            id=container_id,
            pod_sandbox_id=sandbox_id,
            label_selector={STEPPER_LABEL: self.label},
        )
        if state >= 0:
            asked.state.state = types.ContainerState.ValueType(state)
        before = self.runtime.get("ListContainers").containers
        outcome = self.runtime.call("ListContainers", filter=asked)
        self.answered = in_a_word(outcome)
        if not isinstance(outcome, Ok):
            return
        # What ends by itself may have done so between the two.
        changing = {thing.id for thing in self.world.things.values() if thing.mortal}
        wanted = {
            item.id
            for item in before
            if item.labels.get(STEPPER_LABEL) == self.label
            and not self._open(item)
            and container_id in ("", item.id)
            and sandbox_id in ("", item.pod_sandbox_id)
            and state in (-1, item.state)
        }
        found = {item.id for item in outcome.response.containers if not self._open(item)}
        self._that(
            "ContainerFilter.fields-anded",
            wanted - changing == found - changing,
            f"just {len(wanted - changing)} of the list: those that meet every field",
            f"{len(found - wanted)} that do not, and {len(wanted - found - changing)} missing",
            container_id or sandbox_id,
        )

    # -- what the look brings is kept ------------------------------------------------

    def _listed(self, call: str) -> dict[str, str]:
        answer = self.runtime.get(call)
        sandboxes = call == "ListPodSandbox"
        own = {
            item.id: item
            for item in (answer.items if sandboxes else answer.containers)
            if item.id in self.world.things
            or (item.labels.get(STEPPER_LABEL) == self.label and not self._open(item))
        }
        self._items.update(own)
        kind = types.PodSandboxState if sandboxes else types.ContainerState
        return {name: state_name(kind, item.state) for name, item in own.items()}

    def _open(self, item: Any) -> bool:
        """Whether it may be what came of a call that was given up."""
        return item.metadata.name in self.given_up and item.id not in self.world.things

    def _sandbox_status(self, sandbox_id: str) -> str:
        outcome = self.runtime.call("PodSandboxStatus", pod_sandbox_id=sandbox_id)
        return self._kept(sandbox_id, outcome, types.PodSandboxState)

    def _container_status(self, container_id: str) -> str:
        outcome = self.runtime.call("ContainerStatus", container_id=container_id)
        return self._kept(container_id, outcome, types.ContainerState)

    def _kept(self, object_id: str, outcome: Outcome, kind: Any) -> str:
        if isinstance(outcome, Ok):
            self._statuses[object_id] = outcome.response.status
        return status_shown(outcome, kind)

    # -- comparing -------------------------------------------------------------------

    def _equal(self, object_id: str, status: Any) -> None:
        container = object_id in self.containers
        made: Any = self.containers.get(object_id) or self.sandboxes.get(object_id)
        item = self._items.get(object_id)
        if made is None or object_id not in self.world.things:
            return
        sent = _parts(made.config)
        for part, (in_status, in_list) in (_CONTAINER if container else _SANDBOX).items():
            for clause, shown in ((in_status, status), (in_list, item)):
                if shown is not None:
                    self._part(clause, part, sent[part], _parts(shown)[part], object_id)
        if item is not None:
            clause = (
                "Container.created_at.agrees-with-status"
                if container
                else "RuntimeService.ListPodSandbox.agrees-with-status"
            )
            self._that(
                clause,
                item.created_at == status.created_at,
                f"created_at {item.created_at}, as in the list",
                f"{status.created_at} in the status",
                object_id,
            )
            if container:
                self._later(object_id, item, status)
        first = self._created.setdefault(object_id, status.created_at)
        self._that(
            "ContainerStatus.created_at.immutable"
            if container
            else "PodSandboxStatus.created_at.stable",
            status.created_at == first,
            f"created_at {first}, as before",
            str(status.created_at),
            object_id,
        )

    def _later(self, object_id: str, item: Any, status: Any) -> None:
        listed, shown = (state_name(types.ContainerState, one.state) for one in (item, status))
        if listed in _ORDER and shown in _ORDER:
            self._that(
                "Container.state.agrees-with-status",
                _ORDER.index(listed) <= _ORDER.index(shown),
                f"no state before {listed}, which the list has shown",
                shown,
                object_id,
            )

    def _part(self, clause: str, part: str, sent: Any, shown: Any, object_id: str) -> None:
        if part == "labels":
            # A runtime may add some.
            missing = {key: value for key, value in sent.items() if shown.get(key) != value}
            self._that(clause, not missing, "all labels as sent", f"other: {missing}", object_id)
        else:
            self._that(clause, sent == shown, f"{part} {sent!r}", repr(shown), object_id)

    def _figures(self, call: str) -> None:
        """The attributes of the figures are those of the status."""
        if call in self._no_figures:
            return
        outcome = self.runtime.call(call, filter={"label_selector": {STEPPER_LABEL: self.label}})
        if not isinstance(outcome, Ok):
            # What this call owes is judged elsewhere; a runtime may not have it.
            self._no_figures.add(call)
            return
        kind = "Container" if call == "ListContainerStats" else "PodSandbox"
        for one in outcome.response.stats:
            status = self._statuses.get(one.attributes.id)
            if status is None:
                continue
            for part in ("metadata", "labels"):
                self._that(
                    f"{kind}Attributes.{part}.as-status",
                    getattr(one.attributes, part) == getattr(status, part),
                    f"{part} as in the status",
                    str(getattr(one.attributes, part)),
                    one.attributes.id,
                )


def _parts(shown: Any) -> Mapping[str, Any]:
    metadata = shown.metadata
    return {
        "name": metadata.name,
        "attempt": metadata.attempt,
        "uid": getattr(metadata, "uid", ""),
        "namespace": getattr(metadata, "namespace", ""),
        "labels": dict(shown.labels),
        "annotations": dict(shown.annotations),
    }


def names_of(states: frozenset[State]) -> str:
    """States in words."""
    return " or ".join(sorted(state.value for state in states))
