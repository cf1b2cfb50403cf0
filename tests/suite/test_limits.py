# SPDX-License-Identifier: Apache-2.0
"""Cgroups of both versions as the suite reads them, made up below another root."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cri_conformance.suite import limits
from cri_conformance.wire.host import Host

_PID = 7
_MEMORY, _SWAP = 96 * limits.MIB, 112 * limits.MIB


def _host(root: Path, cgroup: str, files: Mapping[str, str]) -> Host:
    (root / f"proc/{_PID}").mkdir(parents=True)
    (root / f"proc/{_PID}/cgroup").write_text(cgroup)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return Host(root)


@pytest.fixture
def v1(tmp_path: Path) -> Host:
    return _host(
        tmp_path,
        "3:cpu,cpuacct:/pod/c\n2:memory:/pod/c\n",
        {
            "cpu,cpuacct/pod/c/cpu.shares": "512",
            "cpu,cpuacct/pod/c/cpu.cfs_quota_us": "-1",
            "memory/pod/c/memory.limit_in_bytes": str(_MEMORY),
            "memory/pod/c/memory.memsw.limit_in_bytes": str(_SWAP),
        },
    )


@pytest.fixture(params=["0::/pod.slice/c.scope\n", "0::/pod.slice/c.scope/container\n"])
def v2(tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    (tmp_path / "sys/fs/cgroup/pod.slice/c.scope/container").mkdir(parents=True)
    return _host(
        tmp_path,
        request.param,
        {
            "cgroup.controllers": "cpu memory",
            "pod.slice/c.scope/cpu.weight": "20",
            "pod.slice/c.scope/cpu.max": "45000 50000",
            "pod.slice/c.scope/memory.max": str(_MEMORY),
            "pod.slice/c.scope/memory.swap.max": str(_SWAP - _MEMORY),
        },
    )


def test_version_1(v1: Host) -> None:
    shown = limits.in_force(v1, _PID)
    assert shown == {
        "cpu_shares": "512",
        "cpu_quota": "-1",
        "memory_limit_in_bytes": str(_MEMORY),
        "memory_swap_limit_in_bytes": str(_SWAP),
    }
    wanted = {**limits.CREATED, "memory_swap_limit_in_bytes": _SWAP}
    for field in ("cpu_shares", "memory_limit_in_bytes", "memory_swap_limit_in_bytes"):
        assert limits.forms(v1, wanted, field) == {shown[field]}
    assert limits.unlimited(shown["cpu_quota"])
    assert not limits.unlimited(shown["memory_limit_in_bytes"])


def test_version_2(v2: Host) -> None:
    shown = limits.in_force(v2, _PID)
    wanted = {**limits.CREATED, "memory_swap_limit_in_bytes": _SWAP}
    assert set(shown) == set(wanted)
    for field in wanted:
        assert shown[field] in limits.forms(v2, wanted, field)
    assert limits.forms(v2, {"cpu_quota": -1}, "cpu_quota") == {"max"}
    assert limits.unlimited("max")


@pytest.mark.parametrize(
    ("shares", "linear", "curved"),
    [(2, 1, 1), (512, 20, 59), (1024, 39, 100), (262144, 10000, 10000)],
)
def test_weights_of_version_2(v2: Host, shares: int, linear: int, curved: int) -> None:
    permitted = limits.forms(v2, {"cpu_shares": shares}, "cpu_shares")
    assert permitted == {str(linear), str(curved)}


def test_only_empty_folders_are_removed(tmp_path: Path) -> None:
    host = _host(tmp_path, "", {"memory/ours/full/tasks": "1"})
    (tmp_path / "sys/fs/cgroup/memory/ours/pod").mkdir()
    (tmp_path / "sys/fs/cgroup/cpu/ours/pod/c").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu/other").mkdir()
    limits.remove_empty(host, "/ours")
    assert not (tmp_path / "sys/fs/cgroup/cpu/ours").exists()
    assert (tmp_path / "sys/fs/cgroup/cpu/other").exists()
    assert (tmp_path / "sys/fs/cgroup/memory/ours/full/tasks").exists()
    assert not (tmp_path / "sys/fs/cgroup/memory/ours/pod").exists()
