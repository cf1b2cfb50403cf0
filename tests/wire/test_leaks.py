# SPDX-License-Identifier: Apache-2.0
"""What is left on the host of objects that are gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cri_conformance.wire.leaks import Leaks, lasting

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="looks at all processes")
_ID = "5eed" * 16


def test_a_process_of_an_object_that_is_gone_is_seen(tmp_path):
    look = Leaks("/", str(tmp_path))
    log = tmp_path / "0.log"
    code = f"import sys; kept = open({str(log)!r}, 'w'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, _ID], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        child.stdout.readline()
        left = look.left(frozenset({_ID}), within=0)
        assert any(f"process {child.pid} " in line for line in left)
        assert any(str(log) in line for line in left)
        child.communicate(b"")
    assert look.left(frozenset({_ID}), within=2) == []


def test_a_network_namespace_is_seen_wherever_it_is_mounted(tmp_path):
    look, place = Leaks("/"), tmp_path / "cni-1"
    place.touch()
    # Made by a process that is gone: what keeps it is the mount.
    subprocess.run(["unshare", "--net", "mount", "--bind", "/proc/self/ns/net", place], check=True)
    try:
        assert look.now(frozenset()) == ["network namespace cni-1"]
        enter = ["nsenter", f"--net={place}", "sh", "-c", "echo inside; exec cat"]
        with subprocess.Popen(enter, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout
            child.stdout.readline()
            assert look.now(frozenset()) == []
            child.communicate(b"")
        assert Leaks("/").now(frozenset()) == []
    finally:
        subprocess.run(["umount", place], check=True)
    assert look.now(frozenset()) == []


def test_what_comes_and_goes_is_not_left():
    looks = iter([["old", "a"], ["old", "b"], ["old", "late"], *[["old", "late"]] * 99])
    assert lasting(lambda: next(looks), 0.6) == ["old"]
    looks = iter([["a"], ["late"], *[["late"]] * 99])
    assert lasting(lambda: next(looks), 1.0) == ["late"]
    looks = iter([["a"], []])
    assert lasting(lambda: next(looks), 5) == []
    assert lasting(lambda: ["now"], 0) == ["now"]


def test_without_the_host_nothing_is_said():
    assert Leaks("").left(frozenset({_ID})) == []
