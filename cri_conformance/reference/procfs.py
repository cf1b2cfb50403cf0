# SPDX-License-Identifier: Apache-2.0
"""Processes as /proc shows them, and how to kill one without hitting another.

A pid is no identity: it is given out again. A process is named here by its pid and
its start time together, and is killed through a pidfd that was checked against both.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import select
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Environment variable by which every process of a container is known; its value is the
#: container's id, for a command of ExecSync followed by ``/`` and an id of the command.
MARKER = "CRI_REFERENCE_ID"
#: Seconds that a killed process may take to be gone (it may hang in the kernel).
DEATH_TAKES = 10.0

_PROC = "/proc"


@dataclass(frozen=True, slots=True)
class Stat:
    """One process. ``start`` is in clock ticks since the boot of the host."""

    pid: int
    state: str
    parent: int
    session: int
    start: int

    @property
    def dead(self) -> bool:
        """Nothing of it runs any more; its parent has not asked for its code yet."""
        return self.state in "ZX"


def stat(pid: int) -> Stat | None:
    """The process with this pid, or None if there is none."""
    try:
        text = _read(pid, "stat")
    except OSError:
        return None
    # The second field, the name, may hold anything; it ends at the last parenthesis.
    fields = text[text.rindex(b")") + 2 :].split(maxsplit=20)
    return Stat(pid, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


def table() -> dict[int, Stat]:
    """All processes on the host, by pid."""
    with os.scandir(_PROC) as entries:
        found = (stat(int(entry.name)) for entry in entries if entry.name.isdecimal())
        return {process.pid: process for process in found if process}


def marker(pid: int) -> str:
    """The value of MARKER in the environment that the process was started with, or ""."""
    try:
        environment = _read(pid, "environ")
    except OSError:
        return ""
    for entry in environment.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == MARKER.encode():
            return value.decode(errors="replace")
    return ""


def _read(pid: int, name: str) -> bytes:
    """A file of a process. Raises OSError. A look at the host reads hundreds of them: without Path
    and buffers it takes half the time."""
    with io.FileIO(f"{_PROC}/{pid}/{name}") as file:
        return file.readall()


def below(processes: dict[int, Stat], roots: Iterable[int]) -> dict[int, Stat]:
    """Those of ``processes`` whose pid is in ``roots``, with all their descendants."""
    children = collections.defaultdict(list)
    for process in processes.values():
        children[process.parent].append(process)
    found: dict[int, Stat] = {}
    pending = [processes[pid] for pid in roots if pid in processes]
    while pending:
        process = pending.pop()
        # A table that was read while pids changed may hold a circle.
        if process.pid not in found:
            found[process.pid] = process
            pending += children[process.pid]
    return found


def descendants(root: int) -> dict[int, Stat]:
    """Those below a process, by pid, without a look at whatever else the host runs.

    One that comes or goes meanwhile may be missing. Kernels can be built without this; then the
    whole host is looked at.
    """
    if not Path(_PROC, str(root), "task", str(root), "children").exists():
        found = below(table(), {root})
        found.pop(root, None)
        return found
    found = {}
    pending = [root]
    while pending:
        for pid in _children(pending.pop()):
            if pid not in found and (process := stat(pid)):
                found[pid] = process
                pending.append(pid)
    return found


def _children(pid: int) -> list[int]:
    """Each thread has its own."""
    found: list[int] = []
    with contextlib.suppress(OSError), os.scandir(f"{_PROC}/{pid}/task") as threads:
        for thread in threads:
            with contextlib.suppress(OSError):
                found += map(int, _read(pid, f"task/{thread.name}/children").split())
    return found


def kill(processes: Iterable[Stat]) -> None:
    """Kill just these processes and wait until they are gone, at most DEATH_TAKES seconds."""
    with contextlib.ExitStack() as opened:
        poll = select.poll()
        waiting = set()
        for process in processes:
            try:
                pidfd = os.pidfd_open(process.pid)
            except OSError:
                continue
            opened.callback(os.close, pidfd)
            # From here on the pidfd stands for whoever had the pid just now: was it ours?
            now = stat(process.pid)
            if now is None or now.start != process.start:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                poll.register(pidfd, select.POLLIN)
                waiting.add(pidfd)
        until = time.monotonic() + DEATH_TAKES
        while waiting and (left := until - time.monotonic()) > 0:
            for pidfd, _ in poll.poll(left * 1000):
                poll.unregister(pidfd)
                waiting.discard(pidfd)
