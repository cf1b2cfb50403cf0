# SPDX-License-Identifier: Apache-2.0
"""Lives with calls that are given up, and with restarts, on the reference runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cri_conformance import cli
from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect import NotExercised
from cri_conformance.expect.judge import Rules
from cri_conformance.expect.violation import Violation
from cri_conformance.faults.cutting import cutting
from cri_conformance.faults.layer import METADATA_KEY
from cri_conformance.fuzz import campaign as campaign_module
from cri_conformance.fuzz import speaking
from cri_conformance.fuzz.campaign import Bench, Campaign, CampaignFailed
from cri_conformance.fuzz.crowd import KINDS
from cri_conformance.fuzz.judging import key_of
from cri_conformance.fuzz.lives import Lives, LivesMode
from cri_conformance.fuzz.machine import Halt
from cri_conformance.fuzz.replay import check, happens
from cri_conformance.fuzz.restarting import CALLS, Restarts, restarts
from cri_conformance.fuzz.story import Story, play
from cri_conformance.settings import Budget, Settings
from cri_conformance.streaming.status import Status
from cri_conformance.suite.sessions import Came
from cri_conformance.target import Preparation, Target, connect
from cri_conformance.wire.outcome import SetupFailed


@pytest.fixture(scope="module")
def preparation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preparation]:
    folder = tmp_path_factory.mktemp("lives")
    settings = Settings("reference", fuzz=Budget(steps=1), fuzz_dir=folder, report=folder)
    with Preparation(settings, faults=True) as made:
        yield made


def step(do: str, gives: str = "", **given: Any) -> dict[str, Any]:
    return {"do": do, "with": given, **({"gives": gives} if gives else {})}


FIRST, OTHER = {"ref": "first"}, {"ref": "other"}
POD = [step("run", "first")]
RUNNING = [
    *POD,
    step("create", "other", sandbox=FIRST, mortal=False, doomed=False),
    step("on_container", call="StartContainer", container=OTHER),
]
_EVENTS = "GetContainerEvents"
_LIST = "RuntimeService.ListPodSandbox"
AMID: dict[str, Any] = {"way": "restart", "seconds": 0.002}


class Told(LivesMode):
    """The mode with one sequence, that is told."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def open(self, campaign: Campaign) -> Any:
        self._campaign = campaign
        return self

    def turn(self, seed: int, number: int) -> None:
        try:
            with self._campaign.scope() as bench:
                self.play(bench, self._story)
        except Violation as error:
            self._campaign.found(error, self._story)
        raise Halt

    def close(self) -> None:
        pass


class Afresh(Campaign):
    """Each time that it plays a sequence the fault remembers nothing of those before."""

    fault = ""
    session = 0

    @contextmanager
    def scope(self) -> Iterator[Bench]:
        self.session += 1
        if self.fault:
            self.target.client.metadata = ((METADATA_KEY, f"{self.fault}@{self.session}-lives"),)
        with super().scope() as bench:
            yield bench


def _campaign(target: Target, story: Story, fault: str = "") -> Afresh:
    made = Afresh(target, Rules(register(), Minor.parse(target.facts.minor)), [Told(story)])
    made.fault = fault
    return made


@contextmanager
def _restartable(preparation: Preparation) -> Iterator[Target]:
    """A connection by which the runtime can be "restarted"."""
    with cutting(preparation.facts.endpoint) as (front, command):
        settings = replace(preparation.settings, restart_command=command)
        # Not closed at once: grpcio may still be looking whether it is there again.
        yield connect(settings, replace(preparation.facts, endpoint=front))


def _found(campaign: Campaign, clause: str) -> tuple[Path, dict[str, Any]]:
    """The folder and the replay file of the only finding."""
    with pytest.raises(CampaignFailed):
        campaign.run()
    [found] = campaign.findings.values()
    assert (found.clause, found.again) == (clause, 3)
    return Path(found.folder), json.loads(Path(found.folder, "replay.json").read_text())


