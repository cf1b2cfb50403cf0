# SPDX-License-Identifier: Apache-2.0
"""Profiles in force: seccomp, and AppArmor and SELinux on hosts that have them.

Profiles that must keep a container from running are judged elsewhere.
"""

from __future__ import annotations

import secrets

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.cells import CELLS, SELINUX, Cell, Cells, Security, seccomp_profile
from cri_conformance.wire.runtime import Runtime

_SECURITY = "LinuxContainerSecurityContext"
_TYPE = "SecurityProfile.ProfileType"


# -- seccomp ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clause_id", "cell", "permitted"),
    [
        pytest.param(name, *row, marks=clause(name), id=name)
        for name, row in {
            f"{_TYPE}.RuntimeDefault.seccomp-filters": ("seccomp-default", 2),
            f"{_TYPE}.Unconfined.seccomp-off": ("seccomp-off", 0),
        }.items()
    ],
)
def test_seccomp_mode(
    clause_id: str, cell: str, permitted: int, cells: Cells, judge: Judge
) -> None:
    seen = _filtered(cells, cell, judge)
    # Filtered without any reason of ours: then whoever runs the runtime has filtered it too.
    if seen and not permitted and cells.observed("privileged").process.seccomp:
        judge.skip(Reason.NEEDS_HOST, "one that is not filtered itself")
    judge.equal(clause_id, seen, permitted, "Seccomp", about=[cells.container(cell).id])


def _filtered(cells: Cells, cell: str, judge: Judge) -> int:
    seen = cells.observed(cell).process.seccomp
    if seen is None:
        judge.skip(Reason.NOT_ADVERTISED, "the kernel shows no Seccomp")
    return seen


@clause(f"{_TYPE}.Localhost.seccomp-applied")
def test_seccomp_profile_of_the_node(cells: Cells, runtime: Runtime, judge: Judge) -> None:
    sandbox = cells.sandbox("plain")
    if not sandbox.config.log_directory:
        judge.skip(Reason.REMOTE, "no profile can be put on the host")
    makes = "mkdir /tmp/$$ && rmdir /tmp/$$"
    if not cells.does("plain", makes):
        judge.skip(Reason.SWITCHED_OFF, "the image of --cri-test-image has no folder /tmp")
    profile = types.SecurityProfile(
        profile_type=types.SecurityProfile.Localhost,
        localhost_ref=str(seccomp_profile(sandbox.config.log_directory)),
    )
    config = cells.config(Cell(Security(seccomp=profile)), sandbox)
    container = runtime.container(sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    said = runtime.exec(container, "/bin/sh", "-c", f"{makes} 2>&1")
    judge.that(
        f"{_TYPE}.Localhost.seccomp-applied",
        said.exit_code != 0,
        permitted="mkdir fails, as the profile forbids it",
        actual="mkdir succeeded",
        about=[container.id],
    )


@clause(f"{_SECURITY}.seccomp.absent", f"{_SECURITY}.seccomp_profile_path.effect")
def test_seccomp_left_open(cells: Cells, judge: Judge) -> None:
    absent = cells.observed("plain").process.seccomp
    judge.record(f"{_SECURITY}.seccomp.absent", f"Seccomp {absent}")
    old = cells.observed("drop-all").process.seccomp
    judge.record(
        f"{_SECURITY}.seccomp_profile_path.effect",
        f"{CELLS['drop-all'].security.seccomp_profile_path}: Seccomp {old}",
    )


# -- AppArmor --------------------------------------------------------------------------------


_CONFINES = f"{_TYPE}.RuntimeDefault.apparmor-confines"
_OFF = f"{_TYPE}.Unconfined.apparmor-off"
_APPLIED = f"{_TYPE}.Localhost.apparmor-applied"


@pytest.mark.parametrize(
    ("clause_id", "kind"),
    [
        pytest.param(_CONFINES, types.SecurityProfile.RuntimeDefault, marks=clause(_CONFINES)),
        pytest.param(_OFF, types.SecurityProfile.Unconfined, marks=clause(_OFF)),
    ],
)
def test_apparmor(
    clause_id: str,
    kind: types.SecurityProfile.ProfileType.ValueType,
    cells: Cells,
    runtime: Runtime,
    judge: Judge,
) -> None:
    _needs_apparmor(cells, judge)
    container, seen = cells.one(runtime, _apparmor(kind))
    off = clause_id == _OFF
    judge.that(
        clause_id,
        (seen.label in ("", "unconfined")) is off,
        permitted="no AppArmor profile" if off else "an AppArmor profile",
        actual=f"label {seen.label!r}",
        about=[container.id],
    )


@clause(_APPLIED)
def test_apparmor_profile_of_the_node(cells: Cells, runtime: Runtime, judge: Judge) -> None:
    _needs_apparmor(cells, judge)
    # The runtime's own profile is loaded, as a container runs under it: it can be named, too.
    _, seen = cells.one(runtime, _apparmor(types.SecurityProfile.RuntimeDefault))
    name = seen.label.partition(" (")[0]
    if name in ("", "unconfined"):
        judge.skip(Reason.NOT_ADVERTISED, "the runtime brings no profile along that is known")
    container, seen = cells.one(runtime, _apparmor(types.SecurityProfile.Localhost, name))
    judge.equal(
        _APPLIED, seen.label.partition(" (")[0], name, "AppArmor profile:", about=[container.id]
    )


@clause(f"{_TYPE}.Localhost.apparmor-missing-refused")
def test_apparmor_profile_that_is_not_there(cells: Cells, judge: Judge) -> None:
    _needs_apparmor(cells, judge)
    cell = _apparmor(types.SecurityProfile.Localhost, f"cri-{secrets.token_hex(8)}")
    judge.refused(f"{_TYPE}.Localhost.apparmor-missing-refused", cells.try_out(cell))


@clause(f"{_SECURITY}.apparmor_profile.effect")
def test_apparmor_in_the_old_notation(cells: Cells, runtime: Runtime, judge: Judge) -> None:
    _needs_apparmor(cells, judge)
    _, seen = cells.one(runtime, Cell(Security(apparmor_profile="unconfined")))
    judge.record(f"{_SECURITY}.apparmor_profile.effect", f"unconfined: label {seen.label!r}")


def _apparmor(kind: types.SecurityProfile.ProfileType.ValueType, ref: str = "") -> Cell:
    return Cell(Security(apparmor=types.SecurityProfile(profile_type=kind, localhost_ref=ref)))


def _needs_apparmor(cells: Cells, judge: Judge) -> None:
    if not cells.observed("plain").apparmor:
        judge.skip(Reason.NEEDS_HARDWARE, "a host with AppArmor")


# -- SELinux ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clause_id", "part"),
    [
        pytest.param(name, part, marks=clause(name), id=name)
        for name, part in ((f"SELinuxOption.{part}.in-label", part) for part in SELINUX)
    ],
)
def test_selinux(clause_id: str, part: str, cells: Cells, runtime: Runtime, judge: Judge) -> None:
    if not cells.observed("plain").selinux:
        judge.skip(Reason.NEEDS_HARDWARE, "a host with SELinux")
    cell = Cell(Security(selinux_options=types.SELinuxOption(**SELINUX)))
    container, seen = cells.one(runtime, cell)
    parts = dict(zip(SELINUX, seen.label.split(":", 3), strict=False))
    judge.equal(
        clause_id, parts.get(part), SELINUX[part], f"{part} of the label:", about=[container.id]
    )
