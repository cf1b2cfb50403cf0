# SPDX-License-Identifier: Apache-2.0
"""The lifecycle tables: states down, calls across, in each cell what is permitted and what came.

A state is named by its object first, as in "sandbox stopped", so there is one table for
each kind of object, with the calls that were tried on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cri_conformance.api.descriptors import descriptor_set
from cri_conformance.contract.verdict import Verdict
from cri_conformance.report.schema import ClauseResult, LifecycleRow
from cri_conformance.report.tree import calls

#: Answers that say nothing of the request, so they are no refusal either.
_NO_ANSWER = ("UNIMPLEMENTED", "UNAVAILABLE", "UNKNOWN-OUTCOME")

#: The first words of states in the order of a life; others come after these.
_LIFE = (
    "no",
    "never",
    "not",
    "absent",
    "ready",
    "created",
    "running",
    "ended",
    "stopped",
    "exited",
    "failed",
    "removed",
)


#: What is permitted, in words: of a call on an object, and of a list that may show it.
_WORDS = {"ok": "must succeed", "refused": "must be refused", "either": "either will do"}
_LIST_WORDS = {**_WORDS, "ok": "must be listed", "refused": "must not be listed"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came once, under which clause; ``verdict`` is held, broken, known, warned or ""."""

    seen: str
    permitted: str
    clause: str
    verdict: str

    @classmethod
    def of(cls, row: LifecycleRow, verdicts: dict[str, str]) -> Answer:
        """A row in words; ``verdicts`` by clause id."""
        words = _LIST_WORDS if row["call"].startswith("List") else _WORDS
        permitted = words.get(row["permitted"], row["permitted"])
        return cls(row["seen"], permitted, row["clause"], _verdict(row, verdicts))


@dataclass(slots=True)
class Table:
    """``cells`` is keyed by (state, call); a cell nobody looked at is absent."""

    object: str
    states: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    cells: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)


def tables(rows: Iterable[LifecycleRow], clauses: Iterable[ClauseResult]) -> list[Table]:
    """A table for each kind of object, states in the order of a life, calls in the contract's."""
    verdicts = {clause["id"]: clause["verdict"] for clause in clauses}
    made: dict[str, Table] = {}
    for row in rows:
        kind, state = split(row["state"])
        cells = made.setdefault(kind, Table(kind)).cells
        cells.setdefault((state, row["call"]), []).append(Answer.of(row, verdicts))
    ranks = {name.rpartition(".")[2]: rank for rank, name in enumerate(calls(descriptor_set()))}
    for table in made.values():
        table.states = sorted({state for state, _ in table.cells}, key=age)
        table.calls = sorted(
            {call for _, call in table.cells}, key=lambda call: (ranks.get(call, len(ranks)), call)
        )
    # The sandbox comes before what lives in it.
    return sorted(made.values(), key=lambda table: (table.object != "sandbox", table.object))


def split(state: str) -> tuple[str, str]:
    """(kind of object, state): ("", state) where the state doesn't begin with a known kind."""
    kind, _, rest = state.partition(" ")
    return (kind, rest) if rest and kind in ("sandbox", "container", "image") else ("", state)


def age(state: str) -> tuple[int, str]:
    """By which states are sorted as in a life."""
    first = state.replace(",", " ").partition(" ")[0]
    return (_LIFE.index(first) if first in _LIFE else len(_LIFE), state)


def _verdict(row: LifecycleRow, verdicts: dict[str, str]) -> str:
    if row["permitted"] == "either":
        return ""
    kept = (
        row["seen"] == "OK"
        if row["permitted"] == "ok"
        else row["seen"] != "OK" and row["seen"] not in _NO_ANSWER
    )
    if kept:
        return Verdict.HELD
    # How bad it is, is the clause's matter: it may be a SHOULD, known, or younger than the
    # runtime. The table never says more than the judge did.
    found = verdicts.get(row["clause"], "")
    return found if found in (Verdict.BROKEN, Verdict.KNOWN, Verdict.WARNED) else ""
