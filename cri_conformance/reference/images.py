# SPDX-License-Identifier: Apache-2.0
"""The images of the runtime: a fixed set, whose file system is the host's."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import handlers

REPOSITORY = "localhost/cri-conformance"


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """An image. ``digested`` is its reference by digest, ``names`` all it can be called."""

    message: types.Image
    digested: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    names: frozenset[str]

    @property
    def id(self) -> str:
        """``sha256:`` and 64 hexadecimal digits."""
        return self.message.id

    def argv(self, command: Sequence[str], args: Sequence[str]) -> tuple[str, ...]:
        """What a container runs: a command replaces entrypoint and cmd, args only the cmd."""
        if command:
            return (*command, *args)
        return (*self.entrypoint, *(args or self.cmd))


def _built_in(
    name: str, entrypoint: tuple[str, ...], cmd: tuple[str, ...], *, pinned: bool
) -> BuiltIn:
    # The parts of an image that matter here; as with other images, the id is their digest.
    config = json.dumps({"Name": name, "Entrypoint": entrypoint, "Cmd": cmd}).encode()
    manifest = json.dumps({"config": {"digest": _digest(config), "size": len(config)}}).encode()
    tag = f"{REPOSITORY}/{name}:reference"
    digested = f"{REPOSITORY}/{name}@{_digest(manifest)}"
    message = types.Image(
        id=_digest(config),
        repo_tags=[tag],
        repo_digests=[digested],
        size=len(config) + len(manifest),
        uid=types.Int64Value(value=os.geteuid()),
        spec=types.ImageSpec(image=tag),
        pinned=pinned,
    )
    names = frozenset({message.id, message.id.partition(":")[2], tag, digested})
    return BuiltIn(message, digested, entrypoint, cmd, names)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


BUILT_IN = (
    _built_in("shell", (), ("sh",), pinned=False),
    _built_in("pause", ("sleep", "infinity"), (), pinned=True),
)


def find(spec: types.ImageSpec) -> BuiltIn | None:
    """The image that a spec names, by tag, id or digest.

    Raises StatusError (INVALID_ARGUMENT) for an empty name and an unknown runtime handler.
    """
    if not spec.image:
        raise StatusError("INVALID_ARGUMENT", "no image is named")
    handlers.check(spec.runtime_handler)
    return next((image for image in BUILT_IN if spec.image in image.names), None)


def get(spec: types.ImageSpec) -> BuiltIn:
    """As ``find``, but an image that is not there is an error too (NOT_FOUND)."""
    image = find(spec)
    if image is None:
        raise StatusError("NOT_FOUND", f"there is no image {spec.image!r}")
    return image


def ListImages(request: types.ListImagesRequest) -> types.ListImagesResponse:
    """All images, or the one that the filter names."""
    found: list[BuiltIn] = list(BUILT_IN)
    if request.filter.image.image:
        one = find(request.filter.image)
        found = [one] if one else []
    return types.ListImagesResponse(images=[image.message for image in found])


def ImageStatus(request: types.ImageStatusRequest) -> types.ImageStatusResponse:
    """The image, or an answer without one if it is not there."""
    image = find(request.image)
    if image is None:
        return types.ImageStatusResponse()
    response = types.ImageStatusResponse(image=image.message)
    if request.verbose:
        config = {"entrypoint": image.entrypoint, "cmd": image.cmd, "rootfs": "/"}
        response.info["info"] = json.dumps(config)
    return response
