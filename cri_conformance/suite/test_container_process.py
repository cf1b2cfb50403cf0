# SPDX-License-Identifier: Apache-2.0
"""The first process of a container: what it is started with, as whom, and its exit code.

It is looked at from outside, in /proc by way of ExecSync: what a program shows of its own
arguments has been through a shell, and a lost byte would be the shell's or the runtime's.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st

from cri_conformance.api import types
from cri_conformance.build import messages, strategies
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.container_life import look
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

_SHELL = ("/bin/sh", "-c", messages.IDLE)
#: Names that every runtime and shell admits; those that are more than that come besides.
_PLAIN_VARIABLES = {"CRI_FIRST": "1", "CRI_SECOND": "two", "CRI_LAST": "3"}
_NOT_UTF8 = b"\xff\xfe\x80 and \xc3"
_EXIT_CODES = (0, 1, 2, 77, 126, 127, 128, 130, 137, 143, 254, 255)
_AT_ONCE = 6
#: Seconds in which a process that finds the end of its input must be seen to have exited.
_READS_WITHIN = 6.0
#: Seconds in which one that waits for input must not be seen to have exited.
_WAITS_FOR_INPUT = 1.0


@dataclass(frozen=True, slots=True)
class Process:
    """A container's first process as /proc shows it, after the words that started the shell."""

    id: str
    argv: tuple[bytes, ...]
    environment: Mapping[bytes, bytes]


def _look(runtime: Runtime, container: Container, marker: str) -> Process:
    argv = look(runtime, container, marker, "cmdline").removesuffix(b"\0").split(b"\0")
    environment = look(runtime, container, marker, "environ").split(b"\0")
    pairs = (entry.partition(b"=") for entry in environment if entry)
    return Process(container.id, tuple(argv), {key: value for key, _, value in pairs})


