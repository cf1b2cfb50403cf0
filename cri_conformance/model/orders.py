# SPDX-License-Identifier: Apache-2.0
"""The search for an order that explains a history, object by object.

Parts of calls are placed one after the other, each only when all those are placed whose calls had
ended before its own began. What is left to be tried is known by which parts are placed and what
states the objects are in. A call without an answer that never happened is one that comes after
all others. Looks change nothing: one that shows what is true is placed at once. A search that
would take too long says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cri_conformance.model.effects import CONCURRENT_PODS, Effects, Forbidden, Part, States
from cri_conformance.model.histories import MAKES, REMOVES, Event, History
from cri_conformance.model.table import LISTS
from cri_conformance.model.world import Came

#: Combinations of placed parts and states that are tried before nobody knows.
MOST = 20_000
_UNIQUE = {
    "RunPodSandbox": "RunPodSandboxResponse.pod_sandbox_id.unique",
    "CreateContainer": "CreateContainerResponse.container_id.unique",
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a call could not be placed somewhere: the clause that forbids it, "" if none does."""

    clause: str
    event: Event


@dataclass(frozen=True)
class Unexplained:
    """No order explains a history; ``event`` is the call by which it shows.

    Each of ``doubts``, let pass, would make an order possible.
    """

    event: Event
    doubts: tuple[Doubt, ...]


def check(history: History) -> Unexplained | None:
    """What can't be explained, the first that was seen of it; None if all can, or nobody knows."""
    for event in history.events:
        amid = any(event.meets(other) and not other.looks for other in history.events)
        if event.call in LISTS and event.came is Came.REFUSED and amid:
            doubt = Doubt(f"RuntimeService.{event.call}.during-churn", event)
            return Unexplained(event, (doubt,))
    if shared := _shared(history):
        return shared
    found = (_check(history, name, sandbox) for name, sandbox in _groups(history))
    return next(filter(None, found), None)


def _shared(history: History) -> Unexplained | None:
    """An id that was answered for two names."""
    given: dict[str, Event] = {}
    removed = {one.about for one in history.events if one.call in REMOVES}
    for event in history.events:
        if event.call not in MAKES or not event.about:
            continue
        first = given.setdefault(event.about, event)
        if (first.name, first.sandbox) == (event.name, event.sandbox):
            continue
        clauses = []
        if event.meets(first) and not event.sandbox:
            clauses.append(CONCURRENT_PODS)
        if event.about not in removed:
            clauses.append(_UNIQUE[event.call])
        if clauses:
            return Unexplained(event, tuple(Doubt(clause, event) for clause in clauses))
    return None


def _groups(history: History) -> Iterable[tuple[str, str]]:
    """Names of objects, each with the id of the sandbox that they are in; sandboxes come last."""
    named = [(one.name, one.sandbox) for one in history.subjects]
    named += [(one.name, one.sandbox) for one in history.events if one.name]
    return sorted(dict.fromkeys(named), key=lambda one: not one[1])


def _check(history: History, name: str, sandbox: str) -> Unexplained | None:
    """The same of the objects of one name."""
    looks = sorted((one for one in history.events if one.looks), key=lambda one: one.ended)
    acts = [one for one in history.events if not one.looks]
    # Each look makes it harder to explain. The first that makes it impossible shows what is wrong;
    # those after it may show the same in other words.
    for seen in range(len(looks) + 1):
        part = History(history.subjects, (*acts, *looks[:seen]))
        doubts = obstacles(part, name, sandbox)
        if doubts:
            first = {doubt.clause: doubt for doubt in reversed(doubts) if doubt.clause}
            sure = tuple(
                doubt
                for doubt in doubts
                if first.get(doubt.clause) is doubt
                and obstacles(part, name, sandbox, frozenset({doubt.clause})) == ()
            )
            return Unexplained(looks[seen - 1] if seen else doubts[0].event, sure)
    return None


def obstacles(
    history: History, name: str, sandbox: str = "", relaxed: frozenset[str] = frozenset()
) -> tuple[Doubt, ...] | None:
    """What keeps the calls on the objects of a name from being put in order, () if nothing does.

    What was met after the most other parts comes first. None if nobody knows.
    """
    return _Search(Effects(history, name, sandbox, relaxed)).run()


class _Search:
    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._parts = parts = list(enumerate(effects.parts))
        #: Of each part: those that come before it, and those after which it comes no more.
        self._before = [
            sum(
                1 << number
                for number, other in parts
                if other.event.ended < part.event.began and not other.halfway
            )
            for _, part in parts
        ]
        self._closed = [
            sum(
                1 << number
                for number, other in parts
                if part.halfway and (other.event, other.place) == (part.event, part.place)
            )
            for _, part in parts
        ]
        self._needed = sum(1 << number for number, part in parts if not part.halfway)
        self._doubts: dict[Doubt, int] = {}

    def run(self) -> tuple[Doubt, ...] | None:
        tried: set[tuple[int, States]] = set()
        todo = [(0, self._effects.states)]
        while todo:
            placed, states = self._with_looks(*todo.pop())
            if placed & self._needed == self._needed:
                return ()
            if (placed, states) in tried:
                continue
            if len(tried) == MOST:
                return None
            tried.add((placed, states))
            for number, part in self._next(placed):
                if not part.event.looks:
                    after = self._after(part, placed, states)
                    todo += [(placed | 1 << number, one) for one in after]
        return tuple(sorted(self._doubts, key=lambda one: -self._doubts[one]))

    def _next(self, placed: int) -> Iterator[tuple[int, Part]]:
        """The parts that may come next."""
        for number, part in self._parts:
            if not (
                placed & (1 << number | self._closed[number]) or self._before[number] & ~placed
            ):
                yield number, part

    def _with_looks(self, placed: int, states: States) -> tuple[int, States]:
        """With all the looks that show what is true."""
        more = True
        while more:
            more = False
            for number, part in self._next(placed):
                if part.event.looks and self._after(part, placed, states):
                    placed |= 1 << number
                    more = True
        return placed, states

    def _after(self, part: Part, placed: int, states: States) -> set[States]:
        try:
            return self._effects.after(part, states)
        except Forbidden as forbidden:
            doubt = Doubt(forbidden.clause, part.event)
            self._doubts[doubt] = max(self._doubts.get(doubt, 0), placed.bit_count())
            return set()
