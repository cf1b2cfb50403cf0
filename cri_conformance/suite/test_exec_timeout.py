# SPDX-License-Identifier: Apache-2.0
"""ExecSync and time: when the answer comes, and what is left of a command that was too slow.

How a time-out is answered is the runtime's choice between two (an error or a code);
that the command is gone afterwards is not.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from functools import partial

import pytest

from cri_conformance.expect import Judge, clause
from cri_conformance.settings import Settings
from cri_conformance.wire.outcome import Ok, Outcome, Refused, Unknown
from cri_conformance.wire.runtime import Container, Runtime
from cri_conformance.wire.together import together

#: Seconds of slack for a busy machine, on top of what a call must take.
SLACK = 8.0


def long_sleep() -> str:
    """A duration (days, in seconds) that no other process on the machine sleeps for."""
    return str(10_000_000 + secrets.randbelow(80_000_000))


def sleepers(runtime: Runtime, container: Container, duration: str) -> int:
    """How many processes in the container sleep for just this duration."""
    # The pattern's bracket keeps the search from finding itself.
    pattern = f"[{duration[0]}]{duration[1:]}"
    script = f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '^{pattern}$'; true"
    return int(runtime.exec(container, "/bin/sh", "-c", script).stdout or b"0")


def time_out(
    runtime: Runtime, container: Container, *cmd: str, timeout: int = 1
) -> tuple[Outcome, float]:
    """Run a command that is too slow; what came and after how many seconds."""
    start = time.monotonic()
    outcome = runtime.call(
        "ExecSync",
        container_id=container.id,
        cmd=cmd,
        timeout=timeout,
        deadline=timeout + 3 * SLACK,
    )
    return outcome, time.monotonic() - start


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A command of days with a timeout of a second, and how many processes of it were left."""

    outcome: Outcome
    seconds: float
    left: int


@pytest.fixture(scope="module")
def timed_out(module_runtime: Runtime, idle: Container) -> TimedOut:
    """What came of it."""
    duration = long_sleep()
    outcome, seconds = time_out(module_runtime, idle, "sleep", duration)
    return TimedOut(outcome, seconds, sleepers(module_runtime, idle, duration))


@pytest.mark.xdist_group("slow commands")
@clause("ExecSyncRequest.timeout.command-stopped")
def test_command_is_gone_after_its_time(timed_out: TimedOut, idle: Container, judge: Judge) -> None:
    judge.equal(
        "ExecSyncRequest.timeout.command-stopped",
        timed_out.left,
        0,
        "processes of the command left",
        about=(idle.id,),
    )


@pytest.mark.xdist_group("slow commands")
@clause(
    "ExecSyncRequest.timeout.not-success",
    "ExecSyncRequest.timeout.answer",
    "ExecSyncRequest.timeout.prompt",
)
def test_time_out_is_told_and_prompt(timed_out: TimedOut, idle: Container, judge: Judge) -> None:
    outcome = timed_out.outcome
    judge.within(
        "ExecSyncRequest.timeout.prompt",
        timed_out.seconds,
        at_most=1 + SLACK,
        what="a command of days with a timeout of 1 s",
    )
    told = outcome.code == "DEADLINE_EXCEEDED" if isinstance(outcome, Refused) else False
    failed = isinstance(outcome, Ok) and outcome.response.exit_code != 0
    shown = f"exit code {outcome.response.exit_code}" if isinstance(outcome, Ok) else outcome
    judge.record("ExecSyncRequest.timeout.answer", shown)
    judge.that(
        "ExecSyncRequest.timeout.not-success",
        told or failed,
        permitted="DEADLINE_EXCEEDED, or an exit code other than 0",
        actual=shown,
        about=(idle.id,),
    )


# -- commands that take their time ---------------------------------------------------------------


_NOT_YET = Unknown("it was not run")


@dataclass(frozen=True, slots=True)
class Slow:
    """A command that takes some seconds: what it is, its timeout, and what came of it when."""

    script: str
    timeout: int
    outcome: Outcome = _NOT_YET
    seconds: float = 0.0


