# SPDX-License-Identifier: Apache-2.0
"""Containers that say what they are told: in their log, through a rotation of it and a restart
(``crowd.py``); and commands in containers, with what they write and their codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import multiple, precondition, rule

from cri_conformance.api import types
from cri_conformance.fuzz.restarting import Restarts, RestartSteps
from cri_conformance.model.states import ContainerState, SandboxState
from cri_conformance.model.table import Answer, Rule
from cri_conformance.suite import sessions, watching
from cri_conformance.suite.log_files import read, settled
from cri_conformance.suite.restart_life import SEEN_WITHIN
from cri_conformance.suite.scripts import wait_for_file
from cri_conformance.suite.test_stateful import Lifecycle
from cri_conformance.suite.watching import NoEvents, Unavailable
from cri_conformance.wire.crilog import Log
from cri_conformance.wire.outcome import Ok, SetupFailed

#: Methods of SpeakSteps that are steps of a story.
TOLD = ("exec_coded", "exec_session", "rotate")
#: Says each line that comes in by the pipe.
_SPEAKER = "mkfifo say; : > ready; while :; do read word < say && echo $word; done"
_CODED = 'printf %s "$1"; printf %s "$2" >&2; exit $3'
#: Tells how many lines came in, and how many were not as told; with what a shell has of itself.
_COUNTING = """n=0 bad=0
while IFS= read -r line; do n=$((n + 1)); [ "$line" = "$4" ] || bad=$((bad + 1)); done
echo "$n $bad"; printf %s "$1"; printf %s "$2" >&2; exit $3"""
#: Why a session's status says that its command failed.
_BAD = "NonZeroExitCode"
#: Seconds without a byte after which a session is given up.
_QUIET = 30.0
_REOPEN = "RuntimeService.ReopenContainerLog"


class Speaker(Restarts):
    """Has containers say something."""

    def exec_coded(self, container_id: str, code: int, out: str, err: str) -> None:
        """A command that ends with this code and writes this."""
        runs = self._runs(container_id)
        command = ["/bin/sh", "-c", _CODED, "sh", out, err, str(code)]
        outcome = self.runtime.call(
            "ExecSync", container_id=container_id, cmd=command, timeout=10, deadline=20.0
        )
        # The table takes another code than 0 for a refusal.
        self._judged("ExecSync", container_id, outcome, silent=runs or code != 0)
        if runs:
            clause = "ExecSyncResponse.exit_code.not-an-error"
            self._answer([Rule(Answer.OK, clause)], "ExecSync", outcome, container_id)
        if runs and isinstance(outcome, Ok):
            came = outcome.response
            for part, sent, shown in (
                ("exit_code", code, came.exit_code),
                ("stdout", out.encode(), came.stdout),
                ("stderr", err.encode(), came.stderr),
            ):
                self._that(
                    f"ExecSyncResponse.{part}.exact",
                    sent == shown,
                    repr(sent),
                    repr(shown),
                    container_id,
                )

    def exec_session(
        self, container_id: str, code: int, out: str, err: str, line: str, lines: int
    ) -> None:
        """A session with these lines for its input, a command that tells how they came, writes
        this, and ends with this code. Nothing is said where none opens."""
        if not self._runs(container_id):
            return
        self._stray, self.answered = "", "OK"
        command = ["/bin/sh", "-c", _COUNTING, "sh", out, err, str(code), line]
        data = f"{line}\n".encode() * lines
        try:
            came = sessions.run(
                self.runtime,
                self.containers[container_id],
                *command,
                data=data,
                quiet=_QUIET,
                stderr=True,
            )
        except SetupFailed as refused:
            self.answered = str(refused)
            return
        counted = came.stdout.partition(b"\n")[0].strip()
        # Without a count it is the end of the input that has not come.
        over = (
            "RuntimeService.Exec.ends-with-command" if counted else "ExecRequest.stdin.half-close"
        )
        self._that(over, came.over, "the session ends", str(came), container_id)
        said = came.status
        fine = said and (
            said.success if not code else (said.reason, said.exit_code) == (_BAD, code)
        )
        # Before what it wrote, of which something is missing where it was broken off.
        self._that(
            f"RuntimeService.Exec.{'exit' if code else 'success'}-status",
            bool(fine),
            f"the code {code}",
            str(came),
            container_id,
        )
        told, other = counted + b"\n" + out.encode(), err.encode()
        for clause, sent, shown in (
            ("ExecRequest.stdin.exact", f"{lines} 0".encode(), counted),
            (f"ExecRequest.stdout.{_mixed(told, other, came.stdout)}", told, came.stdout),
            (f"ExecRequest.stderr.{_mixed(other, told, came.stderr)}", other, came.stderr),
        ):
            self._that(clause, sent == shown, repr(sent), repr(shown), container_id)

    def rotate(self, container_id: str, log: Path) -> None:
        """Its log is renamed and opened anew, as the kubelet does. Raises SetupFailed."""
        self.begin(container_id, log)
        log.rename(log.with_name(f"{log.name}.1"))
        outcome = self.runtime.call("ReopenContainerLog", container_id=container_id)
        self._answer([Rule(Answer.OK, f"{_REOPEN}.running-succeeds")], "Reopen", outcome)
        there = log.exists()
        self._that(f"{_REOPEN}.file-on-return", there, "a file", "none", container_id)
        self._say(container_id, "second")
        self.logged(container_id, log, ["second"], f"{_REOPEN}.output-follows")

    def goes_on(self, container_id: str, log: Path) -> None:
        """It speaks on after a restart, and events tell of its end. Raises SetupFailed."""
        self._say(container_id, "second")
        self.logged(
            container_id, log, ["first", "second"], "ContainerConfig.log_path.after-restart"
        )
        self._told_of_end(container_id)

    def begin(self, container_id: str, log: Path) -> None:
        """It says its first word. Raises SetupFailed."""
        self.container_call("StartContainer", container_id)
        wait_for_file(self.runtime, self.containers[container_id], "ready")
        self._say(container_id, "first")
        self.logged(container_id, log, ["first"], "ContainerConfig.log_path.prompt")

    def _say(self, container_id: str, word: str) -> None:
        self.runtime.exec(self.containers[container_id], "/bin/sh", "-c", f"echo {word} > say")

    def logged(self, container_id: str, log: Path, words: list[str], clause: str) -> None:
        """Just these words come to be in its log."""

        def shown(seen: Log) -> list[str]:
            return seen.output("stdout").decode(errors="replace").split()

        seen = settled(
            lambda: Log.read(read(log) or b""), lambda now: shown(now) == words, SEEN_WITHIN
        )
        self._that(
            clause, shown(seen) == words, f"{words} in its log", str(shown(seen)), container_id
        )

    def _told_of_end(self, container_id: str) -> None:
        actual = "no event of its end"
        told: Any = None
        try:
            [watch] = watching.listen(self.runtime, self.containers[container_id].sandbox)
        except Unavailable:
            return
        except NoEvents as silent:
            actual = silent.actual
        else:
            self.container_call("StopContainer", container_id)
            told = watch.wait(container_id, watching.STOPPED, SEEN_WITHIN)
            watch.stream.cancel()
        self._that(
            "RuntimeService.GetContainerEvents.after-restart",
            bool(told),
            "an event of the end of a container that ran before the restart",
            actual,
            container_id,
        )


def _mixed(own: bytes, other: bytes, came: bytes) -> str:
    """The promise that is broken where not ``own`` came: the other stream may be in it."""
    mixed = other in came and other not in own
    return "separate" if other and (mixed or sorted(came) == sorted(own + other)) else "exact"


class SpeakSteps(RestartSteps):
    """Its steps, each followed by a look at everything."""

    stepper: Speaker

    def exec_coded(self, container: str, code: int, out: str, err: str) -> None:
        self.stepper.exec_coded(container, code, out, err)
        self.stepper.look(container)

    def exec_session(
        self, container: str, code: int, out: str, err: str, line: str, lines: int
    ) -> None:
        self.stepper.exec_session(container, code, out, err, line, lines)
        self.stepper.look(container)

    def rotate(self, sandbox: str) -> str:
        made, log = self.create_speaker(sandbox)
        if made:
            self.stepper.rotate(made, log)
        self.stepper.look()
        return made

    def create_speaker(self, sandbox: str) -> tuple[str, Path]:
        """One that has a log which can be read from here, in a sandbox that is READY."""
        config, log = self._logging(sandbox)
        if not (log and self.world.thing(sandbox).within(SandboxState.READY)):
            return "", Path()
        config.command[:] = ["/bin/sh", "-c", _SPEAKER]
        return self.stepper.create(sandbox, config), log

    def _logging(self, sandbox: str) -> tuple[types.ContainerConfig, Path | None]:
        """For a container with a log, which is None if it can't be read from here."""
        config = self._container_config(sandbox)
        folder = self.stepper.sandboxes[sandbox].config.log_directory
        if not folder:
            return config, None
        log = Path(folder, config.log_path)
        # As the kubelet does.
        log.parent.mkdir(parents=True, exist_ok=True)
        return config, log


