# SPDX-License-Identifier: Apache-2.0
"""A hostile runtime is judged: in bounded time and memory, with a report that hurts nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cri_conformance.report.text import visible

from . import server

IMAGE = "localhost/cri-conformance/shell:reference"
#: Seconds and MiB that a run may take; both are far above what it does take.
WITHIN, MOST = 150.0, 900
ROOT = Path(__file__).parents[2]

#: What is judged in each mode: little, and what the mode strikes.
SELECTED = {
    "items": "RuntimeService.ListContainers.*",
    "gigabyte": "RuntimeService.ListContainers.*",
    "markup": "RuntimeService.RemoveContainer.*",
    "errors": "RuntimeService.RunPodSandbox.*",
    "stall": "RuntimeService.RemovePodSandbox.*",
    "utf8": "RuntimeService.PodSandboxStatus.*",
    "times": "*Status.created_at.*",
    "nothing": "RuntimeService.[RCE]*Container*.*",
    "endless": "RuntimeService.GetContainerEvents.*",
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("r")
    url = f"unix://{folder}/cri.sock"
    process = _start(folder, "-m", "cri_conformance.cli", "serve", "--listen", url)
    yield url
    _stop(process)


def _start(folder: Path, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _judge(folder: Path, url: str, clauses: str) -> tuple[int, str, float, int]:
    """Exit status, output, seconds and MiB of a run."""
    said = folder / "said"
    words = [f"--cri-endpoint={url}", f"--cri-test-image={IMAGE}", f"--cri-clause={clauses}"]
    words += ["--cri-timeout=2", "--cri-run-timeout=40", "-p", "no:cacheprovider"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    start = time.monotonic()
    with said.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *words],
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**kept, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
        )
        # wait4 alone tells what this process has used, at its highest.
        timer = threading.Timer(WITHIN, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    text = said.read_text(encoding="utf-8", errors="surrogateescape")
    return process.returncode, text, time.monotonic() - start, usage.ru_maxrss // 1024


@pytest.mark.timeout(200)
@pytest.mark.parametrize("mode", ["markup", "utf8"])
def test_run(tmp_path: Path, reference: str, mode: str) -> None:
    at = f"unix://{tmp_path}/h.sock"
    hostile = _start(tmp_path, str(Path(server.__file__)), reference, at, mode)
    try:
        status, said, seconds, memory = _judge(tmp_path, at, SELECTED[mode])
    finally:
        _stop(hostile)
    print(f"{mode}: status {status}, {seconds:.1f} s, {memory} MiB")
    assert 0 < status <= 8, said
    assert memory < MOST, said
    _harmless(said)
    folder = tmp_path / "reports/latest"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["tests"]
    assert results["summary"]["broken"] or results["summary"]["error"], said
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    _harmless(page)
    ElementTree.parse(folder / "junit.xml")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 64 * 1024 * 1024


def _harmless(text: str) -> None:
    """Nothing in it does anything to a terminal."""
    assert visible(text).replace("\\x0d", "") == text.replace("\r", "")
