# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while a hostile runtime holds the run up: it ends soon, with its report and a way out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cri_conformance.leaving import AGAIN_AFTER

from .runs import ROOT, hostile
from .test_runs import IMAGE

#: Which tests each mode holds up.
HELD_UP = {
    "mute": ("test_exec_sync.py", "output"),
    "endless": ("test_events.py", ""),
    "talks": ("test_exec_streams.py", "output_is_exact or last_words"),
}
_MODES = pytest.mark.parametrize("mode", HELD_UP)
#: Seconds until a run that is told once has ended, and one that is told twice. A runtime that says
#: nothing more has 30 s for the first removal, and is then asked for 15 s before it counts as gone.
ONCE, TWICE = 75, 10


@contextlib.contextmanager
def _held_up(folder: Path, url: str, mode: str) -> Iterator[subprocess.Popen[str]]:
    """A run of pytest, as soon as the runtime holds it up."""
    file, keyword = HELD_UP[mode]
    words = [f"--cri-endpoint={url}", f"--cri-test-image={IMAGE}", "-p", "no:cacheprovider"]
    words += ["--cri-timeout=30", str(ROOT / "cri_conformance/suite" / file), "-k", keyword]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 40
        while not (folder / "h.sock.struck").exists():
            assert process.poll() is None, "it was not held up"
            assert time.monotonic() < until, "it was not held up in time"
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            print(process.communicate()[0])


@pytest.fixture(autouse=True)
def _swept(tmp_path: Path, reference: str) -> Iterator[None]:
    """What a run that was left at once has made goes: other tests use the same runtime."""
    yield
    subprocess.run(
        [sys.executable, "-m", "cri_conformance.cli", "sweep", "--cri-endpoint", reference],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=True,
    )


def _interrupt(process: subprocess.Popen[str]) -> None:
    """As a terminal does: all of them are told."""
    os.killpg(process.pid, signal.SIGINT)


@_MODES
def test_once(tmp_path: Path, reference: str, mode: str) -> None:
    with hostile(tmp_path, reference, mode) as url, _held_up(tmp_path, url, mode) as process:
        _interrupt(process)
        start = time.monotonic()
        said, _ = process.communicate(timeout=ONCE)
        print(f"{mode}: {time.monotonic() - start:.1f} s\n{said}")
    assert process.returncode == 2
    results = json.loads((tmp_path / "reports/latest/results.json").read_text(encoding="utf-8"))
    assert results["suite"]["stopped"] == "interrupted"
    assert (tmp_path / "reports/latest/index.html").exists()
    # What could not be removed is told, and how to.
    if mode == "mute":
        assert "cri-conformance sweep" in said
        assert results["leftovers"]


@_MODES
def test_twice(tmp_path: Path, reference: str, mode: str) -> None:
    with hostile(tmp_path, reference, mode) as url, _held_up(tmp_path, url, mode) as process:
        _interrupt(process)
        # Sooner it would count as the same.
        signal.sigtimedwait([], 3 * AGAIN_AFTER)
        if process.poll() is None:
            _interrupt(process)
        start = time.monotonic()
        said, _ = process.communicate(timeout=TWICE)
        print(f"{mode}: {time.monotonic() - start:.1f} s\n{said}")
    # In its very last moments signals are no longer ours.
    if mode != "mute" and process.returncode in (2, -signal.SIGINT):
        pytest.skip("it was done before the second one")
    assert process.returncode == 128 + signal.SIGINT
    assert "cri: left at once" in said
    assert f"sweep --cri-endpoint {url}" in said
