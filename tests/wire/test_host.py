# SPDX-License-Identifier: Apache-2.0
"""The host, looked at: this machine's own, and a made-up one below another root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cri_conformance.wire.host import Host
from cri_conformance.wire.runtime import poll


def test_a_process_is_known_by_its_environment() -> None:
    host, mark = Host(Path("/")), f"CRI_CONFORMANCE_TEST=a b {os.getpid()}"
    name, _, value = mark.partition("=")
    child = subprocess.Popen(["sleep", "60"], env={**os.environ, name: value})
    try:
        # It is another program a moment before it has its environment.
        seen = poll(lambda: host.processes(mark), bool, 5, "its environment")
        assert seen == [child.pid]
        assert host.status(child.pid)["Name"] == "sleep"
        assert host.namespace(child.pid, "net").startswith("net:[")
        assert "/" in {mount.target for mount in host.mounts(child.pid)}
    finally:
        child.kill()
        child.wait()
    assert host.processes(mark) == []
    assert host.status(child.pid) == {}
    assert host.namespace(child.pid, "net") == ""


def test_mounts_and_cgroups_are_read_below_the_root(tmp_path: Path) -> None:
    process = tmp_path / "proc" / "7"
    process.mkdir(parents=True)
    process.joinpath("mountinfo").write_text(
        "36 35 8:1 / /a\\040b rw,noexec shared:1 master:2 - ext4 /dev/x rw\n"
        "37 36 0:5 / /proc ro - proc proc rw\n"
    )
    process.joinpath("cgroup").write_text("4:cpu,cpuacct:/pod/c\n2:memory:/pod/c\n0::/\n")
    for controller in ("cpu,cpuacct", "memory"):
        (tmp_path / "sys/fs/cgroup" / controller / "pod/c").mkdir(parents=True)
    host = Host(tmp_path)
    first, second = host.mounts(7)
    assert (first.target, first.optional, first.kind) == ("/a b", ("shared:1", "master:2"), "ext4")
    assert "noexec" in first.options
    assert second.optional == ()
    assert host.cgroup_version == 1
    assert host.cgroup(7, "cpu") == tmp_path / "sys/fs/cgroup/cpu,cpuacct/pod/c"
    assert host.cgroup(7, "memory") == tmp_path / "sys/fs/cgroup/memory/pod/c"
    assert host.cgroup(7, "pids") is None
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpu memory\n")
    process.joinpath("cgroup").write_text("0::/pod.slice/c.scope\n")
    assert host.cgroup(7, "memory") == tmp_path / "sys/fs/cgroup/pod.slice/c.scope"
