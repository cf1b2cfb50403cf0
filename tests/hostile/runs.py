# SPDX-License-Identifier: Apache-2.0
"""What tests with a hostile runtime share."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cri_conformance.report.text import visible

from . import server

#: Where the package is imported from.
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def started(folder: Path, *words: str) -> Iterator[None]:
    """A Python program that says a line once it is there."""
    process = subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextlib.contextmanager
def hostile(folder: Path, upstream: str, mode: str) -> Iterator[str]:
    """The URL of a runtime that is out to hurt."""
    url = f"unix://{folder}/h.sock"
    with started(folder, str(Path(server.__file__)), upstream, url, mode):
        yield url


def harmless(text: str) -> None:
    """Nothing in it does anything to a terminal."""
    assert visible(text).replace("\\x0d", "") == text.replace("\r", "")
