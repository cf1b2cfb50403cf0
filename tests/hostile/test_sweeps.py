# SPDX-License-Identifier: Apache-2.0
"""A hostile runtime is swept: few lines come of it, that do nothing to a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cri_conformance import sweep

from .runs import ROOT, harmless, hostile


def _sweep(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cri_conformance.cli", "sweep", "--cri-endpoint", url, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )


@pytest.mark.timeout(150)
def test_a_runtime_that_claims_thousands_of_leftovers(tmp_path: Path, reference: str) -> None:
    with hostile(tmp_path, reference, "claims") as url:
        swept = _sweep(tmp_path, url, "--dry-run")
    assert swept.returncode == 0, swept.stderr
    lines = swept.stdout.splitlines()
    assert len(lines) == sweep.MOST_LINES + 1
    assert lines[0].startswith("would remove sandbox ../../../$(touch owned)")
    assert lines[-1] == f"… and {20_000 - sweep.MOST_LINES} more"
    harmless(swept.stdout)
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.timeout(150)
def test_a_list_that_is_too_large_is_told(tmp_path: Path, reference: str) -> None:
    with hostile(tmp_path, reference, "items") as url:
        swept = _sweep(tmp_path, url)
    assert swept.returncode == 1, swept.stderr
    assert "could not look: ListContainers answers no answer: 20000000 bytes" in swept.stdout
    assert len(swept.stdout) < 4096


@pytest.mark.timeout(150)
def test_a_runtime_that_stops_to_answer(tmp_path: Path, reference: str) -> None:
    """What it says with it is escaped."""
    with hostile(tmp_path, reference, "leaves") as url:
        swept = _sweep(tmp_path, url)
    assert swept.returncode == 2, swept.stdout
    assert "no longer answers" in swept.stderr
    assert "Traceback" not in swept.stderr
    assert "\\x1b[2J" in swept.stderr
    harmless(swept.stderr)
