# SPDX-License-Identifier: Apache-2.0
"""The log file of a container: where it is, its form, and that nothing is lost.

The kubelet reads these files itself, for ``kubectl logs`` and for the messages of pods
that failed. They are read here as it does, so the runtime must be on this host.
"""

from __future__ import annotations

import itertools
import secrets
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.log_files import Logged, folder, logged, logging, read, settled
from cri_conformance.wire.crilog import STREAMS, Log, first_difference
from cri_conformance.wire.runtime import Runtime, Sandbox

_PATH = "ContainerConfig.log_path"
#: Longer than any runtime leaves a line of output whole; and a line of megabytes.
_LONG, _HUGE = 100_000, 2_000_000
#: Lines that two processes write at the same time, one to each stream.
_LINES = 3000
_BINARY = rb"\000\001\002 \377\376\200 \r\r \303\050 \033[0m\177"
_UNFINISHED = "without an end"
#: What each stream gets comes in this order: text, bytes that are none, and a last piece.
_SCRIPT = f"""
count() {{ i=0; while [ $i -lt {_LINES} ]; do echo "$1 $i"; i=$((i+1)); done; }}
count out & count err >&2 & wait
echo; echo '  blanks on both sides  '; echo 'stdout F not a head'; echo 'Grüße 日本語'
echo; echo 'err P end' >&2
printf '%0{_LONG}d\\n' 7; printf '%0{_LONG}d\\n' 9 >&2
head -c {_HUGE} /dev/zero | tr '\\000' x; echo
echo last; echo last >&2
printf '{_BINARY.decode()}\\n'; printf '{_BINARY.decode()}\\n' >&2
printf '{_UNFINISHED}'; printf '{_UNFINISHED}' >&2; exit 5
"""
_NUMBERED = range(_LINES)
TEXT = {
    "stdout": [
        *(f"out {i}" for i in _NUMBERED),
        *("", "  blanks on both sides  ", "stdout F not a head", "Grüße 日本語", ""),
        *("7".rjust(_LONG, "0"), "x" * _HUGE, "last"),
    ],
    "stderr": [*(f"err {i}" for i in _NUMBERED), "err P end", "9".rjust(_LONG, "0"), "last"],
}
BINARY = b"\0\1\2 \xff\xfe\x80 \r\r \xc3( \x1b[0m\x7f"
UNFINISHED = _UNFINISHED.encode()
#: Stream → the bytes of its text, with line ends.
WRITTEN = {
    stream: b"".join(line.encode() + b"\n" for line in lines) for stream, lines in TEXT.items()
}
#: Nanoseconds by which the clock of a record may be off from ours, on the same host.
_CLOCK_SLACK = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """The log of a container that exited. ``data`` is None if there is no file."""

    logged: Logged
    data: bytes | None
    log: Log
    status: types.ContainerStatus
    #: Our clock before its start and when its exit was seen, in nanoseconds.
    began: int
    ended: int

    @property
    def about(self) -> list[str]:
        """The container, for a violation."""
        return [self.logged.id]

    def text(self, stream: str) -> bytes:
        """The texts of a stream's records, one after the other, whatever their tags are."""
        return b"".join(record.text for record in self.log.of(stream))


@pytest.fixture(scope="module")
def seen(module_runtime: Runtime, shared_sandbox: Sandbox) -> Seen:
    """The log of a container that wrote much to both streams."""
    container = logged(module_runtime, shared_sandbox, _SCRIPT)
    began = time.time_ns()
    module_runtime.get("StartContainer", container_id=container.id)
    module_runtime.wait_exited(container.id, 30.0)
    ended = time.time_ns()
    log = settled(partial(_look, module_runtime, container), _complete)
    status = module_runtime.container_status(container.id)
    return Seen(container, read(container.path), log, status, began, ended)


def _look(runtime: Runtime, container: Logged) -> Log:
    # A status each time: what a runtime does at an exit it may do when it is asked.
    runtime.container_status(container.id)
    return container.log()


def _complete(log: Log) -> bool:
    whole = {stream: WRITTEN[stream] + BINARY + b"\n" + UNFINISHED for stream in STREAMS}
    return all(log.output(stream).startswith(whole[stream]) for stream in STREAMS)


