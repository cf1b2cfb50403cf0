# SPDX-License-Identifier: Apache-2.0
"""What a container can't write, can't read and can't gain: root, masked and read-only paths."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.cells import (
    HIDDEN_FILE,
    HIDDEN_FOLDER,
    LOCKED,
    MASKED,
    READONLY,
    Cells,
)
from cri_conformance.wire.host import Mount

_SECURITY = "LinuxContainerSecurityContext"
_WRITES_ROOT = ": > /cri-conformance-writes"


@pytest.mark.parametrize(
    ("clause_id", "cell", "writable"),
    [
        pytest.param(f"{_SECURITY}.{name}", *row, marks=clause(f"{_SECURITY}.{name}"), id=name)
        for name, row in {
            "readonly_rootfs.in-force": ("less", False),
            "readonly_rootfs.unset-writable": ("root", True),
        }.items()
    ],
)
def test_root_file_system(
    clause_id: str, cell: str, writable: bool, cells: Cells, judge: Judge
) -> None:
    code, said = cells.said(cell, ": > /cri-conformance-writes")
    judge.that(
        clause_id,
        (code == 0) is writable,
        permitted="/ can be written to" if writable else "/ can't be written to",
        actual=said or "a file was made",
        about=[cells.container(cell).id],
    )


@pytest.mark.parametrize(
    ("clause_id", "cell", "permitted"),
    [
        pytest.param(f"{_SECURITY}.{name}", *row, marks=clause(f"{_SECURITY}.{name}"), id=name)
        for name, row in {
            "no_new_privs.in-force": ("less", 1),
            "no_new_privs.unset": ("plain", 0),
        }.items()
    ],
)
def test_no_new_privileges(
    clause_id: str, cell: str, permitted: int, cells: Cells, judge: Judge
) -> None:
    seen = cells.observed(cell).process.no_new_privs
    if seen is None:
        judge.skip(Reason.NOT_ADVERTISED, "the kernel shows no NoNewPrivs")
    judge.equal(clause_id, seen, permitted, "NoNewPrivs", about=[cells.container(cell).id])


# -- paths -----------------------------------------------------------------------------------


@clause(f"{_SECURITY}.masked_paths.hidden")
def test_masked_paths(cells: Cells, judge: Judge) -> None:
    for path, reads in (
        (HIDDEN_FILE, f"cat {HIDDEN_FILE}"),
        (HIDDEN_FOLDER, f"ls {HIDDEN_FOLDER}"),
    ):
        if not cells.said("plain", reads)[1]:
            judge.skip(Reason.NOT_ADVERTISED, f"there is nothing to read at {path}")
        code, said = cells.said("masked", reads)
        judge.that(
            f"{_SECURITY}.masked_paths.hidden",
            code != 0 or not said,
            permitted=f"nothing to be read at {path}",
            actual=said,
            about=[cells.container("masked").id],
        )


@clause(f"{_SECURITY}.readonly_paths.not-writable", f"{_SECURITY}.readonly_paths.still-readable")
def test_readonly_paths(cells: Cells, judge: Judge) -> None:
    about = [cells.container("locked").id]
    code, said = cells.said("locked", f": > {LOCKED}/cri-conformance-writes")
    judge.that(
        f"{_SECURITY}.readonly_paths.not-writable",
        code != 0,
        permitted=f"{LOCKED} can't be written to",
        actual=said or "a file was made",
        about=about,
    )
    names = cells.said("locked", f"ls {LOCKED}")[1].split()
    judge.that(
        f"{_SECURITY}.readonly_paths.still-readable",
        names,
        permitted=f"{LOCKED} can be listed",
        actual="nothing in it",
        about=about,
    )


@clause(
    f"{_SECURITY}.masked_paths.empty-hides-nothing",
    f"{_SECURITY}.readonly_paths.empty-restricts-nothing",
)
def test_no_paths_of_the_runtimes_choosing(cells: Cells, judge: Judge) -> None:
    about = [cells.container("plain").id]
    mounts = cells.observed("plain").mounts
    masked = over(mounts, MASKED)
    judge.equal(
        f"{_SECURITY}.masked_paths.empty-hides-nothing",
        [mount.target for mount in masked],
        [],
        "paths that are mounted over:",
        about=about,
    )
    judge.equal(
        f"{_SECURITY}.readonly_paths.empty-restricts-nothing",
        [mount.target for mount in over(mounts, READONLY) if mount.readonly],
        [],
        "paths that are mounted read-only:",
        about=about,
    )


def over(mounts: Collection[Mount], paths: Collection[str]) -> list[Mount]:
    """The mounts that lie just over these paths."""
    return [mount for mount in mounts if mount.target in paths]
