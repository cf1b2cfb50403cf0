# SPDX-License-Identifier: Apache-2.0
"""Who made an object: labels by which a run knows its own, and a sweep its leftovers."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

#: Label on everything the suite makes; its value names the run.
RUN_LABEL = "cri-conformance/run"
#: Label that says which process made it, so that a sweep spares runs still under way.
OWNER_LABEL = "cri-conformance/owner"

_OWNER = re.compile(r"(?P<host>.+)\.(?P<pid>\d{1,19})\.(?P<started>\d{1,19})")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the suite. ``nonce`` is in every name it makes; ``owner`` is its process."""

    nonce: str
    owner: str

    @classmethod
    def new(cls) -> Run:
        """A run owned by this process."""
        return cls(secrets.token_hex(4), owner_of(os.getpid()))

    def labels(self) -> dict[str, str]:
        """The labels of everything made in this run."""
        return {RUN_LABEL: self.nonce, OWNER_LABEL: self.owner}


def owner_of(pid: int) -> str:
    """``host.pid.starttime``, in the form of a label value: a pid alone comes round again."""
    return f"{_host()}.{pid}.{_start_time(pid) or 0}"


def owner_alive(owner: str) -> bool:
    """Whether the run that made an object may still be going.

    A run of another host can't be looked at from here: it counts as alive.
    """
    match = _OWNER.fullmatch(owner)
    if not match:
        return False
    if match["host"] != _host():
        return True
    return _start_time(int(match["pid"])) == int(match["started"])


def whose(owner: str) -> str:
    """An owner in words; one of another host may be gone long since."""
    match = _OWNER.fullmatch(owner)
    if not match:
        return owner
    there = f" of {match['host']}, if it is still there" if match["host"] != _host() else ""
    return f"process {match['pid']}{there}"


def _host() -> str:
    # A label value has at most 63 characters: leave room for the two numbers.
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:30].strip("-_.") or "host"


def _start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name stands in parentheses and may hold anything, parentheses too.
    return int(stat.rpartition(")")[2].split()[19])