# -- where it is, and its form -------------------------------------------------------------------


@pytest.mark.xdist_group("log")
@clause(f"{_PATH}.file-location")
def test_the_log_is_where_it_was_asked_for(seen: Seen, judge: Judge) -> None:
    judge.that(
        f"{_PATH}.file-location",
        seen.data,
        permitted=f"output in a file at {seen.logged.path}",
        actual="an empty file" if seen.data is not None else "no file",
        about=seen.about,
    )


@pytest.mark.xdist_group("log")
@clause(f"{_PATH}.line-format")
def test_every_line_is_a_record(seen: Seen, judge: Judge) -> None:
    wrong, torn = seen.log.wrong, seen.log.torn
    first = f"the first, as {wrong[0][1]}: {wrong[0][0][:120]!r}" if wrong else ""
    judge.that(
        f"{_PATH}.line-format",
        seen.log.records and not wrong and not torn,
        permitted="lines of TIME STREAM TAG TEXT",
        actual=f"{len(wrong)} lines are not {first}; behind the last line end: {torn[:120]!r}",
        about=seen.about,
    )


@pytest.mark.xdist_group("log")
@clause("ContainerStatus.log_path.readable-after-exit")
def test_the_log_can_be_read_after_the_exit(seen: Seen, judge: Judge) -> None:
    text = read(seen.status.log_path)
    judge.that(
        "ContainerStatus.log_path.readable-after-exit",
        text,
        permitted=f"output at {seen.status.log_path!r}, where the status says that the log is",
        actual="an empty file" if text is not None else "no file",
        about=seen.about,
    )


# -- that all is there ---------------------------------------------------------------------------


@pytest.mark.xdist_group("log")
@clause(f"{_PATH}.both-streams")
def test_both_streams_are_complete(seen: Seen, judge: Judge) -> None:
    for stream, lines in TEXT.items():
        # Whether lines are joined rightly is another clause: here only that all is there.
        written = "".join(lines).encode()
        found = seen.text(stream)
        judge.that(
            f"{_PATH}.both-streams",
            found.startswith(written),
            permitted=f"all {len(written)} bytes of text written to {stream}, in order",
            actual=first_difference(found[: len(written)], written),
            about=seen.about,
        )


@pytest.mark.xdist_group("log")
@clause(f"{_PATH}.partial-tag")
def test_parts_of_a_line_can_be_joined(seen: Seen, judge: Judge) -> None:
    for stream, written in WRITTEN.items():
        found = seen.log.output(stream)
        judge.that(
            f"{_PATH}.partial-tag",
            found.startswith(written),
            permitted=f"the {len(TEXT[stream])} lines of {stream} by joining records tagged P",
            actual=first_difference(found[: len(written)], written),
            about=seen.about,
        )


@pytest.mark.xdist_group("log")
@clause(f"{_PATH}.every-byte")
def test_bytes_that_are_no_text_come_through(seen: Seen, judge: Judge) -> None:
    for stream in STREAMS:
        found = seen.text(stream)
        judge.that(
            f"{_PATH}.every-byte",
            BINARY in found,
            permitted=f"{BINARY!r} in {stream}, as it was written",
            actual=f"other bytes; it ends with {found[-80:]!r}",
            about=seen.about,
        )


@pytest.mark.xdist_group("log")
@clause(f"{_PATH}.unfinished-line", f"{_PATH}.unfinished-tag")
def test_last_words_without_a_line_break_are_there(seen: Seen, judge: Judge) -> None:
    tags = []
    for stream in STREAMS:
        found = seen.text(stream)
        judge.that(
            f"{_PATH}.unfinished-line",
            found.endswith(UNFINISHED),
            permitted=f"{stream} ends with {UNFINISHED!r}",
            actual=f"{found[-80:]!r}",
            about=seen.about,
        )
        tags += [record.tags[0] for record in seen.log.of(stream)[-1:]]
    judge.record(f"{_PATH}.unfinished-tag", f"tagged {' and '.join(sorted(set(tags)))}")


# -- when it was ---------------------------------------------------------------------------------


