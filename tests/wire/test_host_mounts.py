# SPDX-License-Identifier: Apache-2.0
"""Mounts below a folder, and that all of them are taken back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cri_conformance.wire import host_mounts
from cri_conformance.wire.host import Host


def _mounted() -> set[str]:
    return {mount.target for mount in Host(Path("/")).mounts(os.getpid())}


def test_what_is_mounted_is_taken_back(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: host_mounts.unmount_below(tmp_path))
    outer = tmp_path / "outer"
    outer.mkdir()
    try:
        host_mounts.shared(outer)
    except OSError as error:
        pytest.skip(f"no mounts can be made here: {error}")
    inner = outer / "inner"
    inner.mkdir()
    host_mounts.tmpfs(inner)
    (inner / "file").touch()
    assert {str(outer), str(inner)} <= _mounted()
    host_mounts.unmount_below(tmp_path)
    assert not {target for target in _mounted() if target.startswith(str(tmp_path))}
    assert list(inner.iterdir()) == []


def test_nothing_else_is_unmounted(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        host_mounts.tmpfs(tmp_path / "missing")
    host_mounts.unmount_below(tmp_path)
    assert "/proc" in _mounted()
