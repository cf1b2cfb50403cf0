# SPDX-License-Identifier: Apache-2.0
"""Whom a container runs as: user, group and further groups of its first process.

Users that have a name are those of an image made for the purpose.
"""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.build import messages
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.cells import (
    CELLS,
    GID,
    GROUPS,
    UID,
    Cell,
    Cells,
    Security,
    marked,
    observe,
    run,
)
from cri_conformance.suite.images import NAMED_GID, NAMED_GROUP, NAMED_UID, NAMED_USER
from cri_conformance.target import Target
from cri_conformance.wire.outcome import Ok, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, poll

_SECURITY = "LinuxContainerSecurityContext"


@pytest.mark.parametrize(
    ("clause_id", "cell", "what", "permitted"),
    [
        pytest.param(f"{_SECURITY}.{name}", *row, marks=clause(f"{_SECURITY}.{name}"), id=name)
        for name, row in {
            "run_as_user.in-force": ("listed-user", "uid", 65534),
            "run_as_user.zero-is-root": ("zero", "uid", 0),
            "run_as_user.unlisted": ("numbers", "uid", UID),
            "run_as_group.in-force": ("numbers", "gid", GID),
            "run_as_group.with-username": ("name-and-group", "gid", GID),
        }.items()
    ],
)
def test_ids_are_those_asked_for(
    clause_id: str, cell: str, what: str, permitted: int, cells: Cells, judge: Judge
) -> None:
    seen = getattr(cells.observed(cell).process, what)
    about = [cells.container(cell).id]
    judge.equal(clause_id, seen, permitted, f"{what} of the first process:", about=about)


@clause(f"{_SECURITY}.supplemental_groups.in-force")
def test_further_groups(cells: Cells, judge: Judge) -> None:
    seen = cells.observed("numbers").process.groups
    judge.that(
        f"{_SECURITY}.supplemental_groups.in-force",
        seen.issuperset(GROUPS),
        permitted=f"groups with {sorted(GROUPS)} among them",
        actual=sorted(seen),
        about=[cells.container("numbers").id],
    )


@clause(f"{_SECURITY}.supplemental_groups.primary-included")
def test_primary_group_among_the_further(cells: Cells, judge: Judge) -> None:
    seen = cells.observed("numbers").process.groups
    judge.that(
        f"{_SECURITY}.supplemental_groups.primary-included",
        GID in seen,
        permitted=f"groups with the primary one, {GID}, among them",
        actual=sorted(seen),
        about=[cells.container("numbers").id],
    )


@clause(f"{_SECURITY}.run_as_user.no-other-users")
def test_home_adds_no_user(cells: Cells, runtime: Runtime, judge: Judge) -> None:
    usual = _lines(cells.said("plain", "cat /etc/passwd")[1])
    sandbox = cells.sandbox("plain")
    config = cells.config(Cell(Security(run_as_user=types.Int64Value(value=UID))), sandbox)
    home = b"/\ncri-conformance:x:0:0::/:/bin/sh"
    config.envs.append(types.KeyValue(key="HOME", value=home))
    created = runtime.create(sandbox, config)
    if not isinstance(created, Ok):
        judge.that(  # refused, and so nothing was added
            f"{_SECURITY}.run_as_user.no-other-users", True, permitted="", actual=created
        )
        return
    container = Container(created.response.container_id, config, sandbox)
    runtime.get("StartContainer", container_id=container.id)
    added = _lines(run(runtime, container, "cat /etc/passwd")[1]) - usual
    judge.that(
        f"{_SECURITY}.run_as_user.no-other-users",
        all(line.split(":")[2:3] == [str(UID)] for line in added),
        permitted=f"no line in /etc/passwd but one of {UID} that the image's has not",
        actual=sorted(added),
        about=[container.id],
    )


def _lines(text: str) -> set[str]:
    return {line for line in text.splitlines() if line}


# -- what must not come to run --------------------------------------------------------------


@clause(f"{_SECURITY}.run_as_group.without-user-refused")
def test_group_without_user(cells: Cells, judge: Judge) -> None:
    security = Security(run_as_group=types.Int64Value(value=GID))
    judge.refused(f"{_SECURITY}.run_as_group.without-user-refused", cells.try_out(Cell(security)))


@clause(f"{_SECURITY}.run_as_username.unknown-refused")
def test_user_that_the_image_does_not_know(cells: Cells, judge: Judge) -> None:
    security = Security(run_as_username=f"cri-{secrets.token_hex(4)}")
    judge.refused(f"{_SECURITY}.run_as_username.unknown-refused", cells.try_out(Cell(security)))


