# SPDX-License-Identifier: Apache-2.0
"""A runtime that others use too, and runs of the suite on it as a user starts them.

It is the one whose endpoint $CRI_CONFORMANCE_REAL names (ctr must reach it, or
$CRI_CONFORMANCE_REAL_OPTIONS say how a test image gets in), which must be nobody else's
meanwhile; without that the reference runtime.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cri_conformance.reference import process

ROOT = Path(__file__).parents[2]
REAL, REAL_OPTIONS = "CRI_CONFORMANCE_REAL", "CRI_CONFORMANCE_REAL_OPTIONS"
#: What the reference runtime calls its image.
SHELL = "localhost/cri-conformance/shell:reference"
#: Seconds after which anything here counts as stuck.
STUCK = 240


@dataclass(frozen=True)
class Node:
    """A runtime, the options of runs on it, and the folder in which they do everything.

    ``image`` has a shell; "" where the runtime brings none along.
    """

    endpoint: str
    options: tuple[str, ...]
    folder: Path
    image: str

    def run(self, *words: str, ends: tuple[int, ...] = (0, 8)) -> None:
        """A run that comes to its end; the exit status is one of ``ends``, by default nothing
        broken."""
        with self._pytest(*words) as run:
            output, _ = run.communicate(timeout=STUCK)
            assert run.returncode in ends, output

    def cut_short(self, sent: signal.Signals, when: Callable[[], bool], *words: str) -> int:
        """The exit status of a run that gets a signal in the midst of its work."""
        with self._pytest(*words) as run:
            until = time.monotonic() + STUCK
            while not when():
                assert run.poll() is None, run.communicate()[0]
                assert time.monotonic() < until, "it never came so far"
                time.sleep(0.01)
            os.killpg(run.pid, sent)
            run.communicate(timeout=STUCK)
            return run.returncode

    def sweep(self) -> str:
        """What a sweep says that removes all there is to remove."""
        with self._python("cri_conformance.cli", "sweep", self._named) as sweep:
            output, _ = sweep.communicate(timeout=STUCK)
            assert sweep.returncode == 0, output
            return output

    @property
    def _named(self) -> str:
        return f"--cri-endpoint={self.endpoint}"

    def _pytest(self, *words: str) -> AbstractContextManager[subprocess.Popen[str]]:
        quiet = ("-p", "no:cacheprovider", "-q")
        return self._python("pytest", *quiet, self._named, *self.options, *words)

    @contextmanager
    def _python(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        run = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield run
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
            run.communicate()


@contextmanager
def node(folder: Path) -> Iterator[Node]:
    """The runtime that the environment names, else a reference runtime."""
    if endpoint := os.environ.get(REAL):
        options = shlex.split(os.environ.get(REAL_OPTIONS, ""))
        yield Node(endpoint, tuple(options), folder, "")
        return
    started = process.start()
    try:
        yield Node(started.endpoint, (f"--cri-test-image={SHELL}",), folder, SHELL)
    finally:
        started.stop()
