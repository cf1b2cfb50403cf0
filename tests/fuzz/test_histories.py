# SPDX-License-Identifier: Apache-2.0
"""Histories: told and played again on the reference runtime, and judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.expect.violation import Violation
from cri_conformance.fuzz.campaign import Bench
from cri_conformance.fuzz.finding import Unspoken
from cri_conformance.fuzz.histories import TOLD, HistoriesMode, Steps
from cri_conformance.fuzz.judging import CampaignJudge
from cri_conformance.fuzz.story import Recorder, Story
from cri_conformance.fuzz.tools import Tools
from cri_conformance.model.histories import Event, History
from cri_conformance.model.orders import Doubt, Unexplained
from cri_conformance.settings import Settings
from cri_conformance.target import Preparation, connect


@pytest.fixture(scope="module")
def preparation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preparation]:
    settings = Settings("reference", report=tmp_path_factory.mktemp("histories"))
    with Preparation(settings, faults=True) as made:
        yield made


def _rules(preparation: Preparation, known: dict[str, str] | None = None) -> Rules:
    return Rules(register(), Minor.parse(preparation.facts.minor), known=known or {})


@contextmanager
def _bench(preparation: Preparation, fault: str = "") -> Iterator[Bench]:
    facts = preparation.facts
    metadata = (("cri-fault", f"{fault}@{facts.run_nonce}-x"),) if fault else ()
    target = connect(preparation.settings, facts, metadata)
    with target.client, target.scope() as runtime:
        judge = CampaignJudge(_rules(preparation))
        yield Bench(runtime, judge, target, Tools(target))


def _story(steps: Steps) -> Story:
    """Stops of one container in six lanes, two of which go on to other calls."""
    told = Recorder(steps, TOLD)
    sandbox = told.sandbox()
    container = told.container(sandbox, "running")
    for lane in range(6):
        told.beside(lane, "StopContainer", container)
    told.beside(0, "ListContainers")
    name = told.fresh_container(sandbox)
    told.beside(1, "CreateContainer", name)
    told.beside(1, "StartContainer", name)
    told.release()
    return told.story


def test_a_history_is_played_again_and_told_by_its_clause(preparation: Preparation) -> None:
    with _bench(preparation) as bench:
        steps = Steps(bench.runtime, bench.judge)
        story = _story(steps)
    calls = [one.call for one in steps.answered]
    assert calls.count("StopContainer") == 6
    assert "StartContainer" in calls
    # What was made amid is looked at in the end, too.
    assert calls[-3:] == ["ContainerStatus", "PodSandboxStatus", "ContainerStatus"]
    with _bench(preparation, "fail-StopContainer-overlapping") as bench:
        with pytest.raises(Violation) as caught:
            HistoriesMode().play(bench, story)
        assert caught.value.clause.id == "RuntimeService.StopContainer.concurrent"
        # Without what they are about no call is made, and nothing is wrong.
        HistoriesMode().play(bench, story[1:])


def test_of_several_clauses_the_one_that_binds_least_is_named(preparation: Preparation) -> None:
    calls = ("StopContainer", "RemoveContainer", "StopPodSandbox")
    stop, remove, other = (f"RuntimeService.{call}.concurrent" for call in calls)
    event = Event("StopContainer", 0, 1)
    cases: tuple[tuple[tuple[str, str], dict[str, str], str], ...] = (
        ((stop, remove), {}, remove),
        ((stop, other), {}, stop),
        ((stop, other), {other: "known"}, other),
    )
    for doubts, known, named in cases:
        rules = _rules(preparation, known)
        steps = Steps(None, CampaignJudge(rules))  # type: ignore[arg-type]
        found = Unexplained(event, tuple(Doubt(one, event) for one in doubts))
        assert steps._named(found).clause == named


def test_what_no_clause_speaks_of_is_told_as_such(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = _rules(preparation)
    event = Event("StopContainer", 0, 1)
    found = Unexplained(event, ())
    monkeypatch.setattr("cri_conformance.fuzz.histories.check", lambda history: found)
    with pytest.raises(Unspoken, match="StopContainer answered ok"):
        Steps(None, CampaignJudge(rules))._judge(History((), ()))  # type: ignore[arg-type]