def test_what_is_stuck_since_it_was_given_up_is_found_and_played_again(preparation: Preparation):
    given_up = step("create_given_up", sandbox=FIRST, way="cancel", seconds=0.02)
    story = [*POD, step("run", "last"), given_up, step("restart")]
    target = connect(preparation.settings, preparation.facts)
    campaign = _campaign(target, story, "stuck-when-abandoned-CreateContainer")
    campaign.patience = 0.3  # it is stuck for ever
    folder, document = _found(campaign, "RuntimeService.CreateContainer.retry-after-cancel")
    assert document["steps"] == [*POD, given_up]
    assert not (folder / "crictl.sh").exists()
    # The runtime beside has no such fault.
    assert cli.main(["replay", str(folder), "--cri-endpoint", "reference"]) == 0


@pytest.mark.parametrize("again", [False, True])
def test_while_a_call_is_repeated_the_campaign_says_how_far_it_is(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch, again: bool
):
    """In the campaign, and when a story is tried again."""
    monkeypatch.setattr(campaign_module, "LINE_EVERY", 0.2)
    said: list[str] = []
    metadata = ((METADATA_KEY, f"stuck-when-abandoned-CreateContainer@said-{again}"),)
    settings = replace(preparation.settings, fuzz=Budget(steps=9))
    target = connect(settings, preparation.facts, metadata)
    rules = Rules(register(), Minor.parse(target.facts.minor))
    campaign = Campaign(target, rules, [], said=said.append)
    campaign.patience = 1.5  # it is stuck for ever
    story = [*POD, step("create_given_up", sandbox=FIRST, way="cancel", seconds=0.1)]
    with campaign.scope() as bench:
        made = {"campaign": campaign, "runtime": bench.runtime, "judge": campaign.judge}
        played = (
            partial(LivesMode().play, bench)
            if again
            else partial(play, type("OfThis", (Lives,), made)().steps)
        )
        with pytest.raises(Violation, match="retry-after-cancel"):
            played(story)
    campaign.runtime.end()
    assert len([line for line in said if "no findings" in line]) >= 3
    target.client.close()


def test_a_sound_runtime_is_left_in_peace_when_it_is_restarted(preparation: Preparation):
    story = [
        *RUNNING,
        step("restart"),
        step("on_container", call="ExecSync", container=OTHER),
        step("create_again", container=OTHER),
        step("exec_coded", container=OTHER, code=255, out="a\n", err="b"),
        step("run_given_up", **AMID),
        step("create_given_up", sandbox=FIRST, **AMID),
        step("create", "third", sandbox=FIRST, mortal=False, doomed=False),
        step("start_given_up", container={"ref": "third"}, **AMID),
        step("give_up", call="StopContainer", subject=OTHER, **AMID),
        step("give_up", call="RemovePodSandbox", subject=FIRST, **AMID),
        step("restart_crowded", kinds=[], calls=list(CALLS), seconds=AMID["seconds"]),
        *[step("run", "again"), step("rotate", sandbox={"ref": "again"})],
        step("restart_crowded", kinds=list(KINDS), calls=[], ends_after=0.3),
    ]
    with _restartable(preparation) as target:
        campaign = _campaign(target, story)
        history = target.client.history
        mark = history.mark()
        campaign.run()
        # Each time over a connection of its own, and then over ours.
        asked = [call for call in history.since(mark) if call.rpc == "Version"]
        assert len(asked) >= 2 * sum(restarts([one]) for one in story) == 16


def test_what_a_restart_breaks_is_played_again_only_with_one(
    preparation: Preparation, capsys: pytest.CaptureFixture[str]
):
    fault = "other-pod-state-after-restart"
    with _restartable(preparation) as target:
        campaign = _campaign(target, [*RUNNING, step("restart")], fault)
        folder, document = _found(campaign, "PodSandboxStatus.state.survive-restart")
        assert document["steps"] == [*POD, step("restart")]
        assert not (folder / "crictl.sh").exists()
        target.client.metadata = ((METADATA_KEY, f"{fault}@again-lives"),)
        assert happens(target, document)
    capsys.readouterr()
    assert cli.main(["replay", str(folder), "--cri-endpoint", "reference"]) == 2
    said = capsys.readouterr().err
    assert "restarts the runtime: give --cri-restart-command" in said
    assert said.count("\n") == 1
    target = connect(preparation.settings, preparation.facts)
    with pytest.raises(NotExercised, match="--cri-restart-command"):
        check(target, document)


