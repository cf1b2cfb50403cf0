# SPDX-License-Identifier: Apache-2.0
"""The helper program: what it tells, that it waits, and that no build fails for want of it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from cri_conformance.build import helper
from cri_conformance.build.image import ImageError
from cri_conformance.registry.oci import architecture_here

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return helper.find(architecture_here())
    except ImageError as error:
        pytest.skip(str(error))


def _run(program: Path, *verbs: str, code: int = 0, **options: object) -> list[str]:
    done = subprocess.run(
        [program, *verbs], capture_output=True, text=True, timeout=10, check=False, **options
    )
    assert done.returncode == code
    return done.stdout.splitlines()


def test_it_says_what_it_was_started_with(program: Path, tmp_path: Path) -> None:
    said = _run(program, "say", "echo", "ü and\nmore", cwd=tmp_path, env={"A": "b=c", "E": ""})
    assert said[:4] == [f"argv <{program}>", "argv <say>", "argv <echo>", "argv <ü and"]
    assert {"env <A=b=c>", "env <E=>", f"cwd <{tmp_path}>"} <= set(said)
    assert {f"uid {os.getuid()}", f"egid {os.getegid()}"} <= set(said)
    assert {f"group {group}" for group in os.getgroups()} <= set(said)
    assert said[-2:] == ["ü and", "more"]


def test_files(program: Path, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 200_000 + b"\n")
    path = tmp_path / "new"
    assert _run(program, "cat", str(tmp_path / "large")) == ["x" * 200_000]
    verbs = [word for verb in ("create", "create", "append") for word in (verb, str(path))]
    told = _run(program, *verbs, "list", str(tmp_path), "delete", str(path), "cat", str(path))
    assert told[:3] == [f"create {path}: ok", f"create {path}: error 17", f"append {path}: ok"]
    assert set(told[3:5]) == {"name <large>", "name <new>"}
    assert told[5:] == [f"list {tmp_path}: ok", f"delete {path}: ok", f"cat {path}: error 2"]


def test_it_waits_for_a_signal(program: Path) -> None:
    words = [program, "echo", "ready", "wait", "exit", "61"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGUSR1)
        assert child.stdout.read() == b"signal 10\n"
    assert child.returncode == 61


@pytest.mark.parametrize("verbs", [["fly", "x"], ["cat"], ["echo", "x", "?"]])
def test_what_it_does_not_understand(program: Path, verbs: list[str]) -> None:
    _run(program, *verbs, code=64)


def test_its_layer(program: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(helper.layer(program, "/a/b/c").blob.data)) as tar:
        names = [(entry.name, entry.mode) for entry in tar]
    assert names == [("a", 0o755), ("a/b", 0o755), ("a/b/c", 0o755)]


def test_one_that_is_not_there() -> None:
    with pytest.raises(ImageError, match="no helper program for vax"):
        helper.find("vax")


def test_a_build_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    monkeypatch.syspath_prepend(ROOT)
    import hatch_build

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(hatch_build.importlib.util, "find_spec", lambda name: None)
    hook = hatch_build.CustomBuildHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    hook.initialize("standard", {})
    assert not list((tmp_path / hatch_build.FOLDER).iterdir())
    sys.modules.pop("hatch_build")
