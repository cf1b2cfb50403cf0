# SPDX-License-Identifier: Apache-2.0
"""Generated output: whatever a container writes, its log gives back the same bytes.

The oracle is a model of two streams: what is written to one comes out of it, in order, and
nothing else does. One container writes all examples, one after the other, as making one for
each costs a hundred times as much.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hypothesis import strategies as st

from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.log_files import Logged, logging, read, settled
from cri_conformance.suite.scripts import wait_for_file
from cri_conformance.wire.crilog import STREAMS, Log, first_difference
from cri_conformance.wire.runtime import Runtime, Sandbox

_PATH = "ContainerConfig.log_path"
#: Runs one script after the other, as they are put down under the next number.
_WRITER = (
    "n=0; : > ready; while :; do while [ ! -e in.$n ]; do sleep 0.02; done; "
    "sh in.$n; n=$((n + 1)); done"
)
#: Seconds within which output must be in the log.
_PROMPT = 10.0
#: Lengths about which runtimes cut lines (16 KiB, 8 KiB, 4 KiB), and others.
_LENGTHS = st.one_of(
    st.sampled_from([n + d for n in (4096, 8192, 16384, 32768) for d in (-1, 0, 1)]),
    st.integers(1, 40_000),
)


@dataclass(frozen=True, slots=True)
class Write:
    """One write to one stream: these bytes, or that many zeros (the digit)."""

    stream: str
    data: bytes = b""
    zeros: int = 0

    @property
    def written(self) -> bytes:
        """What the stream gets."""
        return self.data or b"0" * self.zeros

    @property
    def command(self) -> str:
        """Writes it, with what every shell has."""
        octal = "".join(f"\\{byte:03o}" for byte in self.data)
        command = f"printf '{octal}'" if self.data else f"printf '%0{self.zeros}d' 0"
        return f"{command} >&2" if self.stream == "stderr" else command


_PIECES = st.one_of(
    st.binary(min_size=1, max_size=30),
    st.lists(st.sampled_from([b"\n", b"a", b"\r", b" ", b"\0"]), min_size=1, max_size=12).map(
        b"".join
    ),
)
_WRITES = st.one_of(
    st.builds(Write, st.sampled_from(STREAMS), data=_PIECES),
    st.builds(Write, st.sampled_from(STREAMS), zeros=_LENGTHS),
)


@clause(
    f"{_PATH}.both-streams",
    f"{_PATH}.line-format",
    f"{_PATH}.partial-tag",
    f"{_PATH}.prompt",
)
def test_the_log_is_what_was_written(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    explore: Explorer,
    patience: Callable[[float], float],
) -> None:
    logged = logging(runtime, shared_sandbox, _WRITER)
    wait_for_file(runtime, logged.container, "ready")
    numbers, taken = itertools.count(), 0

    def check(writes: list[Write]) -> None:
        nonlocal taken
        written = dict.fromkeys(STREAMS, b"")
        # Ends every example on each stream, so that one can wait for it, and so that the next
        # begins with a line and with a record: nothing is read twice.
        mark = f"end-{secrets.token_hex(4)}\n"
        writes = [*writes, *(Write(stream, mark.encode()) for stream in STREAMS)]
        for write in writes:
            written[write.stream] += write.written
        _write(runtime, logged, next(numbers), "\n".join(write.command for write in writes))
        look = partial(_since, logged, taken)
        log = settled(look, lambda log: _complete(log, mark.encode()), patience(_PROMPT))
        # Before the judgement: after a violation smaller examples are tried, from here on.
        taken = len(read(logged.path) or b"")
        judge.that(
            f"{_PATH}.prompt",
            log.records,
            permitted=f"something in the log within {_PROMPT:g} s, while the container runs",
            actual="nothing",
            about=[logged.id],
        )
        _judge(judge, logged, log, written)

    explore(check, writes=st.lists(_WRITES, max_size=10), examples=20)


def _since(logged: Logged, start: int) -> Log:
    return Log.read((read(logged.path) or b"")[start:])


def _write(runtime: Runtime, logged: Logged, number: int, script: str) -> None:
    put = f'printf %s "$1" > new; mv new in.{number}'
    runtime.exec(logged.container, "/bin/sh", "-c", put, "sh", script)


def _complete(log: Log, mark: bytes) -> bool:
    return all(log.output(stream).endswith(mark) for stream in STREAMS)


def _judge(judge: Judge, logged: Logged, log: Log, written: dict[str, bytes]) -> None:
    judge.that(
        f"{_PATH}.line-format",
        not log.wrong and not log.torn,
        permitted="lines of TIME STREAM TAG TEXT",
        actual=f"{len(log.wrong)} lines are not; the first: {log.wrong[:1]}",
        about=[logged.id],
    )
    for stream, expected in written.items():
        texts = b"".join(record.text for record in log.of(stream))
        bare = expected.replace(b"\n", b"")
        judge.that(
            f"{_PATH}.both-streams",
            texts == bare,
            permitted=f"the {len(bare)} bytes that were written to {stream}, line breaks apart",
            actual=first_difference(texts, bare),
            about=[logged.id],
        )
        judge.that(
            f"{_PATH}.partial-tag",
            log.output(stream) == expected,
            permitted=f"the lines of {stream} by joining records tagged P",
            actual=first_difference(log.output(stream), expected),
            about=[logged.id],
        )
