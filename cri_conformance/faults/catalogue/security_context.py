# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for the security context of containers: users, capabilities, paths, profiles.

All of them show only where containers are isolated. Most keep a part of the request from
the runtime. What no runtime at hand can be made to do, what a container prints of its own
/proc is changed on the way: for a client that is the same.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, Operator, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter,
    alter_request,
    edit_request,
    ignore_request,
    set_request,
    set_value,
    side_effect,
    together,
)

_CREATE = "CreateContainer"
_OF = "config.linux.security_context"
_SECURITY = "LinuxContainerSecurityContext"
_TYPE = "SecurityProfile.ProfileType"
_isolated = functools.partial(fault, isolated=True)

_named = when.given(f"{_OF}.run_as_username")
_numbered = when.given(f"{_OF}.run_as_user")


def prints(name: str, pattern: str, instead: str | Callable[[re.Match[str]], str]) -> Operator:
    """What commands print, falsified: each match of a pattern (of whole lines) put otherwise."""
    expression = re.compile(pattern, re.MULTILINE)

    def change(output: bytes) -> bytes:
        return expression.sub(instead, output.decode(errors="surrogateescape")).encode(
            errors="surrogateescape"
        )

    return alter("ExecSync", "stdout", Change(name, change))


def _unknown_user(call: Call, memory: Memory) -> bool:
    name: str = call.request.config.linux.security_context.run_as_username
    return bool(name) and name not in ("root", "daemon", "oddly")


def _mask_instead(request: Any, call: Call, memory: Memory) -> None:
    security = request.config.linux.security_context
    # Not below /proc, without which nothing runs at all.
    security.masked_paths.extend(p for p in security.readonly_paths if not p.startswith("/proc"))
    security.ClearField("readonly_paths")


def _to_root(call: Call, response: Any, memory: Memory) -> Any:
    # In each container another, as it would be with each container's own HOME.
    line = "echo $(cat /proc/sys/kernel/random/uuid):x:0:0::/:/bin/sh >> /etc/passwd"
    return types.ExecSyncRequest(
        container_id=call.request.container_id, cmd=["/bin/sh", "-c", line], timeout=5
    )


_USERS: list[Fault] = [
    _isolated(
        f"{_SECURITY}.run_as_user.in-force",
        alter_request(_CREATE, f"{_OF}.run_as_user.value", changes.plus(1)),
    ),
    _isolated(
        f"{_SECURITY}.run_as_user.zero-is-root",
        ignore_request(
            _CREATE, f"{_OF}.run_as_user", when=when.requested(f"{_OF}.run_as_user.value", 0)
        ),
    ),
    _isolated(
        f"{_SECURITY}.run_as_user.unlisted",
        set_request(
            _CREATE,
            f"{_OF}.run_as_user.value",
            65534,
            when=when.requested(f"{_OF}.run_as_user.value", 12345),
        ),
    ),
    _isolated(
        f"{_SECURITY}.run_as_group.in-force",
        alter_request(_CREATE, f"{_OF}.run_as_group.value", changes.plus(1)),
    ),
    _isolated(
        f"{_SECURITY}.run_as_group.with-username",
        ignore_request(_CREATE, f"{_OF}.run_as_group", when=_named),
    ),
    _isolated(
        f"{_SECURITY}.run_as_group.without-user-refused",
        ignore_request(
            _CREATE,
            f"{_OF}.run_as_group",
            when=When("without-user", lambda c, m: not (_named | _numbered)(c, m)),
        ),
    ),
    _isolated(
        f"{_SECURITY}.run_as_username.resolved",
        set_request(
            _CREATE,
            f"{_OF}.run_as_username",
            "daemon",
            when=when.requested(f"{_OF}.run_as_username", "oddly"),
        ),
    ),
    _isolated(
        f"{_SECURITY}.run_as_username.unknown-refused",
        ignore_request(_CREATE, f"{_OF}.run_as_username", when=When("unknown-user", _unknown_user)),
    ),
    _isolated(
        f"{_SECURITY}.supplemental_groups.in-force",
        alter_request(_CREATE, f"{_OF}.supplemental_groups", changes.drop_first),
    ),
    _isolated(
        f"{_SECURITY}.supplemental_groups.primary-included",
        prints("without-primary-group", r"^(Groups:.*)\b23456\b", r"\1"),
    ),
    _isolated(
        (
            f"{_SECURITY}.supplemental_groups_policy.default-merge",
            "SupplementalGroupsPolicy.Merge.with-image-groups",
        ),
        set_request(_CREATE, f"{_OF}.supplemental_groups_policy", types.Strict),
    ),
    _isolated(
        "SupplementalGroupsPolicy.Strict.request-groups-only",
        ignore_request(_CREATE, f"{_OF}.supplemental_groups_policy"),
    ),
    _isolated(
        "LinuxContainerUser.initial-identity",
        set_value("ContainerStatus", "status.user.linux.uid", 65534),
    ),
    _isolated(
        f"{_SECURITY}.run_as_user.no-other-users",
        together(
            # Only root can add the line; what runs is asked for the same user all the same.
            ignore_request(_CREATE, f"{_OF}.run_as_user", when=when.given("config.envs")),
            side_effect("StartContainer", "ExecSync", _to_root),
        ),
    ),
]

