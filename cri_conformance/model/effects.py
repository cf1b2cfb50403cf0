# SPDX-License-Identifier: Apache-2.0
"""What each call of a history may have done to the objects of one name, by the table.

What a call does to one object is a part of it. Here stands which parts there are, where each may
be placed, and what it leads to; which of them comes first is searched for in ``orders``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cri_conformance.model.histories import MAKES, REMOVES, Event, History
from cri_conformance.model.states import (
    ABSENT,
    SHOWN,
    STANDING,
    ContainerState,
    SandboxState,
    State,
    Where,
)
from cri_conformance.model.table import LISTS, TABLE, Answer
from cri_conformance.model.world import Came

S, C = SandboxState, ContainerState

States = tuple[State, ...]
"""The states of the objects of one name, and behind them that of the sandbox they are in."""

_NEVER: frozenset[State] = frozenset({S.NEVER, C.NEVER})
_REMOVED: frozenset[State] = frozenset({S.REMOVED, C.REMOVED, C.SWEPT})
_GONE = _NEVER | _REMOVED
_STOPS = {"StopContainer", "StopPodSandbox"}
_REACHES_CONTAINERS = {"StopPodSandbox", "RemovePodSandbox"}
CONCURRENT_PODS = "RuntimeService.RunPodSandbox.concurrent-pods"
_NO = (Answer.REFUSED, Answer.NOT_FOUND)
#: What a state is come to by, where a clause speaks of several such calls at once.
_AT_ONCE: dict[State, tuple[str, str]] = {
    S.REMOVED: ("RemovePodSandbox", "concurrent-gone"),
    C.REMOVED: ("RemoveContainer", "concurrent-gone"),
    C.RUNNING: ("StartContainer", "concurrent"),
}


class Forbidden(Exception):
    """A call can't have been answered so where it was placed. ``clause`` says so, if any does."""

    def __init__(self, clause: str) -> None:
        super().__init__(clause)
        self.clause = clause


@dataclass(frozen=True, slots=True)
class Part:
    """What a call does to the object at a place in the states; None: to one that nobody knows.

    ``halfway`` comes before the rest of a removal, or does not come. ``judged``: its answer is.
    """

    event: Event
    place: int | None
    halfway: bool = False
    judged: bool = True


