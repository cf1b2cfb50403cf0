# SPDX-License-Identifier: Apache-2.0
"""Campaigns, on the reference runtime: sound, and with a fault in it."""

from __future__ import annotations

import ast
import base64
import errno
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cri_conformance import cli
from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.expect.violation import Violation
from cri_conformance.fuzz import trying
from cri_conformance.fuzz.broken import Broken
from cri_conformance.fuzz.campaign import Campaign, CampaignFailed, seed_of
from cri_conformance.fuzz.finding import Finding, Kind
from cri_conformance.fuzz.judging import key_of
from cri_conformance.fuzz.leftovers import Left, Played
from cri_conformance.fuzz.lives import LivesMode, LivesSteps
from cri_conformance.fuzz.meter import Meter
from cri_conformance.fuzz.modes import UnknownMode, chosen
from cri_conformance.fuzz.replay import check, happens
from cri_conformance.fuzz.story import Recorder
from cri_conformance.malformed.fields import places
from cri_conformance.malformed.mutations import Mutation
from cri_conformance.malformed.oracle import Misbehaviour
from cri_conformance.settings import Budget, Settings
from cri_conformance.target import Preparation, connect
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.raw import peer

#: Lists running containers that have siblings as EXITED.
FAULT = "ListContainers-siblings-exited"
CLAUSE = "ContainerState.CONTAINER_RUNNING.after-start"


@pytest.fixture(scope="module")
def preparation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preparation]:
    folder = tmp_path_factory.mktemp("fuzz")
    settings = Settings("reference", fuzz=Budget(steps=60), fuzz_dir=folder, report=folder)
    with Preparation(settings, faults=True) as made:
        yield made


def _campaign(
    preparation: Preparation,
    fault: str = "",
    *,
    modes: tuple[str, ...],
    steps: int = 60,
    said: Callable[[str], None] = lambda line: None,
) -> Campaign:
    facts = preparation.facts
    metadata = (("cri-fault", f"{fault}@{facts.run_nonce}-x"),) if fault else ()
    settings = replace(preparation.settings, fuzz=Budget(steps=steps))
    target = connect(settings, facts, metadata)
    rules = Rules(register(), Minor.parse(facts.minor))
    progress = preparation.settings.report / "progress.json"
    return Campaign(target, rules, chosen(modes), said=said, progress=progress)


@pytest.mark.parametrize("mode", ["lives", "messages", "images", "histories", "wire"])
def test_a_sound_runtime_is_left_in_peace(preparation: Preparation, mode: str):
    campaign = _campaign(preparation, modes=(mode,))
    campaign.run()
    assert campaign.meter.steps == 60
    told = json.loads((preparation.settings.report / "progress.json").read_text())
    assert told["findings"] == []
    assert told["modes"] == {mode: 60}
    assert not campaign.target.client.call("ListPodSandbox").response.items


def test_a_sequence_leaves_no_stream_open(preparation: Preparation):
    # The runtime tells each of everything, and serves only so many at a time.
    campaign = _campaign(preparation, modes=("lives",), steps=150)
    made: list[Any] = []
    open_before = []
    stream, begin = campaign.runtime.stream, campaign.begin

    def noting(*args: Any, **options: Any) -> Any:
        made.append(stream(*args, **options))
        return made[-1]

    def looking(*args: Any) -> None:
        begin(*args)
        open_before.append(sum(one.open for one in made))

    campaign.runtime.stream, campaign.begin = noting, looking  # type: ignore[method-assign]
    campaign.run()
    assert len(made) > 2
    assert set(open_before) == {0}


