# SPDX-License-Identifier: Apache-2.0
"""Repeating a call of which nobody knows what became, as the kubelet does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from cri_conformance.api import types
from cri_conformance.build.messages import POD_UID
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: Seconds within which a repetition must come to success, and between two of them.
MINUTE, INTERVAL = 60.0, 0.2


def succeeded(outcome: Outcome) -> bool:
    """Whether it has."""
    return isinstance(outcome, Ok)


def repeated(
    call: Callable[[], Outcome],
    done: Callable[[Outcome], bool],
    within: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> Outcome:
    """Call until it is done, and ``meanwhile`` each time that it is not; the last outcome, also
    where it never was."""
    give_up = time.monotonic() + within
    pause = threading.Event()
    while True:
        outcome = call()
        if done(outcome) or time.monotonic() > give_up:
            return outcome
        meanwhile()
        pause.wait(INTERVAL)


def pod_attempt(runtime: Runtime, config: types.PodSandboxConfig) -> Callable[[], Outcome]:
    """Runs a pod: with one attempt more than the last that is there, as a kubelet does."""

    def again() -> Outcome:
        chosen = types.PodSandboxFilter(label_selector={POD_UID: config.metadata.uid})
        listed = runtime.get("ListPodSandbox", filter=chosen).items
        config.metadata.attempt = max((item.metadata.attempt + 1 for item in listed), default=0)
        return runtime.run_sandbox(config)

    return again


def container_listed(runtime: Runtime, sandbox: Sandbox, name: str) -> bool:
    """Whether a container of this name is in a sandbox."""
    chosen = types.ContainerFilter(pod_sandbox_id=sandbox.id)
    listed = runtime.get("ListContainers", filter=chosen).containers
    return any(item.metadata.name == name for item in listed)


def next_attempt(runtime: Runtime, first: Container, within: float) -> list[Outcome]:
    """Go on after a start of which nobody knows: a kubelet never starts a container twice, it
    makes the next one. What came of its start, and of the first one's stop and removal.

    Raises SetupFailed if the next one can't be created.
    """
    config = types.ContainerConfig()
    config.CopyFrom(first.config)
    config.metadata.attempt += 1
    second = runtime.container(first.sandbox, config)
    return [
        repeated(partial(runtime.call, rpc, container_id=made.id), succeeded, within)
        for rpc, made in (
            ("StartContainer", second),
            ("StopContainer", first),
            ("RemoveContainer", first),
        )
    ]
