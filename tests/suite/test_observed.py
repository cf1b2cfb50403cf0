# SPDX-License-Identifier: Apache-2.0
"""Reading what a container's own /proc says of it."""

from __future__ import annotations

import subprocess

import pytest

from cri_conformance.suite.observed import (
    CAPABILITIES,
    MARK,
    SCRIPT,
    Observed,
    named,
    numbers,
    parse,
)

_STATUS = """\
Name:\tsh
Uid:\t12345\t12345\t12345\t12345
Gid:\t23456\t23456\t23456\t23456
Groups:\t23456 34567 45678\x20
CapInh:\t0000000000001000
CapPrm:\t0000000000001000
CapEff:\t0000000000001000
CapBnd:\t00000000a80435fb
CapAmb:\t0000000000001000
NoNewPrivs:\t1
Seccomp:\t2
"""
_MOUNTS = r"""
100 90 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/l
101 100 0:51 / /proc rw,nosuid - proc proc rw
102 101 0:51 /sys /proc/sys ro,nosuid shared:1 - proc proc rw
103 100 0:52 / /with\040blank ro - tmpfs tmpfs rw
"""
_SECTIONS = {
    "status": _STATUS,
    "uids": "         0 1310720000      65536\n",
    "gids": "         0          0 4294967295\n",
    "label": "cri-default (enforce)\n",
    "namespaces": "ipc ipc:[1]\nnet net:[2]\npid pid:[3]\nuser user:[4]\n",
    "kernel": "0-1-2\n",
    "marks": f"{MARK}a\n{MARK}b\n",
    "mounts": _MOUNTS.lstrip(),
    "init": _STATUS.replace("12345", "1"),
    "init-mounts": "",
    "init-label": "",
    "init-command": "/bin/sh\0-c\0pause\0",
    "apparmor": "Y\n",
    "filesystems": "nodev\tsysfs\nnodev\tselinuxfs\n",
}


def _printed(sections: dict[str, str]) -> str:
    return "".join(f"@{name}\n{text}\n" for name, text in sections.items())


@pytest.fixture
def observed() -> Observed:
    return parse(_printed(_SECTIONS))


def test_the_process(observed: Observed) -> None:
    process = observed.process
    assert (process.uid, process.gid) == (12345, 23456)
    assert process.groups == {23456, 34567, 45678}
    assert (process.no_new_privs, process.seccomp) == (1, 2)
    assert process.capabilities["ambient"] == {CAPABILITIES["NET_ADMIN"]}
    assert named(process.capabilities["ambient"]) == ["NET_ADMIN"]
    assert CAPABILITIES["CHOWN"] in process.capabilities["bounding"]
    assert observed.init.uid == 1


def test_what_a_kernel_does_not_tell() -> None:
    short = {**_SECTIONS, "status": _STATUS.partition("NoNewPrivs")[0]}
    process = parse(_printed(short)).process
    assert (process.no_new_privs, process.seccomp) == (None, None)


def test_no_groups_are_no_groups() -> None:
    status = _STATUS.replace("23456 34567 45678", "")
    assert parse(_printed({**_SECTIONS, "status": status})).process.groups == frozenset()


def test_mounts(observed: Observed) -> None:
    assert [(m.target, m.kind, m.readonly) for m in observed.mounts] == [
        ("/", "overlay", False),
        ("/proc", "proc", False),
        ("/proc/sys", "proc", True),
        ("/with blank", "tmpfs", True),
    ]
    assert observed.init_mounts == []


def test_ranges(observed: Observed) -> None:
    assert observed.uids == [(0, 1310720000, 65536)]
    assert observed.gids == [(0, 0, 4294967295)]


def test_the_same_number_in_another_kernel_is_another_namespace(observed: Observed) -> None:
    other = parse(_printed({**_SECTIONS, "kernel": "3-4-5\n"}))
    assert observed.namespace("net") != other.namespace("net")


def test_the_rest(observed: Observed) -> None:
    assert observed.label == "cri-default (enforce)"
    assert observed.init_label == ""
    assert observed.init_command == ["/bin/sh", "-c", "pause", ""]
    assert observed.marks == {f"{MARK}a", f"{MARK}b"}
    assert observed.apparmor
    assert observed.selinux


def test_what_is_not_the_scripts_output_is_refused() -> None:
    with pytest.raises(ValueError, match="about status, "):
        parse("sh: not found\n")
    with pytest.raises(ValueError, match="about filesystems"):
        parse(_printed({k: v for k, v in _SECTIONS.items() if k != "filesystems"}))


def test_numbers() -> None:
    assert numbers("0") == frozenset()
    assert numbers("8000000000000001") == {0, 63}


def test_the_script_prints_what_is_parsed() -> None:
    """On this machine, with a process of ours."""
    mark = f"{MARK}of-a-test"
    with subprocess.Popen(["/bin/sh", "-c", "read line", mark], stdin=subprocess.PIPE) as process:
        printed = subprocess.run(
            ["/bin/sh", "-c", SCRIPT, "sh", f"[{mark[0]}]{mark[1:]}"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=True,
        ).stdout
        process.communicate(b"\n")
    seen = parse(printed)
    assert mark in seen.marks
    assert len(seen.process.capabilities) == 5
    assert "/proc" in [mount.target for mount in seen.mounts]
    assert seen.namespace("net").count(":[") == 1
