# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for namespaces, and for settings of the sandbox: they show in containers only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.catalogue.security_context import prints
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, Operator, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter_request,
    edit_request,
    ignore_request,
    set_request,
    together,
)
from cri_conformance.faults.paths import Path

_RUN, _CREATE = "RunPodSandbox", "CreateContainer"
_OF = "config.linux.security_context"
#: Below the config of a sandbox or of a container.
_OPTIONS = "linux.security_context.namespace_options"
_SANDBOX = "LinuxSandboxSecurityContext"
Mode: TypeAlias = "types.NamespaceMode.ValueType"
_isolated = functools.partial(fault, isolated=True)


def _wherever(name: str, path: str, make: Callable[[str, str], Operator]) -> Operator:
    """A fault at each place where a sandbox's and its container's options travel."""
    places = ((_RUN, "config"), (_CREATE, "sandbox_config"), (_CREATE, "config"))
    made = [make(rpc, f"{lead}.{_OPTIONS}.{path}") for rpc, lead in places]
    return together(*made, name=f"{name}-{path}-of-sandbox-and-container")


def _asked_otherwise(path: str, asked: Mode, instead: Mode) -> Operator:
    name = f"ask-for-{types.NamespaceMode.Name(instead)}-instead-of-"
    return _wherever(
        name + types.NamespaceMode.Name(asked),
        path,
        lambda rpc, place: set_request(rpc, place, instead, when=when.requested(place, asked)),
    )


def _of_its_own(kind: str) -> Operator:
    """Whoever looks finds another namespace than anybody before."""
    count = iter(range(1, 1_000_000))
    return prints(f"own-{kind}", rf"^{kind} {kind}:.*", lambda _: f"{kind} {kind}:[{next(count)}]")


_PID = f"config.{_OPTIONS}.pid"


def _pid(mode: Mode) -> When:
    return when.requested(_PID, mode)


_NAMESPACES: list[Fault] = [
    _isolated("NamespaceOption.network.pod-shared", _of_its_own("net")),
    _isolated("NamespaceOption.ipc.pod-shared", _of_its_own("ipc")),
    _isolated(
        "NamespaceOption.network.pod-own",
        together(
            _asked_otherwise("network", types.POD, types.NODE),
            # Who shares the node's network has its name as well.
            ignore_request(_RUN, "config.hostname"),
        ),
    ),
    _isolated("NamespaceOption.ipc.pod-own", _asked_otherwise("ipc", types.POD, types.NODE)),
    _isolated("NamespaceOption.network.node", _asked_otherwise("network", types.NODE, types.POD)),
    _isolated("NamespaceOption.ipc.node", _asked_otherwise("ipc", types.NODE, types.POD)),
    _isolated("NamespaceOption.pid.node", _asked_otherwise("pid", types.NODE, types.CONTAINER)),
    _isolated(
        "NamespaceOption.pid.pod",
        set_request(_CREATE, _PID, types.CONTAINER, when=_pid(types.POD)),
    ),
    _isolated(
        "NamespaceOption.pid.container",
        set_request(_CREATE, _PID, types.POD, when=_pid(types.CONTAINER)),
    ),
    _isolated(
        "NamespaceOption.pid.target",
        set_request(_CREATE, _PID, types.CONTAINER, when=_pid(types.TARGET)),
    ),
    _isolated(
        "NamespaceOption.pid.default-pod",
        set_request(_CREATE, _PID, types.CONTAINER, when=when.missing(f"config.{_OPTIONS}")),
    ),
]


def _mapping() -> types.UserNamespace:
    one = types.IDMapping(container_id=0, host_id=1_400_000_000, length=65536)
    return types.UserNamespace(mode=types.POD, uids=[one], gids=[one])


def _mend(rpc: str, place: str) -> Operator:
    """Ranges that can't be in force are put right instead of refused."""
    path = Path.parse(RPCS[rpc].request, place)

    def impossible(call: Call, memory: Memory) -> bool:
        found = [one.value for one in path.places(call.request)]
        return any(len(ranges) > 1 or not all(one.length for one in ranges) for ranges in found)

    def work(request: Any, call: Call, memory: Memory) -> None:
        for one in path.places(request):
            del one.value[1:]
            one.value[0].length = 65536

    wrong = When("impossible", impossible)
    return edit_request(f"mend-{rpc}.{place}", rpc, f"{rpc} mends {place}", work, when=wrong)


_USER_NAMESPACES: list[Fault] = [
    _isolated(
        "UserNamespace.mode.pod",
        _wherever(
            "ignore-mapped",
            "userns_options",
            lambda rpc, place: ignore_request(rpc, place, when=when.given(f"{place}.uids")),
        ),
    ),
    _isolated(
        "UserNamespace.mode.node",
        _wherever(
            "map-NODE",
            "userns_options",
            lambda rpc, place: set_request(
                rpc, place, _mapping(), when=when.requested(f"{place}.mode", types.NODE)
            ),
        ),
    ),
    *(
        _isolated(
            f"UserNamespace.{field}.mapped",
            _wherever(
                "next",
                f"userns_options.{field}.host_id",
                lambda rpc, place: alter_request(rpc, place, changes.plus(65536)),
            ),
        )
        for field in ("uids", "gids")
    ),
    *(
        _isolated(
            f"UserNamespace.{field}.impossible-refused",
            _wherever("mend", f"userns_options.{field}", _mend),
        )
        for field in ("uids", "gids")
    ),
]

_dressed = when.given("sandbox_config.linux.security_context.run_as_user")
_UNCONFINED = types.SecurityProfile(profile_type=types.SecurityProfile.Unconfined)
_OWN_PROCESS: list[Fault] = [
    _isolated(
        f"{_SANDBOX}.run_as_user.in-force",
        alter_request(_RUN, f"{_OF}.run_as_user.value", changes.plus(7)),
    ),
    _isolated(
        f"{_SANDBOX}.run_as_group.in-force",
        alter_request(_RUN, f"{_OF}.run_as_group.value", changes.plus(7)),
    ),
    _isolated(
        f"{_SANDBOX}.supplemental_groups.in-force",
        ignore_request(_RUN, f"{_OF}.supplemental_groups"),
    ),
    *(
        _isolated(
            f"{_SANDBOX}.seccomp.in-force",
            set_request(
                _RUN,
                f"{_OF}.seccomp",
                instead,
                when=when.requested(f"{_OF}.seccomp.profile_type", asked),
            ),
            name=f"sandbox-seccomp-not-{types.SecurityProfile.ProfileType.Name(asked)}",
        )
        for asked, instead in (
            (types.SecurityProfile.RuntimeDefault, _UNCONFINED),
            (types.SecurityProfile.Unconfined, types.SecurityProfile()),
            (types.SecurityProfile.Localhost, _UNCONFINED),
        )
    ),
    # Some runtimes give every sandbox a read-only root, asked or not.
    _isolated(
        f"{_SANDBOX}.readonly_rootfs.in-force",
        prints("root-writable", r"^(\d+ \d+ \S+ \S+ / )ro\b", r"\1rw"),
    ),
    _isolated(
        f"{_SANDBOX}.not-for-containers",
        set_request(_CREATE, f"{_OF}.run_as_user.value", 54321, when=_dressed),
    ),
    _isolated(
        f"{_SANDBOX}.not-for-containers",
        set_request(_CREATE, f"{_OF}.readonly_rootfs", True, when=_dressed),
    ),
]

FAULTS: list[Fault] = [*_NAMESPACES, *_USER_NAMESPACES, *_OWN_PROCESS]
