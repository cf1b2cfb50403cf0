# SPDX-License-Identifier: Apache-2.0
"""A world: every object that calls were made about, and what may be true of it now.

Nothing of a world ever changes; each event gives a new one. Of each object a world holds
the *set* of states that it may be in. A call whose outcome is known leads each of them to
where the table says; one without an answer may have happened or not, so that both stay
possible. What is then seen narrows the set. A set that nothing narrows is never an
accusation: an answer is judged only if all the states that are possible agree on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

from cri_conformance.model.states import (
    SHOWN,
    ContainerState,
    Promise,
    SandboxState,
    State,
    Where,
    shown_of,
    standing,
)
from cri_conformance.model.table import TABLE, Cell, Rule

#: Calls that promise in so many words to leave other objects alone.
_OTHERS_UNTOUCHED = frozenset(
    {"StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer"}
)
#: Calls on a sandbox that reach its containers.
_REACHES_CONTAINERS = frozenset({"StopPodSandbox", "RemovePodSandbox"})


class Came(Enum):
    """What came of a call."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "no answer"


@dataclass(frozen=True, slots=True)
class Thing:
    """A sandbox, or a container of ``sandbox``. ``mortal``: its process ends by itself.

    ``promises`` are those that the last call made about it.
    """

    id: str
    states: frozenset[State]
    sandbox: str = ""
    mortal: bool = False
    promises: tuple[Promise, ...] = ()

    @property
    def shown(self) -> frozenset[str]:
        """What may be shown of it."""
        return shown_of(self.states)

    @property
    def gone(self) -> bool:
        """Whether it is surely removed."""
        return self.states <= _GONE

    def within(self, *states: State) -> bool:
        """Whether it is surely in one of these states."""
        return self.states <= set(states)


_GONE: frozenset[State] = frozenset(
    {
        SandboxState.NEVER,
        SandboxState.REMOVED,
        ContainerState.NEVER,
        ContainerState.REMOVED,
        ContainerState.SWEPT,
    }
)


@dataclass(frozen=True, slots=True)
class Expected:
    """A clause on what one place shows of an object, and what it permits there."""

    clause: str
    promise: Promise
    shown: frozenset[str]

    def permits(self, shown: str) -> bool:
        return self.promise.permits(shown, self.shown)

    def __str__(self) -> str:
        if self.promise.forbidden is not None:
            return f"anything but {' or '.join(sorted(self.promise.forbidden))}"
        return " or ".join(sorted(self.shown))


@dataclass(frozen=True)
class World:
    """All things by id."""

    things: Mapping[str, Thing] = field(default_factory=lambda: MappingProxyType({}))

    # -- what is asked of it ---------------------------------------------------------

    def thing(self, object_id: str) -> Thing:
        """Raises KeyError for an id that the world has not."""
        return self.things[object_id]

    def containers(self, sandbox: str) -> list[Thing]:
        """The containers of a sandbox, those gone among them."""
        return [thing for thing in self.things.values() if thing.sandbox == sandbox]

    def cells(self, call: str, object_id: str) -> list[Cell]:
        """The cells of the table for each state that an object may be in."""
        return [TABLE[call, state] for state in self.things[object_id].states]

    def rules(self, call: str, object_id: str) -> tuple[Rule, ...]:
        """The clauses on the answer, in whichever possible state the object is."""
        first, *others = self.cells(call, object_id)
        return tuple(rule for rule in first.rules if all(rule in cell.rules for cell in others))

    def expected(self, object_id: str, place: Where) -> list[Expected]:
        """What must be shown of an object in status or list: the last call's promises first."""
        thing = self.things[object_id]
        promises = dict.fromkeys((*thing.promises, *standing(thing.states)))
        return [
            Expected(promise.clause, promise, thing.shown)
            for promise in promises
            if promise.where.covers(place)
        ]

    def shown(self) -> dict[str, str]:
        """The predicted status and list: id → state as shown, of all that is surely in one."""
        return {
            thing.id: next(iter(thing.shown))
            for thing in self.things.values()
            if len(thing.shown) == 1
        }

    # -- what happens ------------------------------------------------------------------

    def made(
        self, object_id: str, state: State, *, sandbox: str = "", mortal: bool = False
    ) -> World:
        """An object came into being, or an id that nobody has is to be asked about."""
        return self._with([Thing(object_id, frozenset({state}), sandbox, mortal)])

    def maybe(self, object_id: str, state: State) -> World:
        """An object that may also be in another state than those that the world has for it."""
        thing = self.things[object_id]
        return self._with([replace(thing, states=thing.states | {state})])

    def apply(self, call: str, object_id: str, came: Came) -> World:
        """A call about an object was answered, or not."""
        touched = {object_id}
        if call in _REACHES_CONTAINERS:
            touched |= {thing.id for thing in self.containers(object_id) if not thing.gone}
        others: tuple[Promise, ...] = ()
        if call in _OTHERS_UNTOUCHED:
            others = (Promise(f"RuntimeService.{call}.others-untouched"),)
        return self._with(
            _after(thing, call, came)
            if thing.id in touched
            # Of what may be in several states nobody can say that it was touched.
            else replace(thing, promises=others if len(thing.shown) == 1 else ())
            for thing in self.things.values()
        )

    def time_passes(self) -> World:
        """Whatever ends by itself may have ended."""
        return self._with(
            replace(thing, states=thing.states | {ContainerState.EXITED})
            for thing in self.things.values()
            if thing.mortal and ContainerState.RUNNING in thing.states
        )

    def seen(self, object_id: str, shown: str) -> World:
        """Status or list has shown this of an object; what does not fit it is ruled out.

        What nothing fits was either judged by a promise before this, or is open: then the
        object stays where it may be.
        """
        thing = self.things[object_id]
        fitting = frozenset(state for state in thing.states if shown in SHOWN[state])
        return self._with([replace(thing, states=fitting)] if fitting else [])

    def _with(self, things: Iterable[Thing]) -> World:
        return World(MappingProxyType({**self.things, **{thing.id: thing for thing in things}}))


def _after(thing: Thing, call: str, came: Came) -> Thing:
    cells = [TABLE[call, state] for state in thing.states]
    states: set[State] = set()
    for cell in cells:
        if came is not Came.REFUSED:
            states |= cell.after
        if came is not Came.OK:
            states |= cell.after_refusal
    if came is Came.UNKNOWN:
        # It may also not have come through at all.
        states |= thing.states
    promises: tuple[Promise, ...] = ()
    if came is Came.OK or all(cell.after == cell.after_refusal for cell in cells):
        # A refused call has promised nothing, unless the promise is that nothing happens.
        promises = tuple(
            promise
            for promise in cells[0].promises
            if all(promise in cell.promises for cell in cells)
        )
    return replace(thing, states=frozenset(states), promises=promises)
