# SPDX-License-Identifier: Apache-2.0
"""ExecSync: one command, its two streams and its exit code, exactly.

Probes and hooks hang on it: a byte lost or a code bent is a healthy pod killed, or a
sick one kept. Time-outs and what they leave behind are in ``test_exec_timeout``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import pytest
from hypothesis import strategies as st

from cri_conformance.build import messages
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

STREAMS = ("stdout", "stderr")
#: Runs its arguments through nothing: each as it came, ended by a zero byte.
ECHO_ARGV = 'for a in "$@"; do printf "%s\\0" "$a"; done'
#: Bytes of one stream that a runtime may return at most, and of output well below that.
CAP = 16 * 1024 * 1024
MEGABYTES = 4 * 1024 * 1024

_awkward = st.sampled_from(
    ["", " ", "a b", "'", '"', "$HOME", "$(id)", "`id`", "*", "a\nb", "-n", "\\", ";", "|", "ä€😀"]
)
#: What an argument can hold: any text but NUL, which ends strings on the way to the program.
arguments = st.lists(
    st.one_of(_awkward, st.text(st.characters(exclude_characters="\0", codec="utf-8"))),
    max_size=8,
)


def by_stream(promise: str) -> pytest.MarkDecorator:
    """Run a test for each stream, bound to that stream's clause of this name."""
    return pytest.mark.parametrize(
        "stream",
        [
            pytest.param(name, marks=clause(f"ExecSyncResponse.{name}.{promise}"), id=name)
            for name in STREAMS
        ],
    )


@clause("ExecSyncRequest.cmd.exact-argv")
def test_arguments_arrive_exactly(
    runtime: Runtime, idle: Container, judge: Judge, explore: Explorer
) -> None:
    def check(args: list[str]) -> None:
        seen = runtime.exec(idle, "/bin/sh", "-c", ECHO_ARGV, "sh", *args).stdout
        sent = b"".join(arg.encode() + b"\0" for arg in args)
        judge.equal("ExecSyncRequest.cmd.exact-argv", seen, sent, about=(idle.id,))

    explore(
        check,
        args=arguments,
        tried=({"args": [""]}, {"args": ["a b", "", "'\"", "\n", "ä€😀", "x" * 4096]}),
    )


@clause("ExecSyncRequest.cmd.no-shell")
def test_no_shell_comes_between(runtime: Runtime, idle: Container, judge: Judge) -> None:
    for word in ("$HOME", "*", "a;b", "$(echo x)", "`echo x`", "a|b", "~", ">x", "a&&b"):
        seen = runtime.exec(idle, "echo", word).stdout
        judge.equal("ExecSyncRequest.cmd.no-shell", seen, word.encode() + b"\n", f"echo {word}")


@clause("ExecSyncRequest.cmd.empty")
def test_empty_command_is_recorded(runtime: Runtime, idle: Container, judge: Judge) -> None:
    outcome = runtime.call("ExecSync", container_id=idle.id, timeout=5)
    judge.record("ExecSyncRequest.cmd.empty", outcome)


@by_stream("exact")
def test_bytes_are_exact(
    runtime: Runtime, idle: Container, judge: Judge, explore: Explorer, stream: str
) -> None:
    def check(data: bytes) -> None:
        seen = getattr(runtime.exec(idle, "/bin/sh", "-c", writing(data, stream)), stream)
        judge.equal(f"ExecSyncResponse.{stream}.exact", seen, data, about=(idle.id,))

    explore(
        check,
        data=st.binary(max_size=200),
        tried=({"data": b"\0\xff\xfe\n\n"}, {"data": b"no line break"}, {"data": b""}),
        examples=15,
    )


@by_stream("separate")
def test_streams_are_separate(runtime: Runtime, idle: Container, judge: Judge, stream: str) -> None:
    script = "for i in 1 2 3; do echo o$i; echo e$i >&2; done"
    response = runtime.exec(idle, "/bin/sh", "-c", script)
    letter = stream[3]  # std-o-ut, std-e-rr
    own = "".join(f"{letter}{i}\n" for i in (1, 2, 3)).encode()
    judge.equal(f"ExecSyncResponse.{stream}.separate", getattr(response, stream), own)


@by_stream("below-cap-complete")
def test_megabytes_are_complete(
    runtime: Runtime, idle: Container, judge: Judge, stream: str
) -> None:
    seen = getattr(runtime.exec(idle, "/bin/sh", "-c", counting(MEGABYTES, stream)), stream)
    complete = seen == numbers(MEGABYTES)
    judge.that(
        f"ExecSyncResponse.{stream}.below-cap-complete",
        complete,
        permitted=f"{MEGABYTES} bytes as they were written",
        actual=f"{len(seen)} bytes" + ("" if complete else f" that end {seen[-20:]!r}"),
    )


