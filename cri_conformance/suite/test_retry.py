# SPDX-License-Identifier: Apache-2.0
"""After an answer that never came: the client gives a call up, and then asks again.

What became of the call is unknown: it may have been done, be half done, or still be at
work. The kubelet repeats it every few seconds until it succeeds. So it has to, within a
minute: an object must not be stuck "in removal" for ever, nor a name be taken by nothing.

A call is given up in two ways, which a runtime may take differently: its deadline passes, of
which the runtime knows beforehand; or the client breaks it off, as one does that is restarted.
How long a call takes is the runtime's affair, so each is given up after several times, some of
which fall into the middle of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.settings import Settings
from cri_conformance.suite.repeating import (
    MINUTE,
    container_listed,
    next_attempt,
    pod_attempt,
    repeated,
    succeeded,
)
from cri_conformance.suite.scripts import PROMPT, PROMPT_CODE, listening
from cri_conformance.wire.outcome import Outcome, SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox
from cri_conformance.wire.together import together

#: Way of giving a call up → the option of a call that makes it so.
GIVEN_UP = {"deadline": "deadline", "cancel": "cancel_after"}
#: After how many seconds: at the gate, and at night.
TIMES = {False: (0.005, 0.03), True: (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)}
#: A stop does much in its first moments: containerd loses the signal when it is given up in them.
EARLY = (0.001, 0.002, 0.003)
#: Seconds until a status must show what a call has done.
SLACK = 5.0

#: What must not fail of a removal that came to no end.
_LISTS = {
    rpc: f"RuntimeService.{rpc}.despite-half-done" for rpc in ("ListPodSandbox", "ListContainers")
}

Patience = Callable[[float], float]


def _ways(*rpcs: str) -> pytest.MarkDecorator:
    """Run a test for each call and each way of giving it up."""
    return pytest.mark.parametrize(
        ("rpc", "way"),
        [
            pytest.param(
                rpc,
                way,
                marks=clause(
                    f"RuntimeService.{rpc}.retry-after-{way}",
                    *(["RuntimeService.StopContainer.retry-signalled"] * (rpc == "StopContainer")),
                    *(_LISTS.values() if rpc.startswith("Remove") else ()),
                ),
                id=f"{rpc}-{way}",
            )
            for rpc in rpcs
            for way in GIVEN_UP
        ],
    )


#: Runs an attempt for each time after which a call may be given up, side by side. It takes the
#: option by which the call is given up, and has objects of its own.
Each = Callable[[Callable[[dict[str, float]], None]], object]


@pytest.fixture
def each(rpc: str, way: str, chosen: Settings) -> Each:
    """For the way in which this test gives calls up."""
    times = (*EARLY * (rpc == "StopContainer"), *TIMES[chosen.nightly])
    return lambda attempt: together(*[partial(attempt, {GIVEN_UP[way]: s}) for s in times])


# -- stop and remove ---------------------------------------------------------------------------


def _sandbox(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    sandbox = runtime.sandbox()
    runtime.running(sandbox)
    return {"pod_sandbox_id": sandbox.id}


def _container(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    return {"container_id": listening(runtime, shared, PROMPT).id}


def _stopping(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    return {**_container(runtime, shared), "timeout": 2}


_MAKERS = {
    "StopPodSandbox": _sandbox,
    "RemovePodSandbox": _sandbox,
    "StopContainer": _stopping,
    "RemoveContainer": _container,
}


@_ways(*_MAKERS)
def test_repeated_until_it_succeeds(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    patience: Patience,
    each: Each,
    rpc: str,
    way: str,
) -> None:
    clause_id = f"RuntimeService.{rpc}.retry-after-{way}"

    def attempt(given_up: dict[str, float]) -> None:
        names = _MAKERS[rpc](runtime, shared_sandbox)
        call = partial(runtime.call, rpc, **names)
        call(**given_up)
        if rpc.startswith("Remove"):
            for lister, promise in _LISTS.items():
                judge.ok(promise, runtime.call(lister), about=[*names.values()])
        outcome = repeated(call, succeeded, patience(MINUTE))
        judge.ok(clause_id, outcome, about=[*names.values()][:1])
        if rpc == "StopContainer":
            _judge_stopped(runtime, judge, clause_id, names["container_id"])

    each(attempt)


def _judge_stopped(runtime: Runtime, judge: Judge, clause_id: str, container_id: str) -> None:
    # The stop that was given up may have ended it in this moment, and be about to note it down.
    with contextlib.suppress(SetupFailed):
        runtime.wait_exited(container_id, SLACK)
    status = runtime.container_status(container_id)
    state = types.ContainerState.Name(status.state)
    judge.equal(clause_id, state, "CONTAINER_EXITED", about=[status.id])
    judge.equal(
        "RuntimeService.StopContainer.retry-signalled",
        status.exit_code,
        PROMPT_CODE,
        "exit code of a container that ends on its signal",
        about=[status.id],
    )


# -- run, create and start ---------------------------------------------------------------------


@_ways("RunPodSandbox")
def test_pod_runs_after_all(
    runtime: Runtime, judge: Judge, patience: Patience, each: Each, rpc: str, way: str
) -> None:
    def attempt(given_up: dict[str, float]) -> None:
        config = runtime.sandbox_config()
        handler = runtime.workshop.handler
        runtime.call(
            rpc,
            types.RunPodSandboxRequest(config=config, runtime_handler=handler),
            **given_up,
        )

        outcome = repeated(pod_attempt(runtime, config), succeeded, patience(MINUTE))
        judge.ok(f"RuntimeService.{rpc}.retry-after-{way}", outcome)

    each(attempt)


@_ways("CreateContainer")
def test_container_is_created_after_all(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    patience: Patience,
    each: Each,
    rpc: str,
    way: str,
) -> None:
    def attempt(given_up: dict[str, float]) -> None:
        config = runtime.container_config(shared_sandbox)
        request = types.CreateContainerRequest(
            pod_sandbox_id=shared_sandbox.id, config=config, sandbox_config=shared_sandbox.config
        )
        runtime.call(rpc, request, **given_up)

        def there(outcome: Outcome) -> bool:
            # The call that was given up may have been done all the same, at any time.
            return succeeded(outcome) or container_listed(
                runtime, shared_sandbox, config.metadata.name
            )

        outcome = repeated(partial(runtime.create, shared_sandbox, config), there, patience(MINUTE))
        judge.that(
            f"RuntimeService.{rpc}.retry-after-{way}",
            there(outcome),
            permitted="the call succeeds, or the container is there from the first",
            actual=outcome,
            about=[shared_sandbox.id],
        )

    each(attempt)


@_ways("StartContainer")
def test_the_next_attempt_starts(
    runtime: Runtime, judge: Judge, patience: Patience, each: Each, rpc: str, way: str
) -> None:
    clause_id, within = f"RuntimeService.{rpc}.retry-after-{way}", patience(MINUTE)
    # One of its own: what can't be removed goes with it.
    sandbox = runtime.sandbox()

    def attempt(given_up: dict[str, float]) -> None:
        first = runtime.container(sandbox)
        runtime.call(rpc, types.StartContainerRequest(container_id=first.id), **given_up)
        for outcome in next_attempt(runtime, first, within):
            judge.ok(clause_id, outcome, about=[first.id])

    each(attempt)
