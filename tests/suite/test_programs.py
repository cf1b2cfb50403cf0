# SPDX-License-Identifier: Apache-2.0
"""What images run where this installation has no helper, as a wheel on another kind of machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from cri_conformance.build import helper, image
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.registry import oci
from cri_conformance.suite import programs


@pytest.fixture(autouse=True)
def _without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(helper, "_FOLDER", tmp_path)


def test_busybox_takes_the_helpers_place(monkeypatch: pytest.MonkeyPatch) -> None:
    busybox = image.Root(oci.layer([oci.File("bin/busybox")]), "arm64")
    monkeypatch.setattr(image, "root", lambda: busybox)
    program = programs.program("arm64", isolates=True)
    assert (program.layer, program.architecture) == (busybox.layer, "arm64")
    assert {words[0] for words in (program.idle, program.echo, program.cat)} == {
        *("/bin/sleep", "/bin/echo", "/bin/cat")
    }


def test_with_neither_it_says_in_a_line_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> image.Root:
        raise image.ImageError("no static busybox here: apt-get install busybox-static")

    monkeypatch.setattr(image, "root", none)
    with pytest.raises(NotExercised) as raised:
        programs.program("arm64", isolates=True)
    assert raised.value.reason is Reason.NOT_INSTALLED
    said = str(raised.value)
    assert "no helper program for arm64" in said
    assert "busybox-static" in said
    assert "\n" not in said