class Effects:
    """Of the calls on the objects of one name, in the sandbox of that id ("" for sandboxes)."""

    def __init__(
        self, history: History, name: str, sandbox: str, relaxed: frozenset[str] = frozenset()
    ) -> None:
        """What ``relaxed`` clauses forbid is let pass."""
        self._events = history.events
        self._name, self._sandbox, self._relaxed = name, sandbox, relaxed
        chosen = (name, sandbox)
        self._members = [one for one in history.subjects if (one.name, one.sandbox) == chosen]
        self._places = {one.id: place for place, one in enumerate(self._members)}
        self._pods = {one.id: one.name for one in history.subjects if not one.sandbox}
        # Where none is made it does not matter what the sandbox allows.
        made = any(one.call in MAKES and one.name == name for one in history.events)
        holder = [one for one in history.subjects if made and sandbox and one.id == sandbox]
        self.states: States = tuple(one.state for one in (*self._members, *holder))
        self.parts = [part for event in history.events for part in self._parts(event)]

    # -- parts -----------------------------------------------------------------------

    def _parts(self, event: Event) -> Iterator[Part]:
        if event.looks:
            for object_id in event.shown:
                if object_id in self._places and self._tells(event, object_id):
                    yield Part(event, self._places[object_id])
        elif event.call in MAKES:
            if (event.name, event.sandbox) == (self._name, self._sandbox):
                yield Part(event, self._places.get(event.about))
        elif event.about in self._places:
            yield from self._stages(event, self._places[event.about])
        elif event.about == self._sandbox and event.call in _REACHES_CONTAINERS:
            # Its answer is judged with the sandbox.
            for place in range(len(self.states)):
                yield from self._stages(event, place, judged=False)

    @staticmethod
    def _stages(event: Event, place: int, *, judged: bool = True) -> Iterator[Part]:
        if event.call in REMOVES:
            yield Part(event, place, halfway=True)
        yield Part(event, place, judged=judged)

    def _tells(self, look: Event, object_id: str) -> bool:
        """Whether a look says something of an object."""
        if look.came is not Came.OK:
            return False
        near = [one for one in self._events if not one.looks and look.meets(one)]
        return not any(
            (one.call in MAKES and one.name == self._name)
            or (one.came is not Came.OK and one.about in (object_id, self._sandbox))
            for one in near
        )

    # -- calls beside a call ---------------------------------------------------------

    def _beside(self, event: Event) -> set[str]:
        """Calls under way with it that change the same object, what holds it or what it holds."""
        return {
            other.call
            for other in self._events
            if not other.looks
            and event.meets(other)
            and self._pod(event) == self._pod(other)
            and (event.name == other.name or bool(event.sandbox) is not bool(other.sandbox))
        }

    def _pod(self, event: Event) -> str:
        return self._pods.get(event.sandbox, "") if event.sandbox else event.name

    def _all_succeed(self, event: Event) -> str:
        """The clause by which it succeeds with just these under way, "" if there is none."""
        beside = self._beside(event)
        if beside == {event.call} and event.call in _STOPS | REMOVES:
            return f"RuntimeService.{event.call}.concurrent"
        if event.call in _STOPS and beside <= _STOPS:
            # Of a stop beside stops of both kinds nobody knows which it was that it lost to.
            lost_to_its_like = event.call == "StopPodSandbox" and event.call in beside
            promise = "concurrent" if lost_to_its_like else "racing-stops"
            return f"RuntimeService.StopPodSandbox.{promise}"
        return ""

    def _several(self, call: str, object_id: str) -> bool:
        """Whether such calls on an object were under way at the same time."""
        calls = [one for one in self._events if one.call == call and one.about == object_id]
        return any(one.meets(other) for one in calls for other in calls)

    def _started_beside(self, event: Event) -> bool:
        """Whether a start that was refused went together with one that succeeded: then the
        container has been started, and did not fail to."""
        return event.call == "StartContainer" and any(
            (other.call, other.about, other.came) == (event.call, event.about, Came.OK)
            and event.meets(other)
            for other in self._events
        )

    def _escapes(self, event: Event, place: int) -> bool:
        """Whether a call about a sandbox may have missed the container at a place."""
        missed = {"CreateContainer"} | (
            {"StartContainer"} if event.call == "StopPodSandbox" else set()
        )
        return place < len(self._members) and any(
            other.call in missed and other.name == self._name and event.meets(other)
            for other in self._events
        )

    # -- what a part does ------------------------------------------------------------

    def after(self, part: Part, states: States) -> set[States]:
        """The states that a part may lead to. Raises Forbidden where it can't be placed."""
        if part.event.looks:
            self._look(part, states)
            return {states}
        if part.event.call in MAKES:
            return self._make(part, states)
        return self._act(part, states)

    def _forbid(self, clause: str) -> None:
        if clause not in self._relaxed:
            raise Forbidden(clause)

    def _look(self, part: Part, states: States) -> None:
        assert part.place is not None
        look, state, object_id = part.event, states[part.place], self._members[part.place].id
        shown, listed = look.shown[object_id], look.call in LISTS
        if shown in SHOWN[state]:
            return
        call, promise = _AT_ONCE.get(state, ("", ""))
        amid = any(look.meets(other) and not other.looks for other in self._events)
        if listed and shown == ABSENT and amid:
            self._forbid(f"RuntimeService.{look.call}.during-churn")
        elif call and self._several(call, object_id) and (listed or state is C.RUNNING):
            self._forbid(f"RuntimeService.{call}.{promise}")
        else:
            place = Where.LIST if listed else Where.STATUS
            broken = (
                one.clause
                for one in STANDING[state]
                if one.where.covers(place) and not one.permits(shown, SHOWN[state])
            )
            self._forbid(next(broken, ""))

    def _act(self, part: Part, states: States) -> set[States]:
        """After a call on an object that is there or was."""
        assert part.place is not None
        event, state = part.event, states[part.place]
        cell = TABLE.get((event.call, state))
        if cell is None:
            return {states}  # of a container that is not there yet
        if part.halfway:
            return _each(states, part.place, cell.after_refusal - _REMOVED or {state})
        busy = bool(self._beside(event))
        after = set(cell.after)
        if event.came is Came.OK:
            if cell.permitted in _NO:
                if part.judged and not busy:
                    self._forbid(cell.clause)
                after.add(state)
        elif event.came is Came.REFUSED:
            if part.judged and not (cell.permitted in _NO or cell.permitted is Answer.EITHER):
                self._refused(event, state)
            after = set(cell.after_refusal) | ({state} if busy else set())
            if self._started_beside(event):
                after = {state}
        if self._escapes(event, part.place):
            after.add(state)
        return _each(states, part.place, after)

    def _refused(self, event: Event, state: State) -> None:
        """Judge a refusal where in turn the call would have to succeed."""
        cell = TABLE[event.call, state]
        if cell.permitted is Answer.OK_OR_NOT_FOUND and event.code == "NOT_FOUND":
            return
        if not self._beside(event):
            self._forbid(cell.clause)
        elif clause := self._all_succeed(event):
            # With stops alone under way, what is gone was so before.
            self._forbid(cell.clause if state in _GONE and event.call in _STOPS else clause)

    def _make(self, part: Part, states: States) -> set[States]:
        """After a call that makes an object, or answers with one that is there."""
        event, there = part.event, states[: len(self._members)]
        #: What a container is made in; a sandbox is made in nothing.
        holder = states[-1] if self._sandbox else S.READY
        if event.came is Came.REFUSED:
            if holder is S.READY and not self._beside(event):
                self._not_made(event, there)
            return {states}
        if event.came is Came.UNKNOWN or part.place is None:
            return {states}
        if (state := states[part.place]) not in _GONE:
            if state is S.NOTREADY:
                self._forbid(f"RuntimeService.{event.call}.duplicate-of-stopped")
            return {states}
        self._new(event, holder, there)
        made = S.READY if not self._sandbox else C.CREATED if holder is S.READY else C.LEFT
        return _each(states, part.place, {made})

    def _not_made(self, event: Event, there: States) -> None:
        """Judge that an object was not made, with nothing else under way."""
        if event.call == "CreateContainer":
            # What is answered of a name that was in use is open.
            if set(there) <= _NEVER:
                self._forbid(TABLE[event.call, S.READY].clause)
        elif set(there) <= _GONE:
            before = S.REMOVED if S.REMOVED in there else S.NEVER
            in_company = any(one.call == event.call and event.meets(one) for one in self._events)
            self._forbid(CONCURRENT_PODS if in_company else TABLE[event.call, before].clause)

    def _new(self, event: Event, holder: State, there: States) -> None:
        """Judge that another object was made."""
        if self._sandbox and TABLE[event.call, holder].permitted in _NO:
            self._forbid(TABLE[event.call, holder].clause)
        for state in set(there) - _GONE:
            for promise in TABLE[event.call, state].promises:
                if promise.forbidden is not None:
                    continue  # of the state of the one that is answered with
                clause = promise.clause
                if clause.endswith(".duplicate-metadata") and event.call in self._beside(event):
                    clause = f"RuntimeService.{event.call}.concurrent-duplicates"
                self._forbid(clause)


def _each(states: States, place: int, after: Iterable[State]) -> set[States]:
    return {(*states[:place], one, *states[place + 1 :]) for one in after}
