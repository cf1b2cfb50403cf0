# SPDX-License-Identifier: Apache-2.0
"""A hostile runtime is judged: in bounded time and memory, with a report that hurts nobody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .runs import ROOT, harmless, hostile

IMAGE = "localhost/cri-conformance/shell:reference"
#: Seconds and MiB that a run may take; both are far above what it does take.
WITHIN, MOST = 150.0, 900


@dataclass(frozen=True)
class Struck:
    """What is judged in one mode, and what must come of it.

    ``tests`` are a file of the suite and pytest's -k. The run ends with ``status``, and both the
    terminal and results.json say ``says``, a pattern.
    """

    tests: tuple[str, str]
    status: int
    says: str
    timeout: int = 2


_PODS = "test_sandbox_lifecycle.py"
_FIRST = "listed_once or next_attempt or corrected_run or refused_run"
STRUCK = {
    "items": Struck((_PODS, "created_and"), 6, "20000000 bytes came that would take more than 256"),
    "gigabyte": Struck((_PODS, "created_and"), 6, "the response has more than 67108864 bytes"),
    "markup": Struck(("test_container_times.py", "reasons_are_words"), 1, "owned"),
    "ids": Struck((_PODS, "running_containers"), 1, "touch owned"),
    "errors": Struck((_PODS, "corrected_run"), 1, "RunPodSandbox.name-free-after-failure"),
    "stall": Struck((_PODS, _FIRST), 6, "no longer answers RunPodSandbox: 5 calls", timeout=1),
    "closes": Struck((_PODS, _FIRST), 6, "no longer answers RunPodSandbox: 5 calls"),
    "utf8": Struck((_PODS, _FIRST), 6, "the response is no message of this call"),
    "times": Struck(("test_container_times.py", "later_creations"), 1, "-9223372036854775808"),
    "nothing": Struck((_PODS, "exited_when_the_stop"), 1, "StopPodSandbox.containers-exited"),
    "talks": Struck(
        ("test_exec_streams.py", "output_is_exact or last_words"), 1, "got 134217728 bytes"
    ),
    "endless": Struck(("test_events.py", "nanoseconds"), 1, "none about them, of|it goes on after"),
}


def _judge(folder: Path, url: str, struck: Struck) -> tuple[int, str, float, int]:
    """Exit status, output, seconds and MiB of a run."""
    said = folder / "said"
    file, keyword = struck.tests
    words = [f"--cri-endpoint={url}", f"--cri-test-image={IMAGE}", "-p", "no:cacheprovider"]
    words += [f"--cri-timeout={struck.timeout}", "--cri-run-timeout=60"]
    words += [str(ROOT / "cri_conformance/suite" / file), "-k", keyword]
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
@pytest.mark.parametrize("mode", STRUCK)
def test_run(tmp_path: Path, reference: str, mode: str) -> None:
    struck = STRUCK[mode]
    with hostile(tmp_path, reference, mode) as url:
        status, said, seconds, memory = _judge(tmp_path, url, struck)
    print(f"{mode}: status {status}, {seconds:.1f} s, {memory} MiB, {len(said)} characters")
    assert status == struck.status, said
    assert re.search(struck.says, said), said
    assert memory < MOST, said
    assert len(said) < 256 * 1024
    harmless(said)
    folder = tmp_path / "reports/latest"
    results = (folder / "results.json").read_text(encoding="utf-8")
    assert re.search(struck.says, results)
    assert json.loads(results)["tests"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    harmless(page)
    ElementTree.parse(folder / "junit.xml")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 16 * 1024 * 1024
    assert not list(tmp_path.rglob("owned"))  # What the ids would have a shell do.
