# SPDX-License-Identifier: Apache-2.0
"""Restarting the runtime under test, where the user says how (``--cri-restart-command``)."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from cri_conformance.wire.client import Client
from cri_conformance.wire.outcome import Ok, Outcome, RuntimeGone, SetupFailed, Unknown
from cri_conformance.wire.runtime import Runtime, poll

#: Seconds that the command may take, and the runtime until it answers again.
COMMAND_TAKES, ANSWERS_WITHIN = 120.0, 60.0
#: Deadline of a call that a restart breaks off: long enough for a runtime that is just restarted.
CALL_TAKES = 90.0
#: Seconds until such calls must have ended, once the runtime is there again.
BROKEN_OFF = 15.0
#: Why nothing is known of one that has not.
HANGS = f"no end {BROKEN_OFF:g} s after the runtime was there again"


class StaysAway(SetupFailed):
    """The command has done its work, and the runtime does not answer."""


class Restarter:
    """Restarts the runtime. ``command`` is run without a shell; with "" nothing is restarted."""

    def __init__(self, command: str) -> None:
        self._command = command

    @property
    def real(self) -> bool:
        """Whether anything is restarted."""
        return bool(self._command)

    def __call__(self, runtime: Runtime) -> None:
        """Returns when the runtime answers again. Raises StaysAway, or SetupFailed."""
        if self._command:
            self._run()
        # It may take connections before it can answer. If it never does, that is told below.
        with contextlib.suppress(SetupFailed):
            poll(lambda: _answers(runtime.client), bool, ANSWERS_WITHIN, "an answer")
        # Also where a call that was under way has taken it for gone.
        if not runtime.client.revived(ANSWERS_WITHIN):
            raise StaysAway(
                f"the runtime does not answer {ANSWERS_WITHIN:g} s after it was restarted by "
                f"'{self._command}'"
            )
        outcome = runtime.call("Version", version="v1", deadline=ANSWERS_WITHIN)
        if not isinstance(outcome, Ok):
            raise StaysAway(f"Version after the restart: {outcome}")

    def _run(self) -> None:
        advice = "try --cri-restart-command by hand"
        try:
            done = subprocess.run(
                shlex.split(self._command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_TAKES,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SetupFailed(
                f"'{self._command}' did not end within {COMMAND_TAKES:g} s: {advice}"
            ) from None
        except OSError as error:
            raise SetupFailed(f"can't run '{self._command}': {error.strerror}; {advice}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = said[-1] if said else "nothing on stderr"
            raise SetupFailed(f"'{self._command}' ended with {done.returncode} ({why}): {advice}")


def _answers(client: Client) -> bool:
    """Whether it answers. Asked over another connection: one that is refused is lost for good."""
    with client.another() as other:
        return isinstance(other.glimpse("Version", deadline=other.timeout, version="v1"), Ok)


def interrupted(
    runtime: Runtime, restart: Restarter, calls: dict[str, Callable[[], Outcome]], seconds: float
) -> dict[str, Outcome]:
    """The calls, all under way when the runtime is restarted after so many seconds.

    What has no end all the same is Unknown, for HANGS. Raises StaysAway, or SetupFailed.
    """
    start = threading.Barrier(len(calls) + 1)

    def go(call: Callable[[], Outcome]) -> Outcome:
        start.wait()
        try:
            return call()
        except RuntimeGone as gone:
            return Unknown(str(gone))

    with ThreadPoolExecutor(len(calls), thread_name_prefix="broken-off") as pool:
        futures: dict[str, Future[Outcome]] = {
            rpc: pool.submit(go, call) for rpc, call in calls.items()
        }
        start.wait()
        threading.Event().wait(seconds)
        if not restart.real:
            for future in futures.values():
                future.exception(CALL_TAKES)
        restart(runtime)
        firsts = {}
        for rpc, future in futures.items():
            with contextlib.suppress(TimeoutError):
                firsts[rpc] = future.result(BROKEN_OFF)
            firsts.setdefault(rpc, Unknown(HANGS))
        # Whoever learned of it late has taken the runtime for gone.
        runtime.client.revived(BROKEN_OFF)
    return firsts
