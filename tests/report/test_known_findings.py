# SPDX-License-Identifier: Apache-2.0
"""Findings that are known, wherever a report tells of findings; and new ones made known."""

from __future__ import annotations

import json
from datetime import date
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from cri_conformance import cli
from cri_conformance.contract.expectations import Expectation, parse
from cri_conformance.contract.register import register
from cri_conformance.report import campaigns, html, json_file, junit, load, markdown, terminal
from cri_conformance.report.exit import Ending, ending, failures
from cri_conformance.report.known import TODO, Update, update

from .fakes import broken, found, record, results, suite, target
from .test_again import campaign, finding
from .test_build_servers import valid

_KEPT = "RuntimeService.StopContainer.idempotent"
LINK = "https://bugs.example/1"
SHIM = "process N (containerd-shim) of ID"
OF_START: dict[str, Any] = {"cause": SHIM, "given_up": ["StartContainer"]}
KNOWN = {"counts": False, "reason": "shims are left", "link": LINK, "cause": SHIM, "folder": "k"}


def test_alone_it_fails_nothing_and_its_reason_is_told(tmp_path: Path):
    made = campaign(finding("", **KNOWN))
    html.write(made, tmp_path / "index.html")
    page = unescape((tmp_path / "index.html").read_text(encoding="utf-8"))
    shown = [line for line, _ in terminal.summary_lines(made, 0)]
    summary = markdown.render(made)
    assert ending(made) is Ending.HELD
    assert failures(made) == []
    assert f"  known leak: shims are left <{LINK}>; NOT_FOUND (3 steps, again 3 of 3" in str(shown)
    assert "cri-conformance replay k " in str(shown)
    assert shown[-1] == "the campaign found nothing that counts, but for 1 known finding"
    assert "NOTHING NEW FOUND, 1 KNOWN" in page
    assert f'href="{LINK}"' in page
    assert "v-known" in page
    for place in (page, summary):
        assert "shims are left" in place
        assert "fails no run" not in place
    assert "NOTHING NEW FOUND, 1 KNOWN" in summary


def test_beside_another_that_one_counts():
    made = campaign(finding("", **KNOWN), finding(""), finding("", kind="open", counts=False))
    shown = [line for line, _ in terminal.summary_lines(made, 0)]
    assert ending(made) is Ending.BROKEN
    assert shown[-1] == "the campaign found 1 failure"
    kinds = [
        line.split(":")[0].strip() for line in shown if line.startswith("  ") and "again" in line
    ]
    assert kinds == ["known leak", "FOUND leak", "open"]


def test_what_is_open_and_known_says_both():
    shown = str(terminal.summary_lines(campaign(finding("", **KNOWN | {"kind": "open"})), 0))
    assert "  open, known: shims are left" in shown


def test_build_servers_have_a_case_for_each_that_no_clause_tells_of():
    both = [finding("", **KNOWN), finding("", kind="hang", cause="ExecSync cmd")]
    of_clause = "RuntimeService.StopPodSandbox.idempotent"
    made = campaign(*both, finding("", kind="open", counts=False, cause="x"), finding(of_clause))
    made["campaigns"].append({**made["campaigns"][0], "worker": "gw1"})
    root = valid(junit.render(made))
    [found] = [one for one in root if one.attrib["name"] == "found by the campaign"]
    cases = {case.attrib["name"]: case for case in found.findall("testcase")}
    assert list(cases) == [f"leak: {SHIM}", "hang: ExecSync cmd", "open: x"]
    known, hang, open_ = cases.values()
    skipped = known.find("skipped")
    assert skipped is not None
    assert skipped.attrib == {
        "type": "known",
        "message": f"known: shims are left <{LINK}>; leak: permitted OK; got NOT_FOUND",
    }
    failure = hang.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "hang: permitted OK; got NOT_FOUND"
    assert "cri-conformance replay" in (failure.text or "")
    assert open_.find("failure") is None


