# SPDX-License-Identifier: Apache-2.0
"""What is left on the runtime's host of objects that are gone: processes, mounts, namespaces.

Ours are known by the ids that the runtime gave out: a shim, a cgroup, a mount carry them in
their names. A network namespace carries none, so one counts that came meanwhile, stays, and has
no process in it. Looked at only where the host can be seen.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from cri_conformance.wire.host import Host

#: Seconds in which what belonged to an object is gone after it.
GONE_WITHIN = 5.0
_HEX = re.compile(rb"[0-9a-f]{32,}")
_NAMESPACES = ("run/netns", "var/run/netns")
NAMESPACE = "network namespace"
#: Lines about one kind of leak at most.
_MOST = 20


@dataclass(frozen=True)
class Before:
    """The host as it was."""

    namespaces: frozenset[str]


class Leaks:
    """A look at the host before, and looks for what was left afterwards."""

    def __init__(self, host_root: str, folder: str = "") -> None:
        """``folder`` is ours on the host, for logs: what is open in it is looked for."""
        self._host = Host(Path(host_root)) if host_root and os.geteuid() == 0 else None
        self._folder = folder
        self.before = Before(self._network_namespaces())

    @property
    def seen(self) -> bool:
        """Whether the host can be looked at."""
        return self._host is not None

    def left(self, ids: Set[str], *, within: float = GONE_WITHIN) -> list[str]:
        """What is left of objects with these ids, in words; [] as soon as there is nothing."""
        until = time.monotonic() + within
        pause = threading.Event()
        while True:
            found = self.now(ids)
            if not found or time.monotonic() > until:
                return found
            pause.wait(0.25)

    def now(self, ids: Set[str]) -> list[str]:
        """One look: what is there at this moment may just be on its way out."""
        if self._host is None:
            return []
        wanted = {os.fsencode(one) for one in ids}
        processes, files, inhabited = [], [], set()
        for pid in self._host.pids():
            inhabited.add(self._host.namespace(pid, "net"))
            about = b"\0".join(self._bytes(pid, name) for name in ("cmdline", "cgroup"))
            for found in wanted.intersection(_HEX.findall(about)):
                name = self._host.read(pid, "comm").strip()
                processes.append(f"process {pid} ({name}) of {found.decode()}")
            files += self._open_files(pid)
        mounts = [
            f"mount {mount.target}"
            for mount in self._host.mounts(1)
            if wanted.intersection(_HEX.findall(os.fsencode(mount.target)))
        ]
        namespaces = [
            f"{NAMESPACE} {name}"
            for name in sorted(self._network_namespaces() - self.before.namespaces)
            if self._identity(name) not in inhabited
        ]
        return [line for lines in (processes, mounts, namespaces, files) for line in lines[:_MOST]]

    def _bytes(self, pid: int, name: str) -> bytes:
        assert self._host
        try:
            return (self._host.path("/proc") / str(pid) / name).read_bytes()
        except OSError:
            return b""

    def _open_files(self, pid: int) -> list[str]:
        """Our log files that a process of others still has open."""
        assert self._host
        if not self._folder or pid == os.getpid():
            return []
        found = []
        try:
            for one in (self._host.path("/proc") / str(pid) / "fd").iterdir():
                target = str(one.readlink())
                if target.startswith(f"{self._folder}/"):
                    found.append(f"open file {target} in process {pid}")
        except OSError:  # gone meanwhile
            pass
        return found

    def _network_namespaces(self) -> frozenset[str]:
        if self._host is None:
            return frozenset()
        names: set[str] = set()
        for folder in _NAMESPACES:
            try:
                names |= {one.name for one in self._host.path(folder).iterdir()}
            except OSError:
                continue
        return frozenset(names)

    def _identity(self, name: str) -> str:
        """As /proc/PID/ns/net has it."""
        assert self._host
        for folder in _NAMESPACES:
            try:
                return f"net:[{(self._host.path(folder) / name).stat().st_ino}]"
            except OSError:
                continue
        return ""
