# SPDX-License-Identifier: Apache-2.0
"""The machine, and a machine of which nothing is known."""

from __future__ import annotations

import pytest

from cri_conformance.report.environment import environment


def put(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_this_machine():
    found = environment()
    assert found["kernel"]
    assert found["python"].startswith("3.")
    assert found["packages"]["pytest"]
    assert found["cpus"] >= 1


def test_nothing_there(tmp_path):
    found = environment(tmp_path)
    assert (found["os"], found["cgroup"], found["security_modules"]) == ("", "", [])


@pytest.mark.parametrize(
    ("file", "mode"),
    [
        ("sys/fs/cgroup/cgroup.controllers", "v2"),
        ("sys/fs/cgroup/unified/cgroup.controllers", "hybrid"),
        ("sys/fs/cgroup/memory/tasks", "v1"),
    ],
)
def test_control_groups(tmp_path, file, mode):
    put(tmp_path, {file: "cpu"})
    assert environment(tmp_path)["cgroup"] == mode


def test_operating_system_and_modules(tmp_path):
    put(
        tmp_path,
        {
            "etc/os-release": 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            "sys/kernel/security/lsm": "lockdown,capability,apparmor\n",
        },
    )
    found = environment(tmp_path)
    assert found["os"] == "Debian GNU/Linux 12 (bookworm)"
    assert found["security_modules"] == ["lockdown", "capability", "apparmor"]


def test_modules_without_securityfs(tmp_path):
    put(
        tmp_path,
        {
            "etc/os-release": 'PRETTY_NAME="never closed\n',
            "sys/module/apparmor/parameters/enabled": "Y\n",
            "sys/fs/selinux/enforce": "1",
        },
    )
    found = environment(tmp_path)
    assert found["security_modules"] == ["apparmor", "selinux"]
    assert found["os"] == '"never closed'