_CAPABILITIES: list[Fault] = [
    _isolated(
        [f"Capability.add_capabilities.{name}" for name in ("effective", "permitted", "bounding")],
        alter_request(_CREATE, f"{_OF}.capabilities.add_capabilities", changes.drop_first),
    ),
    _isolated(
        "Capability.add_capabilities.not-ambient",
        prints(
            "effective-as-ambient", r"^(CapEff:\s*)(\w+)((?:\n.*)*?\nCapAmb:\s*)\w+", r"\1\2\3\2"
        ),
    ),
    _isolated(
        [f"Capability.drop_capabilities.{name}" for name in ("dropped", "from-all-sets")],
        ignore_request(_CREATE, f"{_OF}.capabilities.drop_capabilities"),
    ),
    _isolated(
        [
            f"Capability.add_ambient_capabilities.{name}"
            for name in ("ambient", "other-sets", "in-both-lists")
        ],
        ignore_request(_CREATE, f"{_OF}.capabilities.add_ambient_capabilities"),
    ),
]

_FILES: list[Fault] = [
    _isolated(
        f"{_SECURITY}.readonly_rootfs.in-force", ignore_request(_CREATE, f"{_OF}.readonly_rootfs")
    ),
    _isolated(
        f"{_SECURITY}.readonly_rootfs.unset-writable",
        set_request(_CREATE, f"{_OF}.readonly_rootfs", True),
    ),
    _isolated(f"{_SECURITY}.no_new_privs.in-force", ignore_request(_CREATE, f"{_OF}.no_new_privs")),
    _isolated(f"{_SECURITY}.no_new_privs.unset", set_request(_CREATE, f"{_OF}.no_new_privs", True)),
    _isolated(f"{_SECURITY}.masked_paths.hidden", ignore_request(_CREATE, f"{_OF}.masked_paths")),
    _isolated(
        f"{_SECURITY}.masked_paths.hidden",
        alter_request(_CREATE, f"{_OF}.masked_paths", changes.drop_last),
    ),
    _isolated(
        f"{_SECURITY}.masked_paths.empty-hides-nothing",
        set_request(
            _CREATE,
            f"{_OF}.masked_paths",
            ["/proc/kcore", "/proc/keys"],
            when=when.missing(f"{_OF}.masked_paths"),
        ),
    ),
    _isolated(
        f"{_SECURITY}.readonly_paths.not-writable",
        ignore_request(_CREATE, f"{_OF}.readonly_paths"),
    ),
    _isolated(
        f"{_SECURITY}.readonly_paths.still-readable",
        edit_request(
            "mask-what-is-readonly", _CREATE, "masks what is to be read-only", _mask_instead
        ),
    ),
    _isolated(
        f"{_SECURITY}.readonly_paths.empty-restricts-nothing",
        set_request(
            _CREATE,
            f"{_OF}.readonly_paths",
            ["/proc/sys"],
            when=when.missing(f"{_OF}.readonly_paths"),
        ),
    ),
]

