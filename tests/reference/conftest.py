# SPDX-License-Identifier: Apache-2.0
"""A reference runtime for a module's tests, and short words for what they do with it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.reference import process
from cri_conformance.wire.client import Client
from cri_conformance.wire.endpoint import parse
from cri_conformance.wire.outcome import Ok, Refused

SHELL = "localhost/cri-conformance/shell:reference"


class Runtime:
    """Calls that must succeed return the response; ``refused`` returns the error's code."""

    def __init__(self, client: Client, logs: Path) -> None:
        self.client = client
        self.logs = logs
        self._names = itertools.count()

    @staticmethod
    def until(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
        """What ``condition`` returns as soon as it is true; fails after ``seconds``."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "this did not come true"
            time.sleep(0.005)
        return found

    def __call__(self, rpc: str, **fields: Any) -> Any:
        outcome = self.client.call(rpc, **fields)
        assert isinstance(outcome, Ok), f"{rpc}: {outcome}"
        return outcome.response

    def refused(self, rpc: str, **fields: Any) -> str:
        outcome = self.client.call(rpc, **fields)
        assert isinstance(outcome, Refused), f"{rpc}: {outcome}"
        return outcome.code

    def sandbox_config(self, **fields: Any) -> Any:
        name = f"pod-{next(self._names)}"
        metadata = types.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default")
        return types.PodSandboxConfig(
            **{"metadata": metadata, "hostname": name, "log_directory": str(self.logs), **fields}
        )

    def sandbox(self, **fields: Any) -> str:
        response = self("RunPodSandbox", config=self.sandbox_config(**fields))
        return str(response.pod_sandbox_id)

    def config(self, script: str = "sleep 60", **fields: Any) -> Any:
        name = f"c-{next(self._names)}"
        return types.ContainerConfig(
            **{
                "metadata": types.ContainerMetadata(name=name),
                "image": types.ImageSpec(image=SHELL),
                "command": ["sh", "-c", script],
                "log_path": f"{name}.log",
                **fields,
            }
        )

    def container(self, sandbox: str, script: str = "sleep 60", **fields: Any) -> str:
        config = self.config(script, **fields)
        response = self("CreateContainer", pod_sandbox_id=sandbox, config=config)
        return str(response.container_id)

    def running(self, sandbox: str, script: str = "sleep 60", **fields: Any) -> str:
        container = self.container(sandbox, script, **fields)
        self("StartContainer", container_id=container)
        return container

    def ready(self, sandbox: str, script: str, **fields: Any) -> str:
        """A running container whose script has written 'ready'."""
        container = self.running(sandbox, script, **fields)
        self.until(lambda: "ready" in self.log(container))
        return container

    def status(self, container: str) -> Any:
        return self("ContainerStatus", container_id=container).status

    def exited(self, container: str) -> Any:
        """The status, once the container has ended by itself."""
        self.until(lambda: self.status(container).state == types.CONTAINER_EXITED)
        return self.status(container)

    def log(self, container: str) -> str:
        path = Path(self.status(container).log_path)
        return path.read_bytes().decode() if path.exists() else ""

    def execute(self, container: str, *cmd: str, timeout: int = 0) -> Any:
        return self("ExecSync", container_id=container, cmd=list(cmd), timeout=timeout)


@contextlib.contextmanager
def connected(endpoint: str, logs: Path) -> Iterator[Runtime]:
    client = Client(parse(endpoint))
    try:
        yield Runtime(client, logs)
    finally:
        client.close()


@pytest.fixture
def connect(tmp_path: Path) -> Callable[[str], AbstractContextManager[Runtime]]:
    """Gives the runtime at an endpoint; for tests that start one themselves."""
    return lambda endpoint: connected(endpoint, tmp_path)


@pytest.fixture(scope="module")
def started() -> Iterator[process.ReferenceProcess]:
    reference = process.start()
    yield reference
    reference.stop()


@pytest.fixture(scope="module")
def runtime(
    started: process.ReferenceProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runtime]:
    with connected(started.endpoint, tmp_path_factory.mktemp("logs")) as runtime:
        yield runtime


@pytest.fixture
def pod(runtime: Runtime) -> Iterator[str]:
    sandbox = runtime.sandbox()
    yield sandbox
    runtime("RemovePodSandbox", pod_sandbox_id=sandbox)