@pytest.fixture(scope="module")
def excess(module_runtime: Runtime, idle: Container) -> dict[str, Outcome]:
    """For each stream, what came of a command that wrote a megabyte more than the cap to it."""
    return {
        stream: module_runtime.call(
            "ExecSync",
            container_id=idle.id,
            cmd=["/bin/sh", "-c", counting(CAP + 1024 * 1024, stream) + "; exit 3"],
            timeout=60,
            deadline=70,
        )
        for stream in STREAMS
    }


@by_stream("capped")
def test_output_is_capped(excess: dict[str, Outcome], judge: Judge, stream: str) -> None:
    returned = len(_returned(excess[stream], stream))
    judge.that(
        f"ExecSyncResponse.{stream}.capped",
        returned <= CAP,
        permitted=f"at most {CAP} bytes",
        actual=f"{returned} bytes",
    )


@by_stream("beginning-kept")
def test_beginning_is_kept(excess: dict[str, Outcome], judge: Judge, stream: str) -> None:
    returned = _returned(excess[stream], stream)
    judge.that(
        f"ExecSyncResponse.{stream}.beginning-kept",
        returned and returned == numbers(len(returned)),
        permitted="the beginning of what was written",
        actual=f"{len(returned)} bytes that begin {returned[:20]!r} and end {returned[-20:]!r}"
        if returned
        else f"nothing ({excess[stream]})",
    )


@by_stream("excess-no-error")
def test_excess_is_no_error(excess: dict[str, Outcome], judge: Judge, stream: str) -> None:
    outcome = excess[stream]
    judge.that(
        f"ExecSyncResponse.{stream}.excess-no-error",
        isinstance(outcome, Ok) and outcome.response.exit_code == 3,
        permitted="success, with the command's exit code 3",
        actual=f"exit code {outcome.response.exit_code}" if isinstance(outcome, Ok) else outcome,
    )


def _returned(outcome: Outcome, stream: str) -> bytes:
    data: bytes = getattr(outcome.response, stream) if isinstance(outcome, Ok) else b""
    return data


@clause("ExecSyncResponse.exit_code.exact")
def test_exit_codes_are_exact(
    runtime: Runtime, idle: Container, judge: Judge, explore: Explorer
) -> None:
    def check(code: int) -> None:
        seen = runtime.exec(idle, "/bin/sh", "-c", f"exit {code}").exit_code
        judge.equal("ExecSyncResponse.exit_code.exact", seen, code, about=(idle.id,))

    edges = (0, 1, 2, 125, 126, 127, 128, 129, 130, 137, 143, 254, 255)
    explore(
        check,
        code=st.integers(0, 255),
        tried=tuple({"code": code} for code in edges),
        examples=10,
    )


@clause("ExecSyncResponse.exit_code.not-an-error")
def test_failing_command_is_no_error(runtime: Runtime, idle: Container, judge: Judge) -> None:
    outcome = runtime.call("ExecSync", container_id=idle.id, cmd=["sh", "-c", "exit 7"], timeout=10)
    response = judge.response("ExecSyncResponse.exit_code.not-an-error", outcome)
    judge.equal("ExecSyncResponse.exit_code.not-an-error", response.exit_code, 7, "exit_code")


@clause("ExecSyncResponse.exit_code.killed-by-signal", "ExecSyncResponse.exit_code.signal-value")
def test_killed_command_does_not_look_fine(runtime: Runtime, idle: Container, judge: Judge) -> None:
    codes = {
        signal: runtime.exec(idle, "/bin/sh", "-c", f"kill -{signal} $$").exit_code
        for signal in ("KILL", "TERM")
    }
    judge.record("ExecSyncResponse.exit_code.signal-value", codes)
    judge.that(
        "ExecSyncResponse.exit_code.killed-by-signal",
        all(codes.values()),
        permitted="a code other than 0",
        actual=codes,
    )


