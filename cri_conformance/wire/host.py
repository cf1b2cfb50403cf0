# SPDX-License-Identifier: Apache-2.0
"""The host of the runtime, looked at from outside: processes, cgroups, mounts, namespaces.

Everything is read from /proc and /sys below a root (``--cri-host-root`` where the runtime sees
another file system than we do). Nothing here changes anything. A container's processes are
known by an entry of their environment that the test put there: no runtime's own way of naming
them is relied on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo.

    ``root`` is what of the file system is seen there, as in ``/`` or ``net:[4026531840]``;
    ``optional`` are the propagation fields, as in ``shared:12``.
    """

    root: str
    target: str
    options: frozenset[str]
    optional: tuple[str, ...]
    kind: str
    source: str

    @property
    def readonly(self) -> bool:
        """Whether nothing can be written through it."""
        return "ro" in self.options


class Host:
    """The runtime's host below ``root``. What has gone meanwhile is left out, never an error."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._proc = root / "proc"

    def path(self, there: str | Path) -> Path:
        """Where a path of the host is seen from here."""
        return self.root / str(there).lstrip("/")

    # -- processes -----------------------------------------------------------------

    def processes(self, mark: str) -> list[int]:
        """Process ids (as /proc here has them) whose environment has the entry ``NAME=value``.

        Zombies have no environment and are left out, as are processes that cleared theirs.
        """
        wanted = os.fsencode(mark)
        return [pid for pid in self.pids() if wanted in self._environment(pid)]

    def _environment(self, pid: int) -> list[bytes]:
        return (_read(self._file(pid, "environ").read_bytes) or b"").split(b"\0")

    def pids(self) -> list[int]:
        """All process ids."""
        return sorted(int(path.name) for path in self._proc.iterdir() if path.name.isdecimal())

    def status(self, pid: int) -> dict[str, str]:
        """/proc/PID/status by its keys; {} if the process is gone."""
        text = _read(lambda: self._file(pid, "status").read_text(errors="replace")) or ""
        pairs = (line.partition(":") for line in text.splitlines())
        return {key: value.strip() for key, _, value in pairs}

    def namespace(self, pid: int, kind: str) -> str:
        """Such as ``net:[4026531840]`` for kind ``net``; "" if the process is gone."""
        found = _read(self._file(pid, f"ns/{kind}").readlink)
        return str(found) if found else ""

    def read(self, pid: int, name: str) -> str:
        """A file of /proc/PID, as in ``oom_score_adj``; "" if the process is gone."""
        return _read(lambda: self._file(pid, name).read_text(errors="replace")) or ""

    def mounts(self, pid: int) -> list[Mount]:
        """The mounts that a process sees; [] if it is gone."""
        return [mount(line) for line in self.read(pid, "mountinfo").splitlines()]

    # -- cgroups -------------------------------------------------------------------

    @property
    def cgroup_version(self) -> int:
        """2 on a unified hierarchy, else 1 (hybrid ones included)."""
        return 2 if (self.path("/sys/fs/cgroup") / "cgroup.controllers").exists() else 1

    def cgroup(self, pid: int, controller: str) -> Path | None:
        """The folder of a process's cgroup as seen here; None if it is gone or has none.

        ``controller`` is one of v1, such as ``memory`` or ``cpu``; on v2 all lead to one folder.
        """
        base = self.path("/sys/fs/cgroup")
        for line in self.read(pid, "cgroup").splitlines():
            number, controllers, below = line.split(":", 2)
            if self.cgroup_version == 2 and number == "0":
                return base / below.lstrip("/")
            if self.cgroup_version == 1 and controller in controllers.split(","):
                # Controllers that share a hierarchy also share its folder, under either name.
                for name in (controller, controllers):
                    if (found := base / name / below.lstrip("/")).is_dir():
                        return found
        return None

    def is_device(self, path: str | Path) -> bool:
        """Whether a path of the host is a device node."""
        mode = _read(lambda: self.path(path).stat().st_mode) or 0
        return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)

    def _file(self, pid: int, name: str) -> Path:
        return self._proc / str(pid) / name


def mount(line: str) -> Mount:
    """One line of mountinfo, read."""
    before, _, after = line.partition(" - ")
    fields, kind = before.split(" "), after.split(" ")
    return Mount(
        root=_plain(fields[3]),
        target=_plain(fields[4]),
        options=frozenset(fields[5].split(",")),
        optional=tuple(fields[6:]),
        kind=kind[0],
        source=_plain(kind[1]) if len(kind) > 1 else "",
    )


def _plain(text: str) -> str:
    r"""A path of mountinfo, where blanks and the like stand as \040."""
    parts = text.split("\\")
    return parts[0] + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts[1:])


def _read(look: Callable[[], T]) -> T | None:
    try:
        return look()
    except OSError:  # gone, or in the midst of going
        return None
