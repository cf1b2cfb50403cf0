# SPDX-License-Identifier: Apache-2.0
"""A log that is rotated while its container writes, as the kubelet does: rename, then reopen.

Nothing may be lost and nothing doubled, also not in the middle of a long line, and for as
often as the log is rotated: the files one after the other are what was written.
"""

from __future__ import annotations

from collections.abc import Callable

from cri_conformance.expect import Judge, clause
from cri_conformance.settings import Settings
from cri_conformance.suite.log_files import Logged, logging, settled
from cri_conformance.wire.crilog import Log, first_difference
from cri_conformance.wire.runtime import Runtime, Sandbox, poll

_NOTHING_LOST = "RuntimeService.ReopenContainerLog.nothing-lost"
#: How often the log is rotated, and bytes that a file must have before it is.
_TIMES, _ENOUGH = 4, 200_000
_LONG, _EACH = 20_000, 40
#: Writes numbered lines to both streams until it is told to end; each fortieth is a long one.
#: Ends in any case, as it is nobody's friend on a small machine.
_SCRIPT = f"""
i=0; while [ ! -e end ] && [ $i -lt 400000 ]; do
    case $((i % {_EACH})) in
        0) printf "%0{_LONG}d\\n" $i ;;
        *) echo "out $i" ;;
    esac
    echo "err $i" >&2
    i=$((i + 1))
done
echo last; echo last >&2
"""


@clause(_NOTHING_LOST)
def test_rotation_under_load(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    chosen: Settings,
    patience: Callable[[float], float],
) -> None:
    logged = logging(runtime, shared_sandbox, _SCRIPT)
    older = [logged.rotated(number) for number in range(_TIMES * (10 if chosen.nightly else 1))]
    for rotated in older:
        poll(lambda: _size(logged), lambda size: size > _ENOUGH, 20.0, "the log to grow")
        logged.path.rename(rotated)
        outcome = runtime.call("ReopenContainerLog", container_id=logged.id)
        judge.ok(_NOTHING_LOST, outcome, about=[logged.id])
    runtime.exec(logged.container, "/bin/sh", "-c", ": > end")
    runtime.wait_exited(logged.id, 30.0)
    log = settled(lambda: logged.log(*older), _complete, patience(10.0))
    lines = max((_number(record.text) for record in log.records), default=-1) + 1
    for stream, written in _written(lines).items():
        found = log.output(stream)
        judge.that(
            _NOTHING_LOST,
            found == written,
            permitted=f"the {lines} lines of {stream} in {len(older) + 1} files, each once",
            actual=first_difference(found, written),
            about=[logged.id],
        )


def _size(logged: Logged) -> int:
    return logged.path.stat().st_size if logged.path.exists() else 0


def _complete(log: Log) -> bool:
    return all(log.output(stream).endswith(b"last\n") for stream in ("stdout", "stderr"))


def _number(text: bytes) -> int:
    """The number of a line of standard error; -1 for other lines."""
    return int(text[4:]) if text.startswith(b"err ") and text[4:].isdigit() else -1


def _written(lines: int) -> dict[str, bytes]:
    """What the script wrote if it went round so many times."""
    out = (f"{i:0{_LONG}d}" if i % _EACH == 0 else f"out {i}" for i in range(lines))
    err = (f"err {i}" for i in range(lines))
    return {
        stream: "".join(f"{line}\n" for line in (*all_, "last")).encode()
        for stream, all_ in (("stdout", out), ("stderr", err))
    }
