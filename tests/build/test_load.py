# SPDX-License-Identifier: Apache-2.0
"""Loader commands: how they are run, and what is said when they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cri_conformance.build import load


def _python(code: str) -> str:
    return f'{sys.executable} -c "{code}" {{}}'


def test_the_archive_takes_the_place_of_the_braces(tmp_path: Path) -> None:
    archive = tmp_path / "an archive; with $odd name.tar"
    archive.touch()
    load.load(archive, _python("import sys, os; sys.exit(not os.path.exists(sys.argv[1]))"))
    load.load(archive, "sh -c 'test -f \"$0\"' {}")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("ctr images import", r"has no \{\} for the archive's path"),
        ("ctr 'images", "closing quotation"),
        ("/nonexistent/loader {}", "can't run '/nonexistent/loader .*No such file"),
        ("false {}", r"ended with 1 \(nothing on stderr\)"),
        ("sh -c 'echo first >&2; echo last >&2; exit 3' {}", r"ended with 3 \(last\)"),
    ],
)
def test_a_failure_is_one_line_that_says_what_to_do(
    tmp_path: Path, command: str, said: str
) -> None:
    with pytest.raises(load.LoadError, match=said) as caught:
        load.load(tmp_path / "a.tar", command)
    assert "\n" not in str(caught.value)
    assert "--cri-image-loader" in str(caught.value)


def test_a_loader_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(load.LoadError, match=r"did not end within 0\.2 s"):
        load.load(tmp_path / "a.tar", "sh -c 'exec sleep 60' {}", within=0.2)


def test_a_loader_is_known_only_for_a_local_containerd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    socket = Path("/run/my runtime/c.sock")
    assert load.default_loader("containerd", socket) == ""
    (tmp_path / "ctr").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "ctr").chmod(0o755)
    assert load.default_loader("containerd", socket) == (
        "ctr --address '/run/my runtime/c.sock' -n k8s.io images import {}"
    )
    assert load.default_loader("containerd", None) == ""
    assert load.default_loader("cri-o", socket) == ""
