# SPDX-License-Identifier: Apache-2.0
"""What the terminal shows."""

from __future__ import annotations

import time

import pytest

from cri_conformance.contract.expectations import Expectation
from cri_conformance.contract.register import register
from cri_conformance.report.schema import EARLIER, FORGOTTEN
from cri_conformance.report.terminal import SHOWN, failure_text, summary_lines
from cri_conformance.report.text import one_line, visible

from .fakes import broken, call, found, large, record, results, small_register, suite

STOP = "RuntimeService.StopPodSandbox.idempotent"
RUN = "RuntimeService.RunPodSandbox.ready"
LIST = "RuntimeService.ListPodSandbox.once"
LATE = "RuntimeService.Status.prompt"
SOME = small_register((STOP, "MUST"), (RUN, "SHOULD"), (LIST, "FIELD"), (LATE, "KUBELET"))


def lines(made, verbose=0):
    return [text for text, _ in summary_lines(made, verbose)]


def test_a_failure_tells_the_promise_what_came_and_how_to_see_it_again():
    calls = [call("Status", "UNKNOWN-OUTCOME", at=0.1)]
    text = failure_text(SOME[LATE], "an answer within 2 s", "none", calls, "pytest x")
    order = [LATE, "KUBELET", "Promise number 3 is kept.", "pkg/kubelet/some.go Some"]
    order += ["permitted: an answer within 2 s", "got:       none", "Status() → UNKNOWN-OUTCOME"]
    order += ["pytest x"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "proto/services.proto:4" in text


def test_a_failure_without_calls_shows_no_heading_for_them():
    assert "call" not in failure_text(SOME[STOP], "a", "b", [], "pytest")


@pytest.mark.parametrize("place", [0, 20])
def test_of_a_long_story_only_calls_are_counted(place: int):
    names = ("Status", "Version")
    calls = [call(names[number % 2], at=float(number)) for number in range(50)]
    calls[place]["left_out"] = 7
    text = failure_text(SOME[STOP], "a", "b", calls, "pytest")
    assert "  30 calls, the last one last (20 earlier ones stand in the report):" in text
    assert text.count("() → OK") == 30
    # Where calls are left out right before those that are shown it says so.
    assert ("… 7 calls left out …" in text) is (place == 20)


def test_a_call_that_is_repeated_does_not_hide_the_one_that_matters():
    calls = [
        call("StopContainer", "UNKNOWN-OUTCOME", at=0.0),
        *(call("StopContainer", "UNKNOWN", at=1.0 + number) for number in range(60)),
        call("ContainerStatus", at=70.0),
        call("ContainerStatus", at=71.0),
    ]
    told = failure_text(SOME[STOP], "a", "b", calls, "pytest").splitlines()
    at = told.index("  63 calls, the last one last:")
    shown = [line.split("ms ")[-1].strip() for line in told[at + 1 : at + 7]]
    assert shown == [
        "StopContainer() → UNKNOWN-OUTCOME",
        "StopContainer() → UNKNOWN",
        "… 58 more like it …",
        "StopContainer() → UNKNOWN",
        "ContainerStatus() → OK",
        "ContainerStatus() → OK",
    ]


def test_nothing_from_the_runtime_reaches_the_terminal_raw():
    bad = "\x1b]0;evil\x07\x9b2J\u202e"
    made = results(
        SOME,
        broken("t::a", STOP, actual=bad, permitted=bad, replay=bad),
        record("t::b", found(RUN, "warned", permitted=bad, actual=bad)),
        record("t::c", found(LIST, "known", reason=bad)),
        record("t::d", blame="environment", message=bad),
        known={LIST: Expectation(LIST, bad, bad)},
        leftovers=(bad, f"{FORGOTTEN}{bad}"),
        about=suite(complete=False, stopped=bad),
    )
    said = [call("Status", "UNKNOWN", message=bad)]
    shown = "\n".join(
        [*lines(made), *lines(made, 1), failure_text(SOME[STOP], bad, bad, said, bad)]
    )
    assert not set(shown) & set(bad.replace("evil", "").replace("]0;", "").replace("2J", ""))
    assert "\\x1b" in shown


def test_only_what_a_sweep_removes_is_told_with_one():
    left = ("sandbox 1", f"{EARLIER}sandbox 0", f"{FORGOTTEN}network namespace cni-7")
    forgot = (
        "left on the host by this runtime or another, and no call removes it: "
        "network namespace cni-7"
    )
    shown = lines(results(SOME, leftovers=left))
    assert "left behind: sandbox 1" in shown
    assert any(line.startswith("remove it with: cri-conformance sweep") for line in shown)
    assert forgot in shown
    shown = lines(results(SOME, leftovers=left[1:]))
    assert forgot in shown
    assert not any("sweep" in line for line in shown)


def test_the_summary_names_what_is_wrong_first_and_counts_at_the_end():
    made = results(
        SOME,
        broken("t::a", STOP),
        record("t::b", found(RUN, "warned", permitted="p", actual="q")),
        record("t::c", found(LIST, "held")),
        record("t::d", found(LATE, "known", reason="issue 7")),
        known={LIST: Expectation(LIST, "old", ""), LATE: Expectation(LATE, "issue 7", "")},
    )
    shown = lines(made)
    assert shown[0].startswith(
        f"BROKEN   {STOP} (MUST): permitted the call succeeds; got NOT_FOUND"
    )
    assert shown[1].strip().startswith("pytest --cri-endpoint")
    assert shown[2] == f"known    {LATE}: issue 7"
    assert shown[3] == f"warned   {RUN} (SHOULD): permitted p; got q"
    assert shown[4] == f"STALE    {LIST} held: remove its entry from the expectations file"
    assert shown[5] == "profile  runtime: broken (1 of 1 judged, 1 known)"
    assert shown[6] == "profile  sandbox: broken (2 of 2 judged, 1 broken)"
    assert "1 held, 1 broken, 1 known, 1 warned, 0 recorded, 0 not exercised" in shown[-2]
    assert shown[-1] == "the contract is broken in 1 clause"


def test_a_quiet_run_shows_only_what_is_wrong():
    made = large()
    assert not [line for line in lines(made, -1) if line.startswith(("known", "warned"))]
    assert [line for line in lines(made, -1) if line.startswith("BROKEN")]


def test_what_is_no_verdict_is_told_by_cause():
    trouble = [record(f"t::{n}", blame="environment", message="no bridge") for n in range(30)]
    shown = lines(results(SOME, *trouble, record("t::s", blame="suite", message="KeyError")))
    assert "no verdict (environment), 30 tests: no bridge" in shown
    assert "no verdict (mistake of the suite), 1 test: KeyError" in shown


def test_a_long_list_is_cut_unless_asked_for():
    ids = [f"RuntimeService.Status.p{n}" for n in range(SHOWN + 5)]
    many = small_register(*((name, "SHOULD") for name in ids))
    warned = [record(f"t::{name}", found(name, "warned")) for name in ids]
    made = results(many, *warned)
    assert len([line for line in lines(made) if line.startswith("warned")]) == SHOWN
    assert "… and 5 more warned: see the report, or use -v" in lines(made)
    assert len([line for line in lines(made, 1) if line.startswith("warned")]) == SHOWN + 5


def test_asked_for_more_it_tells_what_was_recorded_and_what_was_not_exercised():
    shown = lines(
        results(
            SOME,
            record("t::a", found(RUN, "recorded", actual="INTERNAL")),
            record("t::b", found(LATE, "not exercised", reason="endpoint remote")),
        ),
        1,
    )
    assert f"recorded {RUN}: INTERNAL" in shown
    assert f"not exercised, endpoint remote: {LATE}" in shown


def test_the_last_line_says_how_it_ended():
    assert lines(results(SOME))[-1] == "no clause was judged"
    bound = {name: ["t"] for name in SOME.clauses}
    part = results(SOME, record("t", found(STOP, "held")), bound=bound)
    assert lines(part)[-1] == (
        "incomplete: too little was judged of a profile: "
        "runtime 0 of 1 clause, 1 are needed; sandbox 1 of 2 clauses, 2 are needed"
    )
    gone = suite(complete=False, stopped="the runtime no longer answers")
    assert lines(results(SOME, about=gone))[-1].endswith("failed: the runtime no longer answers")


def test_megabytes_are_cut_before_they_are_looked_at():
    start = time.monotonic()
    huge = "\x1b x" * 5_000_000
    assert len(one_line(huge)) < 2000
    assert len(visible(huge, 100)) < 500
    assert len("\n".join(lines(results(SOME, broken("t", STOP, actual=huge))))) < 5000
    assert time.monotonic() - start < 2


def test_visible_keeps_what_people_write():
    text = "ünïcode 容器 🦀\tand\nlines"
    assert visible(text) == text
    assert visible("a\r\x00\ud800") == "a\\x0d\\x00\\ud800"


def test_of_a_few_tests_of_ones_own_nothing_is_said_of_all_the_rest():
    made = results(register(), about=suite(selection={"paths": ["mine/test_own.py"]}))
    shown = "\n".join(line for line, _ in summary_lines(made, 1))
    assert "not among the tests" not in shown
    assert "profile " not in shown
