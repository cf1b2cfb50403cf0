# SPDX-License-Identifier: Apache-2.0
"""ReopenContainerLog in each state of a container, with nobody writing at the moment.

The kubelet renames a log and calls; on success it takes the new file for granted, on an error
it renames the old one back. So an error must not have made a file, and success must have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.log_files import Logged, logged, logging, read, settled
from cri_conformance.suite.scripts import wait_for_file
from cri_conformance.suite.shown import in_a_word
from cri_conformance.wire.crilog import Log
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

_REOPEN = "RuntimeService.ReopenContainerLog"
#: Says one word after the other, each when it is told to, and says when it has.
_WORDS = """
for word in one two three; do
    while [ ! -e say-$word ]; do sleep 0.02; done
    echo "$word"; echo "$word" >&2; : > said-$word
done
while [ ! -e end ]; do sleep 0.02; done
"""


def _reopen(runtime: Runtime, container_id: str) -> Outcome:
    return runtime.call("ReopenContainerLog", container_id=container_id)


def _say(runtime: Runtime, speaker: Logged, word: str) -> None:
    """Have it write a word, and wait until that is in a log."""
    runtime.exec(speaker.container, "/bin/sh", "-c", f": > say-{word}")
    wait_for_file(runtime, speaker.container, f"said-{word}")


def _end(runtime: Runtime, container: Container) -> None:
    runtime.exec(container, "/bin/sh", "-c", ": > end")
    runtime.wait_exited(container.id)


def _words(log: Log) -> list[str]:
    """The words that a log has of both streams; those of one in capitals."""
    out, err = (log.output(stream).decode(errors="replace") for stream in ("stdout", "stderr"))
    return [*out.split(), *err.upper().split()]


# -- a container that runs -----------------------------------------------------------------------


@dataclass(slots=True)
class Quiet:
    """A container whose log was opened anew: in its place twice, and then after a rename."""

    logged: Logged
    outcomes: list[Outcome] = field(default_factory=list)
    #: The words in the log after the calls with the file in its place, one word later.
    in_place: list[str] = field(default_factory=list)
    #: Whether there was a file at the log path when the call after the rename returned.
    file_on_return: bool = False
    #: The words in the renamed file and in the new one at the end.
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    before: types.ContainerStatus = field(default_factory=types.ContainerStatus)
    after: types.ContainerStatus = field(default_factory=types.ContainerStatus)
    #: What came at the log path of another container, whose log was renamed too.
    others: bytes | None = None

    @property
    def about(self) -> list[str]:
        """The container, for a violation."""
        return [self.logged.id]


@pytest.fixture(scope="module")
def quiet(module_runtime: Runtime, shared_sandbox: Sandbox) -> Quiet:
    """What was seen of it."""
    runtime = module_runtime
    other = logging(runtime, shared_sandbox, _WORDS)
    quiet = Quiet(logging(runtime, shared_sandbox, _WORDS))
    log = quiet.logged
    quiet.before = runtime.container_status(log.id)
    _say(runtime, log, "one")
    settled(log.log, lambda seen: _words(seen) == ["one", "ONE"])
    quiet.outcomes += [_reopen(runtime, log.id) for _ in range(2)]
    _say(runtime, log, "two")
    both = ["one", "two", "ONE", "TWO"]
    quiet.in_place = _words(settled(log.log, lambda seen: _words(seen) == both))
    _say(runtime, other, "one")
    settled(other.log, lambda seen: _words(seen) == ["one", "ONE"])
    for renamed in (log, other):
        _rename(renamed.path, renamed.rotated(1))
    quiet.outcomes.append(_reopen(runtime, log.id))
    quiet.file_on_return = log.path.exists()
    quiet.after = runtime.container_status(log.id)
    for speaker, word in ((log, "three"), (other, "two")):
        _say(runtime, speaker, word)
    quiet.new = _words(settled(log.log, lambda seen: _words(seen) == ["three", "THREE"]))
    quiet.others = read(other.path)
    for container in (log.container, other.container):
        runtime.get("RemoveContainer", container_id=container.id)
    quiet.old = _words(Log.read(read(log.rotated(1)) or b""))
    return quiet


def _rename(path: Path, to: Path) -> None:
    if path.exists():
        path.rename(to)


@pytest.mark.xdist_group("reopen")
@clause(f"{_REOPEN}.running-succeeds")
def test_running_containers_have_their_log_opened_anew(quiet: Quiet, judge: Judge) -> None:
    for outcome in quiet.outcomes:
        judge.ok(f"{_REOPEN}.running-succeeds", outcome, about=quiet.about)


@pytest.mark.xdist_group("reopen")
@clause(f"{_REOPEN}.file-on-return")
def test_there_is_a_file_when_the_call_returns(quiet: Quiet, judge: Judge) -> None:
    judge.that(
        f"{_REOPEN}.file-on-return",
        quiet.file_on_return,
        permitted=f"a file at {quiet.logged.path}",
        actual=f"no file, and the answer {quiet.outcomes[-1]}",
        about=quiet.about,
    )


@pytest.mark.xdist_group("reopen")
@clause(f"{_REOPEN}.output-follows")
def test_output_goes_to_the_new_file(quiet: Quiet, judge: Judge) -> None:
    new = [word for word in quiet.new if word.lower() == "three"]
    old = [word for word in quiet.old if word.lower() == "three"]
    judge.equal(
        f"{_REOPEN}.output-follows",
        {"in the new file": new, "in the renamed one": old},
        {"in the new file": ["three", "THREE"], "in the renamed one": []},
        "what was written after the call, by file:",
        about=quiet.about,
    )


@pytest.mark.xdist_group("reopen")
@clause(f"{_REOPEN}.without-rotation")
def test_a_log_in_its_place_is_added_to(quiet: Quiet, judge: Judge) -> None:
    judge.equal(
        f"{_REOPEN}.without-rotation",
        quiet.in_place,
        ["one", "two", "ONE", "TWO"],
        "words in the log after two calls between the first and the second:",
        about=quiet.about,
    )


@pytest.mark.xdist_group("reopen")
@clause(f"{_REOPEN}.container-unharmed")
def test_the_container_does_not_notice(quiet: Quiet, judge: Judge) -> None:
    judge.equal(f"{_REOPEN}.container-unharmed", quiet.after, quiet.before, about=quiet.about)


@pytest.mark.xdist_group("reopen")
@clause(f"{_REOPEN}.others-untouched")
def test_the_log_of_another_container_is_left_alone(quiet: Quiet, judge: Judge) -> None:
    judge.that(
        f"{_REOPEN}.others-untouched",
        quiet.others is None,
        permitted="no new file at the log path of the other container, whose log was renamed",
        actual=f"a file with {quiet.others!r}",
        about=quiet.about,
    )


# -- containers that do not run ------------------------------------------------------------------


@clause(
    f"{_REOPEN}.error-no-file",
    f"{_REOPEN}.success-new-file",
    f"{_REOPEN}.not-running",
)
def test_error_without_a_file_or_success_with_one(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    created = logged(runtime, shared_sandbox, "true")
    exited = logging(runtime, shared_sandbox, "echo one")
    removed = logging(runtime, shared_sandbox, "echo one")
    for ended in (exited, removed):
        runtime.wait_exited(ended.id)
        settled(ended.log, lambda seen: _words(seen) == ["one"])
    runtime.get("RemoveContainer", container_id=removed.id)
    answers = []
    for state, container in (("created", created), ("exited", exited), ("removed", removed)):
        # Twice, as the kubelet tries again: what is not there at first must not come then.
        for number in (1, 2):
            _rename(container.path, container.rotated(number))
            outcome = _reopen(runtime, container.id)
            _judge_either(judge, state, container, outcome)
            answers.append(f"{state} → {in_a_word(outcome)}")
    judge.record(f"{_REOPEN}.not-running", ", ".join(dict.fromkeys(answers[:4])))


def _judge_either(judge: Judge, state: str, container: Logged, outcome: Outcome) -> None:
    made, ok = container.path.exists(), isinstance(outcome, Ok)
    judge.that(
        f"{_REOPEN}.error-no-file",
        ok or not made,
        permitted=f"no new log file of a container that is {state}",
        actual=f"one, and the answer {outcome}",
        about=[container.id],
    )
    judge.that(
        f"{_REOPEN}.success-new-file",
        made or not ok,
        permitted=f"a new log file of a container that is {state}, or an error",
        actual="no file, and the answer OK",
        about=[container.id],
    )


@clause(f"{_REOPEN}.no-log")
def test_without_a_log_path(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    config = runtime.container_config(shared_sandbox)
    config.log_path = ""
    container = runtime.container(shared_sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    judge.record(f"{_REOPEN}.no-log", in_a_word(_reopen(runtime, container.id)))
