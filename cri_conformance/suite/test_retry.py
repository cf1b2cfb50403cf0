# SPDX-License-Identifier: Apache-2.0
"""After an answer that never came: the client gives a call up, and then asks again.

What became of the call is unknown: it may have been done, be half done, or still be at
work. The kubelet repeats it every few seconds until it succeeds. So it has to, within a
minute: an object must not be stuck "in removal" for ever, nor a name be taken by nothing.

How long a call takes is the runtime's affair, so each is given up after several times,
some of which fall into the middle of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.build.messages import POD_UID
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.scripts import PROMPT, listening
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Runtime, Sandbox

#: Seconds after which calls are given up.
GIVEN_UP_AFTER = (0.001, 0.005, 0.02, 0.05)
#: Seconds within which a repetition must come to success, and between two of them.
MINUTE, INTERVAL = 60.0, 0.2

Patience = Callable[[float], float]


def _repeated(
    call: Callable[[], Outcome], done: Callable[[Outcome], bool], within: float
) -> Outcome:
    """Call until it is done; the last outcome, also where it never was."""
    give_up = time.monotonic() + within
    pause = threading.Event()
    while True:
        outcome = call()
        if done(outcome) or time.monotonic() > give_up:
            return outcome
        pause.wait(INTERVAL)


def _succeeded(outcome: Outcome) -> bool:
    return isinstance(outcome, Ok)


# -- stop and remove ---------------------------------------------------------------------------


def _sandbox(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    sandbox = runtime.sandbox()
    runtime.running(sandbox)
    return {"pod_sandbox_id": sandbox.id}


def _container(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    return {"container_id": listening(runtime, shared, PROMPT).id}


@pytest.mark.parametrize(
    ("rpc", "make"),
    [
        pytest.param(rpc, make, marks=clause(f"RuntimeService.{rpc}.retry-after-deadline"), id=rpc)
        for rpc, make in (
            ("StopPodSandbox", _sandbox),
            ("RemovePodSandbox", _sandbox),
            ("RemoveContainer", _container),
        )
    ],
)
def test_repeated_until_it_succeeds(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    patience: Patience,
    rpc: str,
    make: Callable[[Runtime, Sandbox], dict[str, Any]],
) -> None:
    for seconds in GIVEN_UP_AFTER:
        names = make(runtime, shared_sandbox)
        runtime.call(rpc, **names, deadline=seconds)
        outcome = _repeated(partial(runtime.call, rpc, **names), _succeeded, patience(MINUTE))
        judge.ok(f"RuntimeService.{rpc}.retry-after-deadline", outcome, about=names.values())


# -- run and create ----------------------------------------------------------------------------


@clause("RuntimeService.RunPodSandbox.retry-after-deadline")
def test_pod_runs_after_all(runtime: Runtime, judge: Judge, patience: Patience) -> None:
    for seconds in GIVEN_UP_AFTER:
        config = runtime.sandbox_config()
        handler = runtime.workshop.handler
        runtime.call("RunPodSandbox", config=config, runtime_handler=handler, deadline=seconds)

        def again(config: types.PodSandboxConfig = config) -> Outcome:
            # As a kubelet does: one attempt more than the last that is there.
            listed = _sandboxes_of(runtime, config)
            config.metadata.attempt = max((item.metadata.attempt + 1 for item in listed), default=0)
            return runtime.run_sandbox(config)

        outcome = _repeated(again, _succeeded, patience(MINUTE))
        judge.ok("RuntimeService.RunPodSandbox.retry-after-deadline", outcome)


def _sandboxes_of(runtime: Runtime, config: types.PodSandboxConfig) -> list[types.PodSandbox]:
    chosen = types.PodSandboxFilter(label_selector={POD_UID: config.metadata.uid})
    return list(runtime.get("ListPodSandbox", filter=chosen).items)


@clause("RuntimeService.CreateContainer.retry-after-deadline")
def test_container_is_created_after_all(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    for seconds in GIVEN_UP_AFTER:
        config = runtime.container_config(shared_sandbox)
        request = types.CreateContainerRequest(
            pod_sandbox_id=shared_sandbox.id, config=config, sandbox_config=shared_sandbox.config
        )
        runtime.call("CreateContainer", request, deadline=seconds)

        def there(outcome: Outcome, name: str = config.metadata.name) -> bool:
            # The call that was given up may have been done all the same, at any time.
            return _succeeded(outcome) or _listed(runtime, shared_sandbox, name)

        outcome = _repeated(
            partial(runtime.create, shared_sandbox, config), there, patience(MINUTE)
        )
        judge.that(
            "RuntimeService.CreateContainer.retry-after-deadline",
            there(outcome),
            permitted="the call succeeds, or the container is there from the first",
            actual=outcome,
            about=[shared_sandbox.id],
        )


def _listed(runtime: Runtime, sandbox: Sandbox, name: str) -> bool:
    chosen = types.ContainerFilter(pod_sandbox_id=sandbox.id)
    listed = runtime.get("ListContainers", filter=chosen).containers
    return any(item.metadata.name == name for item in listed)