def test_what_is_found_is_shrunk_written_and_can_be_played_again(preparation: Preparation):
    # Chance decides how long it takes; it ends with the finding that is shrunk.
    campaign = _campaign(preparation, FAULT, modes=("lives",), steps=600)
    with pytest.raises(CampaignFailed):
        campaign.run()
    found = next(one for one in campaign.findings.values() if one.clause == CLAUSE)
    assert found.counts
    assert found.again == 3
    assert 0 < found.steps <= min(found.steps_found, 7)
    folder = Path(found.folder)
    transcript = (folder / "transcript.txt").read_text()
    assert CLAUSE in transcript
    assert "StartContainer" in transcript
    document = json.loads((folder / "replay.json").read_text())
    assert any(str(call).count("${sandbox1}") for call in document["calls"])
    ast.parse((folder / "test_finding.py").read_text())
    with pytest.raises(pytest.fail.Exception) as failed:
        check(campaign.target, document)
    assert not failed.value.pytrace
    clause, permitted, got, counted, *calls = str(failed.value).splitlines()
    assert clause.startswith(f"{CLAUSE} ({register().clauses[CLAUSE].level}): ")
    assert permitted == f"  permitted: {found.permitted}"
    assert got.startswith("  got:       CONTAINER_EXITED")
    shown = [line for line in calls if re.match(r" +[\d.]+s +[\d.]+ms ", line)]
    assert counted.startswith(f"  {len(shown)} calls, the last one last")
    assert not any("RemovePodSandbox" in call for call in calls[-3:])
    assert "state=CONTAINER_EXITED" in "".join(calls[-3:])
    # Not every sequence can be said in crictl.
    for script in folder.glob("crictl.sh"):
        subprocess.run(["sh", "-n", script], check=True)
    # The runtime beside has no such fault.
    assert cli.main(["replay", str(folder), "--cri-endpoint", "reference"]) == 0


def test_a_should_that_was_not_kept_can_be_seen_again(preparation: Preparation):
    clause = "RuntimeService.StopContainer.retry-signalled"
    campaign = _campaign(preparation, "signal-lost-when-abandoned", modes=("lives",))
    campaign._mode = "lives"
    campaign.begin()
    inner = LivesSteps(campaign.runtime, campaign.judge, campaign.tools, 3.0, lambda: None)
    steps: Any = Recorder(inner, LivesMode.told)
    with pytest.raises(Violation) as warned:
        steps.stop_prompt(steps.run(), "deadline", 0.02)
    found = campaign.found(warned.value, steps.story)
    assert found
    assert (found.kind, found.clause, found.counts) == (Kind.OPEN, clause, False)
    assert found.again == 3
    assert campaign.judge.records[clause]["verdict"] == "warned"
    assert found.replay.startswith(f"cri-conformance replay {found.folder} ")
    document = json.loads((Path(found.folder) / "replay.json").read_text())
    assert happens(campaign.target, document)
    # From now on it is counted, and no failure.
    campaign.judge.that(clause, False, permitted=found.permitted, actual=found.actual)
    assert campaign.judge.muted[key_of(warned.value)] >= 2
    campaign._finish([])
    assert not [one for one in campaign.findings.values() if one.counts]


def test_a_should_that_is_known_is_no_finding(preparation: Preparation):
    campaign = _campaign(preparation, modes=("lives",))
    clause = "RuntimeService.StopContainer.retry-signalled"
    campaign.judge.rules = replace(campaign.rules, known={clause: "so it is"})
    campaign.judge.that(clause, False, permitted="7", actual="137")
    assert campaign.judge.records[clause]["verdict"] == "warned"


def _interrupted(*_: object, **__: object) -> bool:
    raise KeyboardInterrupt


def test_what_is_found_is_written_before_it_is_tried_again(preparation: Preparation):
    campaign = _campaign(preparation, modes=("lives",))
    steps: list[dict[str, Any]] = [{"do": "a", "with": {}}, {"do": "b", "with": {}}]
    finding = Finding(Kind.CLAUSE, "lives", CLAUSE, "", "p", "a", 1, {"steps": steps})

    def looking(mode: object, found: Finding) -> None:
        replay = json.loads((Path(found.folder) / "replay.json").read_text())
        assert replay["steps"] == steps
        told = json.loads((preparation.settings.report / "progress.json").read_text())
        assert [one["folder"] for one in told["findings"]] == [found.folder]
        found.story["steps"] = steps[:1]
        transcript = Path(found.folder, "transcript.txt").read_text()
        assert "; not tried again: the campaign has not come to it\n" in transcript
        _interrupted()

    campaign._trying.again = looking  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        campaign.add((CLAUSE, "interrupted"), finding)
    replay = json.loads((Path(finding.folder) / "replay.json").read_text())
    assert replay["steps"] == steps[:1]
    assert replay["untried"] == "the campaign was interrupted"


