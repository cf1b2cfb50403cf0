# SPDX-License-Identifier: Apache-2.0
"""The cgroup below which a run's sandboxes go, as those of a kubelet go below its own.

A runtime makes it and leaves it there: removing it is up to whoever chose it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: Where the hierarchies are mounted on a runtime's host.
HIERARCHIES = Path("/sys/fs/cgroup")


def parent(nonce: str) -> str:
    """The cgroup of one run, written as a path."""
    return f"/cri-conformance-{nonce}"


def remove(hierarchies: Path, nonce: str) -> None:
    """Remove what is empty of a run's cgroup, in every hierarchy of v1 and in that of v2."""
    name = parent(nonce).lstrip("/")
    for root in (hierarchies / name, *hierarchies.glob(f"*/{name}")):
        for folder, _, _ in os.walk(root, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
