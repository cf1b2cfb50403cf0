# SPDX-License-Identifier: Apache-2.0
"""What is refused before anything is done.

Refused is what the contract says must be an error, and what could not mean anything:
a value outside its enum, a path that is no path, a profile without a name. What only
needs isolation to take effect is accepted.

All functions raise StatusError, with INVALID_ARGUMENT where nothing else is said.
"""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import identity
from cri_conformance.reference.image import Image

_OLD_SECCOMP = ("", "runtime/default", "docker/default", "unconfined")
_OLD_APPARMOR = ("", "runtime/default", "unconfined")
_LOCALHOST = "localhost/"
_LARGEST_PORT = 65535


def invalid(message: str) -> NoReturn:
    """Refuse the request as one that can't be right."""
    raise StatusError("INVALID_ARGUMENT", message)


def object_id(what: str, given: str) -> str:
    """An id of a request, which must not be empty."""
    if not given:
        invalid(f"{what} is empty")
    return given


def sandbox(config: types.PodSandboxConfig) -> None:
    """The config of RunPodSandbox."""
    metadata = config.metadata
    for name, value in (
        ("name", metadata.name),
        ("namespace", metadata.namespace),
        ("uid", metadata.uid),
    ):
        if not value:
            invalid(f"config.metadata.{name} is empty")
    _host_path("log_directory", config.log_directory, may_be_empty=True)
    for mapping in config.port_mappings:
        _port_mapping(mapping)
    security = config.linux.security_context
    if security.HasField("run_as_group") and not security.HasField("run_as_user"):
        invalid("the sandbox has run_as_group without run_as_user")
    for number in (security.run_as_user.value, security.run_as_group.value):
        if not 0 <= number <= identity.LARGEST_ID:
            invalid(f"{number} is not a user or group id")
    _groups(security.supplemental_groups, security.supplemental_groups_policy)
    options = security.namespace_options
    for mode in _modes(options):
        if mode == types.TARGET:
            invalid("a sandbox has no other container whose namespace it could share")
    if options.userns_options.mode not in (types.POD, types.NODE):
        invalid("a user namespace has the mode POD or NODE")
    if options.userns_options.uids or options.userns_options.gids:
        # To take them would be to run as the host's users, which is what they are to prevent.
        raise StatusError("FAILED_PRECONDITION", "this runtime has no user namespaces")
    _profiles(security.seccomp, security.apparmor)
    _old_profile("seccomp_profile_path", security.seccomp_profile_path, _OLD_SECCOMP)


def container(
    config: types.ContainerConfig,
    sandbox_config: types.PodSandboxConfig,
    siblings: Mapping[str, types.ContainerConfig],
    image_of: Callable[[types.ImageSpec], Image],
) -> None:
    """The config of CreateContainer; ``siblings`` are those of the sandbox, by container id.

    An image that is to be mounted and is not there is NOT_FOUND.
    """
    if not config.metadata.name:
        invalid("config.metadata.name is empty")
    for word in (*config.command, *config.args):
        if "\0" in word:
            invalid("a word of the command has a NUL byte in it")
    for variable in config.envs:
        if not variable.key or "=" in variable.key or "\0" in variable.key:
            invalid(f"{variable.key!r} is no name of an environment variable")
        if b"\0" in variable.value:
            invalid(f"the environment variable {variable.key} has a NUL byte in it")
    _host_path("working_dir", config.working_dir, may_be_empty=True)
    _log_path(config.log_path)
    for mount in config.mounts:
        _mount(mount, image_of)
    for device in config.devices:
        _device(device)
    if config.CDI_devices:
        raise StatusError(
            "FAILED_PRECONDITION", f"there is no CDI device {config.CDI_devices[0].name!r}"
        )
    _known(types.Signal, config.stop_signal)
    security = config.linux.security_context
    if security.privileged and not sandbox_config.linux.security_context.privileged:
        invalid("a privileged container needs a sandbox that was run as privileged")
    _groups(security.supplemental_groups, security.supplemental_groups_policy)
    _namespaces(security.namespace_options, siblings)
    _profiles(security.seccomp, security.apparmor)
    _old_profile("seccomp_profile_path", security.seccomp_profile_path, _OLD_SECCOMP)
    _old_profile("apparmor_profile", security.apparmor_profile, _OLD_APPARMOR)


# Any, as the stubs have no type that all enums of the contract share.
def _known(enum: Any, number: int) -> None:
    try:
        enum.Name(number)
    except ValueError:
        invalid(f"{number} is no {enum.DESCRIPTOR.name}")


def _host_path(what: str, path: str, *, may_be_empty: bool = False) -> None:
    if not path and may_be_empty:
        return
    if not path.startswith("/") or "\0" in path:
        invalid(f"{what} is not an absolute path: {path!r}")