#: Not disturbed by a timeout that is long enough; the second is longer than any a runtime has.
_ENOUGH = [Slow("echo begun; sleep 1; echo done >&2; exit 5", timeout) for timeout in (5, 600)]
_LINGERS = Slow("sleep 2 & echo done", 10)


def _unlimited(seconds: int) -> Slow:
    return Slow(f"sleep {seconds}; echo done", 0)


@pytest.fixture(scope="module")
def slow(
    module_runtime: Runtime, idle: Container, chosen: Settings
) -> tuple[list[Slow], Slow, Slow]:
    """Those with enough time, the one without limit, and the one with a child; run side by side."""
    limit = 40 if chosen.nightly else 3

    def run(command: Slow) -> Slow:
        begun = time.monotonic()
        outcome = module_runtime.call(
            "ExecSync",
            container_id=idle.id,
            cmd=["/bin/sh", "-c", command.script],
            timeout=command.timeout,
            deadline=limit + 2 * SLACK,
        )
        return replace(command, outcome=outcome, seconds=time.monotonic() - begun)

    commands = [*_ENOUGH, _unlimited(limit), _LINGERS]
    *enough, unlimited, lingers = together(*[partial(run, command) for command in commands])
    return enough, unlimited, lingers


@pytest.mark.xdist_group("slow commands")
@clause("ExecSyncRequest.timeout.not-early")
def test_enough_time_disturbs_nothing(slow: tuple[list[Slow], Slow, Slow], judge: Judge) -> None:
    for command in slow[0]:
        response = judge.response("ExecSyncRequest.timeout.not-early", command.outcome)
        judge.equal(
            "ExecSyncRequest.timeout.not-early",
            (response.stdout, response.stderr, response.exit_code),
            (b"begun\n", b"done\n", 5),
            f"with a timeout of {command.timeout} s",
        )


@pytest.mark.xdist_group("slow commands")
@clause("ExecSyncRequest.timeout.zero-unlimited")
def test_zero_is_no_limit(slow: tuple[list[Slow], Slow, Slow], judge: Judge) -> None:
    response = judge.response("ExecSyncRequest.timeout.zero-unlimited", slow[1].outcome)
    judge.equal("ExecSyncRequest.timeout.zero-unlimited", response.stdout, b"done\n", "stdout")


@pytest.mark.xdist_group("slow commands")
@clause("RuntimeService.ExecSync.lingering-child")
def test_lingering_child_is_recorded(slow: tuple[list[Slow], Slow, Slow], judge: Judge) -> None:
    waits = "waits for" if slow[2].seconds > 1.5 else "does not wait for"
    judge.record(
        "RuntimeService.ExecSync.lingering-child",
        f"the answer {waits} a child that holds the output for 2 s",
    )


# -- what is recorded ----------------------------------------------------------------------------


@clause("ExecSyncRequest.timeout.negative")
def test_negative_timeout_is_recorded(runtime: Runtime, idle: Container, judge: Judge) -> None:
    outcome, seconds = time_out(runtime, idle, "true", timeout=-1)
    judge.record("ExecSyncRequest.timeout.negative", f"{outcome} after {seconds:.1f} s")


@clause("RuntimeService.ExecSync.abandoned")
def test_abandoned_command_is_recorded(runtime: Runtime, idle: Container, judge: Judge) -> None:
    duration = "3"
    runtime.call("ExecSync", container_id=idle.id, cmd=["sleep", duration], deadline=0.5)
    left = sleepers(runtime, idle, duration)
    goes = "goes on" if left else "is gone"
    judge.record("RuntimeService.ExecSync.abandoned", f"the command {goes}")


@clause("RuntimeService.ExecSync.container-unharmed")
def test_bad_commands_leave_the_container_alone(
    runtime: Runtime, idle: Container, judge: Judge
) -> None:
    before = runtime.container_status(idle.id)
    runtime.call("ExecSync", container_id=idle.id, cmd=["/bin/sh", "-c", "exit 9"], timeout=5)
    runtime.call("ExecSync", container_id=idle.id, cmd=["/no/such/command"], timeout=5)
    time_out(runtime, idle, "sleep", long_sleep())
    judge.equal(
        "RuntimeService.ExecSync.container-unharmed",
        runtime.container_status(idle.id),
        before,
        about=(idle.id,),
    )
