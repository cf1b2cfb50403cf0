# SPDX-License-Identifier: Apache-2.0
"""What a run says of each profile, and what the gate makes of it."""

from __future__ import annotations

import pytest

from cri_conformance.contract.expectations import Expectation
from cri_conformance.contract.profiles import CORE
from cri_conformance.report.exit import Ending, ending
from cri_conformance.report.terminal import summary_lines
from cri_conformance.report.view import view

from .fakes import broken, found, record, results, small_register, suite, target

STOP = [f"RuntimeService.StopPodSandbox.p{n}" for n in range(10)]
STATS = [f"RuntimeService.ContainerStats.p{n}" for n in range(10)]
CLAUSES = small_register(*((name, "MUST") for name in (*STOP, *STATS)))
BOUND = {name: [f"t::{name}"] for name in (*STOP, *STATS)}
NO = "feature not advertised: UNIMPLEMENTED"


def run(held=10, reason="endpoint remote", *extra, claims=(), **more):
    """The sandbox's clauses held, and of those of stats so many."""
    records = [record(f"t::{name}", found(name, "held")) for name in (*STOP, *STATS[:held])]
    records += [
        record(f"t::{name}", found(name, "not exercised", reason=reason)) for name in STATS[held:]
    ]
    about = more.pop("about", {})
    about = suite(profiles=sorted(CORE | set(claims)) if claims else [], **about)
    return results(CLAUSES, *records, *extra, bound=BOUND, about=about, **more)


def profile(made, name="stats"):
    return next(one for one in made["profiles"] if one["name"] == name)


@pytest.mark.parametrize(
    ("made", "state", "end"),
    [
        (run(), "conformant", 0),
        (run(6), "partial", 8),
        (run(4, NO), "not supported", 0),
        (run(6, NO), "conformant", 0),
        (run(0, NO), "not supported", 0),
        (run(0, "RPC or wording younger than the runtime: x"), "not supported", 0),
        (run(0, "endpoint remote"), "partial", 8),
        (run(10, "", broken("t::b", STATS[0])), "broken", 1),
        (run(0, NO, broken("t::b", STATS[0])), "broken", 1),
        (run(10, "", record("t::e", found(STATS[0], "error", reason="x"))), "partial", 8),
        (run(claims=["stats"]), "conformant", 0),
        (run(8, NO, claims=["stats"]), "conformant", 0),
        (run(6, NO, claims=["stats"]), "broken", 1),
        (run(0, NO, claims=["stats"]), "broken", 1),
        (run(6, "endpoint remote", claims=["stats"]), "partial", 8),
        (run(0, "switched off by option: not selected", claims=["image"]), "not supported", 0),
        (run(6, about={"selection": {"clause": "x"}}), "partial", 0),
    ],
)
def test_a_profile_and_the_gate(made, state, end):
    # The claimed image profile has no clause here: it is not of interest.
    made["profiles"] = [one for one in made["profiles"] if one["name"] != "image"]
    assert profile(made)["verdict"] == state
    assert ending(made) == end


def test_known_violations_are_forgiven_by_the_gate_and_not_by_the_profile():
    known = {STATS[0]: Expectation(STATS[0], "issue 7")}
    made = run(10, "", record("t::k", found(STATS[0], "known", reason="issue 7")), known=known)
    assert (profile(made)["verdict"], profile(made)["known"]) == ("broken", 1)
    assert ending(made) is Ending.HELD
    assert profile(made, "sandbox")["verdict"] == "conformant"


def test_what_flakes_is_known_in_every_run():
    known = {STATS[0]: Expectation(STATS[0], "a race", flaky="1 in 70")}
    for extra in ((), (record("t::k", found(STATS[0], "known", reason="a race")),)):
        made = run(10, "", *extra, known=known)
        assert (profile(made)["verdict"], profile(made)["known"]) == ("broken", 1)
        assert made["stale"] == []
        assert ending(made) is Ending.HELD
    shown = [text for text, _ in summary_lines(made, 0)]
    assert f"flaky    {STATS[0]}: 1 in 70: a race" in shown


def test_why_a_clause_was_left_out():
    left_out = "switched off by option: not selected"
    made = run(0, left_out, claims=["image"])
    reasons = {c["reason"] for c in made["clauses"] if c["profile"] == "stats"}
    assert reasons == {"switched off by option: the profile stats is not claimed"}


def test_the_core_has_no_way_out():
    skipped = [record(f"t::{n}", found(n, "not exercised", reason=NO)) for n in STOP]
    made = results(CLAUSES, *skipped, record("t", found(STATS[0], "held")), bound=BOUND)
    assert profile(made, "sandbox")["verdict"] == "partial"
    assert profile(made, "sandbox")["short"]
    assert ending(made) is Ending.INCOMPLETE


def test_the_minimum_asks_nothing_younger_or_special():
    from cri_conformance.report.profiles import evaluate

    def asked(**changes):
        made = run(0)
        for clause in made["clauses"]:
            if clause["id"] in STATS[:3]:
                clause.update(changes)
        found = evaluate(made["clauses"], made["suite"], made["target"])
        return next(one for one in found if one["name"] == "stats")

    assert asked()["asked"] == 10
    for change in (
        {"since": "1.36"},
        {"needs": "hardware"},
        {"level": "SHOULD"},
        {"tests": []},
        {"reason": "switched off by option: judged as of 0.1.0, and this came with 0.2.0"},
    ):
        assert asked(**change)["asked"] == 7
    # What needs the host counts for the verdict, and not against a run without one.
    made = run(7)
    for clause in made["clauses"]:
        if clause["id"] in STATS[5:]:
            clause["needs"] = "host"
    (stats,) = (
        one
        for one in evaluate(made["clauses"], made["suite"], made["target"])
        if one["name"] == "stats"
    )
    assert (stats["judged"], stats["asked"], stats["short"]) == (7, 10, False)


def test_what_is_advertised_and_not_there_is_a_failure():
    names = ["UserNamespace.mode.pod", "UserNamespace.uids.map"]
    clauses = small_register(*((name, "MUST") for name in (*names, *STOP)))
    status = {"runtime_handlers": [{"features": {"user_namespaces": True}}]}
    held = [record(f"t::{name}", found(name, "held")) for name in STOP]
    refused = [record(f"t::{name}", found(name, "not exercised", reason=NO)) for name in names]
    for shows, state, end in (({}, "not supported", 0), (status, "broken", 1)):
        made = results(
            clauses,
            *held,
            *refused,
            bound={name: [f"t::{name}"] for name in (*names, *STOP)},
            runtime=target(status=shows),
        )
        assert profile(made, "user-namespaces")["verdict"] == state
        assert ending(made) == end
    missing = profile(made, "user-namespaces")["missing"]
    assert missing == [
        f"user_namespaces is advertised, and not there: UserNamespace.mode.pod: {NO}"
    ]
    shown = [text for text, _ in summary_lines(made, 0)]
    assert f"MISSING  user-namespaces: {missing[0]}" in shown
    assert shown[-1] == "what the runtime claims to support is not there"


@pytest.mark.parametrize(
    ("selection", "tone"), [({}, "v-warned"), ({"clause": "x"}, "v-not-exercised")]
)
def test_what_only_the_selection_narrowed_is_no_warning(selection, tone):
    made = results(small_register(), about=suite(selection=selection))
    partial = {"name": "exec", "verdict": "partial"}
    assert view(made).profile_tone(partial) == tone
