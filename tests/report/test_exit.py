# SPDX-License-Identifier: Apache-2.0
"""How a run ends: the order of worth, and what a full run must have judged."""

from __future__ import annotations

import pytest

from cri_conformance.contract.expectations import Expectation
from cri_conformance.report.exit import Ending, ending, failures, known, status
from cri_conformance.report.terminal import said
from cri_conformance.report.view import banner

from .fakes import broken, found, record, results, small_register, suite, target

NAMES = [f"RuntimeService.StopPodSandbox.p{n}" for n in range(10)]
TEN = small_register(*((name, "MUST") for name in NAMES))
BOUND = {name: [f"t::{name}"] for name in NAMES}


def run(held=10, *extra, **more):
    """Of ten clauses so many held; the rest were skipped."""
    records = [
        record(
            f"t::{name}",
            found(name, "held")
            if n < held
            else found(name, "not exercised", reason="endpoint remote"),
        )
        for n, name in enumerate(NAMES)
    ]
    return results(TEN, *records, *extra, bound=BOUND, **more)


SUITE = record("t::s", blame="suite", message="KeyError", outcome="failed")
ENVIRONMENT = record("t::e", blame="environment", message="no network", outcome="failed")
BROKEN = broken("t::b", NAMES[0])
KNOWN = {NAMES[3]: Expectation(NAMES[3], "until 2.0", "")}


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (run(), 0),
        (run(10, BROKEN), 1),
        (run(10, known=KNOWN), 1),
        (run(10, record("t::k", found(NAMES[3], "known")), known=KNOWN), 0),
        (run(10, record("t::w", found(NAMES[3], "warned"))), 0),
        (run(10, ENVIRONMENT), 6),
        (run(10, SUITE), 7),
        (run(10, ENVIRONMENT, SUITE), 7),
        (run(10, ENVIRONMENT, SUITE, BROKEN), 1),
        (run(0), 5),
        (run(0, ENVIRONMENT), 6),
        (run(8), 0),
        (run(7), 8),
        (run(7, ENVIRONMENT), 6),
        (run(7, BROKEN), 1),
        (run(1, about=suite(selection={"clause": "*.p0"})), 0),
        (run(10, about=suite(complete=False)), 8),
        (run(10, record("t::x", found(NAMES[0], "error"))), 8),
    ],
)
def test_the_order_of_worth(made, code):
    assert ending(made) == code
    assert status(made, 1 if code in (1, 6, 7) else 0) == code


@pytest.mark.parametrize("code", [2, 3, 4])
def test_pytests_own_stay(code):
    assert status(run(10, BROKEN), code) == code


def test_nothing_collected():
    assert status(results(TEN), 5) == 5


def test_interrupted_by_a_person():
    made = run(10, BROKEN, about=suite(complete=False, stopped="interrupted"))
    assert status(made, 2) == ending(made) == Ending.INTERRUPTED


def test_a_runtime_that_goes_away_is_no_interruption():
    gone = suite(complete=False, stopped="the runtime no longer answers")
    assert status(run(10, ENVIRONMENT, about=gone), 2) == 6
    assert status(run(10, ENVIRONMENT, BROKEN, about=gone), 2) == 1


def test_a_failure_without_a_record_is_no_success_and_no_verdict():
    assert status(run(), 1) == 7
    assert status(run(7), 1) == 7


def test_what_is_claimed_and_missing_is_broken():
    made = run()
    made["profiles"][0]["missing"] = ["claimed, and not there"]
    assert ending(made) is Ending.BROKEN


@pytest.mark.parametrize(
    ("isolates", "expected"), [(True, Ending.INCOMPLETE), (False, Ending.HELD)]
)
def test_what_the_reference_can_not_have_is_not_asked_of_it(isolates, expected):
    skipped = [
        record(f"t::{name}", found(name, "not exercised", reason="feature not advertised: why"))
        for name in NAMES[5:]
    ]
    held = [record(f"t::{name}", found(name, "held")) for name in NAMES[:5]]
    made = results(TEN, *held, *skipped, bound=BOUND, runtime=target(isolates=isolates))
    assert ending(made) is expected


@pytest.mark.parametrize(("steps", "end"), [(5, Ending.HELD), (0, Ending.NOTHING)])
def test_a_campaign_may_judge_without_a_clause(steps: int, end: Ending):
    played = {"worker": "", "steps": steps, "findings": [], "met": []}
    made = run(0, about=suite(selection={"fuzz": "5 s"}), campaigns=(played,))
    assert ending(made) is end
    headline = banner(made).headline
    text, _ = said(made)
    assert (headline == "NOTHING FOUND") is bool(steps)
    assert (text == "the campaign found nothing that counts") is bool(steps)


def test_what_two_processes_found_is_one_failure():
    made = run()
    finding = {"clause": NAMES[0], "kind": "clause", "cause": "c", "counts": True, "reason": ""}
    finding |= {"steps": 1, "times": 1}
    leaks = [{**finding, "clause": "", "kind": "leak", "cause": cause} for cause in "ab"]
    made["campaigns"] = [{"findings": [finding, leaks[0]]}, {"findings": [finding, *leaks]}]
    assert len(failures(made)) == 3
    for one in (finding, *leaks):
        one |= {"counts": False, "reason": "slow"}
    assert len(known(made)) == 3
