# SPDX-License-Identifier: Apache-2.0
"""An image as one file, for runtimes that can't be led to a registry."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from cri_conformance.registry.oci import MADE_AT, OCI, Image, as_json


def write(path: Path, reference: str, image: Image) -> None:
    """Write an OCI archive whose one image has this name. Raises OSError."""
    named = image.manifest.descriptor(
        platform=dict(image.platform),
        # containerd reads the first, podman and skopeo the second.
        annotations={
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference,
        },
    )
    index = {"schemaVersion": 2, "mediaType": OCI.index, "manifests": [named]}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        _file(archive, "oci-layout", as_json({"imageLayoutVersion": "1.0.0"}))
        _file(archive, "index.json", as_json(index))
        # Two layers may be one blob.
        blobs = {blob.digest: blob for blob in (image.manifest, *image.blobs)}
        for digest, blob in blobs.items():
            _file(archive, f"blobs/{digest.replace(':', '/')}", blob.data)


def _file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(data), MADE_AT
    tar.addfile(entry, io.BytesIO(data))
