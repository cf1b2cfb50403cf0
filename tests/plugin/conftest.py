# SPDX-License-Identifier: Apache-2.0
"""Runs of pytest as a user starts them: a process of its own, in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.wire import endpoint
from cri_conformance.wire.client import Client
from cri_conformance.wire.outcome import Ok

#: Where the package is imported from, also in processes that start in other folders.
ROOT = Path(__file__).parents[2]
#: What the reference runtime calls its image: named, none has to be built.
IMAGE = "localhost/cri-conformance/shell:reference"
#: Seconds that anything here may take before it counts as stuck.
STUCK = 60


@dataclass
class Place:
    """A folder in which pytest is run, with temporary files of its own beside it."""

    folder: Path
    temporary: Path

    def write(self, **files: str) -> None:
        """Files by name, the dot as two underscores: ``pytest__ini="…"``."""
        for name, text in files.items():
            path = self.folder / name.replace("__", ".")
            path.write_text(textwrap.dedent(text), encoding="utf-8")

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start pytest here."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
            cwd=self.folder,
            env={**_environment(), **environment, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **environment: str) -> Ran:
        """Run pytest here to its end."""
        return self.end(self.start(*words, **environment))

    def end(self, process: subprocess.Popen[str], within: float = STUCK) -> Ran:
        """Wait for it."""
        try:
            output, _ = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            pytest.fail(f"stuck:\n{output}")
        return Ran(process.returncode, output, self.folder)

    def await_file(self, name: str) -> str:
        """What stands in a file that a test under way writes."""
        path = self.folder / name
        found: str = wait_for(lambda: path.exists() and path.read_text(encoding="utf-8"), name)
        return found

    def await_path(self, name: str) -> None:
        """Wait until a file is there, be it empty."""
        wait_for((self.folder / name).exists, name)

    def left(self) -> list[str]:
        """Temporary files of ours that are still there."""
        return sorted(path.name for path in self.temporary.glob("cri-*"))


@dataclass(frozen=True)
class Ran:
    """How a run of pytest ended, and what it said."""

    status: int
    output: str
    folder: Path

    @property
    def results(self) -> Any:
        """results.json."""
        return json.loads(self.report("results.json"))

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdicts by clause, of those with one."""
        return {
            clause["id"]: clause["verdict"]
            for clause in self.results["clauses"]
            if clause["verdict"] != "not exercised"
        }

    def reason(self, clause: str) -> str:
        """Why a clause was not exercised."""
        found: str = next(c["reason"] for c in self.results["clauses"] if c["id"] == clause)
        return found

    def report(self, name: str) -> str:
        """A file of the report."""
        return (self.folder / "reports/latest" / name).read_text(encoding="utf-8")

    def line(self, pattern: str) -> str:
        """The first line that a pattern is found in."""
        found = next((line for line in self.output.splitlines() if re.search(pattern, line)), None)
        assert found is not None, f"no {pattern!r} in:\n{self.output}"
        return found


@dataclass(frozen=True)
class Served:
    """A reference runtime of its own process, which runs as long as it is let."""

    url: str
    process: subprocess.Popen[str]
    client: Client

    @property
    def options(self) -> list[str]:
        """What a run needs to judge it."""
        return [f"--cri-endpoint={self.url}", f"--cri-test-image={IMAGE}"]

    def objects(self) -> set[str]:
        """Ids of all sandboxes and containers."""
        sandboxes, containers = (
            self.client.call("ListPodSandbox"),
            self.client.call("ListContainers"),
        )
        assert isinstance(sandboxes, Ok)
        assert isinstance(containers, Ok)
        return {item.id for item in (*sandboxes.response.items, *containers.response.containers)}

    def foreign_sandbox(self, name: str) -> str:
        """The id of a sandbox that is nobody's we know."""
        metadata = types.PodSandboxMetadata(name=name, uid=name, namespace="theirs")
        made = self.client.call("RunPodSandbox", config=types.PodSandboxConfig(metadata=metadata))
        assert isinstance(made, Ok)
        found: str = made.response.pod_sandbox_id
        return found


def wait_for(look: Callable[[], Any], what: str) -> Any:
    """What ``look`` gives once it gives something."""
    until = time.monotonic() + STUCK
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.05)
    pytest.fail(f"waited in vain for {what}")


def _environment() -> dict[str, str]:
    foreign = ("PYTEST_", "GITHUB_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def command(*words: str, **more: Any) -> subprocess.Popen[str]:
    """Start the command ``cri-conformance``."""
    return subprocess.Popen(
        [sys.executable, "-m", "cri_conformance.cli", *words],
        env=_environment() | more.pop("env", {}),
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        **more,
    )


@pytest.fixture(scope="session")
def short() -> Iterator[Callable[[], Path]]:
    """Makes folders whose names are short enough to hold sockets."""
    made: list[Path] = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="plug-")))
        return made[-1]

    yield make
    for path in made:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="package", autouse=True)
def _bytecode_is_kept(short: Callable[[], Path]) -> Iterator[None]:
    """Let runs share what pytest compiles, in a folder of ours: half the time of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(short()))
        yield


@pytest.fixture
def place(tmp_path: Path, short: Callable[[], Path]) -> Place:
    """An empty folder."""
    return Place(tmp_path, short())


@pytest.fixture
def places(tmp_path: Path, short: Callable[[], Path]) -> list[Place]:
    """Two empty folders, for runs beside each other."""
    made = [Place(tmp_path / name, short()) for name in ("one", "other")]
    for place in made:
        place.folder.mkdir()
    return made


@pytest.fixture(scope="session")
def serve(short: Callable[[], Path]) -> Iterator[Callable[[], Served]]:
    """Starts reference runtimes."""
    made: list[tuple[Path, Served]] = []

    def listening(folder: Path, url: str) -> subprocess.Popen[str]:
        process = command("serve", "--listen", url, env={"TMPDIR": str(folder)})
        assert process.stdout is not None
        assert url in process.stdout.readline()
        return process

    def start() -> Served:
        folder = short()
        url = f"unix://{folder}/cri.sock"
        served = Served(url, listening(folder, url), Client(endpoint.parse(url)))
        made.append((folder, served))
        return served

    yield start
    for folder, served in made:
        served.client.close()
        if served.process.poll() == -signal.SIGKILL:
            # Its containers are still there: the next one to start in its place ends them.
            stop(listening(folder, f"unix://{folder}/next.sock"))
        stop(served.process)


@pytest.fixture(scope="session")
def served(serve: Callable[[], Served]) -> Served:
    """One that all tests share: they leave it as it was."""
    return serve()


def stop(process: subprocess.Popen[str]) -> None:
    """End a process in good order."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STUCK)
    finally:
        process.kill()
        if process.stdout:
            process.stdout.close()


@contextlib.contextmanager
def behind(fault: str, served: Served, folder: Path) -> Iterator[list[str]]:
    """A proxy with a seeded fault before a runtime; the options that lead to it."""
    url = f"unix://{folder}/fault.sock"
    process = command("fault", "--upstream", served.url, "--fault", fault, "--listen", url)
    assert process.stdout is not None
    process.stdout.readline()
    yield [f"--cri-endpoint={url}", f"--cri-test-image={IMAGE}"]
    stop(process)
