# SPDX-License-Identifier: Apache-2.0
"""Exec: how a session opens, how it ends, what it says of the command, and what it leaves.

What flows through it is in ``test_exec_streams``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import strategies as st

from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.sessions import Came, opened, refusal, run, standing, to_the_end, until
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: Seconds without a byte after which nothing more is expected.
QUIET = 15.0
#: Seconds within which a session is over when what it is about has ended.
SOON = 15.0

Patience = Callable[[float], float]


# -- what the error stream says --------------------------------------------------------------


def _ends(runtime: Runtime, container: Container, script: str, quiet: float) -> Came:
    return run(runtime, container, "/bin/sh", "-c", script, quiet=quiet)


@clause("RuntimeService.Exec.success-status")
def test_success_is_reported(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    came = _ends(runtime, idle, "exit 0", patience(QUIET))
    judge.that(
        "RuntimeService.Exec.success-status",
        came.status and came.status.success,
        permitted="Success, or an error stream that ends in silence",
        actual=came,
        about=[idle.id],
    )


@clause("RuntimeService.Exec.exit-status")
def test_exit_codes_are_reported(
    runtime: Runtime, idle: Container, judge: Judge, explore: Explorer, patience: Patience
) -> None:
    def check(code: int) -> None:
        came = _ends(runtime, idle, f"exit {code}", patience(QUIET))
        said = came.status
        judge.that(
            "RuntimeService.Exec.exit-status",
            said
            and (said.success, said.reason, said.exit_code) == (False, "NonZeroExitCode", code),
            permitted=f"Failure, NonZeroExitCode, with the cause ExitCode {code}",
            actual=said.raw if said else came,
            about=[idle.id],
        )

    edges = (1, 2, 7, 126, 127, 128, 130, 137, 255)
    explore(
        check,
        code=st.integers(1, 255),
        tried=tuple({"code": code} for code in edges),
        examples=3,
    )


@clause("RuntimeService.Exec.killed-status")
def test_a_killed_command_does_not_look_fine(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    for signal in ("KILL", "TERM"):
        came = _ends(runtime, idle, f"kill -{signal} $$", patience(QUIET))
        judge.that(
            "RuntimeService.Exec.killed-status",
            not (came.status and came.status.success),
            permitted="no success",
            actual=f"{came} of a command killed by SIG{signal}",
            about=[idle.id],
        )


@clause("RuntimeService.Exec.missing-command", "ExecRequest.cmd.empty")
def test_a_missing_command_does_not_look_fine(
    runtime: Runtime, idle: Container, judge: Judge
) -> None:
    outcome = runtime.call("Exec", container_id=idle.id, stdout=True)
    judge.record("ExecRequest.cmd.empty", outcome)
    judge.that(
        "RuntimeService.Exec.missing-command",
        refusal(runtime, "Exec", idle.id, "/no/such/command", stdout=True),
        permitted="an error, by the call or in the session",
        actual="a session that ends as if all were well",
        about=[idle.id],
    )


# -- when it is over -------------------------------------------------------------------------


@clause("RuntimeService.Exec.ends-with-command")
def test_a_session_ends_with_its_command(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    with opened(runtime, "Exec", idle, "echo", "x", stdin=True, stdout=True) as session:
        # The input stays open: it is the command that ends the session.
        came = to_the_end(session, quiet=patience(SOON))
    judge.that(
        "RuntimeService.Exec.ends-with-command",
        not came.trouble,
        permitted=f"the end of the session within {SOON:g} s of the command's",
        actual=came,
        about=[idle.id],
    )


@clause("RuntimeService.Exec.ends-with-container")
def test_a_session_ends_with_its_container(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    container = runtime.running(shared_sandbox)
    cmd = ("/bin/sh", "-c", "echo on; exec sleep 3600")
    with opened(runtime, "Exec", container, *cmd, stdin=True, stdout=True) as session:
        until(session.stdout, b"on\n", patience(QUIET))
        runtime.get("StopContainer", container_id=container.id, timeout=5)
        stopped = time.monotonic()
        came = to_the_end(session, quiet=patience(SOON))
        took = time.monotonic() - stopped
    judge.that(
        "RuntimeService.Exec.ends-with-container",
        not came.trouble or session.connection.wait_over(0),
        permitted=f"the end of the session within {SOON:g} s of the container's",
        actual=f"{came}, {took:.1f} s after the stop",
        about=[container.id],
    )


# -- what it leaves --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beaten(module_runtime: Runtime, shared_sandbox: Sandbox) -> Iterator[Container]:
    """A running container on which clients may break off and commands may fail."""
    container = module_runtime.running(shared_sandbox)
    yield container
    module_runtime.call("RemoveContainer", container_id=container.id)


_BEATS = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i > $0; echo $i; sleep 0.05; done"


@pytest.mark.xdist_group("beaten")
@clause("RuntimeService.Exec.container-unharmed", "RuntimeService.Exec.client-gone")
def test_the_container_runs_on(
    runtime: Runtime, beaten: Container, judge: Judge, patience: Patience
) -> None:
    quiet, name = patience(QUIET), runtime.name("beat")
    before = standing(runtime, beaten)
    beats = ("/bin/sh", "-c", _BEATS, name)
    # The last writes much, with nobody to take it any more.
    much = ("head", "-c", "50000000", "/dev/zero")
    _ends(runtime, beaten, "exit 7", quiet)
    refusal(runtime, "Exec", beaten.id, "/no/such/command", stdout=True)
    trouble = ""
    try:
        for reset, cmd, sign in (
            (False, beats, b"2\n"),
            (True, beats, b"2\n"),
            (True, much, b"\0"),
        ):
            streams = {"stdin": True, "stdout": True, "stderr": True}
            with opened(runtime, "Exec", beaten, *cmd, **streams) as session:
                until(session.stdout, sign, quiet)
                session.abort(reset=reset)
        came = _ends(runtime, beaten, "echo here", quiet)
        trouble = "" if came.stdout == b"here\n" else str(came)
    except SetupFailed as failed:
        trouble = str(failed)
    judge.equal(
        "RuntimeService.Exec.container-unharmed",
        standing(runtime, beaten),
        before,
        "state, start and exit code",
        about=[beaten.id],
    )
    judge.that(
        "RuntimeService.Exec.container-unharmed",
        not trouble,
        permitted="that the next session works",
        actual=trouble,
        about=[beaten.id],
    )
    judge.record("RuntimeService.Exec.client-gone", _fate(runtime, beaten, name))


def _fate(runtime: Runtime, container: Container, name: str) -> str:
    def beat() -> bytes:
        seen: bytes = runtime.exec(container, "cat", name).stdout
        return seen

    first = beat()
    threading.Event().wait(0.4)
    return "the command goes on" if beat() != first else "the command is ended"


# -- which container -------------------------------------------------------------------------


@clause("ExecRequest.container_id.only-that-one")
def test_the_command_runs_in_its_container(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    containers = [runtime.running(shared_sandbox) for _ in range(2)]
    for container in containers:
        runtime.exec(container, "/bin/sh", "-c", 'echo "$0" > mark', container.id)
    for container in containers:
        came = run(runtime, container, "cat", "mark", quiet=patience(QUIET))
        judge.equal(
            "ExecRequest.container_id.only-that-one",
            came.stdout,
            container.id.encode() + b"\n",
            "a file that its own container has",
            about=[container.id],
        )