@pytest.mark.parametrize(
    ("kind", "fault", "clause"),
    [
        ("created", "names-forgotten-after-restart", "ContainerMetadata.unique-after-restart"),
        ("running", "ExecSync-refused-after-restart", "RuntimeService.ExecSync.after-restart"),
        ("ended", "other-exit_code-after-restart", "ContainerStatus.exit_code.survives-restart"),
        ("prompt", "killed-after-restart", "RuntimeService.StopContainer.after-restart"),
        ("speaker", "log-begins-anew-after-restart", "ContainerConfig.log_path.after-restart"),
        ("stopped_pod", "stopped-unlisted-after-restart", f"{_LIST}.survive-restart"),
    ],
)
def test_one_of_each_kind_goes_through_a_restart(
    preparation: Preparation, kind: str, fault: str, clause: str
):
    # Nobody has touched what the call is not about.
    story = [step("restart_crowded", kinds=[kind], calls=["RunPodSandbox"])]
    with _restartable(preparation) as target:
        campaign = _campaign(target, story, fault)
        with campaign.scope() as bench, pytest.raises(Violation) as caught:
            LivesMode().play(bench, story)
    assert caught.value.clause.id == clause


@pytest.mark.parametrize(
    ("fault", "clause"),
    [
        ("other-state-after-restart", "ContainerStatus.state.survives-restart"),
        ("", "RuntimeService.ListContainers.survive-restart"),
    ],
)
def test_a_list_that_says_what_the_status_says_breaks_no_promise_of_its_own(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch, fault: str, clause: str
):
    """An ended container is UNKNOWN in the list, and by the fault in the status too."""
    listed = Restarts._listed

    def unknown(stepper: Restarts, call: str) -> dict[str, str]:
        return {
            name: "CONTAINER_UNKNOWN"
            if name in stepper._untouched and shown == "CONTAINER_EXITED"
            else shown
            for name, shown in listed(stepper, call).items()
        }

    monkeypatch.setattr(Restarts, "_listed", unknown)
    story = [step("restart_crowded", kinds=["ended"], calls=[])]
    with _restartable(preparation) as target:
        campaign = _campaign(target, story, fault)
        with campaign.scope() as bench, pytest.raises(Violation) as caught:
            LivesMode().play(bench, story)
        assert caught.value.clause.id == clause
        # Where it is known the sequence ends, without what would follow from it.
        with campaign.scope() as bench:
            bench.judge.mute(key_of(caught.value))
            with pytest.raises(SetupFailed, match="is UNKNOWN since"):
                LivesMode().play(bench, story)


@pytest.mark.parametrize(
    ("fault", "clause"),
    [
        ("drop-message-GetContainerEvents-killed", "CONTAINER_STOPPED_EVENT.told"),
        ("repeat-message-GetContainerEvents-stopped", "GetContainerEvents.each-once"),
        (
            "falsify-GetContainerEvents-running-when-stopped",
            "ContainerEventResponse.containers_statuses.after-event",
        ),
        (
            "falsify-GetContainerEvents-started-without-sandbox",
            "ContainerEventResponse.pod_sandbox_status.present",
        ),
        ("silent-GetContainerEvents", "CONTAINER_CREATED_EVENT.told"),
        ("signed-code-Exec", "RuntimeService.Exec.exit-status"),
        ("one-byte-of-input-Exec", "ExecRequest.stdin.exact"),
        ("line-ends-Exec", "ExecRequest.stdout.exact"),
        ("stdout-in-stderr-Exec", "ExecRequest.stderr.separate"),
        ("input-never-ends-Exec", "ExecRequest.stdin.half-close"),
        ("", ""),
    ],
)
def test_events_and_sessions_are_those_of_the_life(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch, fault: str, clause: str
):
    monkeypatch.setattr(speaking, "_QUIET", 1.0)
    said = {"out": "a\r\n", "err": "b", "line": "ä " * 400, "lines": 70}
    story = [
        *RUNNING,
        step("exec_session", container=OTHER, code=0, **said),
        step("exec_session", container=OTHER, code=255, **said),
        step("on_container", call="StopContainer", container=OTHER),
        step("on_container", call="RemoveContainer", container=OTHER),
    ]
    metadata = ((METADATA_KEY, f"{fault}@events-lives"),) if fault else ()
    target = connect(preparation.settings, preparation.facts, metadata)
    campaign = Campaign(target, Rules(register(), Minor.parse(target.facts.minor)), [])
    with campaign.scope() as bench:
        expected = pytest.raises(Violation) if fault else nullcontext()
        with expected as caught:
            LivesMode().play(bench, story)
        events = [call for call in target.client.history.since(0) if call.rpc == _EVENTS]
        assert events
    target.client.close()
    assert not caught or caught.value.clause.id.endswith(clause)


