# SPDX-License-Identifier: Apache-2.0
"""The suite's small image with a shell, as an OCI archive.

It is made of the host's own static busybox, so that no registry has to be within
reach. Every image carries a nonce in its labels: two images with equal layers share
their id only if their configs are equal, and removing an image by id takes every tag
of it. With the nonce the id is one run's alone.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cri_conformance.registry import archive, oci

#: Repository of the images that runs make for themselves.
REPOSITORY = "localhost/cri-conformance/shell"
#: Images of ours are named so; a registry of our own has any address.
_OURS = re.compile(
    r"[^/@]+/cri-conformance/[a-z0-9-]+?(?:-(?P<run>[0-9a-f]{8})-[0-9a-f]{8})?"
    r"(?::(?P<tag>[^/@]+)|@sha256:[0-9a-f]+)"
)
#: Label of every image built here: whose it is.
NONCE_LABEL = "cri-conformance/nonce"
#: Names another static busybox to build from.
BUSYBOX_VARIABLE = "CRI_CONFORMANCE_BUSYBOX"

_BUSYBOX_NAMES = ("busybox", "busybox.static", "busybox-static")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Users and groups that tests may name; ``nobody`` is in a second group.
PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = """\
root:x:0:
daemon:x:1:
adm:x:4:
tty:x:5:
www-data:x:33:
operator:x:37:
users:x:100:nobody
nobody:x:65534:
"""
_FOLDERS = ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "usr/bin")


class ImageError(Exception):
    """The image can't be built here; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What was built. ``id`` is the config's digest, ``digest`` the manifest's."""

    reference: str
    id: str
    digest: str
    architecture: str
    size: int


def reference_for(nonce: str, owner: str) -> str:
    """The reference of a run's own image: its tag tells a sweep whose it is."""
    return f"{REPOSITORY}:{nonce}-{owner}"


def is_ours(name: str) -> bool:
    """Whether an image's name, by tag or by digest, is one that runs give, in whatever registry."""
    return bool(_OURS.fullmatch(name))


def owner_in_name(name: str) -> tuple[str, str]:
    """(nonce, owner) that a run put into the tag; ("", "") for other names, owner may be "".

    Where an image has no tag, or one that says nothing, the repository may have the nonce.
    """
    match = _OURS.fullmatch(name)
    nonce, _, owner = ((match and match["tag"]) or "").partition("-")
    if not owner and match and match["run"]:
        return match["run"], ""
    return nonce, owner


def repository_for(stem: str, nonce: str) -> str:
    """A new repository in a registry of ours, whose name says by which run it was made."""
    return f"cri-conformance/{stem}-{nonce}-{secrets.token_hex(4)}"


def build_archive(
    path: Path, reference: str, nonce: str, entrypoint: Sequence[str] = ()
) -> ImageInfo:
    """Write an OCI archive whose one image is named ``reference``. Raises ImageError."""
    shell = root()
    settings: dict[str, Any] = {"Env": [PATH], "Labels": {NONCE_LABEL: nonce}}
    settings |= {"Entrypoint": list(entrypoint)} if entrypoint else {"Cmd": ["/bin/sh"]}
    built = oci.image([shell.layer], settings, architecture=shell.architecture)
    try:
        archive.write(path, reference, built)
    except OSError as error:
        why = error.strerror
        if not path.parent.is_dir():
            why = f"there is no folder {path.parent}; make it first, or give another path"
        elif path.is_dir():
            why = "it is a folder; give the path of a file"
        raise ImageError(f"can't write the test image to {path}: {why}") from None
    size = len(shell.layer.blob.data)
    return ImageInfo(reference, built.id, built.manifest.digest, shell.architecture, size)


@dataclass(frozen=True, slots=True)
class Root:
    """A root file system with a shell, as a layer that images of ours begin with."""

    layer: oci.Layer
    architecture: str


def root() -> Root:
    """Made of this host's static busybox. Raises ImageError."""
    return _root(find_busybox())