def test_entries_past_their_review_are_told(tmp_path: Path):
    made = campaign(finding("", **KNOWN))
    made["expectations"]["overdue"] = [
        {"clause": "", "finding": f"leak: {SHIM}", "review": "2020-01-01"}
    ]
    html.write(made, tmp_path / "index.html")
    shown = str(terminal.summary_lines(made, 0))
    assert f"review   leak: {SHIM}: its entry in " in shown
    assert f"leak: {SHIM} (2020-01-01)" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_results_of_earlier_versions_are_read(tmp_path: Path):
    old = campaign(finding(""))
    for key in ("cause", "reason", "link", "given_up"):
        del old["campaigns"][0]["findings"][0][key]
    json_file.write(old, tmp_path / "results.json")
    campaigns.file(tmp_path, "").write_text(json.dumps(old["campaigns"][0]), encoding="utf-8")
    for read in (load.load(tmp_path)["campaigns"], campaigns.read(tmp_path)):
        [one] = read[0]["findings"]
        assert (one["cause"], one["reason"], one["link"], one["given_up"]) == ("", "", "", [])


@pytest.mark.parametrize("wrong", [{"cause": 3}, {"given_up": "x"}, {"kind": None}, {"reason": []}])
def test_results_of_strangers_are_refused(tmp_path: Path, wrong: dict[str, Any]):
    json_file.write(campaign(finding("", **wrong)), tmp_path / "results.json")
    with pytest.raises(load.ResultsError):
        load.load(tmp_path)


# -- expectations update -------------------------------------------------------------


def _after(*findings: dict[str, Any], text: str = "") -> Update:
    made = results(
        register(),
        about=suite(selection={"fuzz": "60s"}),
        runtime=target(runtime_version="2.1.9+unknown"),
        campaigns=({"worker": "", "steps": 9, "findings": list(findings)},) * 2,
    )
    return update(text, "f", made, register(), date(2026, 11, 27))


def test_a_finding_gets_an_entry_and_is_known_from_then_on():
    new = finding("", **OF_START)
    done = _after(new)
    assert done.lines == (
        f"added    leak: {SHIM}, given up: StartContainer: its reason is to be written",
    )
    [entry] = parse(done.text, "f", register()).entries
    assert (entry.name, entry.reason) == (f"leak: {SHIM}, given up: StartContainer", TODO)
    assert entry.evidence == "permitted OK; got NOT_FOUND; again 3 of 3"
    assert entry.review == date(2027, 2, 25)
    again = _after(new, text=done.text)
    assert (again.text, again.lines) == (done.text, ())


def test_of_a_clause_that_a_campaign_broke_only_campaigns_expect_it():
    clause = "RuntimeService.StopPodSandbox.idempotent"
    made = results(register(), broken("t::a", clause))
    made["campaigns"] = campaign(finding(clause))["campaigns"]
    [entry] = parse(update("", "f", made, register()).text, "f", register()).entries
    assert (entry.clause, entry.campaigns) == (clause, True)


def test_where_others_have_versions_it_gets_one():
    text = '[[known]]\nclause = "RuntimeService.Version.stable"\nreason = "x"\nsince = "1.6"\n'
    done = _after(finding("", **OF_START), text=text)
    assert done.text.startswith(text)
    assert 'since = "2.1.9"' in done.text


def test_what_stayed_away_keeps_its_entry():
    text = _after(finding("", **OF_START)).text
    assert _after(text=text).text == text


@pytest.mark.parametrize(
    "passed",
    [
        {"counts": False, "kind": "open"},
        {"counts": False, "reason": "known"},
        {"kind": "damage", "cause": "canary"},
        {"kind": "clause"},
    ],
)
def test_what_is_no_leak_or_the_like_is_passed_over(passed: dict[str, Any]):
    assert _after(finding("", **{"cause": SHIM, **passed})).lines == ()


def test_what_says_too_little_is_left_to_people():
    done = _after(finding("", kind="crash", cause="ExecSync cmd"))
    [line] = done.lines
    assert line.startswith("by hand  crash: ExecSync cmd: crash: 'ExecSync cmd' says too little: ")
    assert "[[known]]" not in done.text


