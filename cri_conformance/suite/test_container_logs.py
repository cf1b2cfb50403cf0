# SPDX-License-Identifier: Apache-2.0
"""The log file of a container: where it is, its form, and that nothing is lost.

The kubelet reads these files itself, for ``kubectl logs`` and for the messages of pods
that failed. They are read here as it does, so the runtime must be on this host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox, poll

#: Longer than any runtime leaves a line of output whole.
_LONG = 100_000
_LINES = 40
_SCRIPT = f"""
i=0; while [ $i -lt {_LINES} ]; do echo "out $i"; echo "err $i" >&2; i=$((i+1)); done
echo; echo '  blanks on both sides  '; echo 'stdout F not a head'; echo 'Grüße 日本語'
echo; echo 'err P end' >&2
printf '%0{_LONG}d\\n' 7; printf '%0{_LONG}d\\n' 9 >&2
echo last; echo last >&2; exit 5
"""
_NUMBERED = range(_LINES)
WRITTEN = {
    "stdout": [
        *(f"out {i}" for i in _NUMBERED),
        *("", "  blanks on both sides  ", "stdout F not a head", "Grüße 日本語", ""),
        *("7".rjust(_LONG, "0"), "last"),
    ],
    "stderr": [*(f"err {i}" for i in _NUMBERED), "err P end", "9".rjust(_LONG, "0"), "last"],
}
_RECORD = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
    r" (?P<stream>stdout|stderr) (?P<tag>[^ ]+) (?P<text>.*)",
    re.DOTALL,
)
#: Seconds until what a process wrote must be in the file after its end.
_WRITTEN_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Log:
    """The log of a container that exited. ``text`` is None if there is no file at ``path``."""

    container: str
    path: Path
    text: str | None
    status: types.ContainerStatus

    @property
    def lines(self) -> list[str]:
        """Its lines, without their ends."""
        return (self.text or "").split("\n")[:-1]

    def records(self, stream: str) -> list[re.Match[str]]:
        """The records of one stream; lines that are none are left out."""
        found = (_RECORD.fullmatch(line) for line in self.lines)
        return [record for record in found if record and record["stream"] == stream]

    def output(self, stream: str) -> list[str]:
        """What the records of a stream say was written, line by line."""
        lines, open_line = [], ""
        for record in self.records(stream):
            open_line += record["text"]
            if not _partial(record):
                lines.append(open_line)
                open_line = ""
        return lines


def _partial(record: re.Match[str]) -> bool:
    return record["tag"].split(":")[0] == "P"


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_bytes().decode(errors="surrogateescape")
    except OSError:
        return None


@pytest.fixture(scope="module")
def log(shared_runtime: Runtime, shared_sandbox: Sandbox) -> Log | None:
    """The log of a container that wrote much to both streams; None on another host."""
    runtime, directory = shared_runtime, shared_sandbox.config.log_directory
    if not directory:
        return None
    config = runtime.container_config(shared_sandbox, command=["/bin/sh", "-c", _SCRIPT])
    # As deep as the kubelet's own, with a restart count for a name.
    config.log_path = f"{config.metadata.name}/17.log"
    container = runtime.container(shared_sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    runtime.wait_exited(container.id)
    path = Path(directory) / config.log_path

    def look() -> Log:
        status = runtime.container_status(container.id)
        return Log(container.id, path, _read(path), status)

    try:
        return poll(look, _complete, _WRITTEN_WITHIN, "the log to be complete")
    except SetupFailed:
        return look()


def _complete(log: Log) -> bool:
    return all(log.output(stream) == lines for stream, lines in WRITTEN.items())


def _local(log: Log | None, judge: Judge) -> Log:
    return log or judge.skip(Reason.REMOTE, "log files can't be read")


@clause("ContainerConfig.log_path.file-location")
def test_the_log_is_where_it_was_asked_for(log: Log | None, judge: Judge) -> None:
    log = _local(log, judge)
    judge.that(
        "ContainerConfig.log_path.file-location",
        log.text,
        permitted=f"output in a file at {log.path}",
        actual="an empty file" if log.text is not None else "no file",
        about=[log.container],
    )


@clause("ContainerConfig.log_path.both-streams")
def test_both_streams_are_complete(log: Log | None, judge: Judge) -> None:
    log = _local(log, judge)
    for stream, written in WRITTEN.items():
        # Whether lines are joined rightly is another clause: here only that all is there.
        found = "".join(record["text"] for record in log.records(stream))
        judge.that(
            "ContainerConfig.log_path.both-streams",
            found == "".join(written),
            permitted=f"all {len(''.join(written))} characters written to {stream}, in order",
            actual=f"{len(found)} characters, {len(log.records(stream))} records",
            about=[log.container],
        )


@clause("ContainerConfig.log_path.line-format")
def test_every_line_is_a_record(log: Log | None, judge: Judge) -> None:
    log = _local(log, judge)
    wrong = [line[:120] for line in log.lines if not _RECORD.fullmatch(line)]
    judge.that(
        "ContainerConfig.log_path.line-format",
        log.lines and not wrong,
        permitted="lines of TIME STREAM TAG TEXT",
        actual=f"{len(wrong)} of {len(log.lines)} lines are not, the first: {wrong[:1]}",
        about=[log.container],
    )


@clause("ContainerConfig.log_path.partial-tag")
def test_parts_of_a_line_can_be_joined(log: Log | None, judge: Judge) -> None:
    log = _local(log, judge)
    for stream, written in WRITTEN.items():
        joined = log.output(stream)
        pairs = enumerate(zip(joined, written, strict=False))
        wrong = next((n for n, (shown, line) in pairs if shown != line), len(joined))
        judge.that(
            "ContainerConfig.log_path.partial-tag",
            joined == written,
            permitted=f"the {len(written)} lines of {stream} by joining records tagged P",
            actual=f"{len(joined)} lines, wrong from number {wrong + 1} on",
            about=[log.container],
        )


@clause("ContainerStatus.log_path.readable-after-exit")
def test_the_log_can_be_read_after_the_exit(log: Log | None, judge: Judge) -> None:
    log = _local(log, judge)
    text = _read(log.status.log_path)
    judge.that(
        "ContainerStatus.log_path.readable-after-exit",
        text,
        permitted=f"output at {log.status.log_path!r}, where the status says that the log is",
        actual="an empty file" if text is not None else "no file",
        about=[log.container],
    )