@pytest.mark.xdist_group("log")
@clause(f"{_PATH}.times-true", f"{_PATH}.times-in-order", f"{_PATH}.time-zone")
def test_times_are_those_of_the_output(seen: Seen, judge: Judge) -> None:
    times = [record.time for record in seen.log.records]
    early = (seen.began - min(times, default=0)) / 1e9
    late = (max(times, default=0) - seen.ended) / 1e9
    judge.that(
        f"{_PATH}.times-true",
        times and max(early, late) * 1e9 <= _CLOCK_SLACK,
        permitted="times between the start of the container and its exit",
        actual=f"times up to {early:.1f} s before the one and {late:.1f} s after the other",
        about=seen.about,
    )
    for stream in STREAMS:
        of_stream = [record.time for record in seen.log.of(stream)]
        falls = sum(b < a for a, b in itertools.pairwise(of_stream))
        judge.that(
            f"{_PATH}.times-in-order",
            not falls,
            permitted=f"no record of {stream} is earlier than the one before it",
            actual=f"{falls} of {len(of_stream)} are",
            about=seen.about,
        )
    zones = {record.zone for record in seen.log.records}
    utc = zones <= {"Z", "+00:00"}
    judge.record(f"{_PATH}.time-zone", "UTC" if utc else "a zone that is not UTC")


@pytest.mark.xdist_group("log")
@clause(f"{_PATH}.longest-record")
def test_the_longest_record_is_recorded(seen: Seen, judge: Judge) -> None:
    longest = max((len(record.text) for record in seen.log.records), default=0)
    judge.record(f"{_PATH}.longest-record", f"{longest} bytes")


# -- other containers ----------------------------------------------------------------------------


@clause(f"{_PATH}.terminal")
def test_the_log_of_a_terminal(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    script = 'i=0; while [ $i -lt 200 ]; do echo "out $i"; echo "err $i" >&2; i=$((i+1)); done'
    container = logging(runtime, shared_sandbox, script, tty=True)
    written = "".join(f"out {i}\nerr {i}\n" for i in range(200)).encode()
    runtime.wait_exited(container.id)

    def plain(log: Log) -> list[bytes]:
        return [log.output(stream).replace(b"\r\n", b"\n") for stream in STREAMS]

    log = settled(container.log, lambda log: written in plain(log))
    judge.that(
        f"{_PATH}.terminal",
        sorted(plain(log)) == [b"", written],
        permitted="all lines in order in one stream, and none in the other",
        actual="; ".join(
            f"{stream}: {first_difference(found, written)}"
            for stream, found in zip(STREAMS, plain(log), strict=True)
        ),
        about=[container.id],
    )


@clause(f"{_PATH}.absent")
def test_output_without_a_log_path(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    below, word = folder(shared_sandbox), secrets.token_hex(8)
    config = runtime.container_config(shared_sandbox, command=["/bin/sh", "-c", f"echo {word}"])
    config.log_path = ""
    outcome = runtime.create_and_start(shared_sandbox, config)
    for item in runtime.get("ListContainers").containers:
        if item.metadata.name == config.metadata.name:
            runtime.wait_exited(item.id)
    found = any(word.encode() in (read(path) or b"") for path in _files(below))
    where = "is in a file of the log directory" if found else "is in no file of the log directory"
    judge.record(f"{_PATH}.absent", f"start {type(outcome).__name__}; the output {where}")


def _files(below: Path) -> list[Path]:
    return [path for path in below.rglob("*") if path.is_file()]


@clause(f"{_PATH}.upward")
def test_a_path_that_leads_out(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    # No further than the folder that the logs of this run lie in.
    below = folder(shared_sandbox)
    config = runtime.container_config(shared_sandbox, command=["/bin/sh", "-c", "echo out"])
    config.log_path = f"../{config.metadata.name}.log"
    outcome = runtime.create_and_start(shared_sandbox, config)
    for item in runtime.get("ListContainers").containers:
        if item.metadata.name == config.metadata.name:
            runtime.wait_exited(item.id)
    there = (below.parent / f"{config.metadata.name}.log").exists()
    where = "lies outside" if there else "does not lie outside"
    judge.record(f"{_PATH}.upward", f"start {type(outcome).__name__}; the log {where}")