def test_a_clause_that_a_campaign_broke_is_expected_of_campaigns_alone():
    of_clause = finding(_KEPT)
    campaign = {"worker": "", "steps": 9, "findings": [of_clause]}
    about, runtime = suite(selection={"fuzz": "60s"}), target(runtime_version="2.1.9")
    red = broken("t", _KEPT)
    played = results(register(), red, about=about, runtime=runtime, campaigns=(campaign,))
    text = update("", "f", played, register()).text
    [entry] = parse(text, "f", register()).entries
    assert (entry.clause, entry.campaigns) == (_KEPT, True)
    judged = results(register(), red, about=suite(), runtime=runtime)
    [entry] = parse(update("", "f", judged, register()).text, "f", register()).entries
    assert not entry.campaigns
    # A run of the suite that breaks it too contradicts the entry: only people know the reason.
    done = update(text, "f", judged, register())
    assert done.text == text
    assert done.lines == (
        f"by hand  {_KEPT}: a run of the suite breaks it too: remove campaigns = true",
    )


def test_what_is_known_by_another_file_is_told():
    about, runtime = suite(selection={"fuzz": "60s"}), target(runtime_version="2.1.9")
    campaign = {"worker": "", "steps": 9, "findings": [finding("", **KNOWN)]}
    known = record("t", found(_KEPT, "known", reason="r"))
    other = {_KEPT: Expectation(_KEPT, "r")}
    played = results(
        register(), known, about=about, runtime=runtime, campaigns=(campaign,), known=other
    )
    done = update("", "f", played, register())
    assert done.lines == ()
    told = "no entry for 1 known violation and 1 known finding: known to the run by given"
    assert done.notes == (told,)
    # What the file knows too is nothing to tell of.
    entry = f'[[known]]\nclause = "{_KEPT}"\nreason = "r"\n'
    done = update(_after(finding("", cause=SHIM)).text + entry, "f", played, register())
    assert done.notes == ()


def test_a_file_that_needs_no_entry_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    answer, file = tmp_path / "results.json", tmp_path / "mine.toml"
    json_file.write(campaign(finding("", **KNOWN)), answer)
    words = ["expectations", "update", str(answer), "--file", str(file)]
    for more in ([], ["--check"]):
        assert cli.main([*words, *more]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "no entry for 1 known finding: known to the run by its expectations",
            f"nothing to write: {file} is not made",
        ]
    assert not file.exists()


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    answer, file = tmp_path / "results.json", tmp_path / "mine.toml"
    made = results(
        register(), campaigns=({"worker": "", "steps": 9, "findings": [finding("", **OF_START)]},)
    )
    json_file.write(made, answer)
    words = ["expectations", "update", str(answer), "--file", str(file)]
    assert cli.main([*words, "--check"]) == 1
    assert cli.main(words) == 0
    assert cli.main([*words, "--check"]) == 0
    assert "up to date" in capsys.readouterr().out


def test_what_a_campaign_did_not_meet_keeps_its_entry():
    text = f'[[known]]\nclause = "{_KEPT}"\nreason = "r"\n'
    held = record("t", found(_KEPT, "held"))
    about, runtime = suite(selection={"fuzz": "60s"}), target(runtime_version="2.1.9")
    campaign = {"worker": "", "steps": 9, "findings": []}
    judged = results(register(), held, about=suite(), runtime=runtime)
    assert _KEPT not in update(text, "f", judged, register(), date(2026, 11, 27)).text
    played = results(register(), held, about=about, runtime=runtime, campaigns=(campaign,))
    assert update(text, "f", played, register(), date(2026, 11, 27)).lines == ()
    # And that only a campaign breaks it is no reason for a run of the suite to take it away.
    rare = f"{text}campaigns = true\n"
    assert update(rare, "f", judged, register(), date(2026, 11, 27)).lines == ()