@pytest.mark.parametrize(
    ("kind", "steps", "why"),
    [
        (Kind.CRASH, [{"do": "run", "with": {}}], "the runtime did not come back"),
        (Kind.CLAUSE, [], "it came of no sequence"),
        (Kind.CLAUSE, [{"do": "run", "with": {}}], "no room"),
    ],
)
def test_what_could_not_be_tried_again_says_why(
    preparation: Preparation,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    steps: list[dict[str, Any]],
    why: str,
):
    said: list[str] = []
    campaign = _campaign(preparation, modes=("lives",), said=said.append)
    monkeypatch.setattr(trying, "stays_away", lambda target: trying.NOT_BACK)
    monkeypatch.setattr(campaign, "scope", _no_room)
    campaign._trying._scope = _no_room
    finding = Finding(kind, "lives", "", "", "p", "a", 1, {"steps": steps})
    with suppress(SetupFailed):
        campaign.add((str(kind), why), finding)
    transcript = Path(finding.folder, "transcript.txt").read_text()
    assert f"; not tried again: {why}\n" in transcript
    assert (finding.plain()["again"], finding.plain()["untried"]) == ("", why)
    replay = json.loads(Path(finding.folder, "replay.json").read_text())
    assert (replay["again"], replay["untried"]) == ("", why)
    assert not any("0 of 0" in line for line in said)


def test_a_runtime_that_is_killed_and_stays_away_is_one_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trying, "BACK_WITHIN", 0.5)
    settings = Settings("reference", fuzz=Budget(steps=600), fuzz_dir=tmp_path, report=tmp_path)
    with Preparation(settings) as own:
        campaign = _campaign(own, modes=("lives",), steps=600)
        step = campaign.step

        def killing() -> None:
            if campaign.meter.steps == 20:
                os.kill(peer(campaign.target.client.endpoint), signal.SIGKILL)
            step()

        campaign.step = killing  # type: ignore[method-assign]
        with pytest.raises(CampaignFailed):
            campaign.run()
        [found] = campaign.findings.values()
        assert (found.kind, found.untried) == (Kind.CRASH, trying.NOT_BACK)
        assert campaign.plain()["stopped"] == trying.NOT_BACK


def test_a_runtime_that_can_not_be_restarted_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trying, "ALIVE_WITHIN", 0.1)
    settings = Settings("reference", fuzz=Budget(steps=9), restart_command="false")
    with Preparation(replace(settings, fuzz_dir=tmp_path, report=tmp_path)) as own:
        campaign = _campaign(own, modes=("lives",))
        os.kill(peer(campaign.target.client.endpoint), signal.SIGKILL)
        campaign.target.client.wait_ready(0.1)
        found = Finding(Kind.CRASH, "lives", "", "c", "p", "a", 1, {"steps": []})
        campaign.add(("crash", "c"), found)
        assert campaign.over()
        stopped = campaign.plain()["stopped"]
        assert stopped.startswith(f"{trying.NOT_BACK}: 'false' ended with 1")


def test_what_can_not_be_written_does_not_end_a_campaign(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
):
    """As where the disk is full."""

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    said: list[str] = []
    campaign = _campaign(preparation, modes=("lives",), said=said.append)
    monkeypatch.setattr("cri_conformance.fuzz.write.write_text", full)
    monkeypatch.setattr("cri_conformance.fuzz.campaign.write_text", full)
    found = Finding(Kind.CLAUSE, "lives", CLAUSE, "c", "p", "a", 1, {"steps": []})
    campaign.add((CLAUSE, "c"), found)
    folder, report = preparation.settings.fuzz_dir, preparation.settings.report
    assert f"its files can't be written to {folder}: No space left on device" in said
    assert f"can't write {report}/progress.json: No space left on device" in said
    assert [one["folder"] for one in campaign.plain()["findings"]] == [""]


def _no_room() -> Any:
    raise SetupFailed("no room")


def test_a_try_that_was_interrupted_says_so_of_those_that_were_made(preparation: Preparation):
    campaign = _campaign(preparation, modes=("lives",))

    def twice(mode: object, finding: Finding) -> None:
        finding.tries = finding.again = 2
        raise KeyboardInterrupt

    campaign._trying.again = twice  # type: ignore[method-assign]
    found = Finding(Kind.OPEN, "lives", "", "c", "p", "a", 1, {"steps": [{"do": "a", "with": {}}]})
    with pytest.raises(KeyboardInterrupt):
        campaign.add(("open", "c"), found)
    told = found.plain()
    assert (told["again"], told["untried"]) == ("2 of 2", "the campaign was interrupted")


