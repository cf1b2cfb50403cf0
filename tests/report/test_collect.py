# SPDX-License-Identifier: Apache-2.0
"""Records in, verdicts by clause out."""

from __future__ import annotations

import pytest

from cri_conformance.contract.expectations import Expectation
from cri_conformance.contract.register import register

from .fakes import broken, found, record, results, small_register, suite, target

STOP = "RuntimeService.StopPodSandbox.idempotent"
RUN = "RuntimeService.RunPodSandbox.ready"
TWO = small_register((STOP, "MUST"), (RUN, "FIELD"))
KNOWN = {STOP: Expectation(STOP, "issue 7", "https://example.org/7")}


def by_id(made):
    return {clause["id"]: clause for clause in made["clauses"]}


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        (["held"], "held"),
        (["held", "broken", "held"], "broken"),
        (["known", "warned"], "known"),
        (["held", "error"], "error"),
        (["warned", "held"], "warned"),
        (["not exercised", "held"], "held"),
        (["not exercised"], "not exercised"),
    ],
)
def test_the_worst_verdict_is_the_clauses_own(verdicts, worst):
    records = [record(f"t::{n}", found(STOP, v, reason="r")) for n, v in enumerate(verdicts)]
    made = results(TWO, *records)
    assert by_id(made)[STOP]["verdict"] == worst
    assert made["summary"][worst] == 1 + (worst == "not exercised")


def test_every_clause_of_the_register_is_there_in_order():
    made = results(register())
    assert [clause["id"] for clause in made["clauses"]] == list(register().clauses)
    assert made["summary"]["not exercised"] == len(register().clauses)


def test_the_order_of_records_does_not_show():
    one = broken("t::a", STOP, actual="NOT_FOUND")
    two = broken("t::b", STOP, actual="INTERNAL")
    assert results(TWO, one, two) == results(TWO, two, one)
    assert by_id(results(TWO, two, one))[STOP]["actual"] == "NOT_FOUND"


def test_why_nothing_was_said_of_a_clause():
    bound = {STOP: ["t::a"]}
    made = by_id(results(TWO, bound=bound))
    assert made[RUN]["reason"] == "no test yet"
    assert made[STOP]["reason"] == "switched off by option: not selected"
    assert made[STOP]["tests"] == ["t::a"]
    stopped = suite(complete=False, stopped="interrupted")
    made = by_id(results(TWO, bound=bound, about=stopped, chosen={"t::a"}))
    assert made[STOP]["reason"] == "the run ended before its test: interrupted"
    # The processes of -n, broken off, have not said what their tests are about.
    assert made[RUN]["reason"] == "the run ended before its test: interrupted"
    # Cut short is only what was to run.
    narrowed = suite(complete=False, stopped="interrupted", selection={"clause": RUN})
    made = by_id(results(TWO, bound={**bound, RUN: ["t::b"]}, about=narrowed, chosen={"t::b"}))
    assert made[STOP]["reason"] == "switched off by option: not selected"
    assert made[RUN]["reason"] == "the run ended before its test: interrupted"


def test_of_tests_that_were_not_collected_nobody_says_there_are_none():
    made = by_id(results(TWO, about=suite(selection={"paths": ["mine/test_own.py"]})))
    told = "switched off by option: not among the tests that were named"
    assert made[STOP]["reason"] == told


def test_bindings_may_come_after_the_collector():
    from cri_conformance.report.collect import Collector

    bound: dict[str, list[str]] = {}
    collector = Collector(TWO, bound, {})
    bound[STOP] = ["t::late"]
    made = collector.results(suite(), target(), {}, [])
    assert by_id(made)[STOP]["tests"] == ["t::late"]


def test_a_known_clause_shows_where_it_is_tracked():
    clause = by_id(results(TWO, record("t", found(STOP, "known", reason="issue 7")), known=KNOWN))
    assert clause[STOP]["link"] == "https://example.org/7"
    assert clause[STOP]["reason"] == "issue 7"


@pytest.mark.parametrize(
    ("verdicts", "stale"),
    [
        (["held"], True),
        (["held", "held"], True),
        (["held", "known"], False),
        (["held", "broken"], False),
        (["held", "warned"], False),
        (["held", "error"], False),
        (["not exercised"], False),
    ],
)
def test_an_expectation_is_stale_when_its_clause_held(verdicts, stale):
    records = [record(f"t::{n}", found(STOP, v, reason="r")) for n, v in enumerate(verdicts)]
    made = results(TWO, *records, known=KNOWN)
    assert made["stale"] == ([STOP] if stale else [])
    assert made["summary"]["stale"] == int(stale)


def test_what_a_campaign_did_not_meet_is_not_stale():
    held = record("t", found(STOP, "held"))
    assert results(TWO, held, known=KNOWN)["stale"] == [STOP]
    campaign = {"worker": "", "steps": 9, "findings": []}
    assert results(TWO, held, known=KNOWN, campaigns=(campaign,))["stale"] == []


@pytest.mark.parametrize(
    ("reason", "stale"),
    [
        ("endpoint remote", True),
        ("feature not advertised: user namespaces", True),
        ("switched off by option: not selected", False),
        ("the test ended when another clause broke", False),
    ],
)
def test_a_test_that_was_cut_short_leaves_the_expectation_open(reason, stale):
    made = results(
        TWO,
        record("t::a", found(STOP, "held")),
        record("t::b", found(STOP, "not exercised", reason=reason)),
        known=KNOWN,
    )
    assert made["stale"] == ([STOP] if stale else [])


def test_a_test_left_out_leaves_the_expectation_open():
    held = record("t::a", found(STOP, "held"))
    assert results(TWO, held, known=KNOWN, bound={STOP: ["t::a", "t::b"]})["stale"] == []


def test_lifecycle_rows_come_once():
    row = {
        "call": "StopContainer",
        "state": "exited",
        "permitted": "ok",
        "clause": "",
        "seen": "OK",
    }
    other = {**row, "seen": "NOT_FOUND"}
    made = results(TWO, record("t::a", table=[row]), record("t::b", table=[row, other]))
    assert made["lifecycle"] == [row, other]


def test_a_vendors_test_without_clauses_is_kept():
    made = results(TWO, record("vendor::t"))
    assert [test["test"] for test in made["tests"]] == ["vendor::t"]


def test_reasons_stay_on_one_line():
    made = by_id(
        results(TWO, record("t", found(STOP, "error", reason="a\nb\x1b[31m" + "x" * 5000)))
    )
    assert "\n" not in made[STOP]["reason"]
    assert len(made[STOP]["reason"]) < 500
