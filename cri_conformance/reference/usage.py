# SPDX-License-Identifier: Apache-2.0
"""What processes and folders use, as the kernel tells it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cri_conformance.reference.procfs import Stat

_PROC = Path("/proc")
_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
#: st_blocks counts these, whatever the file system's own blocks.
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Work:
    """What processes have done so far: nanoseconds of processor time, page faults."""

    cpu: int = 0
    minor_faults: int = 0
    major_faults: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.cpu + other.cpu,
            self.minor_faults + other.minor_faults,
            self.major_faults + other.major_faults,
        )

    def at_least(self, other: Work) -> Work:
        """The greater of each."""
        return Work(
            max(self.cpu, other.cpu),
            max(self.minor_faults, other.minor_faults),
            max(self.major_faults, other.major_faults),
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that processes hold. ``working`` is what they look at, or can't have back from disk."""

    resident: int = 0
    working: int = 0
    anonymous: int = 0
    swapped: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(
            self.resident + other.resident,
            self.working + other.working,
            self.anonymous + other.anonymous,
            self.swapped + other.swapped,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group of processes uses. ``memory`` is None where it may not be looked at."""

    processes: int
    work: Work
    memory: Memory | None


def of(processes: Iterable[Stat]) -> Usage:
    """Measure processes; those that end meanwhile count for nothing."""
    count, work = 0, Work()
    memory: Memory | None = Memory()
    for process in processes:
        work += _work(process.pid)
        if process.dead:
            continue
        count += 1
        held = _memory(process.pid)
        memory = memory + held if memory is not None and held is not None else None
    return Usage(count, work, memory)


def _work(pid: int) -> Work:
    """With that of the children whose ends it has seen."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return Work()
    fields = [int(field) for field in text[text.rindex(b")") + 4 :].split()]
    # By their numbers in proc(5), which begin with pid, comm and state.
    minor, minor_children, major, major_children = fields[6:10]
    return Work(sum(fields[10:14]) * _TICK, minor + minor_children, major + major_children)


def _memory(pid: int) -> Memory | None:
    """None where it may not be looked at; nothing for a process that is gone."""
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except PermissionError:
        return None
    except OSError:
        return Memory()
    found = {}
    for line in text.splitlines()[1:]:
        name, _, size = line.partition(":")
        found[name] = int(size.split()[0]) * 1024
    anonymous = found.get("Anonymous", 0)
    return Memory(
        resident=found.get("Rss", 0),
        working=max(anonymous, found.get("Referenced", 0)),
        anonymous=anonymous,
        swapped=found.get("Swap", 0),
    )


def of_folder(folder: Path) -> tuple[int, int]:
    """Bytes on disk and inodes of what is in a folder; what goes meanwhile is left out."""
    inodes: dict[tuple[int, int], int] = {}
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    inodes[found.st_dev, found.st_ino] = found.st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
        except OSError:
            continue
    return sum(inodes.values()), len(inodes)


def mountpoint(path: Path) -> str:
    """Where the file system of a path is mounted."""
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return str(path)
