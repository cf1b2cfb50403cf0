# SPDX-License-Identifier: Apache-2.0
"""What sequences leave behind: seen, attributed, tried again and written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Set
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cri_conformance import cli
from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.fuzz import leftovers as module
from cri_conformance.fuzz import trying
from cri_conformance.fuzz.campaign import Campaign, CampaignFailed
from cri_conformance.fuzz.finding import Finding, Kind
from cri_conformance.fuzz.leftovers import Left, Leftovers, Played
from cri_conformance.fuzz.machine import Halt
from cri_conformance.fuzz.modes import chosen
from cri_conformance.fuzz.replay import ReplayError, happens, load, run
from cri_conformance.settings import Budget, Settings
from cri_conformance.target import Preparation, connect
from cri_conformance.wire.outcome import Ok, Outcome, Refused

_ONE, _OTHER = "1" * 64, "2" * 64


class _Host(Leftovers):
    """With lines of our own in place of a look."""

    def __init__(self) -> None:
        empty = SimpleNamespace(items=(), containers=())
        client = SimpleNamespace(call=lambda rpc: Ok(empty))
        facts = SimpleNamespace(host_root="")
        target: Any = SimpleNamespace(client=client, facts=facts, workshop=facts)
        facts.log_root = ""
        super().__init__(target)
        self.lines: list[str] = []
        self._leaks.now = lambda ids: list(self.lines)  # type: ignore[method-assign]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def _played(clock: Any, *ids: str) -> Played:
    return Played("lives", 0, list, frozenset(ids), (0, 0), clock.now)


def test_what_goes_meanwhile_is_nothing_and_what_stays_is_told_once(clock: Any):
    host = _Host()
    host.ended(_played(clock, _ONE))
    host.ended(_played(clock, _OTHER))
    host.lines = [f"process 1 (a) of {_ONE}", f"process 2 (b) of {_OTHER}"]
    assert host.look(frozenset()) == []
    clock.now += 6
    del host.lines[0]
    assert host.look(frozenset()) == []
    clock.now += 6
    host.lines.insert(0, f"process 1 (a) of {_ONE}")
    [left] = host.look(frozenset())
    assert left.lines == [f"process 2 (b) of {_OTHER}"]
    assert [one.ids for one in left.suspects] == [{_OTHER}]
    assert left.cause == "process N (b) of ID"
    clock.now += 6
    assert host.look(frozenset()) == []


def test_what_has_no_id_may_be_of_any_sequence_since_the_look_before(clock: Any):
    host = _Host()
    host.ended(_played(clock, _ONE))
    host.look(frozenset())
    clock.now += 1
    late = [_played(clock, _OTHER), _played(clock)]
    for one in late:
        host.ended(one)
    host.lines = ["network namespace cni-1"]
    host.look(frozenset())
    clock.now += module.STAYS + 1
    [left] = host.look(frozenset())
    assert left.suspects == late


def test_what_is_of_something_that_goes_on_is_nothing(clock: Any):
    host = _Host()
    host.ended(_played(clock, _ONE))
    host.lines = ["open file /tmp/logs/yard/0.log in process 1", f"process 2 (a) of {_ONE}"]
    alive = {"/tmp/logs/yard", _ONE}
    assert host.look(alive) == []
    clock.now += module.STAYS + 1
    assert host.look(alive) == []
    clock.now += module.STAYS + 1
    assert host.look(frozenset()) == []
    clock.now += module.STAYS + 1
    assert [left.lines for left in host.look(frozenset())] == [[line] for line in host.lines]


@pytest.mark.parametrize(("refusals", "left"), [(1, False), (1000, True)])
def test_what_could_not_be_removed_at_once_is_removed_later(
    monkeypatch: pytest.MonkeyPatch, refusals: int, left: bool
):
    monkeypatch.setattr(module, "GONE_WITHIN", 0.6)
    host = _Host()
    there = {_ONE}

    def call(rpc: str, deadline: float = 0.0, **ids: str) -> Outcome:
        nonlocal refusals
        if rpc == "RemoveContainer":
            refusals -= 1
            if refusals >= 0:
                return Refused("UNKNOWN", "container is in starting state")
            there.clear()
        containers = [SimpleNamespace(id=one) for one in there]
        return Ok(SimpleNamespace(items=(), containers=containers))

    host._target.client.call = call  # type: ignore[method-assign, assignment]
    assert host.left({_ONE, _OTHER}) == ([f"ListContainers has {_ONE}"] if left else [])


@pytest.mark.parametrize(("refusals", "goes"), [(1, True), (1, False), (1000, True)])
def test_what_can_be_removed_at_a_later_look_was_not_left(clock: Any, refusals: int, goes: bool):
    host = _Host()
    there = {_ONE}

    def call(rpc: str, deadline: float = 0.0, **ids: str) -> Outcome:
        nonlocal refusals
        if rpc == "RemovePodSandbox":
            refusals -= 1
            if refusals >= 0:
                return Refused("UNKNOWN", "a container is in starting state")
            if goes:
                there.clear()
        items = [SimpleNamespace(id=one) for one in there]
        return Ok(SimpleNamespace(items=items, containers=()))

    host._target.client.call = call  # type: ignore[method-assign, assignment]
    # Both removals of the first look.
    refusals *= 2
    host.ended(_played(clock, _ONE))
    assert host.look(frozenset()) == []
    clock.now += module.STAYS + 1
    told = [left.lines for left in host.look(frozenset())]
    assert told == ([] if goes and refusals < 0 else [[f"ListPodSandbox has {_ONE}"]])


def test_a_look_that_takes_long_is_not_repeated_soon(clock: Any):
    host = _Host()
    looks = []

    def slow(ids: Any) -> list[str]:
        looks.append(clock.now)
        clock.now += 0.1
        return []

    host._leaks.now = slow  # type: ignore[method-assign]
    while clock.now < 125:
        host.look(frozenset())
        clock.now += 1
    assert len(looks) == 3


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings("reference", fuzz=Budget(steps=400), fuzz_dir=tmp_path, report=tmp_path)


@pytest.fixture
def preparation(settings: Settings) -> Iterator[Preparation]:
    with Preparation(settings, faults=True) as made:
        yield made


@pytest.mark.parametrize(
    ("line", "kind"),
    [("network namespace cni-1", Kind.OPEN), (f"process 1 (a) of {_ONE}", Kind.LEAK)],
)
def test_what_may_be_of_others_does_not_count_unless_it_shows_again(
    preparation: Preparation, line: str, kind: Kind
):
    target = connect(preparation.settings, preparation.facts)
    campaign = Campaign(target, Rules(register(), Minor.parse(preparation.facts.minor)), [])
    campaign.behind.tell(Left([line], []))
    [found] = campaign.findings.values()
    assert found.kind is kind
    assert found.plain()["untried"] == "no sequence is known that may have left it"


def test_what_may_be_of_others_is_told_apart_from_what_is_ours(preparation: Preparation):
    """Beside other runtimes it comes with whatever is left, and shows with whatever is tried."""
    target = connect(preparation.settings, preparation.facts)
    campaign = Campaign(target, Rules(register(), Minor.parse(preparation.facts.minor)), [])
    lines = [f"process 1 (a) of {_ONE}", "network namespace cni-1", f"process 2 (b) of {_ONE}"]
    campaign.behind.tell(Left(lines, []))
    found = {one.kind: one.actual for one in campaign.findings.values()}
    assert found == {Kind.LEAK: f"{lines[0]}; {lines[2]}", Kind.OPEN: lines[1]}


@pytest.mark.parametrize(
    ("cause", "shows"),
    [("network namespace cni-N; process N (a) of ID", False), ("network namespace cni-N", True)],
)
def test_what_may_be_of_others_proves_nothing_beside_what_is_ours(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch, cause: str, shows: bool
):
    class Others(module.Leftovers):
        def left(self, ids: Set[str]) -> list[str]:
            return ["network namespace cni-77"]

    monkeypatch.setattr(trying, "Leftovers", Others)
    target = connect(preparation.settings, preparation.facts)
    campaign = Campaign(
        target, Rules(register(), Minor.parse(preparation.facts.minor)), chosen(["lives"])
    )
    leak = Finding(Kind.LEAK, "lives", "", cause, "", "", 0, behind=True)
    leak.story = {"steps": [{"do": "run", "with": {}}]}
    assert campaign.try_again(leak, once=True) is shows


def test_where_no_sequence_leaves_it_again_that_is_said(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
):
    target = connect(preparation.settings, preparation.facts)
    campaign = Campaign(
        target, Rules(register(), Minor.parse(preparation.facts.minor)), chosen(["lives"])
    )
    monkeypatch.setattr(campaign._trying, "once", lambda mode, finding: False)
    one = Played("lives", 0, lambda: [{"do": "run", "with": {}}], frozenset(), (0, 0))
    campaign.behind.tell(Left(["network namespace cni-1"], [one, one]))
    [found] = campaign.findings.values()
    why = "none of the sequences that may have left it was seen to do so once more"
    assert found.plain()["untried"] == why


class _Interrupted:
    """A mode in which Ctrl-C comes, or the time is over."""

    name = "lives"
    weight = 1

    def __init__(self, *, comes: bool) -> None:
        self.comes = comes

    def open(self, campaign: Campaign) -> Any:
        return self

    def turn(self, seed: int, number: int) -> None:
        raise KeyboardInterrupt if self.comes else Halt

    def close(self) -> None:
        pass


@pytest.mark.parametrize("amid", [True, False])
def test_after_an_interrupt_what_is_left_is_told_and_nothing_is_tried(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch, amid: bool
):
    """Whether it comes while steps are made, or when what was left is tried at the end."""
    target = connect(preparation.settings, preparation.facts)
    rules = Rules(register(), Minor.parse(preparation.facts.minor))
    mode: Any = _Interrupted(comes=amid)
    progress = preparation.settings.report / "progress.json"
    campaign = Campaign(target, rules, [mode], progress=progress)
    one = Played("lives", 0, lambda: [{"do": "run", "with": {}}], frozenset(), (0, 0))
    lefts = [Left([f"process 1 ({name}) of {_ONE}"], [one]) for name in ("a", "b")]
    monkeypatch.setattr(campaign.behind.leftovers, "at_last", lambda ids: lefts)
    tried: list[str] = []
    closed: list[bool] = []

    def again(mode: object, finding: Finding) -> None:
        tried.append(finding.actual)
        raise KeyboardInterrupt

    monkeypatch.setattr(campaign._trying, "again", again)
    monkeypatch.setattr(campaign.tools, "close", lambda: closed.append(True))
    with pytest.raises(KeyboardInterrupt):
        campaign.run()
    assert tried == ([] if amid else [lefts[0].lines[0]])
    assert closed
    told = json.loads(progress.read_text())
    assert [one["actual"] for one in told["findings"]] == [left.lines[0] for left in lefts]
    assert {one["untried"] for one in told["findings"]} == {"the campaign was interrupted"}
    assert all(Path(one["folder"], "replay.json").exists() for one in told["findings"])


def test_a_sequence_is_looked_up_only_when_its_turn_has_come(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
):
    target = connect(preparation.settings, preparation.facts)
    campaign = Campaign(
        target, Rules(register(), Minor.parse(preparation.facts.minor)), chosen(["lives"])
    )
    told: list[int] = []

    def one(number: int) -> Played:
        step = {"do": "run", "with": {}}
        return Played("lives", number, lambda: told.append(number) or [step], frozenset(), (0, 0))

    tried: list[int] = []

    def once(mode: object, finding: Finding) -> bool:
        tried.append(finding.seed)
        return finding.seed == 1

    monkeypatch.setattr(campaign._trying, "once", once)
    monkeypatch.setattr(campaign._trying, "again", lambda mode, finding: None)
    campaign.behind._tell_one(
        Left([f"process 1 (a) of {_ONE}"], [one(number) for number in range(3)])
    )
    assert tried == told == [0, 1]
    assert [one.seed for one in campaign.findings.values()] == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="looks at all processes")
def test_what_a_mode_keeps_over_sequences_is_nothing_left(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "STAYS", 0.5)
    monkeypatch.setattr(module, "SHARE", 1.0)
    target = connect(preparation.settings, preparation.facts)
    rules = Rules(register(), Minor.parse(preparation.facts.minor))
    campaign = Campaign(target, rules, chosen(["wire"]))
    campaign.run()
    assert not campaign.findings


@pytest.mark.skipif(os.geteuid() != 0, reason="looks at all processes")
@pytest.mark.parametrize("worker", ["", "gw1"])
def test_a_log_that_another_process_of_the_run_keeps_open_is_nothing_left(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch, worker: str
):
    monkeypatch.setattr(module, "STAYS", 0.0)
    target = connect(preparation.settings, preparation.facts)
    rules = Rules(register(), Minor.parse(preparation.facts.minor))
    campaign = Campaign(target, rules, [], worker=worker)
    log = Path(target.workshop.log_root) / f"of-another-{worker}.log"
    code = f"kept = open({str(log)!r}, 'w'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as another:
        assert another.stdout
        another.stdout.readline()
        there = campaign.behind.leftovers.there(frozenset())
        another.communicate(b"\n")
    assert any(str(log) in line for line in there) is (not worker)
    with campaign.scope() as bench:
        assert bench.alone is (not worker)


@pytest.mark.skipif(os.geteuid() != 0, reason="looks at all processes")
def test_a_process_left_amid_a_campaign_has_a_story_that_leaves_it_again(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "STAYS", 0.5)
    monkeypatch.setattr(module, "GONE_WITHIN", 0.3)
    facts = preparation.facts
    fault = f"process-outlives-RemoveContainer@{facts.run_nonce}-left"
    target = connect(preparation.settings, facts, (("cri-fault", fault),))
    rules = Rules(register(), Minor.parse(facts.minor))
    campaign = Campaign(target, rules, chosen(["lives"]))
    with pytest.raises(CampaignFailed, match="process"):
        campaign.run()
    # A network namespace that comes meanwhile is of a runtime beside.
    [found] = [one for one in campaign.findings.values() if one.kind is Kind.LEAK]
    assert (found.mode, found.again) == ("lives", 3)
    assert found.steps <= 4
    assert any(call["rpc"] == "RemoveContainer" for call in found.calls)
    folder = Path(found.folder)
    assert not (folder / "crictl.sh").exists()
    document = load(folder)
    assert happens(target, document)
    # The runtime beside has no such fault.
    assert cli.main(["replay", str(folder), "--cri-endpoint", "reference"]) == 0
    monkeypatch.setattr("os.geteuid", lambda: 1)
    with pytest.raises(ReplayError, match="as root"):
        run(folder, replace(preparation.settings, fuzz=None))
