# SPDX-License-Identifier: Apache-2.0
"""What counts as killed."""

from __future__ import annotations

from typing import Any

import pytest

from cri_conformance.contract.register import register
from cri_conformance.faults.fault import fault
from cri_conformance.faults.operators import second_call_fails
from cri_conformance.faults.rows import NONE, Evidence, chosen, lines, rows, without_fault
from cri_conformance.faults.sentinels import Finding

CLAUSE = "RuntimeService.StopContainer.idempotent"
OTHER = "RuntimeService.StopContainer.exited"
FAULT = fault(CLAUSE, second_call_fails("StopContainer"))


def record(clause: str, verdict: str, blame: str = "", message: str = "") -> dict[str, Any]:
    said = {"clause": clause, "verdict": verdict, "reason": "why not"}
    return {"test": "test_it", "blame": blame, "message": message, "clauses": [said]}


def finding(clause: str, *uses: str, refused: bool = False) -> Finding:
    return Finding(clause=clause, refused=refused, uses=list(uses), seen="seen")


def result(seen: Evidence, seeded: Any = FAULT) -> str:
    (row,) = rows([seeded], {seeded.id: seen}, register())
    return f"{row['result']}: {row['why']}" if row["why"] else row["result"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (record(CLAUSE, "broken", "runtime"), "killed"),
        (record(CLAUSE, "warned"), "killed"),
        (record(CLAUSE, "held"), "survived: no test noticed"),
        (record(OTHER, "broken", "runtime"), f"survived: instead broke {OTHER}"),
        (record(CLAUSE, "error", "environment", "no sandbox"), "error: no sandbox"),
        (record(CLAUSE, "error", "suite", "KeyError"), "error: KeyError"),
        (record(CLAUSE, "not exercised"), "survived: not judged: why not"),
    ],
)
def test_only_a_violation_that_names_the_clause_kills(told: dict[str, Any], expected: str) -> None:
    seen = Evidence(walked=True)
    seen.add(told)
    assert result(seen) == expected


def test_a_fault_without_a_test_survives_and_one_without_a_walk_is_an_error() -> None:
    assert result(Evidence(walked=True)) == "survived: no test is bound to the clause"
    seen = Evidence()
    seen.add(record(CLAUSE, "broken"))
    assert result(seen) == "error: it was not run to the end"


@pytest.mark.parametrize(
    ("found", "ordinary", "expected"),
    [
        # A value that the faulty call shows may be wrong, one of other calls may not.
        (finding(OTHER, "StopContainer", "ContainerStatus"), True, "killed"),
        (finding(OTHER, "ContainerStatus"), True, "blunt: seen"),
        (finding(CLAUSE, "ContainerStatus"), True, "killed"),
        # A plain call must not be refused, unless that is what the fault is about.
        (finding("", "Version", "StopContainer", refused=True), True, "blunt: seen"),
        (finding("", "Version", "StopContainer", refused=True), False, "killed"),
        (finding("", "Version", refused=True), False, "blunt: seen"),
    ],
)
def test_what_breaks_in_plain_use_makes_a_fault_blunt(
    found: Finding, ordinary: bool, expected: str
) -> None:
    seen = Evidence(walked=True, findings=[found])
    seen.add(record(CLAUSE, "broken"))
    seeded = fault(CLAUSE, FAULT.operator, ordinary=ordinary)
    assert result(seen, seeded) == expected


def test_what_breaks_without_the_fault_too_is_no_kill() -> None:
    seen, without = Evidence(walked=True), Evidence()
    seen.add(record(CLAUSE, "warned"))
    without.add(record(CLAUSE, "warned"))
    (row,) = rows([FAULT], {FAULT.id: seen, NONE: without}, register())
    assert (row["result"], row["why"]) == ("blunt", "this runtime breaks it without a fault")


def test_what_can_not_be_judged_here_is_counted_apart() -> None:
    seen = Evidence(walked=True)
    young = record(CLAUSE, "not exercised")
    young["clauses"][0]["reason"] = "RPC or wording younger than the runtime: holds since 1.37"
    seen.add(young)
    table = rows([FAULT], {FAULT.id: seen}, register())
    assert table[0]["result"] == "not here"
    assert lines(table, [])[-1] == "0 of 0 killed, 1 not exercised here"


def test_the_last_line_counts_and_missing_faults_are_named() -> None:
    seen = Evidence(walked=True)
    seen.add(record(CLAUSE, "broken"))
    table = rows([FAULT], {FAULT.id: seen}, register())
    short = "RuntimeService.StopContainer.short-id"  # a MAY needs none
    missing = without_fault([CLAUSE, OTHER, short], [FAULT], register())
    assert lines(table, missing) == [
        f"{CLAUSE} × {FAULT.id} → killed",
        f"no fault: {OTHER}",
        "1 of 1 killed",
    ]


def test_faults_are_chosen_by_patterns() -> None:
    catalogue = {FAULT.id: FAULT}
    assert chosen(catalogue, "fail-*", "*.idempotent") == catalogue
    assert chosen(catalogue, FAULT.id) == catalogue
    assert not chosen(catalogue, "drop-*")
    assert not chosen(catalogue, "", "Version*")
    assert chosen(catalogue, isolated=False) == catalogue
    assert not chosen(catalogue, isolated=True)
