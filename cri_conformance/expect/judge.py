# SPDX-License-Identifier: Apache-2.0
"""The judge: one for each test, one method for each kind of obligation.

A clause is held only if its own assertion ran. So the judge writes down every
assertion, and calls it a mistake of the suite if a test judges a clause that it is
not bound to, or passes without having judged one that it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest

from cri_conformance.contract.clause import Clause, Level, Minor
from cri_conformance.contract.register import Register
from cri_conformance.contract.verdict import ClauseRecord, Reason, Verdict
from cri_conformance.expect.violation import (
    Ended,
    NotExercised,
    SuiteMistake,
    Violation,
    violation_of,
)
from cri_conformance.wire.outcome import Ok, Outcome, Refused


def clause(*ids: str) -> pytest.MarkDecorator:
    """Bind a test (or one of its parameters) to the clauses it judges."""
    mark: pytest.MarkDecorator = pytest.mark.clause(*ids)
    return mark


@dataclass(frozen=True, slots=True)
class Rules:
    """By what the judge goes. ``known`` maps clauses expected to break to the reason."""

    register: Register
    minor: Minor
    strict: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    #: Clauses that --cri-clause and --cri-level leave in; None for all.
    selected: frozenset[str] | None = None


class Judge:
    """Judges one test's clauses. Safe to use from several threads."""

    #: Whether the calls of the test are the story of what it found.
    one_story = True

    def __init__(
        self, rules: Rules, bound: Collection[str], now: Callable[[], int] = lambda: 0
    ) -> None:
        """``now`` gives the mark of this moment in the client's history."""
        self.rules = rules
        self.bound = frozenset(bound)
        #: Where the story of this test, or of its current example, begins in the history.
        self.mark = now()
        #: From where to where the history tells of the last violation.
        self.story = (0, 0)
        self._now = now
        self.records: dict[str, ClauseRecord] = {}
        #: The last violation raised: what a test failed of, whatever became of it on the way.
        self.broken: Violation | None = None
        self._lock = threading.Lock()

    # -- obligations: calls --------------------------------------------------------

    def ok(self, clause_id: str, outcome: Outcome, *, about: Iterable[str] = ()) -> None:
        """The call must succeed."""
        self.that(
            clause_id,
            isinstance(outcome, Ok),
            permitted="the call succeeds",
            actual=outcome,
            about=about,
        )

    def response(self, clause_id: str, outcome: Outcome, *, about: Iterable[str] = ()) -> Any:
        """The call must succeed: its response.

        Where a refusal is no violation here (a known one, a SHOULD, a clause that is not
        judged), nothing can be built on it: the test ends, without blame.
        """
        self.ok(clause_id, outcome, about=about)
        if isinstance(outcome, Ok):
            return outcome.response
        raise Ended(clause_id)

    def refused(
        self,
        clause_id: str,
        outcome: Outcome,
        codes: Collection[str] = (),
        *,
        about: Iterable[str] = (),
    ) -> None:
        """The call must fail, with one of ``codes`` if any are given.

        No answer within the deadline is no refusal. UNIMPLEMENTED and UNAVAILABLE are none
        either, as they say nothing of the request.
        """
        said_no = isinstance(outcome, Refused) and (
            outcome.code in codes if codes else outcome.code not in ("UNIMPLEMENTED", "UNAVAILABLE")
        )
        self.that(
            clause_id,
            said_no,
            permitted=f"an error with code {' or '.join(sorted(codes))}" if codes else "an error",
            actual=outcome,
            about=about,
        )

    # -- obligations: values -------------------------------------------------------

    def equal(
        self,
        clause_id: str,
        actual: Any,
        permitted: Any,
        what: str = "",
        *,
        about: Iterable[str] = (),
    ) -> None:
        """A value must be this one."""
        lead = f"{what} " if what else ""
        self.that(
            clause_id,
            actual == permitted,
            permitted=f"{lead}{_shown(permitted)}",
            actual=f"{lead}{_shown(actual)}",
            about=about,
        )

    def within(
        self,
        clause_id: str,
        seconds: float,
        *,
        at_least: float = 0.0,
        at_most: float = float("inf"),
        what: str,
    ) -> None:
        """A duration must lie in these bounds (seconds)."""
        low = f"at least {at_least:g} s" if at_least else ""
        high = f"at most {at_most:g} s" if at_most != float("inf") else ""
        self.that(
            clause_id,
            at_least <= seconds <= at_most,
            permitted=f"{what} takes {' and '.join(filter(None, (low, high)))}",
            actual=f"{seconds:.3f} s",
        )

    def that(
        self,
        clause_id: str,
        kept: object,
        *,
        permitted: object,
        actual: object,
        about: Iterable[str] = (),
    ) -> None:
        """The ground of all others: ``kept`` says whether the promise was.

        A broken binding clause raises its Violation, unless it is a known one; a broken
        SHOULD is written down, and raised under --cri-strict.
        """
        judged = self._clause(clause_id)
        if self.rules.selected is not None and clause_id not in self.rules.selected:
            self.not_exercised(clause_id, Reason.SWITCHED_OFF, "not selected")
            return
        if judged.level is Level.MAY:
            self.record(clause_id, actual)
            return
        if judged.since > self.rules.minor:
            self.not_exercised(clause_id, Reason.YOUNGER, f"holds since {judged.since}")
            return
        if kept:
            self._write(clause_id, Verdict.HELD)
            return
        said, came = _line(permitted), _line(actual)
        violation = violation_of(judged)(said, came, tuple(about))
        if judged.level is Level.SHOULD and not self.rules.strict:
            self._write(clause_id, Verdict.WARNED, said, came)
            self.warned(violation)
        elif clause_id in self.rules.known:
            self._write(clause_id, Verdict.KNOWN, said, came, self.rules.known[clause_id])
        else:
            self._write(clause_id, Verdict.BROKEN, said, came)
            self.story = (self.mark, self._now())
            self.broken = violation
            raise violation

    def warned(self, violation: Violation) -> None:
        """A SHOULD was not kept, which is written down: the test goes on."""

    # -- no verdict ----------------------------------------------------------------

    def record(self, clause_id: str, observation: object) -> None:
        """What the runtime does where the contract leaves it free (MAY)."""
        if self._clause(clause_id).level is not Level.MAY:
            raise SuiteMistake(f"{clause_id} is not a MAY: judge it instead of recording it")
        self._write(clause_id, Verdict.RECORDED, actual=_line(observation))

    def not_exercised(self, clause_id: str, reason: Reason, detail: str = "") -> None:
        """This clause can't be judged here; the test goes on."""
        self._clause(clause_id)
        shown = f"{reason}: {detail}" if detail else str(reason)
        self._write(clause_id, Verdict.NOT_EXERCISED, reason=shown)

    def skip(self, reason: Reason, detail: str = "") -> NoReturn:
        """Nothing that this test is bound to can be judged here: ends the test."""
        raise NotExercised(reason, detail)

    # -- the end of the test -------------------------------------------------------

    def unjudged(self) -> list[str]:
        """Clauses the test is bound to and never judged."""
        return sorted(self.bound - self.records.keys())

    def _clause(self, clause_id: str) -> Clause:
        if clause_id not in self.bound:
            raise SuiteMistake(f"this test judges {clause_id} and is not bound to it")
        return self.rules.register[clause_id]

    def _write(
        self,
        clause_id: str,
        verdict: Verdict,
        permitted: str = "",
        actual: str = "",
        reason: str = "",
    ) -> None:
        with self._lock:
            before = self.records.get(clause_id)
            # What broke once stays broken, whatever else the test sees of this clause; of two
            # violations the later counts, as Hypothesis ends with the smallest.
            if before is None or _WEIGHT[verdict] >= _WEIGHT[Verdict(before["verdict"])]:
                self.records[clause_id] = ClauseRecord(
                    clause=clause_id,
                    verdict=str(verdict),
                    permitted=permitted,
                    actual=actual,
                    reason=reason,
                )


#: Of two findings of one clause in one test the heavier stays.
_WEIGHT = {
    Verdict.NOT_EXERCISED: 0,
    Verdict.RECORDED: 1,
    Verdict.HELD: 1,
    Verdict.WARNED: 2,
    Verdict.KNOWN: 2,
    Verdict.BROKEN: 3,
}

#: Longest value shown in a verdict's one line.
_LONGEST = 400


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value.isidentifier() else repr(value)


def _line(value: object) -> str:
    text = str(value)
    text = " ".join(text[: 8 * _LONGEST].split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
