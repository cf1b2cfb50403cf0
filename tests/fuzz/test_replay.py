# SPDX-License-Identifier: Apache-2.0
"""Replay files that are edited, of another version, or can't be played whole; and their writing."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cri_conformance import cli
from cri_conformance.fuzz import replay, write
from cri_conformance.fuzz.finding import Finding, Kind, Unspoken
from cri_conformance.fuzz.judging import cause_of
from cri_conformance.fuzz.lives import LivesMode
from cri_conformance.fuzz.modes import MODES
from cri_conformance.fuzz.replay import ReplayError, check, happens, load
from cri_conformance.fuzz.story import Story
from cri_conformance.fuzz.trying import Bench
from cri_conformance.session import Session
from cri_conformance.settings import Settings
from cri_conformance.target import Preparation, Target, connect
from cri_conformance.wire.client import request_of
from cri_conformance.wire.history import SHOWN
from cri_conformance.wire.outcome import Refused, SetupFailed

WRONG = "listed twice"
MISSING = "step 2 is about s1, which no step before it gave"
RUN: dict[str, Any] = {"do": "run", "with": {}, "gives": "r1"}
_REF = {"ref": "r1"}


def _document(*steps: Any, mode: str = "lives", **more: Any) -> dict[str, Any]:
    made = {
        "format": write.FORMAT,
        "mode": mode,
        "kind": "open",
        "clause": "",
        "cause": cause_of(WRONG),
        "permitted": "once",
        "actual": WRONG,
        "steps": list(steps),
    }
    return {**made, **more}


def _file(folder: Path, document: dict[str, Any]) -> Path:
    file = folder / "replay.json"
    file.write_text(json.dumps(document))
    return file


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    settings = Settings("reference", report=tmp_path_factory.mktemp("replay"))
    with Preparation(settings) as preparation:
        made = connect(settings, preparation.facts)
        yield made
        made.client.close()


class InParts(LivesMode):
    """Leaves steps out in so many plays; then what is wrong shows, if anything is."""

    def __init__(self, parts: int, *, wrong: bool) -> None:
        self.parts, self.wrong, self.played = parts, wrong, 0

    def play(self, bench: Bench, story: Story) -> str:
        self.played += 1
        if self.played <= self.parts:
            return MISSING
        if self.wrong:
            raise Unspoken("once", WRONG)
        return ""


@pytest.mark.parametrize(
    ("parts", "wrong", "played"), [(0, False, 1), (3, True, 4), (3, False, 4), (9, True, 5)]
)
def test_what_was_not_played_whole_is_played_again(
    target: Target, monkeypatch: pytest.MonkeyPatch, parts: int, wrong: bool, played: int
):
    mode = InParts(parts, wrong=wrong)
    monkeypatch.setitem(MODES, "lives", mode)
    assert happens(target, _document(RUN)) is (wrong and parts < played)
    assert mode.played == played


def test_a_test_of_what_can_not_be_played_whole_says_so(
    target: Target, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(MODES, "lives", InParts(9, wrong=True))
    with pytest.raises(SetupFailed, match=f"could not be played whole: {MISSING}"):
        check(target, _document(RUN))


class Elsewhere(LivesMode):
    """Goes wrong as ever, with something else."""

    def play(self, bench: Bench, story: Story) -> str:
        raise Unspoken("once", "process 77 of sandbox deadbeefdeadbeef")


def test_what_is_seen_now_is_told_not_what_was_seen_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(MODES, "lives", Elsewhere())
    then = "process 3 of sandbox 0123456789abcdef"
    file = _file(tmp_path, _document(RUN, actual=then, cause=cause_of(then)))
    assert cli.main(["replay", str(file), "--cri-endpoint", "reference"]) == 1
    shown = capsys.readouterr().out
    assert shown.endswith("got process 77 of sandbox deadbeefdeadbeef\n")
    assert then not in shown


class Talkative(LivesMode):
    """Makes more calls than are shown before what is wrong shows."""

    def play(self, bench: Bench, story: Story) -> str:
        for number in range(SHOWN + 10):
            bench.runtime.call(("Version", "Status")[number % 2])
        raise Unspoken("once", WRONG)


def test_only_calls_are_counted_and_not_the_line_that_some_are_left_out(
    target: Target, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(MODES, "lives", Talkative())
    monkeypatch.setattr(replay, "_CALLS", SHOWN)
    with pytest.raises(pytest.fail.Exception, match=rf"\n  {SHOWN} calls, the last") as failed:
        check(target, _document(RUN))
    said = str(failed.value)
    assert said.count("() → OK") == SHOWN
    assert "… 10 calls left out …" in said


class Insistent(LivesMode):
    """Makes one call over and over after the one that matters."""

    def play(self, bench: Bench, story: Story) -> str:
        bench.runtime.call("Status")
        for _ in range(50):
            bench.runtime.call("Version")
        raise Unspoken("once", WRONG)


def test_calls_that_are_alike_are_told_in_three_lines(
    target: Target, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(MODES, "lives", Insistent())
    with pytest.raises(pytest.fail.Exception, match=r"\n  \d\d calls, the last") as failed:
        check(target, _document(RUN))
    shown = str(failed.value).splitlines()
    *_, decided, first, more, last = [line for line in shown if not line.startswith(" " * 12)]
    assert "Status() → OK" in decided
    assert "Version() → OK" in first
    assert more == "    … 48 more like it …"
    assert "Version() → OK" in last


class Garish(LivesMode):
    """Of a runtime whose words a terminal would obey."""

    def play(self, bench: Bench, story: Story) -> str:
        refused = Refused("INTERNAL", BAD)
        bench.target.client.history.add("Version", request_of("Version"), refused, 0.0, 0.0)
        raise Unspoken("once", BAD)


BAD = "\x1b[2J\x9b1m\u202e"


def test_nothing_from_the_runtime_reaches_a_terminal_raw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(MODES, "lives", Garish())
    file = _file(tmp_path, _document(RUN, actual=BAD, permitted=BAD, cause=cause_of(BAD)))
    assert cli.main(["replay", str(file), "--cri-endpoint", "reference"]) == 1
    shown = capsys.readouterr().out
    facts: Any = SimpleNamespace(runtime_name=BAD, runtime_version=BAD)
    found = Finding(Kind.OPEN, "lives", "", "cause", BAD, BAD, 0)
    found.sent = [{"rpc": "Version", "broken": BAD, "size": "0", "bytes": "", "outcome": BAD}]
    write.finding(found, facts, Settings("reference", fuzz_dir=tmp_path))
    shown += Path(found.folder, "transcript.txt").read_text()
    config: Any = SimpleNamespace(
        pluginmanager=SimpleNamespace(get_plugin={"terminalreporter": Terminal()}.get),
        get_verbosity=lambda: 0,
    )
    session: Any = SimpleNamespace(_config=config, leads=True)
    session._write_line = partial(Session._write_line, session)
    Session.say(session, f"found: {BAD}")
    shown += capsys.readouterr().out
    assert "cri-fuzz: found: \\x1b[2J" in shown
    assert not set(BAD) - set("[2J1m") & set(shown)


class Terminal:
    """A terminal reporter."""

    def ensure_newline(self) -> None:
        pass

    def write_line(self, line: str) -> None:
        print(line)


def test_a_step_about_nothing_is_no_all_clear(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lost = {"do": "on_sandbox", "with": {"call": "StopPodSandbox", "sandbox": {"ref": "zz"}}}
    file = _file(tmp_path, _document(RUN, lost))
    assert cli.main(["replay", str(file), "--cri-endpoint", "reference"]) == 6
    said = capsys.readouterr().out.splitlines()[-1]
    why = "step 2, on_sandbox, is about zz, which no step before it gave"
    assert said == f"could not be played whole: {why}"


def test_a_call_that_was_answered_in_time_is_no_all_clear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """What matters may be how it is given up, and nothing after it need be about it."""
    how = {"call": "StopPodSandbox", "subject": _REF, "way": "deadline", "seconds": 20.0}
    late = {"do": "give_up", "with": how}
    file = _file(tmp_path, _document(RUN, late))
    assert cli.main(["replay", str(file), "--cri-endpoint", "reference"]) == 6
    said = capsys.readouterr().out.splitlines()[-1]
    why = "StopPodSandbox, to be given up after 0.0781 s, was answered before"
    assert said == f"could not be played whole: {why}"
    file = _file(tmp_path, _document(RUN, late, in_time_too=True))
    assert cli.main(["replay", str(file), "--cri-endpoint", "reference"]) == 0


_MOUNTS = {
    "do": "create_patched",
    "with": {
        "sandbox": _REF,
        "patch": {"message": "ContainerConfig", "fields": {"mounts": [{"host_path": "/etc"}]}},
    },
}
_GIVEN_UP = {
    "do": "give_up",
    "with": {"call": "StopPodSandbox", "subject": _REF, "way": "cancel", "seconds": math.nan},
}
#: What only shows when it is played: steps, and what is said of the last one.
ODD = [
    (
        [RUN, {"do": "on_sandbox", "with": {"call": "NoSuchCall", "sandbox": _REF}}],
        "on_sandbox, can't be played: the CRI has no call 'NoSuchCall' (client.py:",
    ),
    (
        [RUN, {"do": "on_container", "with": {"call": "StopContainer", "container": _REF}}],
        "on_container, can't be played: there is no ('StopContainer', <SandboxState.READY",
    ),
    (
        [RUN, {"do": "give_up", "with": {"call": "x", "subject": _REF, "way": "y", "seconds": 1}}],
        "give_up, can't be played: the CRI has no call 'x'",
    ),
    (
        [{"do": "run_spoiled", "with": {"row": "x"}}],
        "run_spoiled, can't be played: there is no 'x'",
    ),
    (
        [RUN, {"do": "on_sandbox", "with": {"call": "StopPodSandbox", "sandbox": "abc"}}],
        "on_sandbox, can't be played: there is no 'abc'",
    ),
]


@pytest.mark.parametrize(("steps", "said"), ODD)
def test_what_no_campaign_writes_is_told_in_a_line_and_not_as_what_was_found(
    target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: Any, said: str
):
    file = _file(tmp_path, _document(*steps))
    assert cli.main(["replay", str(file), "--cri-endpoint", "reference"]) == 7
    shown = capsys.readouterr()
    [line] = shown.out.splitlines()
    assert line.startswith(f"{file}: step {len(steps)}, {said}")
    assert line.endswith(": a mistake of the suite, or an argument that no campaign writes")
    assert shown.err == ""
    with pytest.raises(SetupFailed) as failed:
        check(target, _document(*steps))
    assert str(failed.value).startswith(f"STORY: step {len(steps)}, {said}")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"do": "spoiled", "with": {"row": "x"}}], "spoiled, can't be played: there is no 'x'"),
        (
            [
                {
                    "do": "spoiled_session",
                    "with": {
                        "call": "Exec",
                        "row": "x",
                        "request": {"message": "ExecRequest", "fields": {}},
                    },
                }
            ],
            "spoiled_session, can't be played: there is no 'x'",
        ),
    ],
)
def test_a_row_that_no_version_has_is_named(target: Target, steps: Any, said: str):
    with pytest.raises(SetupFailed, match=said):
        check(target, _document(*steps, mode="messages"))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (_document(RUN, {"do": "rm_rf", "with": {}}), "step 2 is 'rm_rf'"),
        (_document({"do": "__init__", "with": {}}), "step 1 is '__init__'"),
        (_document({"do": "alive", "with": {"kind": 1}}), "step 1 is 'alive'"),
        (_document({"do": "send", "with": {}}, mode="images"), "step 1 is 'send'"),
        (_document({"do": "run", "with": {"x": 1}}), "run: got an unexpected keyword"),
        (_document({"do": "create", "with": {}}), "create: missing a required argument"),
        (_document({"do": "create", "with": {"sandbox": 7}}), "create: sandbox is 7"),
        (
            _document({"do": "run_patched", "with": {"patch": {"message": "No", "fields": {}}}}),
            "run_patched: ",
        ),
        (
            _document(
                {
                    "do": "run_patched",
                    "with": {"patch": {"message": "PodSandboxConfig", "fields": 1}},
                }
            ),
            "run_patched: ",
        ),
        (_document({"do": "create", "with": {"sandbox": {"ref": []}}}), "create: "),
        (_document({"do": "run"}), "step 1 is no step"),
        (_document("run"), "step 1 is no step"),
        (_document(steps="abc"), "its steps are no list"),
        (_document(RUN, kind="odd"), "no kind 'odd'"),
        (_document(RUN, mode=[]), "its mode is [], and no text"),
        (_document(RUN, clause={"a": 1}), "its clause is {'a': 1}, and no text"),
        (_document(RUN, cause=7, behind=True), "its cause is 7, and no text"),
        (_document(RUN, actual=None), "its actual is None, and no text"),
        (_document(RUN, behind="no"), "its behind is 'no'"),
        (_document(RUN, kind="leak"), "its behind must be true"),
        (_document(RUN, _GIVEN_UP), "give_up: seconds is nan"),
        (_document(RUN, _MOUNTS), "create_patched: Mount.host_path /etc is the host's"),
        (_document(RUN, clause="Nothing.at-all"), "the contract has no clause 'Nothing.at-all'"),
        (_document(RUN, format=99), "its format is 99"),
        (_document(), "it has no steps"),
        (
            {"mode": "lives", "steps": []},
            "it is no finding of a campaign's: it lacks actual, cause,",
        ),
        ([], "it is no finding of a campaign's"),
    ],
)
def test_a_file_that_can_not_be_played_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: Any, said: str
):
    nobody: Any = None
    with pytest.raises(SetupFailed) as failed:
        check(nobody, document)
    assert str(failed.value).startswith("STORY: ")
    assert said in str(failed.value)
    file = _file(tmp_path, document)
    assert cli.main(["replay", str(file), "--cri-endpoint", f"unix://{tmp_path}/none"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert str(file) in line
    assert said in line


def test_a_document_without_an_end_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "replay.json"
    file.write_text("[" * 100_000)
    assert cli.main(["replay", str(file), "--cri-endpoint", "reference"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{file} is no JSON" in line


def test_steps_of_every_mode_are_taken(tmp_path: Path):
    nothing = {"do": "open_call", "with": {"call": "x", "container": _REF, "resources": None}}
    patch = {"message": "PodSandboxConfig", "fields": {"hostname": "h"}}
    crowd = {"kinds": ["created"], "calls": [], "seconds": 1}
    for document in (
        _document(
            RUN,
            nothing,
            {"do": "run_patched", "with": {"patch": patch}},
            {"do": "restart_crowded", "with": crowd},
            {"do": "on_container", "with": {"call": "x", "container": _REF, "timeout": 1}},
        ),
        _document({"do": "remove", "with": {"place": 1, "by": "digest"}}, mode="images"),
        _document({"do": "pull_together", "with": {"places": [0, 1]}}, mode="images"),
        _document({"do": "beside", "with": {"lane": 1, "call": "x"}}, mode="histories"),
        _document({"do": "spoiled", "with": {"row": "x"}}, mode="messages"),
        _document({"do": "send", "with": {"base": "x", "mutations": [{}]}}, mode="wire"),
    ):
        assert load(_file(tmp_path, document)) == document
    with pytest.raises(ReplayError):
        load(_file(tmp_path, _document({"do": "pull", "with": {"place": True}}, mode="images")))


@pytest.mark.parametrize(
    ("refused", "told"), [(3, False), (10**6, True), (0, False)], ids=["for a while", "stuck", "no"]
)
def test_what_is_not_removed_at_once_is_asked_again_and_then_told(
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    refused: int,
    told: bool,
):
    """A container whose start was given up is not removed in the midst of it."""
    asked: list[None] = []

    class Preparing:
        facts = target.facts

        def clean(self) -> list[str]:
            asked.append(None)
            return ["a container"] if len(asked) <= refused else []

    monkeypatch.setattr(replay, "_SETTLES", 0.3)
    made: Any = Preparing()
    replay._clean(made)
    said = capsys.readouterr().err
    assert ("left behind: a container\nremove it with: cri-conformance sweep" in said) is told
    assert bool(said) is told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(tmp_path: Path, number: int):
    file = _file(tmp_path, _document(*[RUN] * 3000))
    # A socket's path is short.
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "cri_conformance.cli",
                "replay",
                file,
                "--cri-endpoint=reference",
            ],
            env={**os.environ, "TMPDIR": folder},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until = time.monotonic() + 30
            while not list(Path(folder).glob("*/logs")) and time.monotonic() < until:
                time.sleep(0.1)
            time.sleep(1)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
        assert said == "interrupted: nothing is known\n"
        assert process.returncode == 130
        assert not list(Path(folder).iterdir())