def test_what_was_left_is_told_although_trying_it_was_interrupted(preparation: Preparation):
    campaign = _campaign(preparation, modes=("lives",))
    campaign._trying.again = campaign._trying.once = _interrupted  # type: ignore[assignment]
    one = Played("lives", 1, lambda: [{"do": "a", "with": {}}], frozenset(), (0, 0))
    for number, suspects in enumerate(([one], [one, one])):
        with pytest.raises(KeyboardInterrupt):
            campaign.behind.tell(Left([f"shim of something {chr(97 + number)}"], suspects))
    found = list(campaign.findings.values())
    assert len(found) == 2
    assert all((Path(one.folder) / "replay.json").exists() for one in found)
    assert {one.plain()["untried"] for one in found} == {"the campaign was interrupted"}


def test_a_broken_message_that_betrays_a_panic_is_found_and_played_again(
    preparation: Preparation,
):
    # Whatever has a NUL in one of its texts, which boundary values have: the first is soon there.
    said: list[str] = []
    campaign = _campaign(preparation, "panic-on-nul", modes=("wire",), steps=150, said=said.append)
    with pytest.raises(CampaignFailed):
        campaign.run()
    at = next(number for number, line in enumerate(said) if line.startswith("found: "))
    assert said[at + 1] == "panic: tried again and made smaller, for up to 45 s"
    assert "again 3 of 3, 1 step" in said[at + 2 :]
    found = next(iter(campaign.findings.values()))
    assert found.kind is Kind.PANIC
    assert (found.again, found.steps) == (3, 1)
    folder = Path(found.folder)
    document = json.loads((folder / "replay.json").read_text())
    assert b"\0" in base64.b64decode(document["sent"][-1]["bytes"])
    assert "Traceback" in (folder / "transcript.txt").read_text()
    ast.parse((folder / "test_finding.py").read_text())
    assert happens(campaign.target, document)
    # The runtime beside has no such fault.
    assert cli.main(["replay", str(folder), "--cri-endpoint", "reference"]) == 0


def test_what_a_refused_call_left_is_told_although_a_registry_was_away(preparation: Preparation):
    facts = preparation.facts
    metadata = (("cri-fault", f"leak-on-empty-hostname@{facts.run_nonce}-y"),)
    target = connect(preparation.settings, facts, metadata)
    with target.scope() as runtime:
        steps = Broken(runtime, target)
        # UNAVAILABLE is here what the runtime says of a registry, and no broken connection.
        steps.send("PullImage.plain", [])
        base = steps.yard.bases["RunPodSandbox.full"]
        hostname = next(path for path, field in places(base.tree) if field.name == "hostname")
        with pytest.raises(Misbehaviour, match="left behind by calls that were refused: sandbox"):
            steps.send("RunPodSandbox.full", [Mutation("drop", hostname).plain()])
        steps.settle()
        steps.close()


def test_a_mistake_of_the_user_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "replay.json"
    file.write_text("{}")
    assert cli.main(["replay", str(file), "--cri-endpoint", "reference"]) == 2
    assert "it is no finding of a campaign's" in capsys.readouterr().err
    with pytest.raises(UnknownMode):
        chosen(["no-such-mode"])


def test_one_is_told_as_one():
    meter = Meter(steps=1, examples=1, calls=1)
    line = re.sub(r"\d+/s", "N/s", meter.line(1, 1))
    assert line.endswith(
        "1 step (N/s), 1 call (N/s), 1 sequence, 0 states × RPCs × codes, "
        "1 finding, 1 of them a failure"
    )
    assert meter.line(2, 0).endswith("2 findings, 0 of them failures")
    assert str(Budget(steps=1)) == "1 step"


def test_each_turn_of_each_process_has_a_seed_of_its_own():
    seeds = {
        seed_of(seed, worker, mode, number)
        for seed in (0, 1)
        for worker in ("", "gw1")
        for mode in ("a", "b")
        for number in range(3)
    }
    assert len(seeds) == 24
    assert seed_of(0, "", "a", 0) == seed_of(0, "", "a", 0)


def test_the_same_finding_has_the_same_name_in_each_campaign():
    one = Finding(Kind.CLAUSE, "lives", CLAUSE, "cause", "p", "a", seed=1)
    other = Finding(Kind.CLAUSE, "lives", CLAUSE, "cause", "p", "another", seed=2)
    assert one.name == other.name
    assert not Finding(Kind.OPEN, "lives", "", "", "", "", seed=0).counts
