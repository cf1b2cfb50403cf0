# SPDX-License-Identifier: Apache-2.0
"""What is written while a run goes on, and what can be read of it whatever happened."""

from __future__ import annotations

import json

import pytest

from cri_conformance import cli
from cri_conformance.report import campaigns, folder, journal, remade
from cri_conformance.report.environment import environment
from cri_conformance.report.files import CALLS
from cri_conformance.report.journal import Journal, JournalError
from cri_conformance.report.load import ResultsError

from .fakes import call, found, record, suite, target
from .test_again import finding

CLAUSE = "RuntimeService.Version.stable"
BEGIN = {
    "suite": suite(complete=False),
    "target": target(),
    "environment": environment(),
    "leftovers": [],
}


def held(test, clause):
    return record(test, found(clause, "held"))


@pytest.fixture
def writing(tmp_path):
    made = Journal(tmp_path / journal.NAME, BEGIN)
    yield made
    made.close(remove=False)


def test_all_that_was_written_is_read_although_it_was_never_closed(writing):
    for number in range(3):
        writing.add(held(f"test_{number}", CLAUSE), float(number))
    read = journal.read(writing.path)
    assert [one["test"] for one in read.tests] == ["test_0", "test_1", "test_2"]
    assert (read.seconds, read.begin["target"]) == (2.0, target())


def test_hostile_text_stays_in_its_line(writing):
    text = "a\nb\r\u2028\x1b[2J\udc80\x00"
    writing.add({**held("t", CLAUSE), "message": text}, 1.0)
    assert len(writing.path.read_bytes().splitlines()) == 2
    assert journal.read(writing.path).tests[0]["message"] == text.replace("\udc80", "\\udc80")


@pytest.mark.parametrize("cut", [2, 20, 200])
def test_a_line_that_was_cut_short_is_left_out(writing, cut):
    writing.add(held("test_0", CLAUSE), 1.0)
    writing.add(held("test_1", CLAUSE), 2.0)
    writing.path.write_bytes(writing.path.read_bytes()[:-cut])
    assert [one["test"] for one in journal.read(writing.path).tests] == ["test_0"]


@pytest.mark.parametrize("text", ["", "{}\n", '{"journal": 0}\n', "\xff\n", "[]\n"])
def test_what_is_no_journal_is_said(tmp_path, text):
    path = tmp_path / journal.NAME
    path.write_text(text, encoding="latin-1")
    with pytest.raises(JournalError):
        journal.read(path)


def test_a_full_disk_ends_no_run(writing):
    writing._file.close()
    writing._file = open("/dev/full", "w", encoding="utf-8")  # noqa: PTH123, SIM115
    writing.add(held("t", CLAUSE), 1.0)
    writing.add(held("t", CLAUSE), 1.0)
    writing.close(remove=True)
    assert not writing.path.exists()


def test_the_report_of_it(tmp_path, writing):
    writing.add(held("t", CLAUSE), 1.5)
    made = remade.results(tmp_path, lambda: {"RuntimeService.Status.succeeds": ["other"]})
    folder.write(made, tmp_path)
    read = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    of = {clause["id"]: clause for clause in read["clauses"]}
    assert of[CLAUSE]["verdict"] == "held"
    assert of["RuntimeService.Status.succeeds"]["reason"].startswith("the run ended before its")
    assert read["suite"]["stopped"] == remade.STOPPED
    assert read["suite"]["seconds"] == 1.5
    assert "INTERRUPTED" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_what_a_killed_campaign_had_found(tmp_path, writing, capsys):
    state = {"worker": "", "seed": 7, "line": "2 steps", "stopped": "", "findings": []}
    campaigns.file(tmp_path, "gw0").write_text(json.dumps({**state, "worker": "gw0"}))
    campaigns.file(tmp_path, "gw1").write_text("[]")
    campaigns.file(tmp_path, "gw2").write_text('{"cut sh')
    assert cli.main(["report", str(tmp_path)]) == 0
    capsys.readouterr()
    file = campaigns.file(tmp_path, "")
    file.write_text(json.dumps({**state, "findings": [finding("")]}), encoding="utf-8")
    beside = [{"transcript": [call("StopPodSandbox", request={"pod_sandbox_id": "its-own"})]}]
    file.with_suffix(CALLS).write_text(json.dumps(beside), encoding="utf-8")
    assert cli.main(["report", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "FOUND leak" in told
    assert "cri-conformance replay .cri-fuzz/findings/leak" in told
    assert "the run was killed" in told.splitlines()[-2]
    read = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [campaign["worker"] for campaign in read["campaigns"]] == ["gw0", ""]
    assert read["campaigns"][1]["findings"][0]["transcript"] == beside[0]["transcript"]
    assert "its-own" in (tmp_path / "index.html").read_text(encoding="utf-8")
    campaigns.clear(tmp_path)
    assert campaigns.read(tmp_path) == []
    assert not list(tmp_path.glob("fuzz-*"))


def test_the_page_of_a_run_that_came_to_its_end_is_made_again(tmp_path, writing):
    made = remade.results(tmp_path, dict)
    writing.close(remove=True)
    with pytest.raises(ResultsError):
        remade.results(tmp_path, dict)
    folder.write(made, tmp_path)
    assert remade.results(tmp_path, dict) == made
