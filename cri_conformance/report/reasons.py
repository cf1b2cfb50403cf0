# SPDX-License-Identifier: Apache-2.0
"""Clauses that were not exercised, by why."""

from __future__ import annotations

from collections.abc import Iterable

from cri_conformance.contract.verdict import Reason
from cri_conformance.report.schema import ClauseResult

#: What is no matter of the clause: its test, or the run, came to an end first.
CUT_SHORT = "cut short"


def reason_of(text: str) -> str:
    """The reason of the closed list that a text, with or without its detail, gives."""
    return next((r for r in Reason if text == r or text.startswith(f"{r}: ")), CUT_SHORT)


def detail_of(text: str) -> str:
    """What a text says beyond its reason."""
    return text.removeprefix(reason_of(text)).removeprefix(": ")


def grouped(clauses: Iterable[ClauseResult]) -> dict[str, list[ClauseResult]]:
    """Reason → clauses, the most frequent first."""
    groups: dict[str, list[ClauseResult]] = {}
    for clause in clauses:
        groups.setdefault(str(reason_of(clause["reason"])), []).append(clause)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))
