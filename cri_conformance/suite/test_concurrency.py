# SPDX-License-Identifier: Apache-2.0
"""Calls at the same time on the same object, or for the same name.

A kubelet kills the containers of a pod from several goroutines, and a call that it gave
up may still be at work when the next one comes. Whoever loses such a race must not be
told of an error that is none: the object is stopped, or gone, as was asked.

Threads are released together, eight or more at a time and over several rounds, each with a
fresh object; the transcript shows how they overlapped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.build.messages import IDLE, POD_UID
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.scripts import PROMPT, STUBBORN, listening
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox
from cri_conformance.wire.together import together

pytestmark = pytest.mark.disturbs("load")

THREADS, ROUNDS = 8, 3

_RUN, _START = "RuntimeService.RunPodSandbox", "RuntimeService.StartContainer"


# -- stop and remove ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Race:
    """``make`` makes what the calls are about; ``spread`` is the seconds between two starts."""

    rpc: str
    make: Callable[[Runtime, Sandbox], dict[str, Any]]
    others: dict[str, Any] = field(default_factory=dict)
    threads: int = THREADS
    rounds: int = ROUNDS
    spread: float = 0.0


def _ready_sandbox(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    return {"pod_sandbox_id": runtime.sandbox().id}


def _full_sandbox(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    sandbox = runtime.sandbox()
    for _ in range(6):
        runtime.container(sandbox)
    runtime.running(sandbox)
    return {"pod_sandbox_id": sandbox.id}


def _running_container(runtime: Runtime, shared: Sandbox) -> dict[str, Any]:
    return {"container_id": listening(runtime, shared, PROMPT).id}


_RACES = (
    # A stop that takes down the network beneath another fails once in several rounds, and most
    # often if it begins while that one is at it: so many rounds that the verdict is no chance.
    Race("StopPodSandbox", _ready_sandbox, threads=16, rounds=20, spread=0.004),
    # With so much in it that the calls meet.
    Race("RemovePodSandbox", _full_sandbox),
    Race("StopContainer", _running_container, {"timeout": 5}),
    Race("RemoveContainer", _running_container),
)


def _of(race: Race) -> list[str]:
    """The clauses that a race shows."""
    removes = race.rpc.startswith("Remove")
    promises = ["concurrent", "concurrent-gone"] if removes else ["concurrent"]
    return [f"RuntimeService.{race.rpc}.{promise}" for promise in promises]


@pytest.mark.parametrize(
    "race", [pytest.param(race, marks=clause(*_of(race)), id=race.rpc) for race in _RACES]
)
def test_all_of_them_succeed(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, race: Race
) -> None:
    succeed, *gone = _of(race)
    for _ in range(race.rounds):
        names = race.make(runtime, shared_sandbox)
        call = partial(runtime.call, race.rpc, **names, **race.others, deadline=30.0)
        outcomes = together(*[call] * race.threads, spread=race.spread)
        for clause_id in gone:
            listed = [*runtime.get("ListPodSandbox").items]
            listed += runtime.get("ListContainers").containers
            there = bool({item.id for item in listed}.intersection(names.values()))
            judge.that(
                clause_id,
                not there or not any(isinstance(outcome, Ok) for outcome in outcomes),
                permitted="it is gone from the list afterwards",
                actual="it is listed",
                about=names.values(),
            )
        for outcome in outcomes:
            judge.ok(succeed, outcome, about=names.values())
        if not all(isinstance(outcome, Ok) for outcome in outcomes):
            return  # as known: no need to see it again


#: Seconds after which containers end by themselves: before, while and after they are stopped.
_MOMENTS = (0.0, 0.0, 0.005, 0.01, 0.02, 0.04)
#: What a runtime does wrong here shows in one of ten rounds, or of some hundreds: it differs by
#: runtime and load. The more, the surer; even this many can miss it.
_ROUNDS_OF_CHANCE = 600


def _rounds(explore: Explorer, judge: Judge) -> int:
    """A gate has no time for certainty, and must not give one verdict today and one tomorrow."""
    if not (explore.depth.nightly or explore.depth.matrix):
        judge.skip(Reason.SWITCHED_OFF, "a race that takes many rounds: --cri-depth nightly")
    return ROUNDS if explore.depth.matrix else _ROUNDS_OF_CHANCE


@clause("RuntimeService.StopContainer.racing-exit")
def test_stop_of_a_container_that_is_just_ending(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, explore: Explorer
) -> None:
    def start_and_stop(container: Container) -> Outcome:
        runtime.get("StartContainer", container_id=container.id)
        return runtime.call("StopContainer", container_id=container.id, timeout=8, deadline=30.0)

    for _ in range(_rounds(explore, judge)):
        made = [
            # With the signal ignored it always ends by itself, in the middle of the stop or before.
            runtime.container(
                shared_sandbox,
                command=["/bin/sh", "-c", f"trap '' TERM; sleep {seconds}; exit 3"],
            )
            for seconds in _MOMENTS
        ]
        outcomes = together(*[partial(start_and_stop, container) for container in made])
        for container, outcome in zip(made, outcomes, strict=True):
            judge.ok("RuntimeService.StopContainer.racing-exit", outcome, about=[container.id])
            runtime.call("RemoveContainer", container_id=container.id)


@clause("RuntimeService.StopPodSandbox.racing-exit")
def test_stop_of_a_sandbox_whose_containers_are_just_ending(
    runtime: Runtime, judge: Judge, explore: Explorer
) -> None:
    for _ in range(_rounds(explore, judge)):
        sandbox = runtime.sandbox()
        made = [
            runtime.container(sandbox, command=["/bin/sh", "-c", f"sleep {seconds}; exit 3"])
            for seconds in _MOMENTS
        ]
        together(*[partial(runtime.get, "StartContainer", container_id=c.id) for c in made])
        outcome = runtime.call("StopPodSandbox", pod_sandbox_id=sandbox.id, deadline=30.0)
        judge.ok("RuntimeService.StopPodSandbox.racing-exit", outcome, about=[sandbox.id])
        runtime.call("RemovePodSandbox", pod_sandbox_id=sandbox.id)


@clause("RuntimeService.StopPodSandbox.racing-stops")
def test_stops_of_a_sandbox_and_of_its_containers_at_once(
    runtime: Runtime, judge: Judge, explore: Explorer
) -> None:
    # Of containerd 1.7 and 2.1 one stop in some forty is lost ("ttrpc: closed").
    for _ in range(min(_rounds(explore, judge), 100)):
        sandbox = runtime.sandbox()
        containers = [listening(runtime, sandbox, script) for script in (PROMPT, STUBBORN)]
        stops = [
            partial(runtime.call, "StopContainer", container_id=c.id, timeout=1, deadline=30.0)
            for c in containers
        ]
        stops.append(
            partial(runtime.call, "StopPodSandbox", pod_sandbox_id=sandbox.id, deadline=30.0)
        )
        for outcome in together(*stops):
            judge.ok("RuntimeService.StopPodSandbox.racing-stops", outcome, about=[sandbox.id])
        runtime.call("RemovePodSandbox", pod_sandbox_id=sandbox.id)


# -- run, create, start ------------------------------------------------------------------------


@clause(f"{_RUN}.concurrent-duplicates")
def test_one_sandbox_at_most_of_identical_calls(runtime: Runtime, judge: Judge) -> None:
    clause_id = f"{_RUN}.concurrent-duplicates"
    for _ in range(ROUNDS):
        config = runtime.sandbox_config()
        outcomes = together(*[partial(runtime.run_sandbox, config)] * THREADS)
        given = {outcome.response.pod_sandbox_id for outcome in outcomes if isinstance(outcome, Ok)}
        chosen = types.PodSandboxFilter(label_selector={POD_UID: config.metadata.uid})
        given |= {item.id for item in runtime.get("ListPodSandbox", filter=chosen).items}
        judge.that(
            clause_id,
            len(given) <= 1,
            permitted="one sandbox at most comes into being",
            actual=f"{len(given)} did",
            about=given,
        )


@clause(f"{_RUN}.concurrent-pods")
def test_different_pods_at_once(runtime: Runtime, judge: Judge) -> None:
    clause_id = f"{_RUN}.concurrent-pods"
    configs = [runtime.sandbox_config() for _ in range(THREADS)]
    outcomes = together(*[partial(runtime.run_sandbox, config) for config in configs])
    ids = [judge.response(clause_id, outcome).pod_sandbox_id for outcome in outcomes]
    judge.equal(clause_id, len(set(ids)), len(configs), "number of ids given", about=ids)


@clause(f"{_START}.concurrent")
def test_starts_at_once_run_the_command_once(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    clause_id = f"{_START}.concurrent"
    for _ in range(ROUNDS):
        script = f"echo ran >> runs; : > ready; {IDLE}"
        container = runtime.container(shared_sandbox, command=["/bin/sh", "-c", script])
        together(*[partial(runtime.call, "StartContainer", container_id=container.id)] * THREADS)
        state = runtime.container_status(container.id).state
        judge.equal(
            clause_id,
            types.ContainerState.Name(state),
            "CONTAINER_RUNNING",
            "state after the starts",
            about=[container.id],
        )
        seen = runtime.exec(
            container, "/bin/sh", "-c", "until [ -e ready ]; do sleep 0.01; done; cat runs"
        )
        judge.equal(clause_id, seen.stdout, b"ran\n", "said by the command", about=[container.id])


@clause("ContainerState.CONTAINER_RUNNING.left-on-exit")
def test_many_that_end_at_once_are_all_seen_to(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    command = ["/bin/sh", "-c", "exit 3"]
    made = [runtime.container(shared_sandbox, command=command) for _ in range(THREADS)]
    together(*[partial(runtime.get, "StartContainer", container_id=one.id) for one in made])
    for container in made:
        with contextlib.suppress(SetupFailed):
            runtime.wait_exited(container.id)
        status = runtime.container_status(container.id)
        judge.equal(
            "ContainerState.CONTAINER_RUNNING.left-on-exit",
            (types.ContainerState.Name(status.state), status.exit_code),
            ("CONTAINER_EXITED", 3),
            f"state and code of one of {len(made)} that ended at once",
            about=[container.id],
        )
