# SPDX-License-Identifier: Apache-2.0
"""Attach: the output of a container's main process for whoever watches, and input for it.

The containers here do what they are told through a named pipe, so that output can be
asked for without an input. When a session is open its output may not be connected yet:
every test first waits until some output has arrived.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Depth
from cri_conformance.session import session_of
from cri_conformance.streaming.client import Session
from cri_conformance.suite.scripts import wait_for_file
from cri_conformance.suite.sessions import (
    attached,
    call,
    connected,
    exactly,
    opened,
    pull,
    puppet,
    same,
    standing,
    to_the_end,
    until,
)
from cri_conformance.suite.test_exec_sync import counting, numbers, writing
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

#: Round which buffers and windows of implementations end, and one that no buffer holds.
SIZES = (1, 65_535, 65_537, 196_609)
LARGE = 4 * 1024 * 1024 + 1
#: Seconds without a byte after which nothing more is expected.
QUIET = 15.0
#: Seconds within which a session is over when its container has ended.
SOON = 15.0
#: Containers that end while somebody watches.
ENDS = 2

BINARY = b"\0\xff\xfe\n\n\x1b[0mno line break"
BOTH = {"stdout": True, "stderr": True}

Patience = Callable[[float], float]


@pytest.fixture
def sizes(pytestconfig: pytest.Config) -> tuple[int, ...]:
    """How many bytes to send; under a seeded fault no more than shows it."""
    depth: Depth = session_of(pytestconfig).depth
    return SIZES if depth.matrix else (*SIZES, LARGE)


@pytest.fixture(scope="module")
def shown(module_runtime: Runtime, shared_sandbox: Sandbox) -> Container:
    """A puppet to watch. It has said `before` when nobody watched yet."""
    container = puppet(module_runtime, shared_sandbox)
    pull(module_runtime, container, "echo before; echo before >&2")
    return container


# -- output ----------------------------------------------------------------------------------


@pytest.mark.xdist_group("shown")
@clause(
    "AttachRequest.stdout.exact",
    "AttachRequest.stderr.exact",
    "AttachRequest.stdout.past",
    "RuntimeService.Attach.output-only",
)
def test_output_arrives_exactly(
    runtime: Runtime, shown: Container, judge: Judge, patience: Patience, sizes: tuple[int, ...]
) -> None:
    quiet = patience(QUIET)
    with opened(runtime, "Attach", shown, **BOTH) as session:
        streams = {"stdout": session.stdout, "stderr": session.stderr}
        came = connected(runtime, shown, session.stdout, quiet)
        judge.that(
            "RuntimeService.Attach.output-only",
            came,
            permitted="output without an input",
            actual="nothing",
            about=[shown.id],
        )
        judge.record(
            "AttachRequest.stdout.past", "it is sent" if b"before" in came else "it is not sent"
        )
        _both(runtime, shown, session, quiet)
        for name, stream in streams.items():
            # What stood between is taken: from here on every byte is known.
            for size in sizes:
                # One long line, as runtimes write each line to the log on its own.
                line = f"{counting(size, 'stdout')} | tr '\\n' ' '"
                pull(runtime, shown, f"{line} >&2" if name == "stderr" else line)
                came = exactly(stream, size, quiet)
                wanted = numbers(size).replace(b"\n", b" ")
                same(judge, f"AttachRequest.{name}.exact", came, wanted)
            pull(runtime, shown, writing(BINARY, name))
            same(judge, f"AttachRequest.{name}.exact", exactly(stream, len(BINARY), quiet), BINARY)


def _both(runtime: Runtime, container: Container, session: Session, quiet: float) -> None:
    """Both outputs are connected, and all that came so far is taken."""
    came = attached(runtime, container, session.stdout, quiet)
    word = came.split(b"<sync ")[-1].split(b">")[0]
    until(session.stderr, b"<sync " + word + b">\n", quiet)


@pytest.mark.xdist_group("shown")
@clause("AttachRequest.stdout.separate", "AttachRequest.stderr.separate")
def test_outputs_are_separate(
    runtime: Runtime, shown: Container, judge: Judge, patience: Patience
) -> None:
    quiet = patience(QUIET)
    with opened(runtime, "Attach", shown, **BOTH) as session:
        _both(runtime, shown, session, quiet)
        pull(runtime, shown, "for i in 1 2 3; do echo o$i; echo e$i >&2; done")
        lasts = ((session.stdout, b"o3\n"), (session.stderr, b"e3\n"))
        seen = {last: until(stream, last, quiet) for stream, last in lasts}
        # What would come on the wrong stream has come before this.
        pull(runtime, shown, "echo .; echo . >&2")
        for name, stream in (("stdout", session.stdout), ("stderr", session.stderr)):
            letter = name[3]
            own = "".join(f"{letter}{i}\n" for i in (1, 2, 3)).encode() + b".\n"
            came = seen[f"{letter}3\n".encode()] + until(stream, b".\n", quiet)
            same(judge, f"AttachRequest.{name}.separate", came, own)


@clause("AttachRequest.container_id.only-that-one")
def test_output_is_that_of_its_container(
    runtime: Runtime, shared_sandbox: Sandbox, shown: Container, judge: Judge, patience: Patience
) -> None:
    quiet = patience(QUIET)
    other = puppet(runtime, shared_sandbox)
    with (
        opened(runtime, "Attach", shown, stdout=True) as one,
        opened(runtime, "Attach", other, stdout=True) as two,
    ):
        for container, session in ((shown, one), (other, two)):
            judge.that(
                "AttachRequest.container_id.only-that-one",
                connected(runtime, container, session.stdout, quiet),
                permitted="output of the container that was asked for",
                actual="none of it",
                about=[container.id],
            )
        for container in (shown, other):
            pull(runtime, container, f"echo {container.id}")
        for container, session in ((shown, one), (other, two)):
            judge.equal(
                "AttachRequest.container_id.only-that-one",
                until(session.stdout, b"\n", quiet),
                container.id.encode() + b"\n",
                "output",
                about=[container.id],
            )


# -- several clients, and those that leave ---------------------------------------------------


@clause(
    "RuntimeService.Attach.every-client",
    "RuntimeService.Attach.others-unharmed",
    "RuntimeService.Attach.detach-unharmed",
)
def test_every_client_gets_all_of_it(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    quiet, size = patience(QUIET), 100_000
    container = puppet(runtime, shared_sandbox)
    before = standing(runtime, container)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(opened(runtime, "Attach", container, stdout=True)) for _ in range(3)
        ]
        for client in clients:
            attached(runtime, container, client.stdout, quiet)
        pull(runtime, container, "echo '<all>'")
        for client in clients:
            until(client.stdout, b"<all>\n", quiet)
        pull(runtime, container, counting(size, "stdout"))
        for client in clients:
            came = exactly(client.stdout, size, quiet)
            same(judge, "RuntimeService.Attach.every-client", came, numbers(size))
        # One leaves without a word, one in good order.
        stays, crashes, leaves = clients
        crashes.abort(reset=True)
        leaves.close()
        leaves.connection.wait_over(quiet)
        try:
            pull(runtime, container, counting(size, "stdout"))
        finally:
            # One that takes no more orders has come to harm.
            with suppress(SetupFailed):
                poll(
                    lambda: standing(runtime, container), lambda now: now != before, 0.1, "a change"
                )
            judge.equal(
                "RuntimeService.Attach.detach-unharmed",
                standing(runtime, container),
                before,
                "state, start and exit code",
                about=[container.id],
            )
        came = exactly(stays.stdout, size, quiet)
        same(judge, "RuntimeService.Attach.others-unharmed", came, numbers(size))
    with opened(runtime, "Attach", container, stdout=True) as client:
        judge.that(
            "RuntimeService.Attach.detach-unharmed",
            connected(runtime, container, client.stdout, quiet),
            permitted="output for the next client",
            actual="none",
            about=[container.id],
        )


@clause("RuntimeService.Attach.logged-too")
def test_attached_output_is_logged_too(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    directory, quiet = shared_sandbox.config.log_directory, patience(QUIET)
    if not directory:
        judge.skip(Reason.REMOTE, "log files can't be read")
    container = puppet(runtime, shared_sandbox)
    with opened(runtime, "Attach", container, stdout=True) as client:
        attached(runtime, container, client.stdout, quiet)
        pull(runtime, container, "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done")
        until(client.stdout, b"line 50\n", quiet)
    wanted = [f"line {i}" for i in range(1, 51)]
    path = Path(directory) / container.config.log_path

    def lines() -> list[str]:
        try:
            texts = path.read_text(errors="replace").splitlines()
        except OSError:
            return []
        words = [text.split(" ", 3) for text in texts]
        return [word[3] for word in words if len(word) == 4 and word[3].startswith("line")]

    try:
        logged = poll(lines, lambda seen: seen == wanted, quiet, "the log to be written")
    except SetupFailed:
        logged = lines()
    judge.that(
        "RuntimeService.Attach.logged-too",
        logged == wanted,
        permitted="50 lines in the log, each once and in order",
        actual=f"{len(logged)} lines, {logged[:1]} to {logged[-1:]}",
        about=[container.id],
    )


# -- the end ---------------------------------------------------------------------------------


@clause(
    "RuntimeService.Attach.ends-with-container",
    "RuntimeService.Attach.last-words",
    "RuntimeService.Attach.end-status",
)
def test_a_session_ends_with_its_container(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    # More than a pipe holds, and many lines to be logged: the end finds it in several hands.
    wanted = b"y\n" * 75_000 + b"<end>\n"
    for _ in range(ENDS):
        container = puppet(runtime, shared_sandbox)
        pull(runtime, container, "{ yes | head -c 150000; echo '<end>'; } > words; : > written")
        wait_for_file(runtime, container, "written")
        with opened(runtime, "Attach", container, **BOTH) as session:
            attached(runtime, container, session.stdout, patience(QUIET))
            pull(runtime, container, "cat words; exit 3", ends=True)
            came = to_the_end(session, quiet=patience(SOON))
            over = not came.trouble or session.connection.wait_over(0)
        judge.record("RuntimeService.Attach.end-status", came.status or came.trouble)
        judge.that(
            "RuntimeService.Attach.ends-with-container",
            over,
            permitted=f"the end of the session within {SOON:g} s of the container's",
            actual=came,
            about=[container.id],
        )
        same(judge, "RuntimeService.Attach.last-words", came.stdout, wanted, came.trouble)


# -- input -----------------------------------------------------------------------------------


@clause("AttachRequest.stdin.exact", "ContainerConfig.stdin.attach-reaches")
def test_input_arrives_exactly(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    patience: Patience,
    sizes: tuple[int, ...],
) -> None:
    quiet = patience(QUIET)
    container = puppet(runtime, shared_sandbox, stdin=True)
    with opened(runtime, "Attach", container, stdin=True, stdout=True) as session:
        attached(runtime, container, session.stdout, quiet)
        assert session.stdin is not None
        pull(runtime, container, "read -r word; echo got $word")
        session.stdin.write(b"hello\n")
        judge.equal(
            "ContainerConfig.stdin.attach-reaches",
            until(session.stdout, b"\n", quiet),
            b"got hello\n",
            "what the first process says",
            about=[container.id],
        )
        for size in sizes:
            data = random.Random(size).randbytes(size)
            pull(runtime, container, f"head -c {size} | sha256sum")
            session.stdin.write(data)
            said = until(session.stdout, b"\n", quiet).split()[:1]
            wanted = [hashlib.sha256(data).hexdigest().encode()]
            judge.equal(
                "AttachRequest.stdin.exact",
                said,
                wanted,
                f"the sum of {size} bytes",
                about=[container.id],
            )


@clause("ContainerConfig.stdin_once.unset-stays-open", "AttachRequest.stdin.half-close-alone")
def test_input_stays_open_for_the_next_client(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    quiet = patience(QUIET)
    container = puppet(runtime, shared_sandbox, stdin=True)
    for word in ("one", "two"):
        with opened(runtime, "Attach", container, stdin=True, stdout=True) as session:
            attached(runtime, container, session.stdout, quiet)
            pull(runtime, container, "read -r word; echo got $word")
            assert session.stdin is not None
            session.stdin.write(f"{word}\n".encode())
            judge.equal(
                "ContainerConfig.stdin_once.unset-stays-open",
                until(session.stdout, b"\n", quiet),
                f"got {word}\n".encode(),
                f"what the process says to client {word}",
                about=[container.id],
            )
            if word == "two":
                session.stdin.close()
                ends = session.stdout is not None and session.stdout.wait_end(0.5)
                judge.record(
                    "AttachRequest.stdin.half-close-alone",
                    "the session ends" if ends else "output goes on",
                )


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("leaves", marks=clause("ContainerConfig.stdin_once.closed-after-first")),
        pytest.param("half-closes", marks=clause("ContainerConfig.stdin_once.half-close")),
    ],
)
def test_input_for_one_client_ends_with_it(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience, way: str
) -> None:
    quiet = patience(QUIET)
    container = puppet(runtime, shared_sandbox, stdin=True, stdin_once=True)
    with opened(runtime, "Attach", container, stdin=True, stdout=True) as session:
        attached(runtime, container, session.stdout, quiet)
        script = "while read -r word; do echo got $word; done; : > over; echo ended"
        pull(runtime, container, script)
        assert session.stdin is not None
        session.stdin.write(b"one\n")
        came = until(session.stdout, b"\n", quiet)
        if way == "half-closes":
            session.stdin.close()
            came += until(session.stdout, b"ended\n", quiet)
            judge.equal(
                "ContainerConfig.stdin_once.half-close",
                came,
                b"got one\nended\n",
                "output up to the end of the input, and after it",
                about=[container.id],
            )
            return
    try:
        ended = poll(
            lambda: runtime.exec(container, "test", "-e", "over").exit_code == 0,
            bool,
            quiet,
            "a process to find the end of its input",
        )
    except SetupFailed:
        ended = False
    judge.that(
        "ContainerConfig.stdin_once.closed-after-first",
        ended,
        permitted=f"the end of the input within {quiet:g} s of the client's leaving",
        actual=f"none; the process had said {came!r}",
        about=[container.id],
    )


@pytest.mark.xdist_group("shown")
@clause("AttachRequest.stdin.container-without", "AttachRequest.tty.mismatch")
def test_what_does_not_fit_the_container_is_recorded(
    runtime: Runtime, shown: Container, judge: Judge
) -> None:
    outcome = call(runtime, "Attach", shown.id, stdout=True, tty=True)
    judge.record("AttachRequest.tty.mismatch", str(outcome).replace(shown.id, "ID"))
    outcome = call(runtime, "Attach", shown.id, stdin=True, stdout=True)
    judge.record("AttachRequest.stdin.container-without", str(outcome).replace(shown.id, "ID"))


# -- a terminal ------------------------------------------------------------------------------


@clause(
    "AttachRequest.stderr.joined-with-tty",
    "AttachRequest.tty.resize",
    "AttachRequest.tty.resize-last",
)
def test_a_terminal_joins_outputs_and_has_the_size_of_the_clients(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    quiet = patience(QUIET)
    container = puppet(runtime, shared_sandbox, stdin=True, tty=True)
    with opened(runtime, "Attach", container, stdin=True, stdout=True, tty=True) as session:
        # A terminal makes two bytes of a line end, or not.
        for number in range(20):
            pull(runtime, container, f"echo '<sync {number}>'")
            if b"<sync" in until(session.stdout, b">", min(quiet, 2.0)):
                break
        pull(runtime, container, "for i in 1 2 3; do echo o$i; echo e$i >&2; done; echo '<end>'")
        judge.equal(
            "AttachRequest.stderr.joined-with-tty",
            re.findall(rb"[oe]\d", until(session.stdout, b"<end>", quiet)),
            [b"o1", b"e1", b"o2", b"e2", b"o3", b"e3"],
            "output",
            about=[container.id],
        )
        session.resize(191, 48)
        judge.that(
            "AttachRequest.tty.resize",
            _size(runtime, container, session, b"48 191", quiet),
            permitted="a terminal of 48 rows and 191 columns",
            actual="another size",
            about=[container.id],
        )
        for rows in range(20, 48):
            session.resize(rows + 100, rows)
        judge.that(
            "AttachRequest.tty.resize-last",
            _size(runtime, container, session, b"47 147", quiet)
            # What comes late would change it once more.
            and _size(runtime, container, session, b"47 147", 0.5),
            permitted="the size sent last, 47 rows and 147 columns",
            actual="another size",
            about=[container.id],
        )


def _size(
    runtime: Runtime, container: Container, session: Session, wanted: bytes, quiet: float
) -> bool:
    """Whether the terminal comes to have a size, which may take a moment."""

    def look() -> bool:
        pull(runtime, container, "stty size; echo '<end>'")
        return wanted in until(session.stdout, b"<end>", quiet)

    try:
        return poll(look, bool, quiet, "a terminal to get a size")
    except SetupFailed:
        return False
