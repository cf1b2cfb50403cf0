# SPDX-License-Identifier: Apache-2.0
"""What runs leave of images: their own never, those of others always. Also of runs cut short.

On the reference runtime, and on a real one where $CRI_CONFORMANCE_REAL names its endpoint (ctr must
reach it, or $CRI_CONFORMANCE_REAL_OPTIONS say how a test image gets in). It must be nobody else's.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.build import helper
from cri_conformance.build.image import ImageError
from cri_conformance.reference import process
from cri_conformance.registry import oci
from cri_conformance.registry.server import running
from cri_conformance.wire.client import Client
from cri_conformance.wire.endpoint import parse
from cri_conformance.wire.outcome import answer

ROOT = Path(__file__).parents[2]
REAL, REAL_OPTIONS = "CRI_CONFORMANCE_REAL", "CRI_CONFORMANCE_REAL_OPTIONS"
#: Seconds after which anything here counts as stuck.
STUCK = 90


@dataclass(frozen=True)
class Node:
    """A runtime with images of somebody else's; ``before`` is what was there, by id."""

    client: Client
    options: tuple[str, ...]
    folder: Path
    before: dict[str, Any]

    def start(self, pattern: str) -> subprocess.Popen[str]:
        """A run of the suite, in a folder of its own."""
        words = ["-p", "no:cacheprovider", "-q", *self.options, f"--cri-clause={pattern}"]
        return self._python("pytest", *words)

    def sweep(self) -> subprocess.Popen[str]:
        return self._python("cri_conformance.cli", "sweep", *self.options[:1])

    def _python(self, *words: str) -> subprocess.Popen[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def images(self) -> dict[str, Any]:
        return _images(self.client)

    def _new(self) -> dict[str, Any]:
        return {name: image for name, image in self.images().items() if name not in self.before}

    def in_the_middle_of_a_pull_test(self, run: subprocess.Popen[str]) -> None:
        """Wait until it has pulled something."""
        until = time.monotonic() + STUCK
        while "/pull-" not in str(self._new()):
            assert run.poll() is None, run.communicate()[0]
            assert time.monotonic() < until, "no pull is seen"
            time.sleep(0.01)


def _images(client: Client) -> dict[str, Any]:
    listed = answer(client.call("ListImages"), "ListImages").images
    return {
        one.id: (sorted(one.repo_tags), sorted(one.repo_digests), one.size, one.pinned)
        for one in listed
    }


def _reference() -> Iterator[tuple[str, list[str]]]:
    started = process.start()
    yield started.endpoint, ["--cri-test-image=localhost/cri-conformance/shell:reference"]
    started.stop()


def _real() -> Iterator[tuple[str, list[str]]]:
    if not os.environ.get(REAL):
        pytest.skip(f"${REAL} names no endpoint")
    yield os.environ[REAL], shlex.split(os.environ.get(REAL_OPTIONS, ""))


@pytest.fixture(scope="module", params=[_reference, _real], ids=["reference", "real"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    runtime: Callable[[], Iterator[tuple[str, list[str]]]] = request.param
    begun = runtime()
    endpoint, options = next(begun)
    client = Client(parse(endpoint))
    with running() as registry:
        references = [registry.push(f"theirs/app-{n}", "1", image) for n, image in _theirs()]
        try:
            for reference in references:
                spec = types.ImageSpec(image=reference)
                answer(client.call("PullImage", image=spec, deadline=STUCK), "PullImage")
            folder = tmp_path_factory.mktemp("node")
            yield Node(client, (f"--cri-endpoint={endpoint}", *options), folder, _images(client))
        finally:
            for reference in references:
                client.call("RemoveImage", image=types.ImageSpec(image=reference))
    client.close()
    next(begun, None)


def _theirs() -> Iterator[tuple[int, oci.Image]]:
    """One with a layer that the suite's images have too, if there is such, and one with its own."""
    here = oci.architecture_here()
    layers = [oci.layer([oci.File("theirs", b"theirs")])]
    yield 0, oci.image(layers, {"Cmd": ["/theirs"]}, architecture=here)
    try:
        layers.insert(0, helper.layer(helper.find(here)))
    except ImageError:
        return
    yield 1, oci.image(layers, {"Cmd": ["/theirs"]}, architecture=here)


def test_a_run_that_comes_to_its_end(node: Node) -> None:
    run = node.start("ImageService.*Image.[tbi]*")
    output, _ = run.communicate(timeout=STUCK)
    assert run.returncode in (0, 8), output
    assert node.images() == node.before


def test_ctrl_c(node: Node) -> None:
    run = node.start("ImageService.PullImage.*")
    node.in_the_middle_of_a_pull_test(run)
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=STUCK)
    assert run.returncode == 2, output
    assert node.images() == node.before


def test_a_run_that_was_killed_and_a_sweep(node: Node) -> None:
    run = node.start("ImageService.PullImage.*")
    node.in_the_middle_of_a_pull_test(run)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate(timeout=STUCK)
    assert node.before.items() <= node.images().items()
    sweep = node.sweep()
    output, _ = sweep.communicate(timeout=STUCK)
    assert sweep.returncode == 0, output
    assert node.images() == node.before, output
