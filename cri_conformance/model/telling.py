# SPDX-License-Identifier: Apache-2.0
"""Which events are told of a container, by the states that the model has had it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cri_conformance.model.states import ContainerState, State

C = ContainerState

#: The kinds of events, in the order of a life.
CREATED, STARTED, STOPPED, DELETED = "created", "started", "stopped", "deleted"
KINDS = (CREATED, STARTED, STOPPED, DELETED)

_RAN = frozenset({C.RUNNING, C.EXITED, C.STOPPED})
_OVER = frozenset({C.EXITED, C.STOPPED, C.ENDED})
#: Where nobody says whether the end of what never ran is told.
_NEVER_RAN = frozenset({C.HALTED, C.FAILED, C.LEFT})
_CALL = "RuntimeService.GetContainerEvents"
_KIND = "ContainerEventType.CONTAINER_{}_EVENT"


@dataclass
class Tale:
    """What must and what may be told of one container by now, each once and in order."""

    must: set[str] = field(default_factory=lambda: {CREATED})
    may: set[str] = field(default_factory=lambda: {CREATED})
    #: Where it was last, as far as anybody knows.
    states: frozenset[State] = frozenset()
    #: Whether its end, if it had one, came by itself.
    by_itself: bool = False
    #: Whether its start may have failed.
    failed: bool = False

    def went(self, states: frozenset[State], *, mortal: bool) -> bool:
        """It is in one of these states now; whether that is news. ``mortal``: may end any time."""
        before = set(self.must), set(self.may)
        self.states = states
        if states & _RAN:
            self.may.add(STARTED)
        if states <= _RAN:
            self.must.add(STARTED)
        ends = C.REMOVED in states or (mortal and C.RUNNING in states)
        if states & (_OVER | _NEVER_RAN | {C.SWEPT}) or (ends and STARTED in self.may):
            self.may.add(STOPPED)
        if states <= _OVER and STARTED in self.must and STOPPED not in self.must:
            self.must.add(STOPPED)
            self.by_itself = states == {C.EXITED}
        if states & {C.REMOVED, C.SWEPT}:
            self.may.add(DELETED)
        # Whether anything is left of it after a start that failed is open.
        self.failed = self.failed or C.FAILED in states
        if states in ({C.REMOVED}, {C.SWEPT}) and not self.failed:
            self.must.add(DELETED)
        return before != (self.must, self.may)

    def complete(self, told: Sequence[str]) -> bool:
        """Whether all is told that must be."""
        return self.must <= set(told)

    def broken(self, told: Sequence[str]) -> str:
        """The clause that these events break, "" if none."""
        if missing := [kind for kind in KINDS if kind in self.must and kind not in told]:
            return self._missing(missing[0])
        if twice := {kind for kind in told if told.count(kind) > 1}:
            # Stops and removals are repeated, with nothing left to do.
            return f"{_CALL}.{'each-once' if twice & {STOPPED, DELETED} else 'matches-life'}"
        if extra := set(told) - self.may:
            failed = STARTED in extra and self.failed
            return _of(STARTED, "not-if-failed") if failed else f"{_CALL}.matches-life"
        if list(told) != sorted(told, key=KINDS.index):
            return f"{_CALL}.in-order"
        return ""

    def __str__(self) -> str:
        kinds = [kind if kind in self.must else f"perhaps {kind}" for kind in KINDS]
        return ", ".join(kind for kind in kinds if kind.split()[-1] in self.may)

    def _missing(self, kind: str) -> str:
        if kind == STOPPED and self.by_itself:
            return _of(kind, "by-itself")
        if kind == DELETED and self.states == {C.SWEPT}:
            return _of(kind, "with-sandbox")
        return _of(kind, "told")


def _of(kind: str, promise: str) -> str:
    return f"{_KIND.format(kind.upper())}.{promise}"
