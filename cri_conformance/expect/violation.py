# SPDX-License-Identifier: Apache-2.0
"""Whose fault it is, as a type.

The runtime broke a clause: Violation. The suite is wrong: SuiteMistake. The
environment is not there: SetupFailed and RuntimeGone (in ``wire.outcome``).
"""

from __future__ import annotations

from functools import cache

from cri_conformance.contract.clause import Clause


class Violation(AssertionError):
    """A clause was broken: ``permitted`` against ``actual``; ``about`` are ids it concerns.

    Never raised itself: every clause has a subclass of its own, because Hypothesis
    tells bugs apart by the exception's type. One type for all would merge two
    violations into one, and shrink the first into the second.
    """

    clause: Clause

    def __init__(self, permitted: str, actual: str, about: tuple[str, ...] = ()) -> None:
        super().__init__(permitted, actual, about)
        self.permitted = permitted
        self.actual = actual
        self.about = about

    def __str__(self) -> str:
        return f"{self.clause.id}: permitted {self.permitted}; got {self.actual}"


@cache
def violation_of(clause: Clause) -> type[Violation]:
    """The exception type of one clause."""
    return type(f"Violation[{clause.id}]", (Violation,), {"clause": clause})


class Misbehaved(Exception):
    """The runtime is to blame, by no single clause: it crashed, hung, or left something behind.

    ``details`` is what a terminal shows of it, if that is more than a line.
    """

    details = ""


class SuiteMistake(Exception):
    """The suite contradicts itself. Says nothing of the runtime."""


class NotExercised(Exception):
    """A clause can't be judged here; ``reason`` is one of ``contract.verdict.Reason``."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Ended(Exception):
    """A test can't go on after this clause, and nobody is to blame for that."""

    def __init__(self, clause_id: str) -> None:
        super().__init__(f"the test ended at {clause_id}")
        self.clause_id = clause_id