@pytest.mark.parametrize(
    ("came", "clause"),
    [
        (Came(b"", b"", None, "not over", over=False), "ExecRequest.stdin.half-close"),
        (Came(b"1 0\na", b"", None, "not over", over=False), "Exec.ends-with-command"),
        # Broken off: the end of the input has nothing to do with it.
        (Came(b"", b"", None, "no status: it was reset"), "Exec.success-status"),
        (Came(b"", b"", Status(False, 1, "InternalError"), ""), "Exec.success-status"),
        (Came(b"", b"", Status(True, 0), ""), "ExecRequest.stdin.exact"),
    ],
)
def test_a_session_is_judged_by_what_it_lacks(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch, came: Came, clause: str
):
    monkeypatch.setattr(speaking.sessions, "run", lambda *_, **__: came)
    session = step("exec_session", container=OTHER, code=0, out="a", err="", line="x", lines=1)
    target = connect(preparation.settings, preparation.facts)
    campaign = Campaign(target, Rules(register(), Minor.parse(target.facts.minor)), [])
    with campaign.scope() as bench, pytest.raises(Violation) as caught:
        LivesMode().play(bench, [*RUNNING, session])
    target.client.close()
    assert caught.value.clause.id.endswith(clause)


def test_an_end_is_only_awaited_of_what_was_started(preparation: Preparation):
    # As in a story that is made smaller, in which nothing may be found that is not so.
    created = step("create", "other", sandbox=FIRST, mortal=True, doomed=False)
    story = [*POD, created, step("await_exit", container=OTHER)]
    target = connect(preparation.settings, preparation.facts)
    campaign = Campaign(target, Rules(register(), Minor.parse(target.facts.minor)), [])
    with campaign.scope() as bench:
        LivesMode().play(bench, story)
    target.client.close()


def test_what_was_wrong_before_a_call_is_not_the_breach_of_that_call(preparation: Preparation):
    """Containers with siblings are listed as ended while they run; nothing else is wrong."""
    second, third = {"ref": "second"}, {"ref": "third"}
    story = [
        *RUNNING,
        step("create", "second", sandbox=FIRST, mortal=False, doomed=False),
        step("on_container", call="StartContainer", container=second),
        step(
            "create_patched",
            "third",
            sandbox=FIRST,
            patch={"message": "ContainerConfig", "fields": {"tty": True}},
        ),
        step("on_container", call="StartContainer", container=third),
        step("on_container", call="StopContainer", container=third),
    ]
    target = connect(preparation.settings, preparation.facts)
    campaign = _campaign(target, story, "ListContainers-siblings-exited")
    named = set()
    for _ in range(9):
        with campaign.scope() as bench:
            for clause in named:
                bench.judge.mute(clause)
            try:
                LivesMode().play(bench, story)
            except Violation as error:
                named.add(key_of(error))
            else:
                break
    assert {clause for clause, _ in named} == {
        "ContainerState.CONTAINER_RUNNING.after-start",
        "Container.state.agrees-with-status",
    }