def _log_path(path: str) -> None:
    """It must stay below the log directory: the file is made with the runtime's rights."""
    normal = posixpath.normpath(path)
    if path and (normal.startswith(("/", "../")) or normal in (".", "..") or "\0" in path):
        invalid(f"log_path does not lead to a file below the log directory: {path!r}")


def _port_mapping(mapping: types.PortMapping) -> None:
    _known(types.Protocol, mapping.protocol)
    for port in (mapping.host_port, mapping.container_port):
        if not 0 <= port <= _LARGEST_PORT:
            invalid(f"{port} is not a port")
    if mapping.host_ip:
        try:
            ipaddress.ip_address(mapping.host_ip)
        except ValueError:
            invalid(f"host_ip is not an address: {mapping.host_ip!r}")


def _mount(mount: types.Mount, image_of: Callable[[types.ImageSpec], Image]) -> None:
    _host_path("container_path", mount.container_path)
    _known(types.MountPropagation, mount.propagation)
    if mount.recursive_read_only and not mount.readonly:
        invalid(f"{mount.container_path}: recursive_read_only needs readonly")
    if mount.recursive_read_only and mount.propagation != types.PROPAGATION_PRIVATE:
        invalid(f"{mount.container_path}: recursive_read_only needs PROPAGATION_PRIVATE")
    if mount.mount_options:
        # Not advertised, and a mount without them would be less than was asked for.
        raise StatusError("FAILED_PRECONDITION", "this runtime has no options of mounts")
    if not mount.HasField("image"):
        if mount.image_sub_path:
            invalid(f"{mount.container_path}: image_sub_path without image")
        _existing(f"{mount.container_path}: host_path", mount.host_path)
        return
    if mount.host_path:
        invalid(f"{mount.container_path}: host_path and image exclude each other")
    if not image_of(mount.image).has(mount.image_sub_path):
        invalid(f"{mount.container_path}: the image has no {mount.image_sub_path!r}")


def _device(device: types.Device) -> None:
    _host_path("container_path of a device", device.container_path)
    _existing("host_path of a device", device.host_path)
    if set(device.permissions) - set("rwm"):
        invalid(f"permissions of a device are some of r, w and m: {device.permissions!r}")


def _existing(what: str, path: str) -> None:
    _host_path(what, path)
    if not Path(path).exists():
        invalid(f"{what} does not exist: {path}")


def _groups(groups: Iterable[int], policy: types.SupplementalGroupsPolicy.ValueType) -> None:
    _known(types.SupplementalGroupsPolicy, policy)
    for group in groups:
        if not 0 <= group <= identity.LARGEST_ID:
            invalid(f"{group} is not a group id")


def _modes(options: types.NamespaceOption) -> tuple[int, ...]:
    modes = (options.network, options.pid, options.ipc)
    for mode in (*modes, options.userns_options.mode):
        _known(types.NamespaceMode, mode)
    return modes


def _namespaces(
    options: types.NamespaceOption, siblings: Mapping[str, types.ContainerConfig]
) -> None:
    if types.TARGET not in _modes(options):
        return
    if not options.target_id:
        invalid("the namespace mode TARGET needs a target_id")
    target = siblings.get(options.target_id)
    if target is None:
        invalid(f"target_id is no container of this sandbox: {options.target_id}")
    theirs = target.linux.security_context.namespace_options
    for mine, other in zip(_modes(options), _modes(theirs), strict=True):
        if mine == types.TARGET and other != types.CONTAINER:
            invalid("the target was not created with the namespace mode CONTAINER")


def _profiles(seccomp: types.SecurityProfile, apparmor: types.SecurityProfile) -> None:
    for name, profile in (("seccomp", seccomp), ("apparmor", apparmor)):
        _known(types.SecurityProfile.ProfileType, profile.profile_type)
        local = profile.profile_type == types.SecurityProfile.Localhost
        if local and not profile.localhost_ref:
            invalid(f"the {name} profile is of type Localhost and has no localhost_ref")
        if profile.localhost_ref and not local:
            invalid(f"the {name} profile has a localhost_ref and is not of type Localhost")
    if seccomp.localhost_ref:
        _existing("the seccomp profile", seccomp.localhost_ref)


def _old_profile(field: str, given: str, candidates: tuple[str, ...]) -> None:
    if given in candidates:
        return
    if not given.startswith(_LOCALHOST) or given == _LOCALHOST:
        invalid(f"{field} is none of its forms: {given!r}")
    if field == "seccomp_profile_path":
        _existing(field, given.removeprefix(_LOCALHOST))