# -- what the image knows --------------------------------------------------------------------


@clause(f"{_SECURITY}.run_as_username.resolved")
def test_user_name(cells: Cells, judge: Judge) -> None:
    judge.equal(
        f"{_SECURITY}.run_as_username.resolved",
        cells.observed("name").process.uid,
        NAMED_UID,
        f"uid of {NAMED_USER}:",
        about=[cells.container("name").id],
    )


@pytest.mark.parametrize(
    ("clause_id", "cell"),
    [
        pytest.param(name, cell, marks=clause(name), id=name)
        for name, cell in {
            f"{_SECURITY}.supplemental_groups_policy.default-merge": "name",
            "SupplementalGroupsPolicy.Merge.with-image-groups": "merge",
        }.items()
    ],
)
def test_groups_of_the_image(clause_id: str, cell: str, cells: Cells, judge: Judge) -> None:
    groups = {NAMED_GROUP, *CELLS[cell].security.supplemental_groups}
    seen = cells.observed(cell).process.groups
    judge.that(
        clause_id,
        seen >= groups,
        permitted=f"groups with {sorted(groups)} among them",
        actual=sorted(seen),
        about=[cells.container(cell).id],
    )


@clause("SupplementalGroupsPolicy.Strict.request-groups-only")
def test_no_groups_of_the_image(cells: Cells, cri_target: Target, judge: Judge) -> None:
    features: dict[str, Any] = cri_target.facts.status.get("features") or {}
    if not features.get("supplemental_groups_policy"):
        judge.skip(Reason.NOT_ADVERTISED, "Status.features.supplemental_groups_policy")
    seen = cells.observed("strict").process.groups
    judge.that(
        "SupplementalGroupsPolicy.Strict.request-groups-only",
        # The primary group may stand among the others or not.
        seen | {NAMED_GID} == {NAMED_GID, *GROUPS},
        permitted=f"the groups {sorted(GROUPS)}, and no others but the primary one",
        actual=sorted(seen),
        about=[cells.container("strict").id],
    )


# -- as reported -----------------------------------------------------------------------------


#: In every distribution's /etc/passwd.
_OTHER = "nobody"


@clause("LinuxContainerUser.initial-identity")
def test_the_reported_user_stays(cells: Cells, runtime: Runtime, judge: Judge) -> None:
    """The first process becomes somebody else; what is reported is whom it began as."""
    config = marked(runtime, cells.sandbox("plain"), Security())
    become = f'exec su -s /bin/sh {_OTHER} -c "$1 # $2"'
    config.command[:] = ["/bin/sh", "-c", become, "sh", messages.IDLE, config.command[-1]]
    container = runtime.container(cells.sandbox("plain"), config)
    runtime.get("StartContainer", container_id=container.id)
    began = cells.observed("plain").process
    try:
        poll(
            lambda: observe(runtime, container).process.uid,
            lambda uid: uid != began.uid,
            5.0,
            f"su to become {_OTHER}",
        )
    except SetupFailed:
        judge.skip(Reason.SWITCHED_OFF, "the image of --cri-test-image has no su that execs")
    user = runtime.container_status(container.id).user
    if not user.HasField("linux"):
        judge.skip(Reason.NOT_ADVERTISED, "no user is reported")
    judge.equal(
        "LinuxContainerUser.initial-identity",
        (user.linux.uid, user.linux.gid),
        (began.uid, began.gid),
        "uid and gid reported after the first process changed its own:",
        about=[container.id],
    )


# -- where the text is open --------------------------------------------------------------------


@clause(f"{_SECURITY}.run_as_user.with-username")
def test_user_id_and_user_name(cells: Cells, judge: Judge) -> None:
    security = Security(run_as_user=types.Int64Value(value=UID), run_as_username=NAMED_USER)
    outcome = cells.try_out(Cell(security, image="named_user"))
    judge.record(f"{_SECURITY}.run_as_user.with-username", f"both at once: {outcome}")


@clause(f"{_SECURITY}.supplemental_groups_policy.unknown-value")
def test_policy_that_there_is_not(cells: Cells, judge: Judge) -> None:
    # An open enum on the wire: any number can be sent.
    security = Security.FromString(b"\x88\x01\x07")
    outcome = cells.try_out(Cell(security))
    judge.record(f"{_SECURITY}.supplemental_groups_policy.unknown-value", f"policy 7: {outcome}")
