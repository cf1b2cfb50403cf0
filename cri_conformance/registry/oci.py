# SPDX-License-Identifier: Apache-2.0
"""Image parts as values: blobs, layers, images, indexes. No file, no network, no clock.

An image is a manifest that names a config and layers by their digests; an index names
manifests by platform. Both exist in the words of OCI and in those of Docker's schema 2,
which differ in media types only. Equal input gives equal bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

#: When everything was made: no clock in an image.
MADE_AT, MADE_AT_TEXT = 1577836800, "2020-01-01T00:00:00Z"


#: What uname says → what images say, where these differ.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Words:
    """The media types of one dialect."""

    manifest: str
    index: str
    config: str
    layer: str
    layer_gzip: str


OCI = Words(
    manifest="application/vnd.oci.image.manifest.v1+json",
    index="application/vnd.oci.image.index.v1+json",
    config="application/vnd.oci.image.config.v1+json",
    layer="application/vnd.oci.image.layer.v1.tar",
    layer_gzip="application/vnd.oci.image.layer.v1.tar+gzip",
)
DOCKER = Words(
    manifest="application/vnd.docker.distribution.manifest.v2+json",
    index="application/vnd.docker.distribution.manifest.list.v2+json",
    config="application/vnd.docker.container.image.v1+json",
    layer="application/vnd.docker.image.rootfs.diff.tar",
    layer_gzip="application/vnd.docker.image.rootfs.diff.tar.gzip",
)


@dataclass(frozen=True)
class Blob:
    """Bytes with a type. ``digest`` is ``sha256:…``, by which others name it."""

    media_type: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    def descriptor(self, **more: Any) -> dict[str, Any]:
        """How a manifest or an index names it."""
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.data),
            **more,
        }


@dataclass(frozen=True, slots=True)
class File:
    """An entry of a layer: ``link`` makes it a symbolic link, a final / a folder.

    A folder's mode should let it be entered.
    """

    path: str
    data: bytes = b""
    mode: int = 0o644
    link: str = ""
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Layer:
    """A layer as it travels; ``diff_id`` is the digest of the tar that it holds."""

    blob: Blob
    diff_id: str


@dataclass(frozen=True)
class Image:
    """An image of one platform. Its id, as runtimes report it, is the config's digest."""

    manifest: Blob
    config: Blob
    layers: tuple[Layer, ...]
    platform: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.config.digest

    @property
    def blobs(self) -> list[Blob]:
        """What the manifest names."""
        return [self.config, *(layer.blob for layer in self.layers)]


def architecture_here() -> str:
    """OCI's name of this machine's architecture."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def layer(files: Iterable[File], words: Words = OCI, *, compressed: bool = True) -> Layer:
    """A layer of files, in the order given."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            tar.addfile(_entry(file), io.BytesIO(file.data))
    return layer_of_tar(buffer.getvalue(), words, compressed=compressed)


def layer_of_tar(data: bytes, words: Words = OCI, *, compressed: bool = True) -> Layer:
    """A layer from the bytes of a tar."""
    diff_id = Blob("", data).digest
    if not compressed:
        return Layer(Blob(words.layer, data), diff_id)
    return Layer(Blob(words.layer_gzip, gzip.compress(data, compresslevel=1, mtime=0)), diff_id)


def whiteout(path: str) -> File:
    """Hides what a lower layer has at this path."""
    folder, _, name = path.rpartition("/")
    return File(f"{folder}/.wh.{name}" if folder else f".wh.{name}")


def opaque(folder: str) -> File:
    """Hides all that lower layers have in this folder."""
    return File(f"{folder.rstrip('/')}/.wh..wh..opq")


def image(
    layers: Sequence[Layer],
    settings: Mapping[str, Any],
    *,
    architecture: str,
    words: Words = OCI,
    os: str = "linux",
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """An image; ``settings`` is what runs: Entrypoint, Cmd, Env, User, Labels and the like."""
    config = Blob(
        words.config,
        as_json(
            {
                "architecture": architecture,
                "os": os,
                "created": MADE_AT_TEXT,
                "config": dict(settings),
                "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
                "history": [
                    {"created": MADE_AT_TEXT, "created_by": "cri-conformance"} for _ in layers
                ],
            }
        ),
    )
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": words.manifest,
        "config": config.descriptor(),
        "layers": [one.blob.descriptor() for one in layers],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    manifest = Blob(words.manifest, as_json(document))
    return Image(manifest, config, tuple(layers), {"architecture": architecture, "os": os})


def index(images: Iterable[Image], words: Words = OCI) -> Blob:
    """A list of images for several platforms under one name."""
    return Blob(
        words.index,
        as_json(
            {
                "schemaVersion": 2,
                "mediaType": words.index,
                "manifests": [
                    one.manifest.descriptor(platform=dict(one.platform)) for one in images
                ],
            }
        ),
    )


def artefact(data: bytes, words: Words = OCI) -> tuple[Blob, list[Blob]]:
    """(manifest, blobs) of something that is stored like an image and is none."""
    config = Blob("application/vnd.oci.empty.v1+json", b"{}")
    content = Blob("text/plain", data)
    manifest = {
        "schemaVersion": 2,
        "mediaType": words.manifest,
        "artifactType": "application/vnd.cri-conformance.note",
        "config": config.descriptor(),
        "layers": [content.descriptor()],
    }
    return Blob(words.manifest, as_json(manifest)), [config, content]


def as_json(document: object) -> bytes:
    """Bytes that depend on the content alone."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _entry(file: File) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(file.path.rstrip("/"))
    entry.mode, entry.uid, entry.gid, entry.mtime = file.mode, file.uid, file.gid, MADE_AT
    if file.link:
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, file.link, 0o777
    elif file.path.endswith("/"):
        entry.type = tarfile.DIRTYPE
    else:
        entry.size = len(file.data)
    return entry
