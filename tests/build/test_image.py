# SPDX-License-Identifier: Apache-2.0
"""The test image: a whole OCI archive, the same bytes for the same input."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.build import image
from cri_conformance.wire.identity import Run, owner_alive

REFERENCE = "localhost/cri-conformance/shell:n0nce"


@pytest.fixture(autouse=True)
def _busybox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(image.BUSYBOX_VARIABLE, raising=False)
    try:
        image.find_busybox()
    except image.ImageError as error:
        pytest.skip(str(error))


class Archive:
    """An image archive, read as a runtime would read it."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as tar:
            self.files = {
                member.name: tar.extractfile(member).read()  # type: ignore[union-attr]
                for member in tar
            }
        (self.named,) = self.json("index.json")["manifests"]
        self.manifest = self._blob(self.named)
        self.config = self._blob(self.manifest["config"])
        (layer,) = self.manifest["layers"]
        self.layer = tarfile.open(fileobj=io.BytesIO(self._bytes(layer)))  # noqa: SIM115

    def json(self, name: str) -> Any:
        return json.loads(self.files[name])

    def _blob(self, descriptor: dict[str, Any]) -> Any:
        return json.loads(self._bytes(descriptor))

    def _bytes(self, descriptor: dict[str, Any]) -> bytes:
        data = self.files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert len(data) == descriptor["size"]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
        return data


def test_an_archive_that_runtimes_can_load(tmp_path: Path) -> None:
    info = image.build_archive(tmp_path / "a.tar", REFERENCE, "n0nce")
    archive = Archive(tmp_path / "a.tar")
    assert archive.json("oci-layout") == {"imageLayoutVersion": "1.0.0"}
    assert archive.named["annotations"] == {
        "io.containerd.image.name": REFERENCE,
        "org.opencontainers.image.ref.name": REFERENCE,
    }
    assert archive.named["digest"] == info.digest
    assert archive.manifest["config"]["digest"] == info.id
    assert archive.manifest["layers"][0]["digest"] == archive.config["rootfs"]["diff_ids"][0]
    assert archive.config["config"]["Labels"] == {"cri-conformance/nonce": "n0nce"}
    assert archive.config["config"]["Cmd"] == ["/bin/sh"]
    assert "Entrypoint" not in archive.config["config"]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine)
    assert info.architecture == archive.config["architecture"]
    assert machine in (None, info.architecture)


def test_what_the_root_holds(tmp_path: Path) -> None:
    image.build_archive(tmp_path / "a.tar", REFERENCE, "n0nce")
    root = Archive(tmp_path / "a.tar").layer
    assert root.getmember("tmp").mode == 0o1777
    assert root.getmember("bin/busybox").mode == 0o755
    assert root.getmember("bin/sh").linkname == "busybox"
    assert root.extractfile("etc/passwd").read().startswith(b"root:x:0:0:")  # type: ignore[union-attr]
    names = root.getnames()
    assert len(names) == len(set(names))
    seen = {""}
    for member in root:
        assert member.name.rpartition("/")[0] in seen, "a folder comes before what is in it"
        seen |= {member.name} if member.isdir() else set()


def test_equal_input_gives_equal_bytes_and_another_nonce_another_id(tmp_path: Path) -> None:
    one, again, other = (tmp_path / name for name in ("one", "again", "other"))
    first = image.build_archive(one, REFERENCE, "n0nce")
    assert image.build_archive(again, REFERENCE, "n0nce") == first
    assert one.read_bytes() == again.read_bytes()
    assert image.build_archive(other, REFERENCE, "n1nce").id != first.id


def test_an_entrypoint_takes_the_place_of_the_command(tmp_path: Path) -> None:
    image.build_archive(tmp_path / "a.tar", REFERENCE, "n0nce", ("/bin/sleep", "9"))
    settings = Archive(tmp_path / "a.tar").config["config"]
    assert settings["Entrypoint"] == ["/bin/sleep", "9"]
    assert "Cmd" not in settings


def test_a_tag_names_its_run() -> None:
    run = Run.new()
    reference = image.reference_for(run.nonce, run.owner)
    nonce, owner = image.owner_in_name(reference)
    assert (nonce, owner) == (run.nonce, run.owner)
    assert owner_alive(owner)
    assert image.is_ours(reference)
    assert image.owner_in_name("10.0.0.5:5000/cri-conformance/odd:n0nce-h.1.2") == (
        "n0nce",
        "h.1.2",
    )
    for foreign in ("docker.io/library/busybox:1", "x/y/cri-conformance/odd:n0nce-h.1.2", "odd:1"):
        assert not image.is_ours(foreign)
    assert len(reference.rpartition(":")[2]) <= 128


def test_no_static_busybox_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "busybox").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "busybox").chmod(0o755)
    with pytest.raises(image.ImageError, match=r"apt-get install busybox-static.*--cri-test-image"):
        image.build_archive(tmp_path / "a.tar", REFERENCE, "n0nce")


def test_the_variable_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copy(image.find_busybox(), tmp_path / "mine"))
    monkeypatch.setenv(image.BUSYBOX_VARIABLE, str(copy))
    assert image.find_busybox() == copy
    monkeypatch.setenv(image.BUSYBOX_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(image.ImageError, match=r"names .*none, which is no static ELF"):
        image.find_busybox()


def _elf(*kinds: int, bits: int = 64, order: str = "<", machine: int = 62) -> bytes:
    """The headers of an ELF program whose segments are of these kinds."""
    wide = bits == 64
    size, table = (56, 64) if wide else (32, 52)
    head = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    head += struct.pack(f"{order}HHI", 2, machine, 1)
    head += struct.pack(f"{order}QQQ" if wide else f"{order}III", 0, table, 0)
    head += struct.pack(f"{order}IHHHHHH", 0, table, size, len(kinds), 0, 0, 0)
    body = b"".join(struct.pack(f"{order}I", kind).ljust(size, b"\0") for kind in kinds)
    return (head + body).ljust(256, b"\0")


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_program_that_asks_for_an_interpreter_is_not_static(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, order: str
) -> None:
    program = tmp_path / "program"
    monkeypatch.setenv(image.BUSYBOX_VARIABLE, str(program))
    program.write_bytes(_elf(1, 2, bits=bits, order=order))
    assert image.find_busybox() == program
    program.write_bytes(_elf(1, 3, 2, bits=bits, order=order))
    with pytest.raises(image.ImageError):
        image.find_busybox()
