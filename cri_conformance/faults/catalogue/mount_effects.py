# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what mounts do in a container, where containers have mounts of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, Operator, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import edit_request, ignore_request, set_request

_CREATE = "CreateContainer"
_MOUNTS = "config.mounts"


def _each(name: str, says: str, work: Callable[[types.Mount], bool]) -> Operator:
    """Every mount is changed by ``work``, and left out where that says False."""

    def change(request: Any, call: Call, memory: Memory) -> None:
        kept = [mount for mount in request.config.mounts if work(mount)]
        del request.config.mounts[:]
        request.config.mounts.extend(kept)

    return edit_request(name, _CREATE, says, change)


def _left_out(name: str, says: str, which: Callable[[types.Mount], bool]) -> Operator:
    return _each(name, says, lambda mount: not which(mount))


def _to(kind: int, other: int) -> Callable[[types.Mount], bool]:
    def work(mount: types.Mount) -> bool:
        if mount.propagation == kind:
            mount.propagation = other  # type: ignore[assignment]
        return True

    return work


def _copied(mount: types.Mount) -> bool:
    source = Path(mount.host_path)
    if source.is_dir() and "/cri/" in mount.container_path and not mount.readonly:
        copy = source.with_name(f"{source.name}-copy")
        shutil.copytree(source, copy, symlinks=True, dirs_exist_ok=True)
        mount.host_path = str(copy)
    return True


def _as_folder(mount: types.Mount) -> bool:
    if mount.container_path.startswith("/cri/") and Path(mount.host_path).is_file():
        mount.host_path = str(Path(mount.host_path).parent)
    return True


def _read_only(mount: types.Mount) -> bool:
    mount.readonly |= mount.container_path == "/cri/plain"
    return True


def _link_itself(mount: types.Mount) -> bool:
    source = Path(mount.host_path)
    if source.is_symlink():
        empty = source.with_name(f"{source.name}-empty")
        empty.mkdir(exist_ok=True)
        mount.host_path = str(empty)
    return True


def _innermost_lost(mount: types.Mount) -> bool:
    return mount.container_path.endswith("/inner/deep") and "rising" in mount.container_path


_readonly = When(
    "readonly", lambda call, memory: any(mount.readonly for mount in call.request.config.mounts)
)
_PRIVATE, _IN, _BOTH = (
    types.PROPAGATION_PRIVATE,
    types.PROPAGATION_HOST_TO_CONTAINER,
    types.PROPAGATION_BIDIRECTIONAL,
)


def _isolated(clause: str, operator: Operator, **options: Any) -> Fault:
    return fault(clause, operator, isolated=True, **options)


FAULTS: list[Fault] = [
    _isolated(
        "Mount.container_path.in-place",
        _left_out(
            "mounts-hide-nothing",
            "nothing is mounted over what the image has",
            lambda mount: mount.container_path.startswith("/etc/"),
        ),
    ),
    _isolated(
        "Mount.container_path.created",
        _left_out(
            "mounts-need-a-place",
            "a mount whose place is deep and not there is left out",
            lambda mount: mount.container_path.count("/") > 3 and "inner" not in mount.host_path,
        ),
    ),
    _isolated(
        "Mount.host_path.shared",
        _each("mounts-are-copies", "a copy of the folder is mounted", _copied),
    ),
    _isolated(
        "Mount.host_path.file",
        _each("files-as-folders", "in place of a file its folder is mounted", _as_folder),
    ),
    _isolated(
        "Mount.host_path.symlink-followed",
        _each("links-lead-nowhere", "a link leads to an empty folder", _link_itself),
    ),
    _isolated("Mount.readonly.write-refused", ignore_request(_CREATE, f"{_MOUNTS}.readonly")),
    _isolated(
        "Mount.readonly.default-writable",
        _each("mounts-read-only", "a mount without others in it is read-only", _read_only),
    ),
    # containerd once lost such mounts where their order was not stable (commit 3830f8167).
    _isolated(
        "ContainerConfig.mounts.all-mounted",
        _left_out(
            "mounts-from-the-innermost",
            "mounts are made as they come, and the outer one hides the one below",
            _innermost_lost,
        ),
    ),
    _isolated(
        "Mount.recursive_read_only.unset-submounts",
        set_request(_CREATE, f"{_MOUNTS}.recursive_read_only", True, when=_readonly),
    ),
    _isolated(
        "Mount.recursive_read_only.submounts",
        ignore_request(_CREATE, f"{_MOUNTS}.recursive_read_only"),
        name="recursively-read-only-is-read-only",
    ),
    *(
        _isolated(
            f"MountPropagation.PROPAGATION_{clause}",
            _each(f"propagation-{kind}-as-{other}", "another propagation", _to(kind, other)),
            name=f"propagation-{clause.replace('.', '-').lower()}",
        )
        for clause, kind, other in (
            ("PRIVATE.host-stays-out", _PRIVATE, _IN),
            ("PRIVATE.container-stays-in", _PRIVATE, _BOTH),
            ("HOST_TO_CONTAINER.host-comes-in", _IN, _PRIVATE),
            ("HOST_TO_CONTAINER.container-stays-in", _IN, _BOTH),
            ("BIDIRECTIONAL.host-comes-in", _BOTH, _PRIVATE),
            ("BIDIRECTIONAL.container-goes-out", _BOTH, _IN),
        )
    ),
]
