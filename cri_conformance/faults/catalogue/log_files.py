# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for container logs: in another form, short of something, or rotated badly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When, status_of
from cri_conformance.faults.fault import Call, Fault, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    add_entry,
    alter_request,
    answer_error,
    answer_ok,
    edit,
    operator,
    returns_early,
)

_CREATE, _STATUS, _REOPEN = "CreateContainer", "ContainerStatus", "ReopenContainerLog"
_PATH = "ContainerConfig.log_path"
_RUNS = when.in_state("CONTAINER_RUNNING")
Lines = list[bytes]


# -- what stands in the file -----------------------------------------------------------------


def _rewritten(name: str, says: str, rewrite: Callable[[Lines], Lines]) -> Operator:
    """The log comes out otherwise: the file is rewritten once its container has exited."""

    def work(response: Any, call: Call, memory: Memory) -> None:
        path = Path(response.status.log_path)
        if not response.status.finished_at or not path.is_file():
            return
        if not memory.count(("rewritten", path)):
            lines = path.read_bytes().split(b"\n")[:-1]
            path.write_bytes(b"".join(line + b"\n" for line in rewrite(lines)))

    return edit(name, _STATUS, says, work)


def _each(change: Callable[[bytes], bytes]) -> Callable[[Lines], Lines]:
    return lambda lines: [change(line) for line in lines]


def _as_json(line: bytes) -> bytes:
    """The form of Docker's own log driver."""
    time, stream, _, text = line.decode(errors="replace").split(" ", 3)
    return json.dumps({"log": f"{text}\n", "stream": stream, "time": time}).encode()


def _as_text(line: bytes) -> bytes:
    """Through a decoder and back, as a runtime does that takes output for text."""
    return line.decode(errors="replace").encode()


def _ended_lines(lines: Lines) -> Lines:
    """Without a last part that no line break ended, on either stream."""
    kept, seen = [], set()
    for line in reversed(lines):
        _, stream, tag, _ = line.split(b" ", 3)
        if stream in seen or tag != b"P":
            kept.append(line)
        seen.add(stream)
    return kept[::-1]


def _complement(line: bytes) -> bytes:
    """A fraction that falls while the second goes on."""
    digits = bytes.maketrans(b"0123456789", b"9876543210")
    fraction = re.compile(rb"(?<=:\d\d\.)\d+")
    return fraction.sub(lambda found: found[0].translate(digits), line, count=1)


def _hours_ahead(line: bytes) -> bytes:
    """The local time of a zone to the east, given out for UTC."""
    return re.sub(rb"T(\d\d)", lambda found: b"T%02d" % ((int(found[1]) + 3) % 24), line, count=1)


def _unlink(response: Any, call: Call, memory: Memory) -> None:
    if response.status.finished_at:
        Path(response.status.log_path).unlink(missing_ok=True)


_deaf = Change(
    "stderr-lost",
    lambda words: [*words[:-1], f"exec 2>/dev/null; {words[-1]}"] if "-c" in words else words,
)

_late = Change(
    "output-withheld",
    lambda words: (
        [*words[:-1], f"exec 3>&1 > held 2>&1; trap 'cat held >&3' EXIT; {words[-1]}"]
        if "-c" in words
        else words
    ),
)

_CONTENT = [
    fault(
        f"{_PATH}.file-location",
        alter_request(_CREATE, "config.log_path", changes.replaced("/", "-")),
    ),
    fault(f"{_PATH}.both-streams", alter_request(_CREATE, "config.command", _deaf)),
    fault(f"{_PATH}.prompt", alter_request(_CREATE, "config.command", _late)),
    fault(
        f"{_PATH}.line-format",
        _rewritten("log-as-json", "the log is in Docker's format", _each(_as_json)),
    ),
    # containerd did so once (cri issue 283): two short lines and a long one looked alike.
    fault(
        f"{_PATH}.partial-tag",
        _rewritten(
            "log-without-parts",
            "parts of a line look like lines",
            _each(lambda line: line.replace(b" P ", b" F ", 1)),
        ),
    ),
    fault(
        f"{_PATH}.every-byte",
        _rewritten("log-as-text", "bytes that are no text are lost", _each(_as_text)),
    ),
    fault(
        f"{_PATH}.unfinished-line",
        _rewritten("log-of-ended-lines", "what no line break ends is lost", _ended_lines),
    ),
    fault(
        f"{_PATH}.terminal",
        _rewritten(
            "log-repeats-its-first-line", "a line comes twice", lambda all_: all_[:1] + all_
        ),
        also=[f"{_PATH}.both-streams", f"{_PATH}.partial-tag"],
    ),
    fault(
        f"{_PATH}.times-true",
        _rewritten("log-in-local-time", "times of a zone are marked as UTC", _each(_hours_ahead)),
    ),
    fault(
        f"{_PATH}.times-in-order",
        _rewritten("log-times-fall", "times fall", _each(_complement)),
    ),
    fault(
        "ContainerStatus.log_path.readable-after-exit",
        edit("log-goes-with-the-process", _STATUS, "the log is removed at the exit", _unlink),
    ),
]

