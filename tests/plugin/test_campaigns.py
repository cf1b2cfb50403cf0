# SPDX-License-Identifier: Apache-2.0
"""A campaign as a user runs it: what its reports tell of each finding."""

from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cri_conformance import cli
from cri_conformance.api.rpcs import RPCS

from .conftest import Place, Ran, Served, behind, wait_for

#: Lists containers that have siblings as ended while they run: it breaks several clauses.
FAULT = "ListContainers-siblings-exited"
SOON = "ContainerState.CONTAINER_RUNNING.after-start"
CAMPAIGN = ["--cri-fuzz-modes=lives", "--cri-seed=1"]


@pytest.fixture(scope="module")
def faulty(served: Served, short: Callable[[], Path]) -> Iterator[list[str]]:
    """Options that lead to a runtime behind the fault."""
    with behind(FAULT, served, short()) as options:
        yield options


@pytest.fixture(scope="module")
def ran(
    faulty: list[str], short: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    """A campaign that met the fault in several ways."""
    place = Place(tmp_path_factory.mktemp("campaign"), short())
    return place.run(*faulty, *CAMPAIGN, "--cri-fuzz=60")


@pytest.fixture(scope="module")
def findings(ran: Ran) -> list[Any]:
    assert ran.status == 1, ran.output
    (campaign,) = ran.results["campaigns"]
    found: list[Any] = campaign["findings"]
    assert len({one["clause"] for one in found}) >= 3
    assert SOON in {one["clause"] for one in found}
    return found


def _made(finding: Any) -> set[str]:
    """The ids of what its calls made."""
    return {
        value
        for call in finding["transcript"]
        if call["rpc"] in ("RunPodSandbox", "CreateContainer") and call["response"]
        for value in call["response"].values()
    }


def test_each_has_the_calls_of_its_own_story(findings: list[Any]) -> None:
    for one in findings:
        written = (Path(one["folder"]) / "transcript.txt").read_text(encoding="utf-8")
        calls = [line for line in written.splitlines() if re.match(r"\s*[\d.]+s +[\d.]+ms ", line)]
        assert len(one["transcript"]) == len(calls)
        for call, line in zip(one["transcript"], calls, strict=True):
            assert f"{call['at']:.3f}s " in line
            assert f" {call['rpc']}(" in line
    made = [_made(one) for one in findings]
    assert all(made)
    assert sum(map(len, made)) == len(set().union(*made))


def test_each_has_the_command_that_plays_it(faulty: list[str], findings: list[Any]) -> None:
    for one in findings:
        words = ["cri-conformance", "replay", one["folder"], *faulty]
        assert one["replay"] == shlex.join(words)
    soon = next(one for one in findings if one["clause"] == SOON)
    _, *words = shlex.split(soon["replay"])
    assert cli.main(words) == 1


def test_the_test_tells_how_all_of_it_is_seen_again(ran: Ran, faulty: list[str]) -> None:
    (test,) = ran.results["tests"]
    assert test["transcript"] == []
    program, *words = shlex.split(test["replay"])
    assert program == "pytest"
    assert {*faulty, *CAMPAIGN, "--cri-fuzz=60"} < {*words}
    assert not any(word.startswith("--cri-clause") for word in words)


def test_every_report_tells_both(ran: Ran, findings: list[Any]) -> None:
    page = unescape(ran.report("index.html"))
    summary = unescape(ran.report("summary.md"))
    shown = ran.output.partition("= FAILURES =")[2].partition("= contract =")[0]
    cases = {
        case.attrib["name"]: case.findtext("system-out") or ""
        for case in ElementTree.fromstring(ran.report("junit.xml")).iter("testcase")
    }
    for one in findings:
        card = page.partition(f' id="{one["clause"]}"')[2].partition('<details class="card')[0]
        foreign = [other for other in findings if other["clause"] != one["clause"]]
        for place in (card, cases[one["clause"]]):
            assert one["replay"] in place
            assert not any(other["folder"] in place for other in foreign)
        last = one["transcript"][-1]
        for place in (card, cases[one["clause"]], summary, shown):
            assert f"{last['at']:.3f}" in place
            assert one["replay"] in place


def test_what_was_judged_is_seen(findings: list[Any]) -> None:
    """The list is what it is about: it shows as ended what runs."""
    soon = next(one for one in findings if one["clause"] == SOON)
    written = (Path(soon["folder"]) / "transcript.txt").read_text(encoding="utf-8")
    last = written.splitlines()[-3:]
    assert any("state=CONTAINER_EXITED" in line for line in last), written


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_was_judged_before_an_interrupt_is_told(
    faulty: list[str], place: Place, workers: str
) -> None:
    process = place.start(*faulty, *CAMPAIGN, workers, "--cri-fuzz=60s")
    files = place.folder / "reports/latest"
    parts = int(workers[2:]) or 1

    def met() -> bool:
        told = [json.loads(path.read_text(encoding="utf-8")) for path in files.glob("fuzz-*.json")]
        return sum(any(one["again"] for one in each["findings"]) for each in told) == parts

    wait_for(met, "a finding of each")
    process.send_signal(signal.SIGINT)
    ran = place.end(process)
    assert ran.status == 2, ran.output
    found = {one["clause"] for each in ran.results["campaigns"] for one in each["findings"]}
    assert {ran.verdicts[clause] for clause in found} == {"broken"}
    assert ran.verdicts["PodSandboxStatus.created_at.stable"] == "held"
    assert not any("clauses" in campaign for campaign in ran.results["campaigns"])
    assert {campaign["stopped"] for campaign in ran.results["campaigns"]} == {"interrupted"}
    why = "the run ended before the campaign came by it: interrupted"
    assert ran.reason("ImageService.PullImage.by-digest") == why
    assert "switched off by option" not in ran.output
    assert ran.line(r"^\d+ held, [1-9]\d* broken")
    page, summary = unescape(ran.report("index.html")), ran.report("summary.md")
    for clause in found:
        assert ran.line(f"^BROKEN   {re.escape(clause)} ")
        assert clause in summary
        card = page.partition(f' id="{clause}"')[2].partition('<details class="card')[0]
        assert "cri-conformance replay " in card


def test_what_was_met_are_calls_on_objects_in_states(ran: Ran) -> None:
    (campaign,) = ran.results["campaigns"]
    met = campaign["met"]
    assert {one["call"] for one in met} <= RPCS.keys()
    assert campaign["combinations"] == len(met)
    # But for those of streams, which are told when they end.
    assert 0 <= campaign["calls"] - sum(one["times"] for one in met) < campaign["calls"] / 20
    told = {(one["call"], one["state"], one["code"]) for one in met}
    assert ("StartContainer", "container created", "OK") in told
    assert ("CreateContainer", "sandbox ready", "OK") in told
    assert ("ListContainers", "", "OK") in told
    assert not any(state == "" for call, state, _ in told if call.endswith("Container"))
    assert "<h3>What was met</h3>" in ran.report("index.html")
