# SPDX-License-Identifier: Apache-2.0
"""Settings of the sandbox: its own process has them, its containers have not.

The sandbox's own process, where there is one, is the first of the process ids that a pod
shares. So a container that shares them can look at it; nothing of the host is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.cells import (
    SANDBOX_GID,
    SANDBOX_GROUP,
    SANDBOX_UID,
    Cells,
)
from cri_conformance.suite.observed import MARK, Observed

_SECURITY = "LinuxSandboxSecurityContext"
_CELL = "in-dressed"


def _init(cells: Cells, judge: Judge, cell: str = _CELL) -> Observed:
    """What is seen of the sandbox's own process; ends the test if there is none."""
    seen = cells.observed(cell)
    if not any(seen.init_command) or any(word.startswith(MARK) for word in seen.init_command):
        judge.skip(Reason.NOT_ADVERTISED, "the sandbox has no process of its own")
    return seen


def _root(seen: Observed) -> bool | None:
    roots = [mount.readonly for mount in seen.init_mounts if mount.target == "/"]
    return roots[-1] if roots else None


_ROWS: dict[str, tuple[Callable[[Observed], Any], Any]] = {
    "run_as_user": (lambda seen: seen.init.uid, SANDBOX_UID),
    "run_as_group": (lambda seen: seen.init.gid, SANDBOX_GID),
    "supplemental_groups": (lambda seen: SANDBOX_GROUP in seen.init.groups, True),
    "readonly_rootfs": (_root, True),
}


@pytest.mark.parametrize(
    ("field", "look", "permitted"),
    [
        pytest.param(field, *row, marks=clause(f"{_SECURITY}.{field}.in-force"), id=field)
        for field, row in _ROWS.items()
    ],
)
def test_the_sandboxs_own_process(
    field: str, look: Callable[[Observed], Any], permitted: Any, cells: Cells, judge: Judge
) -> None:
    seen = look(_init(cells, judge))
    if seen is None:
        judge.skip(Reason.NEEDS_HOST, "the sandbox's process can't be looked at from a container")
    judge.equal(
        f"{_SECURITY}.{field}.in-force",
        seen,
        permitted,
        f"{field} of the sandbox's own process:",
        about=[cells.sandbox("dressed").id],
    )


@pytest.mark.parametrize(
    ("cell", "permitted"),
    [("in-dressed", 2), ("sharing", 0), ("in-profiled", 2)],
    ids=["RuntimeDefault", "Unconfined", "Localhost"],
)
@clause(f"{_SECURITY}.seccomp.in-force")
def test_seccomp_of_the_sandboxs_own_process(
    cell: str, permitted: int, cells: Cells, judge: Judge
) -> None:
    if cell == "in-profiled" and not cells.sandbox("plain").config.log_directory:
        judge.skip(Reason.REMOTE, "no profile can be put on the host")
    seen = _init(cells, judge, cell).init.seccomp
    if seen is None:
        judge.skip(Reason.NOT_ADVERTISED, "the kernel shows no Seccomp")
    # Filtered without any reason of ours: then whoever runs the runtime has filtered it too.
    if seen and not permitted and cells.observed("seccomp-off").process.seccomp:
        judge.skip(Reason.NEEDS_HOST, "one that is not filtered itself")
    judge.equal(
        f"{_SECURITY}.seccomp.in-force",
        seen,
        permitted,
        "Seccomp of the sandbox's own process:",
        about=[cells.container(cell).sandbox.id],
    )


@clause(f"{_SECURITY}.not-for-containers")
def test_not_for_containers(cells: Cells, judge: Judge) -> None:
    about = [cells.sandbox("dressed").id, cells.container("undressed").id]
    seen, usual = cells.observed("undressed").process, cells.observed("plain").process
    judge.equal(
        f"{_SECURITY}.not-for-containers",
        (seen.uid, seen.gid),
        (usual.uid, usual.gid),
        "uid and gid of a container that names none:",
        about=about,
    )
    writes = ": > /tmp/cri-conformance-writes"
    judge.equal(
        f"{_SECURITY}.not-for-containers",
        cells.does("undressed", writes),
        cells.does("plain", writes),
        "whether a container's root can be written to:",
        about=about,
    )


@clause(
    f"{_SECURITY}.supplemental_groups.for-containers", f"{_SECURITY}.seccomp_profile_path.effect"
)
def test_left_open(cells: Cells, judge: Judge) -> None:
    passed = SANDBOX_GROUP in cells.observed("undressed").process.groups
    judge.record(
        f"{_SECURITY}.supplemental_groups.for-containers",
        "passed on to containers" if passed else "not passed on",
    )
    seccomp = _init(cells, judge, "elsewhere").init.seccomp
    judge.record(f"{_SECURITY}.seccomp_profile_path.effect", f"runtime/default: Seccomp {seccomp}")


@clause(f"{_SECURITY}.selinux_options.in-force", f"{_SECURITY}.apparmor.in-force")
def test_security_modules(cells: Cells, judge: Judge) -> None:
    there = cells.observed("plain")
    if not (there.selinux or there.apparmor):
        judge.skip(Reason.NEEDS_HARDWARE, "a host with AppArmor or SELinux")
    for field, present, permitted in (
        ("selinux_options", there.selinux, "s0:c111,c222"),
        ("apparmor", there.apparmor, "unconfined"),
    ):
        if not present:
            judge.not_exercised(f"{_SECURITY}.{field}.in-force", Reason.NEEDS_HARDWARE, field)
            continue
        label = _init(cells, judge, "in-labelled").init_label
        judge.that(
            f"{_SECURITY}.{field}.in-force",
            label.endswith(permitted),
            permitted=f"{permitted} in the label of the sandbox's own process",
            actual=label,
            about=[cells.sandbox("labelled").id],
        )
