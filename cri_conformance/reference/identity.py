# SPDX-License-Identifier: Apache-2.0
"""As whom a container runs. The image's /etc/passwd and /etc/group are the host's."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from cri_conformance.api import types
from cri_conformance.api.status import StatusError

#: Largest id that names a user or group; the one above means "no change" to the kernel.
LARGEST_ID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class Identity:
    """Numeric user, group and supplementary groups of a process."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def switch(self) -> bool:
        """Whether it differs from the runtime's own, so that only root can take it on."""
        own = (os.geteuid(), os.getegid(), set(os.getgroups()) - {os.getegid()})
        return own != (self.uid, self.gid, set(self.groups) - {self.gid})


def of(security: types.LinuxContainerSecurityContext, image_user: str = "") -> Identity:
    """The identity that a container asks for, or else its image, as in ``user:group``.

    Raises StatusError: INVALID_ARGUMENT for what can't be, FAILED_PRECONDITION where only
    root could become that user.
    """
    uid, gid, name = _user(_with_default(security, image_user))
    if uid == os.geteuid() and gid == os.getegid():
        groups = set(os.getgroups())
    else:
        groups = set(os.getgrouplist(name, gid)) if name else set()
    if security.supplemental_groups_policy == types.Strict:
        groups = set()
    groups.update(_id("supplemental_groups", group) for group in security.supplemental_groups)
    identity = Identity(uid, gid, tuple(sorted(groups)))
    if identity.switch and os.geteuid() != 0:
        raise StatusError(
            "FAILED_PRECONDITION",
            f"this runtime does not run as root and can't start a process as {identity}",
        )
    return identity


def _with_default(
    security: types.LinuxContainerSecurityContext, image_user: str
) -> types.LinuxContainerSecurityContext:
    """What is asked for, and where that names no user the image's."""
    user, _, group = image_user.partition(":")
    if not user or security.HasField("run_as_user") or security.run_as_username:
        return security
    # A group without a user is refused, whatever the image says.
    if security.HasField("run_as_group"):
        return security
    found = types.LinuxContainerSecurityContext()
    found.CopyFrom(security)
    if user.isdecimal():
        found.run_as_user.value = int(user)
    else:
        found.run_as_username = user
    if group:
        try:
            number = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise StatusError("INVALID_ARGUMENT", f"the image has no group {group!r}") from None
        found.run_as_group.value = number
    return found


def _user(security: types.LinuxContainerSecurityContext) -> tuple[int, int, str]:
    """(uid, gid, name or "")."""
    by_id, by_name = security.HasField("run_as_user"), security.run_as_username
    if by_id and by_name:
        raise StatusError("INVALID_ARGUMENT", "both run_as_user and run_as_username are set")
    group = _id("run_as_group", security.run_as_group.value)
    if security.HasField("run_as_group") and not by_id and not by_name:
        raise StatusError("INVALID_ARGUMENT", "run_as_group is set, and no user")
    uid = _id("run_as_user", security.run_as_user.value) if by_id else os.geteuid()
    try:
        entry = pwd.getpwnam(by_name) if by_name else pwd.getpwuid(uid)
    except (KeyError, ValueError):
        if by_name:
            raise StatusError("INVALID_ARGUMENT", f"the image has no user {by_name!r}") from None
        # A user that nobody listed has the group 0, as with other runtimes.
        entry = None
    if not by_id and not by_name:
        return uid, os.getegid(), entry.pw_name if entry else ""
    if not security.HasField("run_as_group"):
        group = entry.pw_gid if entry else 0
    return (entry.pw_uid if entry else uid), group, entry.pw_name if entry else ""


def _id(what: str, number: int) -> int:
    if not 0 <= number <= LARGEST_ID:
        raise StatusError("INVALID_ARGUMENT", f"{what} {number} is not a user or group id")
    return number
