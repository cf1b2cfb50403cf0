# SPDX-License-Identifier: Apache-2.0
"""Privileged containers: what the word implies, and who has it not.

The one that is looked at is sent what a kubelet sends beside the flag: the masks,
read-only paths and seccomp profile of any container, which come to nothing here.
"""

from __future__ import annotations

from pathlib import Path

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.cells import CELLS, DROPPED, MASKED, READONLY, Cells, bits, run
from cri_conformance.suite.observed import named
from cri_conformance.suite.test_security_files import over
from cri_conformance.wire.host import Host
from cri_conformance.wire.runtime import Runtime

_PRIVILEGED = "LinuxContainerSecurityContext.privileged"
_CELL = "privileged"


@clause(f"{_PRIVILEGED}.all-capabilities")
def test_all_capabilities(cells: Cells, judge: Judge) -> None:
    # What the node has to give is what its own first process may have at most.
    there = cells.observed("node").init.capabilities["bounding"]
    seen = cells.observed(_CELL).process.capabilities["effective"]
    judge.that(
        f"{_PRIVILEGED}.all-capabilities",
        seen >= there,
        permitted="every capability of the node's first process in the effective set",
        actual=f"without {', '.join(named(there - seen))}",
        about=[cells.container(_CELL).id],
    )


@clause(f"{_PRIVILEGED}.nothing-masked")
def test_nothing_masked(cells: Cells, judge: Judge) -> None:
    judge.equal(
        f"{_PRIVILEGED}.nothing-masked",
        [mount.target for mount in over(cells.observed(_CELL).mounts, MASKED)],
        [],
        "sensitive paths that are mounted over:",
        about=[cells.container(_CELL).id],
    )


@clause(f"{_PRIVILEGED}.proc-and-sys-writable")
def test_proc_and_sys_writable(cells: Cells, judge: Judge) -> None:
    judge.equal(
        f"{_PRIVILEGED}.proc-and-sys-writable",
        [
            mount.target
            for mount in cells.observed(_CELL).mounts
            if mount.readonly and (mount.kind in ("proc", "sysfs") or mount.target in READONLY)
        ],
        [],
        "read-only mounts of proc and sysfs:",
        about=[cells.container(_CELL).id],
    )


@clause(f"{_PRIVILEGED}.no-seccomp")
def test_no_seccomp(cells: Cells, judge: Judge) -> None:
    seen = cells.observed(_CELL).process.seccomp
    if seen is None:
        judge.skip(Reason.NOT_ADVERTISED, "the kernel shows no Seccomp")
    # Both filtered: then whoever runs the runtime has filtered it too.
    if seen and cells.observed("seccomp-off").process.seccomp:
        judge.skip(Reason.NEEDS_HOST, "one that is not filtered itself")
    judge.equal(f"{_PRIVILEGED}.no-seccomp", seen, 0, "Seccomp", about=[cells.container(_CELL).id])


#: A number from the range for local use, which no driver answers to: what keeps a process from
#: it is the device cgroup (EPERM), and what then says no is the kernel (ENXIO).
_OPEN = """
n=/cri-conformance-device
mknod $n c 240 77 && { : < $n; }
rm -f $n
"""


@clause(f"{_PRIVILEGED}.any-device")
def test_any_device(cells: Cells, judge: Judge) -> None:
    if cells.observed(_CELL).uids != [(0, 0, 2**32 - 1)]:
        judge.skip(Reason.NEEDS_HOST, "a runtime whose root is that of the kernel")
    _, said = cells.said(_CELL, _OPEN)
    judge.that(
        f"{_PRIVILEGED}.any-device",
        "not permitted" not in said,
        permitted="a device node can be made and opened",
        actual=said,
        about=[cells.container(_CELL).id],
    )


#: Made anew for each container, or by the side that opens it.
_OWN = {"console", "ptmx", "pts", "tty", "stdin", "stdout", "stderr", "fd", "core"}


@clause(f"{_PRIVILEGED}.host-devices")
def test_devices_of_the_host(cells: Cells, host: Host, runtime: Runtime, judge: Judge) -> None:
    # Devices come and go: those count that are there before the container is made and after.
    before = _devices(host)
    container, _ = cells.one(runtime, CELLS[_CELL])
    script = 'cd /dev; for d in *; do [ -c "$d" -o -b "$d" ] && echo "$d"; done'
    listed = set(run(runtime, container, script)[1].split())
    judge.equal(
        f"{_PRIVILEGED}.host-devices",
        sorted((before & _devices(host)) - listed - _OWN),
        [],
        "devices of the host that are missing:",
        about=[container.id],
    )


def _devices(host: Host) -> set[str]:
    """The names of device nodes in the host's /dev itself."""
    found = host.path("/dev").iterdir()
    return {
        path.name
        for path in found
        if host.is_device(Path("/dev") / path.name) and not path.is_symlink()
    }


@clause("LinuxSandboxSecurityContext.privileged.not-inherited")
def test_not_inherited(cells: Cells, judge: Judge) -> None:
    cell = "beside-privileged"
    seen = cells.observed(cell).process.capabilities["effective"]
    usual = cells.observed("plain").process.capabilities["effective"]
    judge.that(
        "LinuxSandboxSecurityContext.privileged.not-inherited",
        seen == usual,
        permitted="the capabilities of a container in any other sandbox",
        actual=", ".join(named(seen)),
        about=[cells.container(cell).id],
    )


@clause(f"{_PRIVILEGED}.no-apparmor", f"{_PRIVILEGED}.no-selinux")
def test_no_security_module(cells: Cells, judge: Judge) -> None:
    seen = cells.observed(_CELL)
    if not (seen.apparmor or seen.selinux):
        judge.skip(Reason.NEEDS_HARDWARE, "a host with AppArmor or SELinux")
    about = [cells.container(_CELL).id]
    if seen.apparmor:
        judge.equal(
            f"{_PRIVILEGED}.no-apparmor", seen.label, "unconfined", "AppArmor profile:", about=about
        )
    else:
        judge.not_exercised(f"{_PRIVILEGED}.no-apparmor", Reason.NEEDS_HARDWARE, "AppArmor")
    if seen.selinux:
        # Who is not held has another type than containers have; which one, policies decide.
        judge.that(
            f"{_PRIVILEGED}.no-selinux",
            _type(seen.label) != _type(cells.observed("plain").label),
            permitted="not the type of a container that is held",
            actual=f"label {seen.label!r}",
            about=about,
        )
    else:
        judge.not_exercised(f"{_PRIVILEGED}.no-selinux", Reason.NEEDS_HARDWARE, "SELinux")


def _type(label: str) -> str:
    return (label.split(":") + [""] * 3)[2]


@clause(f"{_PRIVILEGED}.other-settings")
def test_settings_beside_privileged(cells: Cells, judge: Judge) -> None:
    process = cells.observed("privileged-and-less").process
    dropped = "kept" if process.capabilities["effective"] >= bits(DROPPED) else "dropped"
    judge.record(
        f"{_PRIVILEGED}.other-settings",
        f"capability dropped: {dropped}; seccomp RuntimeDefault: Seccomp {process.seccomp}",
    )
