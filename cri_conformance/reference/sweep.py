# SPDX-License-Identifier: Apache-2.0
"""The directory of a running runtime, and clearing up after one that was killed.

A state directory holds what outlives a SIGKILL: the socket, a directory for each
container with the pid of its first process, and who the owner is. The owner keeps the
directory locked. One without a living owner is swept by the next start of a reference
runtime of the same user: the processes that are provably those of its containers are
killed, the socket and the directory removed. What can't be proved is left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import stat as modes
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cri_conformance.reference import procfs

_PREFIX = "cri-reference"
_CONTAINERS, _OWNER, _PID, _WORK, _SOCKET = "containers", "owner", "pid", "work", "cri.sock"
_IMAGES = "images"
_ROUNDS = 10


class StateError(Exception):
    """The state directory can't be used; the message says why."""


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The locked directory of this runtime."""

    path: Path
    #: It was made by us, and is removed as a whole.
    made: bool
    lock: int

    @property
    def socket(self) -> Path:
        """Where the runtime listens if nothing else was asked for."""
        return self.path / _SOCKET

    def own(self, socket: Path) -> None:
        """Write down who uses the directory, and which socket goes with it."""
        me = procfs.stat(os.getpid())
        owner = {"pid": os.getpid(), "start": me.start if me else 0, "socket": str(socket)}
        (self.path / _OWNER).write_text(json.dumps(owner), encoding="utf-8")

    @property
    def images(self) -> Path:
        """Where the layers of pulled images go."""
        return self.path / _IMAGES

    def container(self, container_id: str) -> Path:
        """The directory of one container."""
        return self.path / _CONTAINERS / container_id

    def work(self, container_id: str) -> Path:
        """Where its processes start if its config names no directory."""
        return self.container(container_id) / _WORK

    def make_container(self, container_id: str, uid: int, gid: int) -> None:
        """Make the directory of a container that runs as this user. Raises OSError."""
        work = self.work(container_id)
        work.mkdir(parents=True)
        if (uid, gid) != (os.geteuid(), os.getegid()):
            os.chown(work, uid, gid)

    def note_process(self, container_id: str, pid: int, start: int) -> None:
        """Write down its first process. Without the note the marker is left to know it by."""
        with contextlib.suppress(OSError):
            (self.container(container_id) / _PID).write_text(f"{pid} {start}", encoding="utf-8")

    def remove(self) -> None:
        """Remove all that is ours. No process of a container may be left."""
        _clear(self.path)
        if self.made:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def claim(given: Path | None) -> StateDirectory:
    """A state directory for this process: a new one, or the given one, swept if need be.

    Raises StateError if another runtime uses it or it holds other things; OSError.
    """
    me = procfs.stat(os.getpid())
    if given is None:
        # With the owner in its name the directory is never without one, not for a moment.
        prefix = f"{_PREFIX}-{os.getuid()}-{os.getpid()}-{me.start if me else 0}-"
        path = Path(tempfile.mkdtemp(prefix=prefix))
        lock = _lock(path)
        assert lock is not None, f"{path} is new, and locked"
        return StateDirectory(path, made=True, lock=lock)
    made = not given.exists()
    given.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(given)
    if lock is None:
        raise StateError(f"another reference runtime uses the state directory {given}")
    owned = (given / _OWNER).is_file()
    if not owned and any(given.iterdir()):
        os.close(lock)
        raise StateError(f"{given} holds other things than a reference runtime's state")
    if owned:
        _sweep(given)
    return StateDirectory(given, made=made, lock=lock)


def sweep() -> list[Path]:
    """Clear up after runtimes of this user that were killed; returns their directories.

    Looks only where directories go that nobody named with ``--state``.
    """
    swept = []
    pattern = re.compile(rf"{_PREFIX}-{os.getuid()}-(\d+)-(\d+)-\w+")
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}-{os.getuid()}-*"):
        named = pattern.fullmatch(path.name)
        if not named or _alive(int(named[1]), int(named[2])) or not _is_ours(path):
            continue
        # The pid may be that of another pid namespace that shares this directory; the lock
        # tells.
        lock = _lock(path)
        if lock is not None:
            _sweep(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
            swept.append(path)
    return swept


def _is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return modes.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _alive(pid: int, start: int) -> bool:
    process = procfs.stat(pid)
    return process is not None and process.start == start and not process.dead


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock, or None if another process has it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def _sweep(path: Path) -> None:
    """The owner is gone: kill what it left and clear the directory."""
    containers = path / _CONTAINERS
    ids = {entry.name for entry in containers.iterdir()} if containers.is_dir() else set()
    start = int(_owner(path).get("start", 0))
    for _ in range(_ROUNDS):
        left = _left(containers, ids, start)
        if not left:
            break
        procfs.kill(left)
    _clear(path)


def _left(containers: Path, ids: set[str], start: int) -> list[procfs.Stat]:
    """Living processes that are provably of these containers.

    Proof is a container's id in the environment that the process was started with, in a
    process younger than its runtime; or that it is the noted first process, or in the
    session of that one while it lives; or descent from any of these.
    """
    processes = procfs.table()
    first = set()
    for container_id in ids:
        with contextlib.suppress(OSError, ValueError):
            noted = (containers / container_id / _PID).read_text(encoding="utf-8").split()
            pid, started = int(noted[0]), int(noted[1])
            if pid in processes and processes[pid].start == started:
                first.add(pid)
    roots = {
        pid
        for pid, process in processes.items()
        if process.session in first
        or (process.start >= start and procfs.marker(pid).partition("/")[0] in ids)
    }
    found = procfs.below(processes, first | roots)
    return [process for process in found.values() if not process.dead]


def _owner(path: Path) -> dict[str, Any]:
    try:
        read = json.loads((path / _OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _clear(path: Path) -> None:
    socket = Path(str(_owner(path).get("socket") or path / _SOCKET))
    with contextlib.suppress(OSError):
        if modes.S_ISSOCK(socket.lstat().st_mode):
            socket.unlink()
    shutil.rmtree(path / _CONTAINERS, ignore_errors=True)
    shutil.rmtree(path / _IMAGES, ignore_errors=True)
    (path / _OWNER).unlink(missing_ok=True)
