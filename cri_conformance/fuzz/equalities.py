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
from cri_conformance.model.states import State
from cri_conformance.suite.shown import state_name, status_shown
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
_ORDER = ("CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED")


@dataclass
class Looker(Stepper):
    """A stepper that also holds the equalities after each look."""

    _items: dict[str, Any] = field(default_factory=dict)
    _statuses: dict[str, Any] = field(default_factory=dict)
    _created: dict[str, int] = field(default_factory=dict)
    _no_figures: set[str] = field(default_factory=set)

    def look(self, *also: str) -> None:
        self._statuses.clear()
        super().look(*also)
        for object_id, status in self._statuses.items():
            self._equal(object_id, status)
        for call in ("ListContainerStats", "ListPodSandboxStats"):
            self._figures(call)

    # -- what the look brings is kept ------------------------------------------------

    def _listed(self, call: str) -> dict[str, str]:
        answer = self.runtime.get(call)
        sandboxes = call == "ListPodSandbox"
        own = {
            item.id: item
            for item in (answer.items if sandboxes else answer.containers)
            if item.id in self.world.things or item.labels.get(STEPPER_LABEL) == self.label
        }
        self._items.update(own)
        kind = types.PodSandboxState if sandboxes else types.ContainerState
        return {name: state_name(kind, item.state) for name, item in own.items()}

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
