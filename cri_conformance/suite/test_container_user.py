# SPDX-License-Identifier: Apache-2.0
"""The user of a container's first process: as the status reports it, and as /proc shows it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.build import messages
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import look
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

_USER = "LinuxContainerUser"


@dataclass(frozen=True, slots=True)
class Who:
    """The identity of one first process: as reported, and as /proc shows it."""

    container: str
    reported: types.LinuxContainerUser | None
    uid: int
    gid: int
    groups: frozenset[int]


@pytest.fixture(scope="module")
def users(module_runtime: Runtime, shared_sandbox: Sandbox) -> list[Who]:
    """First processes of the image's user and, if the runtime can, of one that was asked for."""
    runtime = module_runtime
    asked = types.LinuxContainerSecurityContext(
        run_as_user=types.Int64Value(value=12345),
        run_as_group=types.Int64Value(value=23456),
        supplemental_groups=[34567, 45678],
    )
    found = []
    for more in (types.LinuxContainerSecurityContext(), asked):
        marker = secrets.token_hex(8)
        command = ["/bin/sh", "-c", messages.IDLE, marker]
        config = runtime.container_config(shared_sandbox, command=command)
        config.linux.security_context.MergeFrom(more)
        made = runtime.create(shared_sandbox, config)
        if not isinstance(made, Ok):
            continue  # a runtime without root has no other user to offer
        container = Container(made.response.container_id, config, shared_sandbox)
        runtime.get("StartContainer", container_id=container.id)
        reported = runtime.container_status(container.id).user
        lines = look(runtime, container, marker, "status").decode().splitlines()
        shown = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
        found.append(
            Who(
                container.id,
                reported.linux if reported.HasField("linux") else None,
                int(shown["Uid"][0]),
                int(shown["Gid"][0]),
                frozenset(map(int, shown["Groups"])),
            )
        )
    return found


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        pytest.param(field, shown, marks=clause(f"{_USER}.{field}.first-process"), id=field)
        for field, shown in (("uid", "uid"), ("gid", "gid"), ("supplemental_groups", "groups"))
    ],
)
def test_the_reported_user_is_that_of_the_process(
    field: str, shown: str, users: list[Who], judge: Judge
) -> None:
    if not any(who.reported for who in users):
        judge.skip(Reason.NOT_ADVERTISED, "no user is reported")
    for who in users:
        reported, actual = _identity(who, field), getattr(who, shown)
        # The primary group may stand among the others or not.
        primary = {who.gid} if shown == "groups" else set()
        judge.that(
            f"{_USER}.{field}.first-process",
            reported == actual if not primary else reported | primary == actual | primary,
            permitted=f"{field} {_shown(actual)}, as the process shows",
            actual=_shown(reported),
            about=[who.container],
        )


def _identity(who: Who, field: str) -> Any:
    value = getattr(who.reported, field)
    return frozenset(value) if field == "supplemental_groups" else value


def _shown(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value
