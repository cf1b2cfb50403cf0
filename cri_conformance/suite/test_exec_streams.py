# SPDX-License-Identifier: Apache-2.0
"""Exec: what goes in and what comes out of a streamed command, byte for byte, and its terminal.

How a session opens, ends and fails is in ``test_exec_sessions``.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import strategies as st

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Depth, Explorer
from cri_conformance.session import session_of
from cri_conformance.streaming.events import V4, V5, WEBSOCKET
from cri_conformance.suite.sessions import (
    Came,
    opened,
    run,
    same,
    to_the_end,
    until,
)
from cri_conformance.suite.test_exec_sync import ECHO_ARGV, arguments, counting, numbers, writing
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime

OUTPUTS = ("stdout", "stderr")
#: Round which buffers and windows of implementations end, and one that no buffer holds.
SIZES = (1, 65_535, 65_537, 196_609)
LARGE = 16 * 1024 * 1024 + 1
#: Seconds without a byte after which nothing more is expected.
QUIET = 15.0
#: Rounds in which a command ends right behind its last words.
ENDS = 5
#: Sessions at the same time.
AT_ONCE = 6

Patience = Callable[[float], float]


def by_output(promise: str) -> pytest.MarkDecorator:
    """Run a test for each output, bound to that output's clause of this name."""
    return pytest.mark.parametrize(
        "stream",
        [
            pytest.param(name, marks=clause(f"ExecRequest.{name}.{promise}"), id=name)
            for name in OUTPUTS
        ],
    )


@pytest.fixture
def sizes(pytestconfig: pytest.Config) -> tuple[int, ...]:
    """How many bytes to send; under a seeded fault no more than shows it."""
    depth: Depth = session_of(pytestconfig).depth
    return SIZES if depth.matrix else (*SIZES, LARGE)


def noise(size: int) -> bytes:
    """Bytes of every value, the same each time."""
    return random.Random(size).randbytes(size)


# -- the command -----------------------------------------------------------------------------


@clause("ExecRequest.cmd.exact-argv")
def test_arguments_arrive_exactly(
    runtime: Runtime, idle: Container, judge: Judge, explore: Explorer, patience: Patience
) -> None:
    def check(args: list[str]) -> None:
        came = run(runtime, idle, "/bin/sh", "-c", ECHO_ARGV, "sh", *args, quiet=patience(QUIET))
        sent = b"".join(arg.encode() + b"\0" for arg in args)
        same(judge, "ExecRequest.cmd.exact-argv", came.stdout, sent, came.trouble)

    explore(
        check,
        args=arguments,
        tried=({"args": [""]}, {"args": ["a b", "", "'\"", "\n", "ä€😀", "x" * 4096]}),
        examples=6,
    )


