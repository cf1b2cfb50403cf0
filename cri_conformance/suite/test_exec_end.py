# SPDX-License-Identifier: Apache-2.0
"""How commands of ExecSync end: with children that stay, with their container, and for good.

A child that a command leaves behind keeps the output open; who waits for that waits for a
stranger. And a command must neither outlive its container nor hold it up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cri_conformance.expect import Judge, clause
from cri_conformance.suite.scripts import PROMPT, listening, wait_for_file
from cri_conformance.suite.test_exec_timeout import long_sleep, sleepers, time_out
from cri_conformance.wire.outcome import Ok, Outcome, Refused, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

_EXEC, _STOP = "RuntimeService.ExecSync", "RuntimeService.StopContainer"
#: Seconds that a machine may be slow; and that a child takes longer than.
SLACK, CHILDREN_SLACK = 5.0, 3.0
#: Kills the processes whose command lines match.
_KILL = (
    'for file in $(grep -lE "$1" /proc/[0-9]*/cmdline 2>/dev/null); do '
    'pid=${file%/cmdline}; kill -9 "${pid#/proc/}"; done; true'
)

Patience = Callable[[float], float]


@clause("ExecSyncRequest.timeout.children-prompt", "ExecSyncRequest.timeout.children")
def test_children_do_not_keep_the_answer(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    names = ("in the background", "in a session of its own", "orphaned")
    children = {name: long_sleep() for name in names}
    background, session, orphan = children.values()
    script = (
        f"sleep {background} & setsid sleep {session} & (setsid sleep {orphan} &); "
        f"sleep {long_sleep()}"
    )
    within = 1 + patience(CHILDREN_SLACK)
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        answer = pool.submit(
            runtime.call,
            "ExecSync",
            container_id=idle.id,
            cmd=["/bin/sh", "-c", script],
            timeout=1,
            deadline=30.0,
        )
        try:
            with contextlib.suppress(TimeoutError):
                answer.result(timeout=within)
            seconds = time.monotonic() - began
            left = [
                name for name, duration in children.items() if sleepers(runtime, idle, duration)
            ]
        finally:
            # With its children the longest wait is over too. The brackets keep the search from
            # finding itself.
            pattern = "|".join(f"[{child[0]}]{child[1:]}" for child in children.values())
            runtime.exec(idle, "/bin/sh", "-c", _KILL, "sh", pattern)
    judge.record("ExecSyncRequest.timeout.children", f"run on: {', '.join(left) or 'none'}")
    judge.within(
        "ExecSyncRequest.timeout.children-prompt",
        seconds,
        at_most=within,
        what="a command with a timeout of 1 s, whose children hold its output,",
    )


@clause(f"{_EXEC}.reaped")
def test_commands_leave_no_process(runtime: Runtime, idle: Container, judge: Judge) -> None:
    commands = [runtime.exec(idle, "/bin/sh", "-c", "echo $$").stdout for _ in range(3)]
    time_out(runtime, idle, "/bin/sh", "-c", f"echo $$ > timed; exec sleep {long_sleep()}")
    commands.append(runtime.exec(idle, "cat", "timed").stdout)
    numbers = [command.decode().strip() for command in commands]
    script = 'for pid in "$@"; do [ ! -e "/proc/$pid" ] || echo "$pid"; done'

    def left() -> list[bytes]:
        found: bytes = runtime.exec(idle, "/bin/sh", "-c", script, "sh", *numbers).stdout
        return found.split()

    with contextlib.suppress(SetupFailed):
        poll(left, lambda found: not found, 2.0, "commands to be reaped")
    judge.equal(f"{_EXEC}.reaped", len(left()), 0, "processes left", about=[idle.id])


@clause(f"{_STOP}.during-exec", f"{_EXEC}.ends-with-container")
def test_a_command_ends_with_its_container(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    container, within = listening(runtime, shared_sandbox, PROMPT), patience(SLACK)
    with ThreadPoolExecutor(1) as pool:
        command = pool.submit(
            runtime.call,
            "ExecSync",
            container_id=container.id,
            cmd=["/bin/sh", "-c", ": > begun; exec sleep 3600"],
            timeout=600,
            deadline=3 * within + SLACK,
        )
        try:
            wait_for_file(runtime, container, "begun")
            stop = runtime.call(
                "StopContainer", container_id=container.id, timeout=60, deadline=within
            )
            judge.that(
                f"{_STOP}.during-exec",
                isinstance(stop, Ok),
                permitted=f"success within {SLACK:g} s, of a container that ends on its signal",
                actual=stop,
                about=[container.id],
            )
            answer: Outcome | None = None
            with contextlib.suppress(TimeoutError):
                answer = command.result(timeout=within)
            judge.that(
                f"{_EXEC}.ends-with-container",
                isinstance(answer, Refused)
                or (isinstance(answer, Ok) and answer.response.exit_code != 0),
                permitted=f"an error or an exit code other than 0 within {SLACK:g} s",
                actual="no answer" if answer is None else answer,
                about=[container.id],
            )
        finally:
            runtime.call("RemoveContainer", container_id=container.id, deadline=30.0)