# -- opening it anew -------------------------------------------------------------------------


def _log_of(call: Call) -> Path | None:
    status = status_of(call)
    return Path(status.log_path) if status is not None and status.log_path else None


def _on_files(name: str, says: str, work: Callable[[Path, list[Path]], None]) -> Operator:
    """After a call that succeeded something is done to the log and its renamed files."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        path = _log_of(call)
        response = proceed(call.request)
        if path:
            work(path, sorted(path.parent.glob(f"{path.name}.*"), key=lambda p: p.stat().st_mtime))
        return response

    return operator(name, _REOPEN, says, step)


def _cut(path: Path, older: list[Path]) -> None:
    """What was written last before the rename is lost."""
    if older:
        lines = older[-1].read_bytes().split(b"\n")[:-1]
        older[-1].write_bytes(b"".join(line + b"\n" for line in lines[:-1]))


def _copy(path: Path, older: list[Path]) -> None:
    """What was written last before the rename comes once more."""
    if older:
        with path.open("ab") as log:
            log.write(older[-1].read_bytes().split(b"\n")[-2] + b"\n")


def _truncate(path: Path, older: list[Path]) -> None:
    if not older:
        path.write_bytes(b"")


def _stays_in_the_old_file(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """A file is made, and nobody writes to it."""
    if not (path := _log_of(call)) or not _RUNS(call, memory):
        return proceed(call.request)
    path.touch()
    return types.ReopenContainerLogResponse()


def _file_and_error(call: Call, memory: Memory, proceed: Proceed) -> Any:
    path = _log_of(call)
    try:
        return proceed(call.request)
    except StatusError:
        if path:
            path.touch()
        raise


def _opens_all(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """The logs of all containers that were made so far are opened anew."""
    response = proceed(call.request)
    for item in call.upstream("ListContainers", types.ListContainersRequest()).containers:
        if memory.made(item.id) and item.state == types.CONTAINER_RUNNING:
            call.upstream(_REOPEN, types.ReopenContainerLogRequest(container_id=item.id))
    return response


def _new_file_only(call: Call, memory: Memory) -> bool:
    path = _log_of(call)
    return path is not None and path.exists()


_ROTATION = [
    fault(
        f"RuntimeService.{_REOPEN}.running-succeeds",
        answer_error(_REOPEN, When("in-place", _new_file_only) & _RUNS),
    ),
    fault(
        f"RuntimeService.{_REOPEN}.file-on-return",
        returns_early(_REOPEN, when=_RUNS, late=0.5),
    ),
    fault(
        f"RuntimeService.{_REOPEN}.output-follows",
        operator(
            "stays-in-the-old-file", _REOPEN, "a new file is made and left", _stays_in_the_old_file
        ),
    ),
    fault(
        f"RuntimeService.{_REOPEN}.nothing-lost",
        _on_files("rotation-loses-a-record", "the last record before a rotation is lost", _cut),
    ),
    fault(
        f"RuntimeService.{_REOPEN}.nothing-lost",
        _on_files("rotation-doubles-a-record", "the last record comes again", _copy),
    ),
    fault(
        f"RuntimeService.{_REOPEN}.without-rotation",
        _on_files("reopen-truncates", "a log in its place is emptied", _truncate),
    ),
    fault(
        f"RuntimeService.{_REOPEN}.error-no-file",
        operator("file-and-error", _REOPEN, "a file is made before the refusal", _file_and_error),
    ),
    fault(f"RuntimeService.{_REOPEN}.success-new-file", answer_ok(_REOPEN, when.known & ~_RUNS)),
    fault(
        f"RuntimeService.{_REOPEN}.container-unharmed",
        add_entry(_STATUS, "status.annotations", when=when.after(_REOPEN)),
    ),
    fault(
        f"RuntimeService.{_REOPEN}.others-untouched",
        operator("reopens-all", _REOPEN, "all logs are opened anew", _opens_all),
    ),
]

FAULTS: list[Fault] = [*_CONTENT, *_ROTATION]