def _start(
    runtime: Runtime,
    sandbox: Sandbox,
    marker: str,
    words: Sequence[str] = (),
    args: Sequence[str] = (),
    envs: Mapping[str, str] | None = None,
) -> Container:
    """A container whose process has ``marker`` among its words, and then ``words`` and args."""
    config = runtime.container_config(sandbox, command=[*_SHELL, marker, *words])
    config.args.extend(args)
    for key, value in (envs or {}).items():
        config.envs.add(key=key, value=value.encode())
    container = runtime.container(sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    return container


def _marker() -> str:
    return secrets.token_hex(8)


# -- arguments and environment ---------------------------------------------------------------


def _awkward_environment() -> dict[str, str]:
    values = [value for value in strategies.AWKWARD_ANNOTATIONS.values() if len(value) < 1000]
    named = {name: values[n % len(values)] for n, name in enumerate(strategies.AWKWARD_VARIABLES)}
    valued = {f"CRI_VALUE_{n}": value for n, value in enumerate(values)}
    return {**_PLAIN_VARIABLES, **named, **valued, "CRI_LONG": "long value " * 2000}


@pytest.fixture(scope="module")
def awkward(module_runtime: Runtime, shared_sandbox: Sandbox) -> tuple[Container, Process]:
    """A running container with something awkward in each word and variable."""
    marker = _marker()
    container = _start(
        module_runtime,
        shared_sandbox,
        marker,
        strategies.AWKWARD_WORDS,
        tuple(reversed(strategies.AWKWARD_WORDS)),
        _awkward_environment(),
    )
    return container, _look(module_runtime, container, marker)


def _expected(container: Container) -> list[bytes]:
    return [word.encode() for word in (*container.config.command, *container.config.args)]


@clause("ContainerConfig.command.runs")
def test_the_command_is_run(awkward: tuple[Container, Process], judge: Judge) -> None:
    container, process = awkward
    leading = tuple(_expected(container)[: len(_SHELL) + 1])
    judge.equal(
        "ContainerConfig.command.runs", process.argv[: len(leading)], leading, about=[container.id]
    )


@clause("ContainerConfig.command.verbatim")
def test_the_words_of_the_command_arrive(awkward: tuple[Container, Process], judge: Judge) -> None:
    _judge_command(judge, *awkward)


@clause("ContainerConfig.args.verbatim")
def test_the_args_arrive(awkward: tuple[Container, Process], judge: Judge) -> None:
    _judge_args(judge, *awkward)


def _judge_command(judge: Judge, container: Container, process: Process) -> None:
    command = tuple(word.encode() for word in container.config.command)
    judge.equal(
        "ContainerConfig.command.verbatim",
        process.argv[: len(command)],
        command,
        about=[container.id],
    )


def _judge_args(judge: Judge, container: Container, process: Process) -> None:
    args = tuple(word.encode() for word in container.config.args)
    judge.equal(
        "ContainerConfig.args.verbatim",
        process.argv[len(process.argv) - len(args) :],
        args,
        about=[container.id],
    )


@clause("ContainerConfig.args.appended")
def test_args_follow_the_command(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    marker = _marker()
    container = _start(runtime, shared_sandbox, marker, ("last-of-command",), ("a", "b", "c"))
    process = _look(runtime, container, marker)
    judge.equal(
        "ContainerConfig.args.appended",
        process.argv,
        tuple(_expected(container)),
        about=[container.id],
    )


def _judge_environment(judge: Judge, container: Container, process: Process) -> None:
    """Judge names and values for themselves: a lost name says nothing of the values."""
    sent = {variable.key.encode(): variable.value for variable in container.config.envs}
    missing = sorted(key for key in sent if key not in process.environment)
    judge.equal("KeyValue.key.exact", missing, [], "missing:", about=[container.id])
    wrong = {key: process.environment[key] for key in sent if process.environment[key] != sent[key]}
    judge.that(
        "ContainerConfig.envs.verbatim",
        not wrong,
        permitted={key: sent[key] for key in wrong},
        actual=wrong,
        about=[container.id],
    )


@clause("ContainerConfig.envs.set")
def test_every_variable_is_set(awkward: tuple[Container, Process], judge: Judge) -> None:
    container, process = awkward
    missing = [key for key in _PLAIN_VARIABLES if key.encode() not in process.environment]
    judge.equal("ContainerConfig.envs.set", missing, [], "missing:", about=[container.id])


@clause("KeyValue.key.exact", "ContainerConfig.envs.verbatim")
def test_variables_arrive(awkward: tuple[Container, Process], judge: Judge) -> None:
    _judge_environment(judge, *awkward)


@clause(
    "ContainerConfig.command.verbatim",
    "ContainerConfig.args.verbatim",
    "KeyValue.key.exact",
    "ContainerConfig.envs.verbatim",
)
def test_generated_words_and_variables_arrive(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, explore: Explorer
) -> None:
    def check(command: list[str], args: list[str], envs: dict[str, str]) -> None:
        marker = _marker()
        container = _start(runtime, shared_sandbox, marker, command, args, envs)
        try:
            process = _look(runtime, container, marker)
        finally:
            runtime.call("RemoveContainer", container_id=container.id)
        _judge_command(judge, container, process)
        _judge_args(judge, container, process)
        _judge_environment(judge, container, process)

    explore(
        check,
        examples=8,
        command=st.lists(strategies.words(), max_size=6),
        args=st.lists(strategies.words(), max_size=6),
        envs=strategies.environments(),
    )


@clause("KeyValue.value.not-utf8")
def test_a_value_need_not_be_text(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    name = "KeyValue.value.not-utf8"
    if judge.rules.register[name].since > judge.rules.minor:
        # For an older runtime the field is a string: it can't even read such a request.
        judge.skip(Reason.YOUNGER, "values are bytes since 1.37")
    marker = _marker()
    config = runtime.container_config(shared_sandbox, command=[*_SHELL, marker])
    config.envs.add(key="CRI_BYTES", value=_NOT_UTF8)
    container = runtime.container(shared_sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    seen = _look(runtime, container, marker).environment.get(b"CRI_BYTES")
    judge.equal(name, seen, _NOT_UTF8, about=[container.id])


# -- where it starts -------------------------------------------------------------------------


@clause("ContainerConfig.working_dir.applied")
@pytest.mark.parametrize("directory", ["/usr/bin", "/proc"])
def test_working_directory(
    directory: str, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    marker = _marker()
    config = runtime.container_config(shared_sandbox, command=[*_SHELL, marker])
    config.working_dir = directory
    container = runtime.container(shared_sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    seen = look(runtime, container, marker, "cwd").decode().rstrip("\n")
    judge.equal("ContainerConfig.working_dir.applied", seen, directory, about=[container.id])


@clause("ContainerConfig.tty.unset-none")
def test_no_terminal_by_default(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    script = "for n in 0 1 2; do test -t $n && exit 9; done; exit 8"
    status = runtime.wait_exited(runtime.running(shared_sandbox, script).id)
    judge.equal(
        "ContainerConfig.tty.unset-none",
        status.exit_code,
        8,
        "exit code (9 for a terminal, 8 for none):",
        about=[status.id],
    )


@clause("ContainerConfig.tty.terminal")
def test_a_terminal_where_one_is_asked_for(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    script = "for n in 0 1 2; do test -t $n || exit 9; done; exit 8"
    config = runtime.container_config(shared_sandbox, command=["/bin/sh", "-c", script])
    # A kubelet asks for a terminal together with a standard input.
    config.tty = config.stdin = True
    container = runtime.container(shared_sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    judge.equal(
        "ContainerConfig.tty.terminal",
        runtime.wait_exited(container.id).exit_code,
        8,
        "exit code (8 if all three streams are a terminal):",
        about=[container.id],
    )


@clause("ContainerConfig.stdin.unset-ends")
def test_no_input_by_default(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    container = runtime.running(shared_sandbox, "cat >/dev/null; exit 8")
    with contextlib.suppress(SetupFailed):
        runtime.wait_exited(container.id, _READS_WITHIN)
    status = runtime.container_status(container.id)
    judge.that(
        "ContainerConfig.stdin.unset-ends",
        (status.state, status.exit_code) == (types.CONTAINER_EXITED, 8),
        permitted="the process finds the end of its input and exits with 8",
        actual=f"{types.ContainerState.Name(status.state)}, exit code {status.exit_code}",
        about=[status.id],
    )


@clause("ContainerConfig.stdin.kept-open")
def test_an_input_that_is_asked_for_stays_open(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    script = "cat >/dev/null; exit 8"
    config = runtime.container_config(shared_sandbox, command=["/bin/sh", "-c", script])
    config.stdin = True
    container = runtime.container(shared_sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    # One that had no input would have ended long before.
    enough = time.monotonic() + _WAITS_FOR_INPUT
    status = poll(
        lambda: runtime.container_status(container.id),
        lambda seen: seen.state != types.CONTAINER_RUNNING or time.monotonic() > enough,
        _WAITS_FOR_INPUT + 5,
        "a container to wait for input",
    )
    judge.equal(
        "ContainerConfig.stdin.kept-open",
        types.ContainerState.Name(status.state),
        "CONTAINER_RUNNING",
        f"after {_WAITS_FOR_INPUT:g} s of waiting for input",
        about=[status.id],
    )


# -- what it leaves --------------------------------------------------------------------------


@clause("ContainerStatus.exit_code.process-code")
def test_exit_codes(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    def end(code: int) -> types.ContainerStatus:
        return runtime.wait_exited(runtime.running(shared_sandbox, f"exit {code}").id)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        statuses = list(pool.map(end, _EXIT_CODES))
    for code, status in zip(_EXIT_CODES, statuses, strict=True):
        judge.equal(
            "ContainerStatus.exit_code.process-code", status.exit_code, code, about=[status.id]
        )
