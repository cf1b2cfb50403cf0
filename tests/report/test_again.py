# SPDX-License-Identifier: Apache-2.0
"""The command that shows a broken clause again."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

from cri_conformance.report import again, html, markdown, terminal

from .fakes import broken, found, record, results, small_register, suite

STOP = "RuntimeService.StopPodSandbox.idempotent"
RUN = "RuntimeService.RunPodSandbox.ready"
TWO = small_register((STOP, "MUST"), (RUN, "FIELD"))
ASKED = "pytest --cri-endpoint unix:///x.sock --cri-test-image=localhost/x:1 --cri-fuzz 60s -q"
PLAYED = "--cri-endpoint=unix:///x.sock --cri-test-image=localhost/x:1"


def finding(clause: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "clause" if clause else "leak",
        "mode": "lives",
        "clause": clause,
        "cause": "NOT_FOUND",
        "permitted": "OK",
        "actual": "NOT_FOUND",
        "counts": True,
        "reason": "",
        "link": "",
        "given_up": [],
        "seed": 7,
        "steps": 3,
        "steps_found": 30,
        "again": "3 of 3",
        "untried": "",
        "times": 1,
        "folder": f".cri-fuzz/findings/{clause or 'leak'}",
        **more,
    }


def campaign(*findings: dict[str, Any]) -> Any:
    """The results of a campaign: one test, which speaks of all that it found."""
    spoken = [found(one["clause"], "broken") for one in findings if one["clause"]]
    made: Any = results(
        TWO,
        record("suite/test_fuzz.py::test_campaign", *spoken, replay="pytest of no use"),
        about=suite(command=ASKED, selection={"fuzz": "60s"}),
    )
    did = {"worker": "", "seed": 7, "steps": 30, "line": "", "stopped": "", "findings": findings}
    did |= {"unplayed": []}
    made["campaigns"] = [did]
    return made


def test_of_a_test_it_is_the_tests_own():
    made = results(TWO, broken("t::a", STOP))
    assert again.commands(made) == {STOP: f"pytest --cri-endpoint reference --cri-clause {STOP}"}


def test_each_finding_of_a_campaign_has_its_own():
    made = campaign(finding(STOP), finding(RUN))
    assert again.commands(made) == {
        clause: f"cri-conformance replay .cri-fuzz/findings/{clause} {PLAYED}"
        for clause in (STOP, RUN)
    }


def test_what_has_no_story_can_not_be_played():
    made = campaign(finding(STOP, steps=0))
    assert again.commands(made) == {STOP: "pytest of no use"}


def test_what_was_met_once_is_told_as_one(tmp_path: Path):
    made = campaign(finding(STOP, steps=1))
    html.write(made, tmp_path / "index.html")
    page = unescape((tmp_path / "index.html").read_text(encoding="utf-8"))
    shown = "\n".join(line for line, _ in terminal.summary_lines(made, 0))
    assert "(1 step, again 3 of 3, met 1 time)" in shown
    assert "1 step (found with 30), again 3 of 3, met 1 time by" in page


def test_what_could_not_be_tried_again_says_why(tmp_path: Path):
    made = campaign(finding(STOP, again="", untried="the runtime did not come back"))
    html.write(made, tmp_path / "index.html")
    page = unescape((tmp_path / "index.html").read_text(encoding="utf-8"))
    shown = "\n".join(line for line, _ in terminal.summary_lines(made, 0))
    for place in (page, shown, markdown.render(made)):
        assert ", not tried again: the runtime did not come back" in place


def test_what_is_not_the_whole_says_so(tmp_path: Path):
    made = campaign()
    made["campaigns"][0] |= {"stopped": "it did not come back", "unplayed": ["images", "wire"]}
    html.write(made, tmp_path / "index.html")
    page = unescape((tmp_path / "index.html").read_text(encoding="utf-8"))
    shown = "\n".join(line for line, _ in terminal.summary_lines(made, 0))
    for note in (
        "ended before its time: it did not come back",
        "had no time left for images, wire",
    ):
        for place in (page, shown, markdown.render(made)):
            assert note in place


def test_of_several_processes_it_is_said_that_each_draws_its_own(tmp_path: Path):
    made = campaign()
    made["campaigns"].append({**made["campaigns"][0], "worker": "gw1"})
    html.write(made, tmp_path / "index.html")
    page = unescape((tmp_path / "index.html").read_text(encoding="utf-8"))
    shown = "\n".join(line for line, _ in terminal.summary_lines(made, 0))
    for alone, other, place in (
        ("campaign, seed 7: ", "campaign gw1, drawn from seed 7: ", shown),
        ("one process, seed 7: ", "gw1, drawn from seed 7: ", page),
    ):
        assert alone in place
        assert other in place


def test_it_is_shown_wherever_a_finding_is(tmp_path: Path):
    made = campaign(finding(STOP), finding(""))
    html.write(made, tmp_path / "index.html")
    markdown.write(made, tmp_path / "summary.md")
    page = unescape((tmp_path / "index.html").read_text(encoding="utf-8"))
    shown = "\n".join(line for line, _ in terminal.summary_lines(made, 0))
    for place in (shown, page, (tmp_path / "summary.md").read_text(encoding="utf-8")):
        assert f"cri-conformance replay .cri-fuzz/findings/{STOP} {PLAYED}" in place
        assert "of no use" not in place
    # A leak is no clause's: it has a line of its own where findings are told.
    for place in (shown, page, (tmp_path / "summary.md").read_text(encoding="utf-8")):
        assert f"cri-conformance replay .cri-fuzz/findings/leak {PLAYED}" in place


def test_a_campaign_that_was_interrupted_tells_its_findings_too():
    # Its test never came to speak of any clause.
    made = campaign(finding(""), finding("", counts=False, kind="open", folder="other"))
    made["campaigns"][0]["findings"] += (finding(STOP),)
    made["suite"] |= {"complete": False, "stopped": "interrupted: by somebody"}
    shown = "\n".join(line for line, _ in terminal.summary_lines(made, 0))
    summary = markdown.render(made)
    for place in (shown, summary):
        for folder in (f".cri-fuzz/findings/{STOP}", ".cri-fuzz/findings/leak", "other"):
            assert place.count(f"cri-conformance replay {folder} {PLAYED}") == 1
    assert "NOT_FOUND" in summary
    end = "interrupted: by somebody: what stands above is not the whole"
    assert shown.splitlines()[-1] == f"{end}; the campaign found 2 failures"
