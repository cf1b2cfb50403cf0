# SPDX-License-Identifier: Apache-2.0
"""Of the cgroups that a run chose, none is left, and no other is touched."""

from __future__ import annotations

from pathlib import Path

from cri_conformance.wire import cgroups

_OURS = cgroups.parent("0123abcd").lstrip("/")


def test_empty_ones_go_in_every_hierarchy(tmp_path: Path) -> None:
    for hierarchy in (".", "memory", "pids"):
        (tmp_path / hierarchy / _OURS / "pod" / "container").mkdir(parents=True)
        (tmp_path / hierarchy / "kubepods").mkdir()
    # As one that still has processes: it can't be removed.
    (tmp_path / "pids" / _OURS / "pod" / "busy" / "file").mkdir(parents=True)
    (tmp_path / "pids" / _OURS / "pod" / "busy" / "file" / "in-use").touch()
    cgroups.remove(tmp_path, "0123abcd")
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_dir())
    assert left == [
        "kubepods",
        "memory",
        "memory/kubepods",
        "pids",
        f"pids/{_OURS}",
        f"pids/{_OURS}/pod",
        f"pids/{_OURS}/pod/busy",
        f"pids/{_OURS}/pod/busy/file",
        "pids/kubepods",
    ]
