# SPDX-License-Identifier: Apache-2.0
"""A pytest run that doesn't use the plugin: it must not notice it."""

from __future__ import annotations

import re
import subprocess
import sys

from .conftest import ROOT, Place

#: What importing the plugin may add, in milliseconds; 10 are promised, but machines are busy.
IMPORT_TAKES = 50


def test_imports_nothing_heavy(place: Place) -> None:
    place.write(
        test_modules__py="""
            import sys
            def test_modules():
                heavy = {"grpc", "google.protobuf", "jinja2", "cri_conformance.session"}
                assert "cri_conformance.plugin" in sys.modules
                assert not heavy & set(sys.modules)
        """
    )
    # Hypothesis has a plugin of its own, which does import it.
    ran = place.run("-p", "no:hypothesispytest")
    assert ran.status == 0, ran.output


def test_import_is_cheap() -> None:
    timed = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import pytest, cri_conformance.plugin"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    found = re.findall(r"\|\s+(\d+) \| +cri_conformance(?:\.plugin)?$", timed, re.MULTILINE)
    assert found
    assert sum(map(int, found)) < IMPORT_TAKES * 1000
    assert not re.search(r"\b(hypothesis|grpc|jinja2|google\.protobuf)\b", timed)


def test_vendor_tests_are_skipped(place: Place) -> None:
    place.write(
        test_vendor__py="""
            def test_runtime(cri_runtime): assert 0
            def test_sandbox(cri_sandbox): assert 0
            def test_container(cri_container): assert 0
            def test_judge(judge): assert 0
            def test_explore(explore): assert 0
        """
    )
    ran = place.run("-rs")
    assert ran.status == 0, ran.output
    assert ran.output.count("needs --cri-endpoint") == 5
    assert "5 skipped" in ran.output
    assert not (place.folder / "reports").exists()