@cache
def _root(busybox: Path) -> Root:
    try:
        binary = busybox.read_bytes()
    except OSError as error:
        raise ImageError(f"can't read {busybox}: {error.strerror}") from None
    files = _files(binary, _applets(busybox))
    # Left uncompressed: it is read from near by, and zlib's output differs from version to version.
    return Root(oci.layer(files, compressed=False), _architecture(binary))


def find_busybox() -> Path:
    """The static busybox of this host. Raises ImageError if there is none."""
    if given := os.environ.get(BUSYBOX_VARIABLE, ""):
        if not _static(Path(given)):
            raise ImageError(f"${BUSYBOX_VARIABLE} names {given}, which is no static ELF program")
        return Path(given)
    for name in _BUSYBOX_NAMES:
        found = shutil.which(name)
        if found and _static(Path(found)):
            return Path(found)
    raise ImageError(
        "no static busybox here to build the test image from: apt-get install busybox-static, "
        f"or name one in ${BUSYBOX_VARIABLE}, or give --cri-test-image REF"
    )


_ELF_MAGIC = b"\x7fELF"
_PT_INTERP = 3
#: (machine in the ELF header, little endian) → OCI's name of the architecture.
_ARCHITECTURES = {
    (3, True): "386",
    (21, False): "ppc64",
    (21, True): "ppc64le",
    (22, False): "s390x",
    (40, True): "arm",
    (62, True): "amd64",
    (183, True): "arm64",
    (243, True): "riscv64",
    (258, True): "loong64",
}


def _static(path: Path) -> bool:
    """Whether a file is an ELF program that asks for no interpreter, so runs in an empty root."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if len(head) < 64 or not head.startswith(_ELF_MAGIC):
                return False
            order = "<" if head[5] == 1 else ">"
            if head[4] == 2:
                (table,) = struct.unpack_from(f"{order}Q", head, 32)
                size, count = struct.unpack_from(f"{order}HH", head, 54)
            else:
                (table,) = struct.unpack_from(f"{order}I", head, 28)
                size, count = struct.unpack_from(f"{order}HH", head, 42)
            file.seek(table)
            headers = file.read(size * count)
    except OSError:
        return False
    starts = range(0, len(headers) - 3, size) if size else ()
    kinds = {struct.unpack_from(f"{order}I", headers, start)[0] for start in starts}
    return bool(kinds) and _PT_INTERP not in kinds


def _architecture(binary: bytes) -> str:
    """OCI's name of what the binary runs on: its own header says it better than uname."""
    little = binary[5] == 1
    (machine,) = struct.unpack_from("<H" if little else ">H", binary, 18)
    try:
        return _ARCHITECTURES[machine, little]
    except KeyError:
        raise ImageError(
            f"busybox is built for ELF machine {machine}, which has no architecture name here: "
            "give --cri-test-image REF"
        ) from None


def _applets(busybox: Path) -> list[str]:
    try:
        done = subprocess.run(
            [str(busybox.absolute()), "--list"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ImageError(f"{busybox} can't list its applets: {error}") from None
    applets = sorted(set(done.stdout.split()) - {"busybox"})
    if "sh" not in applets:
        raise ImageError(f"{busybox} has no shell: name another busybox in ${BUSYBOX_VARIABLE}")
    return applets


def _files(busybox: bytes, applets: Sequence[str]) -> Iterator[oci.File]:
    for name in _FOLDERS:
        yield oci.File(f"{name}/", mode={"tmp": 0o1777, "root": 0o700}.get(name, 0o755))
    yield oci.File("bin/busybox", busybox, 0o755)
    yield oci.File("etc/group", GROUP.encode())
    yield oci.File("etc/passwd", PASSWD.encode())
    for applet in applets:
        yield oci.File(f"bin/{applet}", link="busybox")
    # Scripts say #!/usr/bin/env.
    yield oci.File("usr/bin/env", link="../../bin/env")
