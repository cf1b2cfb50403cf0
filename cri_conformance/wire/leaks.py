# SPDX-License-Identifier: Apache-2.0
"""What is left on the runtime's host of objects that are gone: processes, mounts, namespaces.

Ours are known by the ids that the runtime gave out: a shim, a cgroup, a mount carry them in
their names. A network namespace carries none, so one counts that came meanwhile, stays mounted
wherever it is, and has no process in it. Looked at only where the host can be seen.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from cri_conformance.wire.host import Host, Mount

#: Seconds in which what belonged to an object is gone after it.
GONE_WITHIN = 5.0
_HEX = re.compile(rb"[0-9a-f]{32,}")
NAMESPACE = "network namespace"
#: Lines about one kind of leak at most.
_MOST = 20


@dataclass(frozen=True)
class Before:
    """The host as it was. ``namespaces`` are the places where one was mounted."""

    namespaces: frozenset[str]


def lasting(look: Callable[[], list[str]], within: float) -> list[str]:
    """What stays for half of the time at least; [] as soon as there is nothing.

    What comes and goes meanwhile is on its way out, or of somebody else.
    """
    until, pause = time.monotonic() + within, threading.Event()
    seen: dict[str, float] = {}
    while True:
        now = time.monotonic()
        seen = {line: seen.get(line, now) for line in look()}
        if not seen or now > until:
            return [line for line, since in seen.items() if now - since >= within / 2]
        pause.wait(0.25)


class Leaks:
    """A look at the host before, and looks for what was left afterwards."""

    def __init__(self, host_root: str, folder: str = "") -> None:
        """``folder`` is ours on the host, for logs: what is open in it is looked for."""
        self._host = Host(Path(host_root)) if host_root and os.geteuid() == 0 else None
        self._folder = folder
        self.before = Before(frozenset(self._namespaces()))

    @property
    def seen(self) -> bool:
        """Whether the host can be looked at."""
        return self._host is not None

    def left(self, ids: Set[str], *, within: float = GONE_WITHIN) -> list[str]:
        """What is left of objects with these ids, in words; [] as soon as there is nothing."""
        return lasting(lambda: self.now(ids), within)

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
            for mount in self._mounts()
            if wanted.intersection(_HEX.findall(os.fsencode(mount.target)))
        ]
        namespaces = [
            f"{NAMESPACE} {Path(target).name}"
            for target, namespace in sorted(self._namespaces().items())
            if target not in self.before.namespaces and namespace not in inhabited
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

    def _mounts(self) -> list[Mount]:
        return self._host.mounts(1) if self._host else []

    def _namespaces(self) -> dict[str, str]:
        """Where a network namespace is kept → which, as /proc/PID/ns/net has it."""
        return {
            mount.target: mount.root
            for mount in self._mounts()
            if mount.kind == "nsfs" and mount.root.startswith("net:")
        }
