# SPDX-License-Identifier: Apache-2.0
"""Devices of the Container Device Interface that the runtime's host has anyway.

Specifications are read where a runtime reads them and never written: they are the host's.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.wire.host import Host

_FOLDERS = ("/etc/cdi", "/var/run/cdi")
#: Under this name containerd's verbose Status tells its own folders.
_TOLD = "cdiSpecDirs"


@dataclass(frozen=True, slots=True)
class Device:
    """A device's full name, and what it brings into a container."""

    name: str
    paths: tuple[str, ...]
    variables: tuple[str, ...]


def cdi_device(host: Host, info: Mapping[str, str]) -> Device:
    """One that brings something which can be seen. Raises NotExercised if there is none."""
    for folder in (*_told(info), *_FOLDERS):
        for path in sorted(Path(host.path(folder)).glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                for device in _devices(json.loads(path.read_text(encoding="utf-8"))):
                    if device.paths or device.variables:
                        return device
    raise NotExercised(Reason.NEEDS_HARDWARE, "a CDI specification (in JSON) on the host")


def _told(info: Mapping[str, str]) -> list[str]:
    with contextlib.suppress(ValueError, AttributeError):
        return [str(folder) for folder in json.loads(info.get("config", "{}")).get(_TOLD) or ()]
    return []


def _devices(spec: Any) -> Iterator[Device]:
    for device in spec["devices"]:
        both = [spec.get("containerEdits") or {}, device.get("containerEdits") or {}]
        paths = [node["path"] for edits in both for node in edits.get("deviceNodes") or ()]
        paths += [mount["containerPath"] for edits in both for mount in edits.get("mounts") or ()]
        variables = [variable for edits in both for variable in edits.get("env") or ()]
        yield Device(f"{spec['kind']}={device['name']}", tuple(paths), tuple(variables))