_CODES = st.sampled_from([0, 1, 3, 127, 128, 255])
_TEXTS = st.sampled_from(["", "x", "two\nlines\n", "ä\r\n"])


class SpeakRules(Lifecycle):
    """The same as rules of a state machine."""

    steps: Any

    @precondition(lambda self: self.steps.alive(ContainerState))
    @rule(
        container=Lifecycle.containers,
        code=_CODES,
        out=_TEXTS,
        err=_TEXTS,
    )
    def exec_coded(self, container: str, code: int, out: str, err: str) -> None:
        self.steps.exec_coded(container, code, out, err)

    @precondition(lambda self: self.steps.alive(ContainerState))
    @rule(
        number=st.integers(0, 4),
        code=_CODES,
        out=_TEXTS,
        err=_TEXTS,
        line=st.sampled_from(["", " ä \\ ", "long " * 200]),
        lines=st.sampled_from([0, 1, 70]),
    )
    def exec_session(
        self, number: int, code: int, out: str, err: str, line: str, lines: int
    ) -> None:
        """In one of those that run: what a bundle draws seldom does."""
        running = [
            name
            for name, thing in self.steps.world.things.items()
            if thing.within(ContainerState.RUNNING) and self.steps.knows(name)
        ]
        if running:
            chosen = running[number % len(running)]
            self.steps.exec_session(chosen, code, out, err, line, lines)

    @precondition(Lifecycle._room_for_container)
    @rule(target=Lifecycle.containers, sandbox=Lifecycle.sandboxes)
    def rotate(self, sandbox: str) -> Any:
        return self.steps.rotate(sandbox) or multiple()