@clause("RuntimeService.ExecSync.in-container")
def test_command_runs_in_the_container(
    runtime: Runtime, shared_sandbox: Sandbox, idle: Container, judge: Judge
) -> None:
    # Beside another container, in which it might run by mistake.
    name = runtime.name("mark")
    container = runtime.running(shared_sandbox, f"echo {name} > {name}; {messages.IDLE}")
    seen = runtime.exec(
        container,
        "/bin/sh",
        "-c",
        f"i=0; until [ -s {name} ] || [ $i = 50 ]; do i=$((i+1)); sleep 0.1; done; cat {name}",
    )
    judge.equal(
        "RuntimeService.ExecSync.in-container",
        seen.stdout,
        f"{name}\n".encode(),
        "a file that the container wrote",
        about=(container.id,),
    )


@clause("RuntimeService.ExecSync.waits-for-end")
def test_answer_has_the_last_words(runtime: Runtime, idle: Container, judge: Judge) -> None:
    seen = runtime.exec(idle, "/bin/sh", "-c", "echo first; sleep 1; echo last").stdout
    judge.equal("RuntimeService.ExecSync.waits-for-end", seen, b"first\nlast\n", "stdout")


@clause("RuntimeService.ExecSync.missing-command")
def test_missing_command_does_not_look_fine(
    runtime: Runtime, idle: Container, judge: Judge
) -> None:
    outcome = runtime.call("ExecSync", container_id=idle.id, cmd=["/no/such/command"], timeout=10)
    judge.that(
        "RuntimeService.ExecSync.missing-command",
        not isinstance(outcome, Ok) or outcome.response.exit_code != 0,
        permitted="an error, or an exit code other than 0",
        actual=f"{outcome} with exit code 0",
        about=(idle.id,),
    )


@clause("RuntimeService.ExecSync.exited-container", "RuntimeService.ExecSync.exited-code")
def test_exited_container_runs_nothing(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.exited(shared_sandbox)
    outcome = runtime.call("ExecSync", container_id=container.id, cmd=["true"], timeout=10)
    judge.that(
        "RuntimeService.ExecSync.exited-container",
        not isinstance(outcome, Ok) or outcome.response.exit_code != 0,
        permitted="an error, or an exit code other than 0",
        actual=f"{outcome} with exit code 0",
        about=(container.id,),
    )
    judge.that(
        "RuntimeService.ExecSync.exited-code",
        getattr(outcome, "code", "") != "NOT_FOUND",
        permitted="a code other than NOT_FOUND, as the container is still listed",
        actual=outcome,
        about=(container.id,),
    )


@clause("RuntimeService.ExecSync.created-container")
def test_created_container_is_recorded(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.container(shared_sandbox)
    outcome = runtime.call("ExecSync", container_id=container.id, cmd=["true"], timeout=5)
    judge.record("RuntimeService.ExecSync.created-container", outcome)


@clause("RuntimeService.ExecSync.process-settings")
def test_process_settings_are_recorded(runtime: Runtime, idle: Container, judge: Judge) -> None:
    script = 'echo "uid $(id -u), gid $(id -g), in $(pwd), PATH=$PATH"'
    seen = runtime.exec(idle, "/bin/sh", "-c", script).stdout.decode(errors="replace")
    judge.record("RuntimeService.ExecSync.process-settings", seen)


@clause("RuntimeService.ExecSync.concurrent")
def test_commands_side_by_side(runtime: Runtime, idle: Container, judge: Judge) -> None:
    at_once = 8
    barrier = Barrier(at_once)

    def run(number: int) -> tuple[bytes, bytes, int]:
        barrier.wait(30)
        script = f"echo o{number}; echo e{number} >&2; exit {number}"
        response = runtime.exec(idle, "/bin/sh", "-c", script, timeout=30)
        return response.stdout, response.stderr, response.exit_code

    with ThreadPoolExecutor(at_once) as threads:
        for _ in range(3):
            for number, seen in enumerate(threads.map(run, range(at_once))):
                own = (f"o{number}\n".encode(), f"e{number}\n".encode(), number)
                judge.equal("RuntimeService.ExecSync.concurrent", seen, own, f"command {number}")


def writing(data: bytes, stream: str) -> str:
    """A script that writes just these bytes to a stream, with what every shell's printf has."""
    octal = "".join(f"\\0{byte:03o}" for byte in data)
    return f"printf '%b' '{octal}'" + (" >&2" if stream == "stderr" else "")


def counting(size: int, stream: str) -> str:
    """A script that writes ``size`` bytes of the numbers from 1 to a stream."""
    return f"seq 1 99999999 | head -c {size}" + (" >&2" if stream == "stderr" else "")


@cache
def numbers(size: int) -> bytes:
    """What ``counting`` writes."""
    count = size // 7 + 200_000
    return "\n".join(map(str, range(1, count))).encode()[:size]
