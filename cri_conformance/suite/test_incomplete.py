# SPDX-License-Identifier: Apache-2.0
"""Requests that lack parts, or that fail: each gets an answer, and the runtime goes on.

No kubelet sends most of these, so what is answered is not judged. But one of them must not be
the end of the runtime, as a whole node goes with it. Where it is, everybody on the node loses it
for a while: so this is tried only where the user says how to restart it, and over a connection
of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.restart import Restarter
from cri_conformance.wire.outcome import Ok, Outcome, Refused, RuntimeGone
from cri_conformance.wire.runtime import Runtime, Sandbox

_SURVIVES = "RuntimeService.Status.survives-incomplete"
#: Seconds in which a runtime that is there takes a connection.
_THERE_WITHIN = 2.0

#: Makes a request from a scope and a sandbox.
Make = Callable[[Runtime, Sandbox], Any]


@pytest.fixture
def alone(runtime: Runtime, restart: Restarter) -> Iterator[Runtime]:
    """A scope with a connection of its own, which may be lost without the others."""
    with runtime.client.another() as client:
        scope = Runtime(client, runtime.workshop)
        yield scope
        with contextlib.suppress(RuntimeGone):
            scope.close()
    if not runtime.client.wait_ready(_THERE_WITHIN):
        restart(runtime)


# -- sandboxes ---------------------------------------------------------------------------------


def _run(**fields: Any) -> Make:
    return lambda runtime, sandbox: types.RunPodSandboxRequest(**fields)


def _run_bare(runtime: Runtime, sandbox: Sandbox) -> Any:
    """With metadata and nothing else."""
    metadata = runtime.sandbox_config().metadata
    return types.RunPodSandboxRequest(config=types.PodSandboxConfig(metadata=metadata))


def _run_unlabelled(runtime: Runtime, sandbox: Sandbox) -> Any:
    config = runtime.sandbox_config()
    config.ClearField("labels")
    config.ClearField("annotations")
    return types.RunPodSandboxRequest(config=config)


def _run_in_vain(runtime: Runtime, sandbox: Sandbox) -> Any:
    """Fails when the first process of the sandbox is about to start."""
    config = runtime.sandbox_config()
    config.linux.sysctls["kernel.cri_conformance_none"] = "1"
    return types.RunPodSandboxRequest(config=config, runtime_handler=sandbox.handler)


# -- containers --------------------------------------------------------------------------------


def _create(*missing: str) -> Make:
    """A creation without these fields, as in ``sandbox_config.metadata``."""

    def make(runtime: Runtime, sandbox: Sandbox) -> Any:
        request = types.CreateContainerRequest(
            pod_sandbox_id=sandbox.id,
            config=runtime.container_config(sandbox),
            sandbox_config=sandbox.config,
        )
        for path in missing:
            *parts, last = path.split(".")
            holder: Any = request
            for part in parts:
                holder = getattr(holder, part)
            holder.ClearField(last)
        return request

    return make


def _in_container(request: Any) -> Make:
    def make(runtime: Runtime, sandbox: Sandbox) -> Any:
        request.container_id = runtime.running(sandbox).id
        return request

    return make


#: Call, what it lacks, and the request.
_REQUESTS: tuple[tuple[str, str, Make], ...] = (
    ("RunPodSandbox", "config", _run()),
    ("RunPodSandbox", "metadata", _run(config=types.PodSandboxConfig(hostname="bare"))),
    ("RunPodSandbox", "all but metadata", _run_bare),
    ("RunPodSandbox", "labels", _run_unlabelled),
    ("RunPodSandbox", "kernel setting", _run_in_vain),
    ("CreateContainer", "config", _create("config")),
    ("CreateContainer", "metadata", _create("config.metadata")),
    ("CreateContainer", "image", _create("config.image")),
    ("CreateContainer", "linux", _create("config.linux", "sandbox_config.linux")),
    ("CreateContainer", "sandbox_config", _create("sandbox_config")),
    ("CreateContainer", "sandbox metadata", _create("sandbox_config.metadata")),
    ("PullImage", "image", lambda runtime, sandbox: types.PullImageRequest()),
    (
        "UpdateContainerResources",
        "resources",
        _in_container(types.UpdateContainerResourcesRequest()),
    ),
    ("ExecSync", "command", _in_container(types.ExecSyncRequest(timeout=5))),
)


@clause(_SURVIVES)
@pytest.mark.parametrize(
    ("rpc", "make"),
    [
        pytest.param(rpc, make, id=f"{rpc}-without-{lacks.replace(' ', '-')}")
        for rpc, lacks, make in _REQUESTS
    ],
)
def test_the_runtime_outlives_the_request(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    alone: Runtime,
    judge: Judge,
    rpc: str,
    make: Make,
) -> None:
    request = make(alone, shared_sandbox)
    for name, call in (
        (rpc, lambda: alone.call(rpc, request)),
        ("Status", lambda: alone.call("Status")),
    ):
        outcome = _outcome(call)
        judge.that(
            _SURVIVES,
            isinstance(outcome, Ok) or (name == rpc and isinstance(outcome, Refused)),
            permitted=f"an answer of {name}",
            actual=outcome,
            about=[shared_sandbox.id],
        )


def _outcome(call: Callable[[], Outcome]) -> Outcome | str:
    try:
        return call()
    except RuntimeGone as gone:
        return str(gone)
