# SPDX-License-Identifier: Apache-2.0
"""Figures that are asked for while something changes: they come, and of all that stays.

The kubelet asks every ten seconds, whatever goes on meanwhile: one error, and it has no
figures of the whole node.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.long_stop import PROMPT_WITHIN, Look, long_stop
from cri_conformance.suite.measured import Measured, supported
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Runtime

pytestmark = pytest.mark.xdist_group("measured")

Patience = Callable[[float], float]


# -- while objects come and go -----------------------------------------------------------------

#: Threads that make and remove objects, and threads that ask meanwhile.
CHURNERS, ASKERS = 2, 2


@clause("RuntimeService.ListContainerStats.during-churn")
def test_containers_are_measured_while_others_come_and_go(
    runtime: Runtime, measured: Measured, judge: Judge
) -> None:
    pod, staying = measured.pods["quiet"], {one.id for one in measured.running.values()}

    def churn() -> None:
        for _ in range(2):
            container = runtime.running(pod, labels=measured.label)
            runtime.get("RemoveContainer", container_id=container.id)

    _measured_throughout(runtime, measured, judge, "ListContainerStats", staying, churn)


@clause("RuntimeService.ListPodSandboxStats.during-churn")
def test_sandboxes_are_measured_while_others_come_and_go(
    runtime: Runtime, measured: Measured, judge: Judge, explore: Explorer
) -> None:
    supported(measured.outcomes["ListPodSandboxStats"], "ListPodSandboxStats")
    if not (explore.depth.nightly or explore.depth.matrix):
        judge.skip(Reason.SWITCHED_OFF, "a race that takes many rounds: --cri-depth nightly")
    rounds = 20 if explore.depth.nightly else 1

    def churn() -> None:
        for _ in range(rounds):
            # On the node's network, as that is sooner there.
            config = runtime.sandbox_config(labels=dict(measured.label), network=types.NODE)
            if given := measured.pods["work"].config.linux.cgroup_parent:
                config.linux.cgroup_parent = f"{given}-{config.metadata.name}"
            sandbox = runtime.sandbox(config)
            runtime.running(sandbox, labels=measured.label)
            runtime.get("RemovePodSandbox", pod_sandbox_id=sandbox.id)

    staying = {one.id for one in measured.ready.values()}
    _measured_throughout(runtime, measured, judge, "ListPodSandboxStats", staying, churn)


def _measured_throughout(
    runtime: Runtime,
    measured: Measured,
    judge: Judge,
    rpc: str,
    staying: set[str],
    churn: Callable[[], None],
) -> None:
    """Ask until the last churner has ended; each answer must have all that stay.

    Asked by several at once, as what fails only in a moment between two others must not be
    found by chance.
    """
    clause_id = f"RuntimeService.{rpc}.during-churn"
    outcomes: list[Outcome] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            outcome = runtime.call(rpc, filter={"label_selector": measured.label})
            outcomes.append(outcome)
            if not isinstance(outcome, Ok):
                over.set()

    with ThreadPoolExecutor(CHURNERS + ASKERS) as pool:
        churning = [pool.submit(churn) for _ in range(CHURNERS)]
        asking = [pool.submit(ask) for _ in range(ASKERS)]
        wait(churning)
        over.set()
    for future in (*churning, *asking):
        future.result()
    for outcome in outcomes:
        stats = judge.response(clause_id, outcome).stats
        missing = staying - {one.attributes.id for one in stats}
        judge.that(
            clause_id,
            not missing,
            permitted="all that stay are measured",
            actual=f"{len(missing)} of {len(staying)} are not",
            about=missing,
        )


# -- during a long stop ------------------------------------------------------------------------

_PROMPT = ("ContainerStats", "ListContainerStats", "PodSandboxStats", "ListPodSandboxStats")


@pytest.fixture(scope="module")
def looks(module_runtime: Runtime, measured: Measured, patience: Patience) -> dict[str, Look]:
    """Call → what came of it, and after how long, while a container of a sandbox was stopped."""
    runtime, within = module_runtime, patience(PROMPT_WITHIN)
    pod = measured.pods["quiet"]
    with long_stop(runtime, pod) as container:
        asked: dict[str, dict[str, Any]] = {
            "ContainerStats": {"container_id": container.id},
            "ListContainerStats": {},
            "PodSandboxStats": {"pod_sandbox_id": pod.id},
            "ListPodSandboxStats": {"filter": {"label_selector": measured.label}},
        }
        return {
            rpc: Look.taken(partial(runtime.call, rpc, **fields, deadline=within))
            for rpc, fields in asked.items()
        }


@pytest.mark.parametrize(
    "rpc",
    [
        pytest.param(rpc, marks=clause(f"RuntimeService.{rpc}.prompt-during-stop"), id=rpc)
        for rpc in _PROMPT
    ],
)
def test_figures_during_a_long_stop(looks: dict[str, Look], judge: Judge, rpc: str) -> None:
    look = looks[rpc]
    supported(look.outcome, rpc)
    judge.that(
        f"RuntimeService.{rpc}.prompt-during-stop",
        isinstance(look.outcome, Ok),
        permitted=f"an answer within {PROMPT_WITHIN:g} s while a container is being stopped",
        actual=f"{look.outcome} after {look.seconds:.1f} s",
    )
