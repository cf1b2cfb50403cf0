# SPDX-License-Identifier: Apache-2.0
"""The command that shows a broken clause again."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

from cri_conformance.report import again, html, junit, markdown, terminal

from .fakes import broken, call, found, record, results, small_register, suite
from .test_build_servers import valid

STOP = "RuntimeService.StopPodSandbox.idempotent"
RUN = "RuntimeService.RunPodSandbox.ready"
TWO = small_register((STOP, "MUST"), (RUN, "FIELD"))
ASKED = "pytest --cri-endpoint unix:///x.sock --cri-test-image=localhost/x:1 --cri-fuzz 60s -q"
PLAYED = "--cri-endpoint=unix:///x.sock --cri-test-image=localhost/x:1"


def finding(clause: str, **more: Any) -> dict[str, Any]:
    made = {
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
        "transcript": [],
        "sent": [],
        **more,
    }
    replay = f"cri-conformance replay {made['folder']} {PLAYED}" if made["steps"] else ""
    return {"replay": replay, **made}


def campaign(*findings: dict[str, Any]) -> Any:
    """The results of a campaign: one test, which speaks of all that it found."""
    spoken = [found(one["clause"], "broken") for one in findings if one["clause"]]
    made: Any = results(
        TWO,
        record("suite/test_fuzz.py::test_campaign", *spoken, replay="pytest of no use"),
        about=suite(command=ASKED, selection={"fuzz": "60s"}),
    )
    did = {"worker": "", "seed": 7, "steps": 30, "line": "", "stopped": "", "findings": findings}
    did |= {"unplayed": [], "met": []}
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
    assert "1 step (found with 30), again 3 of 3, met 1 time; its files" in page


def test_what_could_not_be_tried_again_says_why(tmp_path: Path):
    made = campaign(finding(STOP, again="", untried="the runtime did not come back"))
    html.write(made, tmp_path / "index.html")
    page = unescape((tmp_path / "index.html").read_text(encoding="utf-8"))
    shown = "\n".join(line for line, _ in terminal.summary_lines(made, 0))
    for place in (page, shown, markdown.render(made)):
        assert ", not tried again: the runtime did not come back" in place


def test_what_could_be_tried_no_oftener_says_why(tmp_path: Path):
    made = campaign(finding(STOP, again="2 of 2", untried="the campaign was interrupted"))
    shown = "\n".join(line for line, _ in terminal.summary_lines(made, 0))
    for place in (shown, markdown.render(made)):
        assert ", again 2 of 2 until the campaign was interrupted" in place


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


def _went(*pods: str) -> list[dict[str, Any]]:
    return [call("StopPodSandbox", request={"pod_sandbox_id": pod}) for pod in pods]


def test_each_finding_of_a_campaign_tells_its_own_calls():
    """The test that all of them are of has nothing to tell but of the last."""
    made = campaign(
        finding(STOP, transcript=_went("stop-1", "stop-2")),
        finding(STOP, cause="UNKNOWN", actual="UNKNOWN", folder="f2", transcript=_went("other")),
        finding(RUN, transcript=_went("run-1")),
        finding("", transcript=_went("leak-1"), sent=["Attach with one bit: 3 bytes"]),
    )
    page = unescape(html.render(made))
    cards = {
        clause: page.partition(f' id="{clause}"')[2].partition('<details class="card')[0]
        for clause in (STOP, RUN)
    }
    for clause, own, foreign in (
        (STOP, ("stop-1", "stop-2", "other", "replay f2 "), ("run-1", "leak-1")),
        (RUN, ("run-1", f"findings/{RUN} "), ("stop-1", "other", "leak-1")),
    ):
        assert all(one in cards[clause] for one in own)
        assert not any(one in cards[clause] for one in foreign)
    assert "leak-1" in page.partition('id="campaign"')[2]
    summary = markdown.render(made)
    told = {
        case.attrib["name"]: case.findtext("system-out") or ""
        for case in valid(junit.render(made)).iter("testcase")
    }
    assert all(one in told[STOP] for one in ("stop-1", "other", "replay f2 "))
    assert "run-1" in told[RUN]
    assert "stop-1" not in told[RUN]
    for place in (page, told["leak: NOT_FOUND"], summary):
        assert "leak-1" in place
        assert "Attach with one bit: 3 bytes" in place
    for one in ("'stop-1'", "other", "'run-1'", "'leak-1'"):
        assert summary.count(f"pod_sandbox_id={one}") == 1


def test_the_clause_says_what_its_finding_does():
    """Met again, it may have been something else that came, with other calls."""
    made = results(
        TWO,
        record("t", found(STOP, "broken", permitted="9 of them", actual="8"), replay="x"),
        campaigns=({**campaign()["campaigns"][0], "findings": [finding(STOP, actual="1")]},),
    )
    [clause] = [one for one in made["clauses"] if one["id"] == STOP]
    assert (clause["permitted"], clause["actual"]) == ("OK", "1")


def test_what_several_processes_found_is_told_once():
    made = campaign(finding(STOP, steps=9, folder="long"))
    other = finding(STOP, folder="short", times=2)
    made["campaigns"].append({**made["campaigns"][0], "worker": "gw1", "findings": [other]})
    page = unescape(html.render(made))
    assert "replay short " in page
    assert "replay long " not in page
    assert "met 3 times" in page
