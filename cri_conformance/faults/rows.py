# SPDX-License-Identifier: Apache-2.0
"""From what the tests found under each fault to rows: clause × fault → killed, or not."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypedDict

from cri_conformance.contract.clause import Level
from cri_conformance.contract.register import Register
from cri_conformance.contract.verdict import Reason, Verdict
from cri_conformance.faults.fault import Fault
from cri_conformance.faults.sentinels import Finding, speaks_against

#: Stands for a fault where a test is run without one.
NONE = "none"


class Result(StrEnum):
    """What became of a fault."""

    KILLED = "killed"  # a violation named the clause
    SURVIVED = "survived"  # no test noticed, or none named the clause
    #: Noticed, but unrelated plain use broke too, or the clause breaks without the fault.
    BLUNT = "blunt"
    #: Its clause can't be judged in front of this runtime: it is younger, or needs hardware.
    NOT_HERE = "not here"
    ERROR = "error"  # the tests came to no verdict: set-up failed, or the suite is wrong


#: What a runtime or its host lacks, whatever it is asked.
_NOT_HERE = (Reason.YOUNGER, Reason.NEEDS_HARDWARE)


class Row(TypedDict):
    """One row of the matrix; ``why`` is one line for what is not killed, ``by`` the test."""

    clause: str
    fault: str
    result: str
    by: str
    why: str


@dataclass
class Evidence:
    """What was seen under one fault."""

    #: Clause → the test that named it.
    named: dict[str, str] = field(default_factory=dict)
    #: Clause → why it was not judged.
    unjudged: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    #: Of these, what no fault of a runtime may bring a test to.
    mistakes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    tests: int = 0
    walked: bool = False

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in one test's record (``report.cri``)."""
        self.tests += 1
        for clause in record["clauses"]:
            if clause["verdict"] in (Verdict.BROKEN, Verdict.WARNED):
                self.named.setdefault(clause["clause"], record["test"])
            elif clause["verdict"] == Verdict.NOT_EXERCISED:
                self.unjudged.setdefault(clause["clause"], clause["reason"])
        if record["blame"] in ("environment", "suite"):
            self.troubles.append(record["message"])
        if record["blame"] == "suite":
            self.mistakes.append(record["message"])

    def kills(self, fault: Fault) -> bool:
        """Whether nothing is left to be shown by further tests."""
        return all(clause in self.named for clause in fault.clauses)


def chosen(
    catalogue: Mapping[str, Fault],
    fault_pattern: str = "",
    clause_pattern: str = "",
    *,
    isolated: bool | None = None,
) -> dict[str, Fault]:
    """The faults whose id and clauses match shell patterns ("" for all).

    ``isolated`` leaves only those that show in front of a real runtime, or only the others.
    """
    return {
        name: fault
        for name, fault in catalogue.items()
        if isolated in (None, fault.isolated)
        and _matches(name, fault_pattern)
        and (
            any(_matches(clause, clause_pattern) for clause in fault.clauses)
            # The matrix has rows of clauses: these are only listed.
            or (isolated is None and fault.misbehaves and not clause_pattern)
        )
    }


def _matches(text: str, pattern: str) -> bool:
    # Ids hold brackets, which fnmatch would take for a set of characters.
    quoted = pattern.replace("[", "[[]")
    return not pattern or text == pattern or fnmatch.fnmatchcase(text, quoted)


def rows(
    faults: Iterable[Fault],
    evidence: Mapping[str, Evidence],
    register: Register,
    clause_pattern: str = "",
) -> list[Row]:
    """All rows, in the register's order."""
    found = [
        _row(clause, fault, evidence.get(fault.id, Evidence()), evidence.get(NONE, Evidence()))
        for fault in faults
        for clause in fault.clauses
        if _matches(clause, clause_pattern)
    ]
    order = {clause: n for n, clause in enumerate(register.clauses)}
    return sorted(found, key=lambda row: (order.get(row["clause"], -1), row["fault"]))


def _row(clause: str, fault: Fault, seen: Evidence, without: Evidence) -> Row:
    result, why, by = Result.SURVIVED, "", seen.named.get(clause, "")
    against = [finding for finding in seen.findings if speaks_against(fault, finding)]
    if by and against:
        result, why = Result.BLUNT, against[0]["seen"]
    elif clause in without.named:
        result, why = Result.BLUNT, "this runtime breaks it without a fault"
    elif not seen.walked:
        result, why = Result.ERROR, next(iter(seen.troubles), "it was not run to the end")
    elif seen.mistakes:
        result, why = Result.ERROR, seen.mistakes[0]
    elif by:
        result = Result.KILLED
    elif seen.troubles:
        result, why = Result.ERROR, seen.troubles[0]
    elif not seen.tests:
        why = "no test is bound to the clause"
    elif clause in seen.unjudged:
        why = f"not judged: {seen.unjudged[clause]}"
        if seen.unjudged[clause].startswith(_NOT_HERE):
            result = Result.NOT_HERE
    elif seen.named:
        why = f"instead broke {', '.join(sorted(seen.named))}"
    else:
        why = "no test noticed"
    return Row(clause=clause, fault=fault.id, result=result, by=by, why=why)


def without_fault(bound: Iterable[str], faults: Iterable[Fault], register: Register) -> list[str]:
    """Clauses that have a test and no fault, though their level wants one."""
    seeded = {clause for fault in faults for clause in fault.clauses}
    levels = (Level.MUST, Level.FIELD, Level.KUBELET, Level.SHOULD)
    tested = set(bound)
    return [
        clause.id
        for clause in register.clauses.values()
        if clause.id in tested and clause.level in levels and clause.id not in seeded
    ]


def lines(matrix: Iterable[Row], missing: Iterable[str]) -> list[str]:
    """The matrix for a terminal; the last line is the count."""
    table = list(matrix)
    width = max((len(row["clause"]) for row in table), default=0)
    shown = [
        f"{row['clause']:{width}} × {row['fault']} → {row['result']}"
        + (f" ({row['why']})" if row["why"] else "")
        for row in table
    ]
    shown += [f"no fault: {clause}" for clause in missing]
    counts: dict[str, int] = defaultdict(int)
    for row in table:
        counts[row["result"]] += 1
    elsewhere = counts[Result.NOT_HERE]
    apart = f", {elsewhere} not exercised here" if elsewhere else ""
    return [*shown, f"{counts[Result.KILLED]} of {len(table) - elsewhere} killed{apart}"]
