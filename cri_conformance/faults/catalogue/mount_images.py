# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for images that are mounted, where containers have mounts of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cri_conformance.faults import changes
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import alter_request, edit_request, ignore_request

_CREATE = "CreateContainer"
#: What the mounted image has, as far as anybody looks.
_FILES = {"odd/marker": "odd\n", "odd/sub/inner": "inner\n"}


def _instead(name: str, files: dict[str, str]) -> Any:
    """In the place of an image a folder of the host, below that of the sandbox's logs."""

    def work(request: Any, call: Call, memory: Memory) -> None:
        folder = Path(request.sandbox_config.log_directory) / name
        for mount in request.config.mounts:
            if mount.HasField("image"):
                folder.mkdir(parents=True, exist_ok=True)
                for path, text in files.items():
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    (folder / path).write_text(text, encoding="utf-8")
                mount.ClearField("image")
                mount.host_path, mount.readonly = str(folder), False

    return work


def _by_name_only(request: Any, call: Call, memory: Memory) -> None:
    for mount in request.config.mounts:
        if "/" not in mount.image.image:
            mount.image.image = f"localhost/{mount.image.image.replace(':', '-')}"


FAULTS: list[Fault] = [
    fault(
        "Mount.image.content",
        edit_request(
            "images-are-empty", _CREATE, "an empty folder is mounted", _instead("empty", {})
        ),
        isolated=True,
    ),
    fault(
        "Mount.image.read-only",
        edit_request(
            "images-are-writable",
            _CREATE,
            "a copy of the image is mounted",
            _instead("copy", _FILES),
        ),
        isolated=True,
    ),
    fault(
        "Mount.image.pull-ref",
        edit_request("images-by-name-only", _CREATE, "an id is taken for a name", _by_name_only),
        isolated=True,
    ),
    fault(
        "Mount.image_sub_path.content",
        ignore_request(_CREATE, "config.mounts.image_sub_path"),
        isolated=True,
    ),
    fault(
        "Mount.image_sub_path.missing-error",
        alter_request(
            _CREATE, "config.mounts.image_sub_path", changes.replaced("odd/missing", "odd")
        ),
        isolated=True,
    ),
]