_allowed = when.given("sandbox_config.linux.security_context.privileged")
_PRIVILEGED: list[Fault] = [
    _isolated(
        [
            f"{_SECURITY}.privileged.{name}"
            for name in (
                "all-capabilities",
                "nothing-masked",
                "proc-and-sys-writable",
                "no-seccomp",
                "any-device",
                "host-devices",
            )
        ],
        ignore_request(_CREATE, f"{_OF}.privileged", when=_allowed),
    ),
    _isolated(
        "LinuxSandboxSecurityContext.privileged.not-inherited",
        set_request(
            _CREATE,
            f"{_OF}.privileged",
            True,
            when=_allowed,
        ),
    ),
]

_PROFILES: list[Fault] = [
    _isolated(
        f"{_TYPE}.RuntimeDefault.seccomp-filters",
        ignore_request(
            _CREATE,
            f"{_OF}.seccomp",
            when=when.requested(
                f"{_OF}.seccomp.profile_type", types.SecurityProfile.RuntimeDefault
            ),
        ),
    ),
    _isolated(
        f"{_TYPE}.Unconfined.seccomp-off",
        set_request(
            _CREATE,
            f"{_OF}.seccomp.profile_type",
            types.SecurityProfile.RuntimeDefault,
            when=when.requested(f"{_OF}.seccomp.profile_type", types.SecurityProfile.Unconfined),
        ),
    ),
    _isolated(
        f"{_TYPE}.Localhost.seccomp-applied",
        ignore_request(
            _CREATE,
            f"{_OF}.seccomp",
            when=when.requested(f"{_OF}.seccomp.profile_type", types.SecurityProfile.Localhost),
        ),
    ),
]

# -- hosts with a security module --------------------------------------------------------------


def _shows(module: str, label: str) -> Operator:
    """A host with a security module, under which all processes have this label.

    Such a host is rare where this is tried: so it is made up, and the profile asked for kept
    from a runtime that would refuse it.
    """
    count = iter(range(1_000_000))
    there = {
        "apparmor": (r"^@apparmor\n.*", "@apparmor\nY"),
        "selinux": (r"^@filesystems$", "@filesystems\nselinuxfs"),
    }[module]
    return together(
        ignore_request(_CREATE, f"{_OF}.{_ASKED[module]}"),
        prints(f"host-with-{module}", *there),
        prints(
            f"label-{label}",
            r"^@(init-)?label\n.*",
            lambda found: f"@{found[1] or ''}label\n{label.format(n=next(count))}",
        ),
    )


_ASKED = {"apparmor": "apparmor", "selinux": "selinux_options"}
_MODULES: list[Fault] = [
    _isolated(f"{_TYPE}.RuntimeDefault.apparmor-confines", _shows("apparmor", "unconfined")),
    _isolated(
        (
            f"{_TYPE}.Unconfined.apparmor-off",
            f"{_TYPE}.Localhost.apparmor-missing-refused",
            f"{_SECURITY}.privileged.no-apparmor",
            "LinuxSandboxSecurityContext.apparmor.in-force",
        ),
        _shows("apparmor", "cri-default_(enforce)"),
    ),
    _isolated(f"{_TYPE}.Localhost.apparmor-applied", _shows("apparmor", "number-{n}_(enforce)")),
    _isolated(
        (
            *(f"SELinuxOption.{part}.in-label" for part in ("user", "role", "type", "level")),
            f"{_SECURITY}.privileged.no-selinux",
            "LinuxSandboxSecurityContext.selinux_options.in-force",
        ),
        _shows("selinux", "user_u:user_r:user_t:s0"),
    ),
]

FAULTS: list[Fault] = [*_USERS, *_CAPABILITIES, *_FILES, *_PRIVILEGED, *_PROFILES, *_MODULES]
