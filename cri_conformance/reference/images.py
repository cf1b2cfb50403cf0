# SPDX-License-Identifier: Apache-2.0
"""The images on the node, and the calls about them.

A name (by tag or by digest) leads to one image; an image is there as long as a name leads to
it. Two are built in, without layers: their file system is the host's.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import handlers
from cri_conformance.reference import image as images
from cri_conformance.reference.image import Image
from cri_conformance.reference.pull import Pulled, Reference, pull

REPOSITORY = "localhost/cri-conformance"


class Images:
    """The store. Safe to use from several threads. All calls raise StatusError."""

    def __init__(self, folder: Path, trust: ssl.SSLContext | None = None) -> None:
        """``folder`` is for the layers of what is pulled; made when needed.

        ``trust`` is how registries are known by TLS.
        """
        self._folder = folder
        self._trust = trust
        self._images: dict[str, Image] = {}
        #: The names of each image, oldest first. Those by digest have an @.
        self._names: dict[str, dict[str, None]] = {}
        self._layers: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._pulls = 0
        for name, entrypoint, cmd, pinned in (
            ("shell", (), ("sh",), False),
            ("pause", ("sleep", "infinity"), (), True),
        ):
            self._build_in(name, entrypoint, cmd, pinned=pinned)

    def _build_in(
        self, name: str, entrypoint: tuple[str, ...], cmd: tuple[str, ...], *, pinned: bool
    ) -> None:
        # The parts of an image that matter here; as with other images, the id is their digest.
        config = json.dumps({"Name": name, "Entrypoint": entrypoint, "Cmd": cmd}).encode()
        manifest = json.dumps({"config": {"digest": _digest(config), "size": len(config)}}).encode()
        self._images[_digest(config)] = Image(
            id=_digest(config),
            size=len(config) + len(manifest),
            entrypoint=entrypoint,
            cmd=cmd,
            user=str(os.geteuid()),
            pinned=pinned,
        )
        names = (f"{REPOSITORY}/{name}:reference", f"{REPOSITORY}/{name}@{_digest(manifest)}")
        self._names[_digest(config)] = dict.fromkeys(names)

    # -- looking -----------------------------------------------------------------------

    def find(self, spec: types.ImageSpec) -> Image | None:
        """The image that a spec names, by tag, id or digest.

        Raises StatusError (INVALID_ARGUMENT) for an empty name and an unknown runtime handler.
        """
        if not spec.image:
            raise StatusError("INVALID_ARGUMENT", "no image is named")
        handlers.check(spec.runtime_handler)
        with self._lock:
            return self._find(spec.image)

    def _find(self, name: str) -> Image | None:
        for image_id in (name, f"sha256:{name}"):
            if image_id in self._images:
                return self._images[image_id]
        try:
            reference = Reference.parse(name)
        except StatusError:
            return None
        full = f"{reference.repository}@{reference.digest}" if reference.digest else ""
        wanted = full or reference.tagged
        return next((self._images[i] for i, names in self._names.items() if wanted in names), None)

    def get(self, spec: types.ImageSpec) -> Image:
        """As ``find``, but an image that is not there is an error too (NOT_FOUND)."""
        image = self.find(spec)
        if image is None:
            raise StatusError("NOT_FOUND", f"there is no image {spec.image!r}")
        return image

    def digested(self, image: Image) -> str:
        """Its first name by digest, or its id where it has none (any more)."""
        with self._lock:
            names = self._names.get(image.id, {})
            return next((name for name in names if "@" in name), image.id)

    def _message(self, image: Image) -> types.Image:
        names = self._names.get(image.id, {})
        tags = [name for name in names if "@" not in name]
        message = types.Image(
            id=image.id,
            repo_tags=tags,
            repo_digests=[name for name in names if "@" in name],
            size=image.size,
            spec=types.ImageSpec(image=tags[0] if tags else next(iter(names), image.id)),
            pinned=image.pinned,
        )
        message.MergeFrom(image.user_message())
        return message

    # -- calls -------------------------------------------------------------------------

    def ListImages(self, request: types.ListImagesRequest) -> types.ListImagesResponse:
        """All images, or the one that the filter names."""
        one = self.find(request.filter.image) if request.filter.image.image else None
        with self._lock:
            found = list(self._images.values())
            if request.filter.image.image:
                found = [one] if one and one.id in self._images else []
            return types.ListImagesResponse(images=[self._message(image) for image in found])

    def ImageStatus(self, request: types.ImageStatusRequest) -> types.ImageStatusResponse:
        """The image, or an answer without one if it is not there."""
        image = self.find(request.image)
        if image is None:
            return types.ImageStatusResponse()
        with self._lock:
            response = types.ImageStatusResponse(image=self._message(image))
        if request.verbose:
            config = {"entrypoint": image.entrypoint, "cmd": image.cmd, "rootfs": "/"}
            response.info["info"] = json.dumps(config)
        return response

    def PullImage(self, request: types.PullImageRequest) -> types.PullImageResponse:
        """Always asks the registry: a tag may have moved. The answer is the image's id."""
        if not request.image.image:
            raise StatusError("INVALID_ARGUMENT", "no image is named")
        handlers.check(request.image.runtime_handler)
        reference = Reference.parse(request.image.image)
        kept: list[str] = []
        with self._lock:
            self._pulls += 1

        def keep(digest: str, pieces: Iterator[bytes]) -> None:
            self._store(digest, pieces)
            kept.append(digest)

        try:
            pulled = pull(reference, request.auth, keep, self._trust)
            image = images.of(
                pulled.id, pulled.size, pulled.config, [self._path(digest) for digest in kept]
            )
            self._commit(reference, pulled, image, tuple(kept))
        finally:
            with self._lock:
                self._pulls -= 1
                self._collect()
        return types.PullImageResponse(image_ref=image.id)

    def RemoveImage(self, request: types.RemoveImageRequest) -> types.RemoveImageResponse:
        """Takes all names of the image away. One that is not there is a removed one."""
        image = self.find(request.image)
        if image is not None:
            if image.pinned:
                raise StatusError("FAILED_PRECONDITION", f"image {request.image.image!r} is pinned")
            with self._lock:
                self._images.pop(image.id, None)
                self._names.pop(image.id, None)
                self._layers.pop(image.id, None)
                self._collect()
        return types.RemoveImageResponse()

    def ImageFsInfo(self, _: types.ImageFsInfoRequest) -> types.ImageFsInfoResponse:
        """One file system for everything, and what the layers take of it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        used = inodes = 0
        for path in self._folder.iterdir():
            try:
                used += path.stat().st_blocks * 512
                inodes += 1
            except FileNotFoundError:  # removed meanwhile
                continue
        usage = types.FilesystemUsage(
            timestamp=time.time_ns(),
            fs_id=types.FilesystemIdentifier(mountpoint=str(self._folder)),
            used_bytes=types.UInt64Value(value=used),
            inodes_used=types.UInt64Value(value=inodes),
        )
        return types.ImageFsInfoResponse(image_filesystems=[usage])

    # -- what is pulled ----------------------------------------------------------------

    def _path(self, digest: str) -> Path:
        return self._folder / digest.replace(":", "-")

    def _store(self, digest: str, pieces: Iterator[bytes]) -> None:
        """Write a layer; it gets its name when it is whole and right."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(digest)
        partial = path.with_name(f"{path.name}.{threading.get_ident()}")
        try:
            with partial.open("wb") as file:
                file.writelines(pieces)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _commit(
        self, reference: Reference, pulled: Pulled, image: Image, layers: tuple[str, ...]
    ) -> None:
        with self._lock:
            self._images[image.id] = image
            self._layers[image.id] = layers
            named = self._names.setdefault(image.id, {})
            digested = f"{reference.repository}@{pulled.digest}"
            for name in filter(None, (reference.tagged, digested)):
                if name == reference.tagged and reference.digest:
                    continue  # asked for by digest: what the tag leads to was not looked at
                for other, names in self._names.items():
                    if other != image.id:
                        names.pop(name, None)
                named[name] = None

    def _collect(self) -> None:
        """Remove layers that no image has; not while one is being pulled. With the lock held."""
        if self._pulls or not self._folder.is_dir():
            return
        wanted = {self._path(digest).name for layers in self._layers.values() for digest in layers}
        for path in self._folder.iterdir():
            if path.name not in wanted:
                path.unlink(missing_ok=True)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
