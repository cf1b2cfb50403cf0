# SPDX-License-Identifier: Apache-2.0
"""What must hold between the fields of a message for it to be valid: one named row for each.

A generated message is mended until every row holds. An invalid one is made by spoiling a single
row, so that it is known why it must be refused, and by which clause. A row without a clause is
there because a kubelet never sends it otherwise, or because the host must stay as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api import types

Check = Callable[[Any], bool]
Change = Callable[[Any], object]


@dataclass(frozen=True)
class Constraint:
    """A row about the messages of one type.

    ``mend`` makes it hold in a message where it does not. ``spoil`` makes a valid message break
    it and no other row; None where it is not known what must become of such a message.
    """

    message: str
    name: str
    clause: str
    holds: Check
    mend: Change
    spoil: Change | None = None
    #: The requests that the clause speaks of, where the message is part of others too.
    of: tuple[str, ...] = ()
    #: Whether the refusal may come as late as with StartContainer.
    by_start: bool = False
    #: Whether the refusal may come as late as when the session is opened.
    by_session: bool = False

    @property
    def id(self) -> str:
        """As in ``Mount.rro-readonly``."""
        return f"{self.message}.{self.name}"


def _set(**values: Any) -> Change:
    def change(message: Any) -> None:
        for name, value in values.items():
            message.ClearField(name)
            if isinstance(value, Message):
                getattr(message, name).CopyFrom(value)
            elif isinstance(value, list):
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)

    return change


def _clear(*names: str) -> Change:
    return lambda message: [message.ClearField(name) for name in names]


def _all(*changes: Change) -> Change:
    return lambda message: [change(message) for change in changes]


def _targets(options: Any) -> bool:
    return types.TARGET in (options.network, options.pid, options.ipc)


def _unlike_target(options: Any) -> None:
    for name in ("network", "pid", "ipc"):
        if getattr(options, name) == types.TARGET:
            setattr(options, name, types.POD)


_PRIVATE = types.PROPAGATION_PRIVATE
_LOCALHOST = types.SecurityProfile.Localhost
_CREATE = ("CreateContainerRequest",)
_RUN = ("RunPodSandboxRequest",)


def _container_privileged(request: Any) -> bool:
    return bool(request.config.linux.security_context.privileged)


def _sandbox_privileged(request: Any) -> bool:
    return bool(request.sandbox_config.linux.security_context.privileged)


def _unprivileged(request: Any) -> None:
    request.config.linux.security_context.privileged = False


def _make_privileged(request: Any) -> None:
    request.config.linux.security_context.privileged = True


def _one_each(paths: list[str]) -> bool:
    return len(set(paths)) == len(paths)


def _only_first(name: str, key: str) -> Change:
    def change(message: Any) -> None:
        kept = list({getattr(one, key): one for one in getattr(message, name)}.values())
        message.ClearField(name)
        getattr(message, name).extend(kept)

    return change


def _some_stream(request: Any) -> bool:
    return bool(request.stdin or request.stdout or request.stderr)


def _session(message: str) -> tuple[Constraint, ...]:
    return (
        Constraint(
            message,
            "some-stream",
            f"{message}.no-stream",
            _some_stream,
            _set(stdout=True),
            _set(stdin=False, stdout=False, stderr=False),
            by_session=True,
        ),
        Constraint(
            message,
            "stderr-without-tty",
            f"{message}.stderr.not-with-tty",
            lambda request: not (request.tty and request.stderr),
            _all(_set(stderr=False), _set(stdout=True)),
            _set(tty=True, stderr=True),
            by_session=True,
        ),
    )


#: In the order in which they are mended.
def _group_needs_user(
    message: str, users: tuple[str, ...], of: tuple[str, ...], *, by_start: bool = False
) -> tuple[Constraint, ...]:
    """The group 0 has a row of its own: it is easily taken for none."""

    def row(name: str, group: int) -> Constraint:
        def holds(context: Any) -> bool:
            given = {field.name for field, _ in context.ListFields()}
            return (
                "run_as_group" not in given
                or bool(context.run_as_group.value) != bool(group)
                or not given.isdisjoint(users)
            )

        return Constraint(
            message,
            name,
            f"{message}.run_as_group.without-user-refused",
            holds,
            _clear("run_as_group"),
            _all(_clear(*users), _set(run_as_group=types.Int64Value(value=group))),
            of=of,
            by_start=by_start,
        )

    return (row("group-needs-user", 1), row("group-zero-needs-user", 0))


CONSTRAINTS: tuple[Constraint, ...] = (
    Constraint(
        "Mount",
        "one-source",
        "Mount.host_path.with-image",
        lambda mount: not (mount.HasField("image") and mount.host_path),
        _clear("image", "image_sub_path"),
    ),
    Constraint(
        "Mount",
        "sub-path-of-image",
        "",
        lambda mount: mount.HasField("image") or not mount.image_sub_path,
        _clear("image_sub_path"),
    ),
    Constraint(
        "Mount",
        "rro-readonly",
        "Mount.recursive_read_only.needs-readonly",
        lambda mount: mount.readonly or not mount.recursive_read_only,
        _set(readonly=True),
        _set(recursive_read_only=True, readonly=False, propagation=_PRIVATE),
        of=_CREATE,
        by_start=True,
    ),
    Constraint(
        "Mount",
        "rro-private",
        "Mount.recursive_read_only.needs-private",
        lambda mount: mount.propagation == _PRIVATE or not mount.recursive_read_only,
        _set(propagation=_PRIVATE),
        _set(
            recursive_read_only=True,
            readonly=True,
            propagation=types.PROPAGATION_HOST_TO_CONTAINER,
        ),
        of=_CREATE,
        by_start=True,
    ),
    Constraint(
        "NamespaceOption",
        "target-needs-id",
        "NamespaceMode.TARGET.id-needed",
        lambda options: bool(options.target_id) or not _targets(options),
        _unlike_target,
        _all(_set(pid=types.TARGET), _clear("target_id")),
        of=_CREATE,
        by_start=True,
    ),
    Constraint(
        "NamespaceOption",
        "id-needs-target",
        "",
        lambda options: _targets(options) or not options.target_id,
        _clear("target_id"),
    ),
    Constraint(
        "SecurityProfile",
        "ref-with-localhost",
        "SecurityProfile.localhost_ref.without-localhost",
        lambda profile: bool(profile.localhost_ref) == (profile.profile_type == _LOCALHOST),
        _all(_clear("localhost_ref"), _set(profile_type=types.SecurityProfile.RuntimeDefault)),
    ),
    Constraint(
        "SecurityProfile",
        "absolute-path",
        "SecurityProfile.ProfileType.Localhost.absolute-path",
        lambda profile: not profile.localhost_ref or profile.localhost_ref.startswith("/"),
        _all(_clear("localhost_ref"), _set(profile_type=types.SecurityProfile.RuntimeDefault)),
        _set(profile_type=_LOCALHOST, localhost_ref="no-absolute/path"),
        of=_CREATE,
        by_start=True,
    ),
    *_group_needs_user("LinuxSandboxSecurityContext", ("run_as_user",), _RUN),
    Constraint(
        "LinuxContainerSecurityContext",
        "user-or-name",
        "LinuxContainerSecurityContext.run_as_user.with-username",
        lambda context: not (context.HasField("run_as_user") and context.run_as_username),
        _clear("run_as_username"),
    ),
    *_group_needs_user(
        "LinuxContainerSecurityContext",
        ("run_as_user", "run_as_username"),
        _CREATE,
        by_start=True,
    ),
    Constraint(
        "LinuxContainerSecurityContext",
        "known-name",
        "LinuxContainerSecurityContext.run_as_username.unknown-refused",
        lambda context: context.run_as_username in ("", "root", "nobody"),
        _clear("run_as_username"),
        _all(_clear("run_as_user"), _set(run_as_username="no-such-user")),
        of=_CREATE,
        by_start=True,
    ),
    Constraint(
        "LinuxContainerSecurityContext",
        "paths-as-usual-if-privileged",
        "",
        lambda context: (
            not context.privileged or not (context.masked_paths or context.readonly_paths)
        ),
        _clear("masked_paths", "readonly_paths"),
    ),
    Constraint(
        "PodSandboxConfig",
        "no-hostname-on-node-network",
        "PodSandboxConfig.hostname.empty-on-node-network",
        lambda config: (
            config.linux.security_context.namespace_options.network != types.NODE
            or not config.hostname
        ),
        _clear("hostname"),
    ),
    # A sysctl of a namespace that is the host's is the host's.
    Constraint(
        "LinuxPodSandboxConfig",
        "sysctls-of-own-namespaces",
        "",
        lambda config: (
            not config.sysctls
            or types.NODE
            not in (
                config.security_context.namespace_options.network,
                config.security_context.namespace_options.ipc,
            )
        ),
        _clear("sysctls"),
    ),
    Constraint(
        "PodSandboxConfig",
        "ports-of-own-network",
        "",
        lambda config: (
            not config.port_mappings
            or config.linux.security_context.namespace_options.network != types.NODE
        ),
        _clear("port_mappings"),
    ),
    Constraint(
        "ContainerConfig",
        "mounts-apart",
        "",
        lambda config: _one_each([mount.container_path for mount in config.mounts]),
        _only_first("mounts", "container_path"),
    ),
    Constraint(
        "ContainerConfig",
        "variables-apart",
        "",
        lambda config: _one_each([one.key for one in config.envs]),
        _only_first("envs", "key"),
    ),
    Constraint(
        "ContainerConfig",
        "once-needs-stdin",
        "",
        lambda config: config.stdin or not config.stdin_once,
        _clear("stdin_once"),
    ),
    Constraint(
        "LinuxContainerResources",
        "quota-needs-period",
        "",
        lambda resources: resources.cpu_period > 0 or resources.cpu_quota <= 0,
        _set(cpu_period=100_000),
    ),
    Constraint(
        "CreateContainerRequest",
        "privileged-in-privileged",
        "LinuxSandboxSecurityContext.privileged.needed-for-privileged",
        lambda request: _sandbox_privileged(request) or not _container_privileged(request),
        _unprivileged,
        _make_privileged,
        by_start=True,
    ),
    *_session("ExecRequest"),
    *_session("AttachRequest"),
    Constraint(
        "CheckpointPodRequest",
        "some-containers",
        "CheckpointPodRequest.container_ids.empty-error",
        lambda request: bool(request.container_ids),
        lambda request: request.container_ids.append("f" * 64),
        _clear("container_ids"),
    ),
    Constraint(
        "CheckpointPodRequest",
        "absolute-path",
        "CheckpointPodRequest.output_path.relative-error",
        lambda request: request.output_path.startswith("/"),
        _set(output_path="/no/such/folder"),
        _set(output_path="relative"),
    ),
    Constraint(
        "RestorePodRequest",
        "some-containers",
        "RestorePodRequest.container_configs.empty-error",
        lambda request: bool(request.container_configs),
        lambda request: request.container_configs.add(
            metadata=types.ContainerMetadata(name="restored")
        ),
        _clear("container_configs"),
    ),
)


def applying(message: Message) -> Iterator[tuple[str, Constraint, Any]]:
    """(path, row, part) for every row that speaks of a message or of a part of it.

    Parts come before what they are part of, so that mending in this order is enough.
    """
    for path, part in parts(message):
        for row in CONSTRAINTS:
            if row.message == part.DESCRIPTOR.name:
                yield path, row, part


def parts(message: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """A message and all that is set in it, the innermost first."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        below = f"{path}.{field.name}" if path else field.name
        several = list(value) if field.is_repeated else [value]
        for number, one in enumerate(several):
            yield from parts(one, f"{below}[{number}]" if field.is_repeated else below)
    yield path, message


def broken(message: Message) -> list[str]:
    """The rows that do not hold, as in ``config.mounts[0]: Mount.rro-readonly``."""
    return [f"{path}: {row.id}" for path, row, part in applying(message) if not row.holds(part)]


def mend(message: Any) -> Any:
    """The same message, in which every row holds."""
    for _, row, part in list(applying(message)):
        if not row.holds(part):
            row.mend(part)
    return message