@clause("ExecRequest.cmd.no-shell")
def test_no_shell_comes_between(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    words = ("$HOME", "*", "a;b", "$(echo x)", "`echo x`", "a|b", "~", ">x", "a&&b")
    came = run(runtime, idle, "echo", *words, quiet=patience(QUIET))
    same(judge, "ExecRequest.cmd.no-shell", came.stdout, " ".join(words).encode() + b"\n")


# -- output ----------------------------------------------------------------------------------


@by_output("exact")
def test_output_is_exact(
    runtime: Runtime,
    idle: Container,
    judge: Judge,
    explore: Explorer,
    patience: Patience,
    sizes: tuple[int, ...],
    stream: str,
) -> None:
    out, err = (name == stream for name in OUTPUTS)

    def output(script: str) -> Came:
        cmd = ("/bin/sh", "-c", script)
        return run(runtime, idle, *cmd, stdout=out, stderr=err, quiet=patience(QUIET))

    def check(data: bytes) -> None:
        came = output(writing(data, stream))
        same(judge, f"ExecRequest.{stream}.exact", getattr(came, stream), data, came.trouble)

    for size in sizes:
        came = output(counting(size, stream))
        same(
            judge,
            f"ExecRequest.{stream}.exact",
            getattr(came, stream),
            numbers(size),
            came.trouble,
        )
    explore(
        check,
        data=st.binary(max_size=200),
        tried=({"data": b"\0\xff\xfe\n\n"}, {"data": b"no line break"}, {"data": b""}),
        examples=5,
    )


@by_output("separate")
def test_outputs_are_separate(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience, stream: str
) -> None:
    script = "for i in 1 2 3; do echo o$i; echo e$i >&2; done"
    came = run(
        runtime, idle, "/bin/sh", "-c", script, stdout=True, stderr=True, quiet=patience(QUIET)
    )
    letter = stream[3]  # std-o-ut, std-e-rr
    own = "".join(f"{letter}{i}\n" for i in (1, 2, 3)).encode()
    same(judge, f"ExecRequest.{stream}.separate", getattr(came, stream), own, came.trouble)


@clause("ExecRequest.stdout.complete-at-end")
def test_last_words_arrive(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    # More than a pipe holds: the end finds it in several hands.
    size = 150_000
    for _ in range(ENDS):
        came = run(runtime, idle, "/bin/sh", "-c", counting(size, "stdout"), quiet=patience(QUIET))
        same(
            judge,
            "ExecRequest.stdout.complete-at-end",
            came.stdout,
            numbers(size),
            came.trouble,
        )


@clause("ExecRequest.stdout.unset-dropped")
def test_output_that_is_not_asked_for_is_dropped(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    script = "head -c 1000000 /dev/zero; echo done >&2"
    came = run(
        runtime, idle, "/bin/sh", "-c", script, stdout=False, stderr=True, quiet=patience(QUIET)
    )
    judge.that(
        "ExecRequest.stdout.unset-dropped",
        came.stderr == b"done\n" and not came.trouble,
        permitted="the command ends, and only its standard error comes",
        actual=came,
    )


@clause(
    "ExecRequest.stdout.exact",
    "ExecRequest.stderr.exact",
    "ExecRequest.stdin.exact",
    "RuntimeService.Exec.exit-status",
)
def test_a_websocket_carries_the_same(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    size, data = SIZES[-1], noise(50_000)
    script = f"head -c {len(data)}; {counting(size, 'stderr')}; exit 7"
    cmd, over = ("/bin/sh", "-c", script), {"protocol": WEBSOCKET, "subprotocols": (V4,)}
    streams = {"stdin": True, "stdout": True, "stderr": True}
    try:
        with opened(runtime, "Exec", idle, *cmd, **streams, **over) as session:
            came = to_the_end(session, data, quiet=patience(QUIET), close=False)
    except SetupFailed as refused:
        judge.skip(Reason.NOT_ADVERTISED, str(refused))
    # What the command read is what it wrote.
    for name in ("stdin", "stdout"):
        same(judge, f"ExecRequest.{name}.exact", came.stdout, data, came.trouble)
    same(judge, "ExecRequest.stderr.exact", came.stderr, numbers(size), came.trouble)
    judge.equal(
        "RuntimeService.Exec.exit-status",
        came.status and came.status.exit_code,
        7,
        "exit code",
        about=[idle.id],
    )


# -- input -----------------------------------------------------------------------------------


@clause("ExecRequest.stdin.exact")
def test_input_is_exact(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience, sizes: tuple[int, ...]
) -> None:
    # To a file, so that nothing flows back meanwhile; its name is the session's own.
    script = "cat > $$.in; wc -c < $$.in; sha256sum < $$.in; rm $$.in"
    for size in sizes:
        data = noise(size)
        came = run(
            runtime, idle, "/bin/sh", "-c", script, data=data, quiet=patience(QUIET)
        ).stdout.split()
        wanted = [str(size).encode(), hashlib.sha256(data).hexdigest().encode()]
        judge.that(
            "ExecRequest.stdin.exact",
            came[:2] == wanted,
            permitted=f"{size} bytes with the sum {wanted[1]!r}",
            actual=came[:2] or "nothing",
        )


@clause("ExecRequest.stdin.half-close")
def test_the_end_of_the_input_arrives_and_output_goes_on(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    came = run(runtime, idle, "/bin/sh", "-c", "cat; echo end", data=b"x\n", quiet=patience(QUIET))
    judge.that(
        "ExecRequest.stdin.half-close",
        came.stdout == b"x\nend\n" and not came.trouble,
        permitted="'x' and, after the end of the input, 'end'",
        actual=came,
        about=[idle.id],
    )


@clause("ExecRequest.stdin.half-close-v5")
def test_the_end_of_the_input_arrives_over_a_websocket(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    over = {"protocol": WEBSOCKET, "subprotocols": (V5,)}
    cmd = ("/bin/sh", "-c", "cat; echo end")
    try:
        with opened(runtime, "Exec", idle, *cmd, stdin=True, stdout=True, **over) as session:
            if not session.half_close:
                raise SetupFailed(f"the runtime chose {session.subprotocol!r}")
            came = to_the_end(session, b"x\n", quiet=patience(QUIET))
    except SetupFailed as refused:
        judge.skip(Reason.NOT_ADVERTISED, str(refused))
    judge.that(
        "ExecRequest.stdin.half-close-v5",
        came.stdout == b"x\nend\n" and not came.trouble,
        permitted="'x' and, after the end of the input, 'end'",
        actual=came,
        about=[idle.id],
    )


@clause("ExecRequest.stdin.unset-ends")
def test_no_input_by_default(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    came = run(runtime, idle, "/bin/sh", "-c", "cat; echo end", quiet=patience(QUIET))
    judge.that(
        "ExecRequest.stdin.unset-ends",
        came.stdout == b"end\n" and not came.trouble,
        permitted="the command finds the end of its input and says 'end'",
        actual=came,
        about=[idle.id],
    )


# -- the terminal ----------------------------------------------------------------------------

_TTYS = "for n in 0 1 2; do test -t $n && echo yes || echo no; done"


@pytest.mark.parametrize(
    "tty",
    [
        pytest.param(True, marks=clause("ExecRequest.tty.terminal"), id="asked-for"),
        pytest.param(False, marks=clause("ExecRequest.tty.unset-none"), id="unset"),
    ],
)
def test_a_terminal_where_one_is_asked_for(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience, tty: bool
) -> None:
    with opened(
        runtime, "Exec", idle, "/bin/sh", "-c", _TTYS, stdin=True, stdout=True, tty=tty
    ) as session:
        came = to_the_end(session, quiet=patience(QUIET))
    judge.equal(
        "ExecRequest.tty.terminal" if tty else "ExecRequest.tty.unset-none",
        came.stdout.split(),
        [b"yes" if tty else b"no"] * 3,
        "whether stdin, stdout and stderr are a terminal:",
        about=[idle.id],
    )


@clause("ExecRequest.stderr.joined-with-tty")
def test_a_terminal_joins_both_outputs(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    script = "for i in 1 2 3; do echo o$i; echo e$i >&2; done"
    came = run(runtime, idle, "/bin/sh", "-c", script, tty=True, quiet=patience(QUIET))
    judge.equal(
        "ExecRequest.stderr.joined-with-tty",
        came.stdout.split(),
        [b"o1", b"e1", b"o2", b"e2", b"o3", b"e3"],
        "output",
        about=[idle.id],
    )


@clause("ExecRequest.tty.resize", "ExecRequest.tty.resize-last", "ExecRequest.tty.resize-signal")
def test_the_terminal_has_the_size_of_the_clients(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    # Says each size that it finds, when told of it and when it looks by itself.
    script = (
        "trap 'echo told $(stty size).' WINCH; stty -echo; i=0; "
        "while [ $i -lt 600 ]; do i=$((i+1)); now=$(stty size); "
        '[ "$now" = "$was" ] || echo found $now.; was=$now; sleep 0.1; done'
    )
    quiet = patience(QUIET)
    with opened(
        runtime, "Exec", idle, "/bin/sh", "-c", script, stdin=True, stdout=True, tty=True
    ) as session:
        session.resize(191, 48)
        came = until(session.stdout, b"found 48 191.", quiet)
        judge.that(
            "ExecRequest.tty.resize",
            b"found 48 191." in came,
            permitted="a terminal of 48 rows and 191 columns, as was sent first",
            actual=came,
            about=[idle.id],
        )
        # After the first look nothing can be taken for the start: this is a change.
        session.resize(101, 33)
        came = until(session.stdout, b"told 33 101.", quiet)
        judge.that(
            "ExecRequest.tty.resize-signal",
            b"told 33 101." in came,
            permitted="SIGWINCH, and the new size of 33 rows and 101 columns",
            actual=came,
            about=[idle.id],
        )
        for rows in range(20, 48):
            session.resize(rows + 100, rows)
        came = until(session.stdout, b"found 47 147.", quiet)
        # What comes late would change it once more.
        came += until(session.stdout, b"found", 0.5)
        judge.that(
            "ExecRequest.tty.resize-last",
            came.split(b"found ")[-1].startswith(b"47 147."),
            permitted="the size sent last, 47 rows and 147 columns",
            actual=came[-200:],
            about=[idle.id],
        )


# -- several ---------------------------------------------------------------------------------


@clause("RuntimeService.Exec.concurrent")
def test_sessions_side_by_side(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    size = 40_000

    def converse(number: int) -> tuple[bytes, bytes, int | None]:
        script = f"echo e{number} >&2; cat; exit {number}"
        came = run(
            runtime, idle, "/bin/sh", "-c", script,
            data=noise(size + number), stderr=True, quiet=patience(QUIET),
        )  # fmt: skip
        code = came.status.exit_code if came.status else None
        return came.stdout, came.stderr, code

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for number, (out, err, code) in enumerate(threads.map(converse, range(AT_ONCE))):
            same(judge, "RuntimeService.Exec.concurrent", out, noise(size + number))
            own = (f"e{number}\n".encode(), number)
            judge.equal("RuntimeService.Exec.concurrent", (err, code), own, f"session {number}")
