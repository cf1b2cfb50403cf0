# SPDX-License-Identifier: Apache-2.0
"""Patches: a few drawn fields that are laid over the config of an ordinary pod or container.

A patch is the config's own message with just these fields set, so it says nothing of the run: a
story with it can be played elsewhere. Paths on the host stand in it as ``@folder``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis.strategies import SearchStrategy

from cri_conformance.api import types
from cri_conformance.build import generate
from cri_conformance.build.constraints import mend, parts
from cri_conformance.build.fields import Ours

#: What stands for our folder on the runtime's host.
FOLDER = "@folder"
OURS = Ours(folder=FOLDER, files=(f"{FOLDER}/file",), images=("@image",))
#: What makes an object ours, or keeps it going: never drawn.
_KEPT = {
    "ContainerConfig": ("metadata.name", "image", "command", "args"),
    "PodSandboxConfig": (
        "metadata.name",
        "metadata.uid",
        "metadata.namespace",
        "log_directory",
        "linux.cgroup_parent",
    ),
}
#: Fields with which the call must succeed, and the clause that says so.
MUST_BE_TAKEN: Mapping[str, tuple[str, str]] = {
    "ContainerConfig": ("labels", "ContainerConfig.labels.admissible-keys"),
    "PodSandboxConfig": ("labels", "PodSandboxConfig.labels.admissible-forms"),
}
_ANNOTATIONS = "PodSandboxConfig.annotations.admissible-forms"


def patches(kind: str) -> SearchStrategy[Any]:
    """Patches of a ContainerConfig, a PodSandboxConfig, or resources."""
    return generate.overlay(getattr(types, kind)(), OURS, keep=_KEPT.get(kind, ()))


def clause_of(patch: Message) -> str:
    """The clause by which a call with nothing but this patch must succeed; "" for none."""
    kind = patch.DESCRIPTOR.name
    names = {field.name for field, _ in patch.ListFields()}
    if names == {"annotations"} and kind == "PodSandboxConfig":
        return _ANNOTATIONS
    field, clause = MUST_BE_TAKEN[kind]
    return clause if names == {field} else ""


def laid_over(base: Any, patch: Message, folder: str) -> Any:
    """The base with the patch's fields, valid as a whole. Without a folder there are no mounts."""
    made = type(base)()
    made.CopyFrom(base)
    _lay(made, patch)
    resolve(made, {FOLDER: folder})
    if not folder and hasattr(made, "mounts"):
        made.ClearField("mounts")
    return mend(made)


def foreign(message: Message) -> str:
    """A field that no campaign sets so, as it leads to what is the host's; "" where there is none.

    As in ``Mount.host_path /etc``. For what a file tells: it may come from anybody.
    """
    for _, part in parts(message):
        for field, value in part.ListFields():
            key = f"{part.DESCRIPTOR.name}.{field.name}"
            ours = _OURS_ALONE.get(key)
            if ours and not ours(value):
                return f"{key} {value}".strip()
    return ""


def _in_folder(path: str) -> bool:
    name, *rest = path.split("/")
    return path == "" or (name == FOLDER and ".." not in rest)


#: What leads to the host's own things → whether a value does not.
_OURS_ALONE: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        (
            "Mount.host_path",
            "PodSandboxConfig.log_directory",
            "CheckpointContainerRequest.location",
            "CheckpointPodRequest.output_path",
            "RestorePodRequest.checkpoint_path",
        ),
        _in_folder,
    ),
    "Device.host_path": lambda path: path == "/dev/null",
    "ContainerConfig.log_path": lambda path: ".." not in path.split("/"),
    **dict.fromkeys(
        (
            "PortMapping.host_port",
            "LinuxPodSandboxConfig.cgroup_parent",
            "LinuxContainerResources.unified",
            "ContainerConfig.CDI_devices",
            "Mount.selinux_relabel",
            "NetworkConfig.pod_cidr",
        ),
        lambda value: False,
    ),
}


def _lay(made: Any, patch: Any) -> None:
    for field, value in patch.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(made, field.name).update(value)
        elif field.message_type and not field.is_repeated:
            getattr(made, field.name).SetInParent()
            _lay(getattr(made, field.name), value)
        else:
            generate.put(made, field, value)


def resolve(message: Any, names: Mapping[str, str]) -> Any:
    """The same message, its texts that begin with one of these names having it replaced."""
    for _, part in parts(message):
        for field, value in part.ListFields():
            if field.type != FieldDescriptor.TYPE_STRING:
                continue
            if field.is_repeated:
                value[:] = [_resolved(one, names) for one in value]
            else:
                setattr(part, field.name, _resolved(value, names))
    return message


def _resolved(text: str, names: Mapping[str, str]) -> str:
    if text.startswith("@"):
        name, slash, rest = text.partition("/")
        return names.get(name, name) + slash + rest
    return text
