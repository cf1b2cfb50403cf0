# SPDX-License-Identifier: Apache-2.0
"""What sequences leave behind, seen soon enough to know which of them left it.

A look costs some ten milliseconds where a hundred processes run; the next one is due when a
hundred times as long has passed. What it sees may just be on its way out: what is still there
``STAYS`` seconds later was left. An id tells whose it is; what has none (a network namespace, an
open file) may be of any sequence that ended since the look before.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

from cri_conformance.fuzz.judging import cause_of
from cri_conformance.fuzz.story import Story
from cri_conformance.target import Target
from cri_conformance.wire.leaks import GONE_WITHIN, NAMESPACE, Leaks, lasting
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import remove

_LISTS = (
    ("ListPodSandbox", "items", "RemovePodSandbox"),
    ("ListContainers", "containers", "RemoveContainer"),
)
#: Of the time of a campaign so much goes into looks.
SHARE = 0.01
#: Seconds after which what is still there was left. Nobody waits for them.
STAYS = 10.0
#: Seconds for which what a sequence made is looked for, and the most sequences at a time.
WATCHED, MOST = 15.0, 200


@dataclass(frozen=True, eq=False)
class Played:
    """A sequence that is over. ``calls`` are two marks of the history."""

    mode: str
    seed: int
    story: Callable[[], Story]
    ids: Set[str]
    calls: tuple[int, int]
    ended: float = field(default_factory=time.monotonic)


@dataclass
class Left:
    """What is there, and the sequences of which it may be."""

    lines: list[str]
    suspects: list[Played]

    @property
    def nameless(self) -> bool:
        """Whether nothing says that it is ours."""
        return all(map(is_nameless, self.lines))

    @property
    def cause(self) -> str:
        """What was left, without ids."""
        return "; ".join(kinds(self.lines))


def is_nameless(line: str) -> bool:
    """Whether it may be of whoever else uses the node."""
    return line.startswith(NAMESPACE)


def kinds(lines: Sequence[str]) -> list[str]:
    """What was left, without ids, each kind once."""
    return sorted({cause_of(line) for line in lines})


def in_short(lines: Sequence[str], most: int = 5) -> str:
    """The first of what was left, and how many more there are."""
    more = len(lines) - most
    return "; ".join([*lines[:most], *([f"{more} more"] if more > 0 else [])])


class Leftovers:
    """Looks at a runtime and its host. What is there at first is nobody's.

    ``alone``: no other process of the run has logs open, which can't be told from one's own.
    """

    def __init__(self, target: Target, *, alone: bool = True) -> None:
        self._target = target
        folder = target.workshop.log_root if alone else ""
        self._leaks = Leaks(target.facts.host_root, folder)
        #: Lines that were told, or that are nobody's.
        self._known = set(self._leaks.now(frozenset()))
        self._played: deque[Played] = deque(maxlen=MOST)
        #: Line → when it was seen first, and of whom it may be.
        self._seen: dict[str, tuple[float, list[Played]]] = {}
        self._looked, self._due = time.monotonic(), 0.0

    def ended(self, one: Played) -> None:
        """A sequence is over, and what it made has been removed."""
        self._played.append(one)

    def look(self, alive: Set[str]) -> list[Left]:
        """What was left, but for what is ``alive``, by its id or its folder.

        [] as well if no look is due yet.
        """
        began = time.monotonic()
        if began < self._due:
            return []
        owners = {made: one for one in self._played for made in one.ids if made not in alive}
        before = self._seen
        self._seen = {
            line: before.get(line) or (began, self._suspects(line, owners))
            for line in self.there(owners.keys())
            if not any(one in line for one in alive)
        }
        suspected = [one for _, ones in self._seen.values() for one in ones]
        for one in list(self._played):
            if began - one.ended > WATCHED and one not in suspected:
                self._played.remove(one)
        self._looked = began
        self._due = began + (time.monotonic() - began) / SHARE
        return self._grouped(
            {line: ones for line, (since, ones) in self._seen.items() if began - since > STAYS}
        )

    def at_last(self, ids: Set[str]) -> list[Left]:
        """What is left of these after some patience, when nothing is to be made any more."""
        owners = {made: one for one in self._played for made in one.ids}
        lines = self.left(ids)
        return self._grouped({line: self._suspects(line, owners) for line in lines})

    def left(self, ids: Set[str]) -> list[str]:
        """What is left of these after some patience."""
        return lasting(lambda: self.there(ids), GONE_WITHIN)

    def there(self, ids: Set[str]) -> list[str]:
        """What is there of these at this moment."""
        return self._new([*self._listed(ids), *self._leaks.now(ids)])

    def forgive(self) -> None:
        """What is there now without an id is told already."""
        self._known.update(self._leaks.now(frozenset()))

    def _new(self, lines: list[str]) -> list[str]:
        return [line for line in lines if line not in self._known]

    def _suspects(self, line: str, owners: dict[str, Played]) -> list[Played]:
        for made, one in owners.items():
            if made in line:
                return [one]
        return [one for one in self._played if one.ended > self._looked]

    def _grouped(self, lines: dict[str, list[Played]]) -> list[Left]:
        """By whose it may be. They are known from now on."""
        found: list[Left] = []
        for line, suspects in lines.items():
            self._known.add(line)
            for one in found:
                if one.suspects == suspects:
                    one.lines.append(line)
                    break
            else:
                found.append(Left([line], suspects))
        return found

    def _listed(self, ids: Set[str]) -> list[str]:
        """What is listed, although its removal is asked for again: one that was refused, as a
        start went on, may succeed by now."""
        found = []
        for lister, items, rpc in _LISTS:
            for one in sorted(self._ids(lister, items) & ids):
                remove(self._target.client, rpc, one)
                if one in self._ids(lister, items):
                    found.append(f"{lister} has {one}")
        return found

    def _ids(self, lister: str, items: str) -> set[str]:
        outcome = self._target.client.call(lister)
        listed = getattr(outcome.response, items) if isinstance(outcome, Ok) else ()
        return {one.id for one in listed}
