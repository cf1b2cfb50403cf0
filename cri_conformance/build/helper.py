# SPDX-License-Identifier: Apache-2.0
"""The small program of our own that runs in images where no shell is needed (native/helper.c).

It is part of the package, one for each architecture, if a compiler was there when the package
was built. It needs no library and no interpreter, and is under this project's licence alone.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from cri_conformance.build.image import ImageError
from cri_conformance.registry import oci

#: Where it is in images.
PLACE = "/cri-conformance/helper"

_FOLDER = Path(__file__).parent / "native"


def find(architecture: str) -> Path:
    """The program for an architecture, by OCI's name. Raises ImageError if it is not here."""
    path = _FOLDER / f"helper-{architecture}"
    if not path.is_file():
        raise ImageError(
            f"this installation has no helper program for {architecture}: install a wheel that has "
            "it, or build with a C compiler (cc, or the package ziglang) at hand"
        )
    return path


def layer(program: Path, place: str = PLACE) -> oci.Layer:
    """A layer with the program and the folders above it. Raises ImageError."""
    try:
        data = program.read_bytes()
    except OSError as error:
        raise ImageError(f"can't read {program}: {error.strerror}") from None
    inside = PurePosixPath(place).relative_to("/")
    folders = [oci.File(f"{folder}/", mode=0o755) for folder in reversed(inside.parents[:-1])]
    return oci.layer([*folders, oci.File(str(inside), data, 0o755)], compressed=False)
