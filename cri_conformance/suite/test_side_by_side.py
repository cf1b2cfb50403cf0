# SPDX-License-Identifier: Apache-2.0
"""Work on one object that must not hold up the others.

Stops must not queue up behind each other; and a list that is taken while objects come and go
has those that neither came nor went.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from cri_conformance.expect import Judge, clause
from cri_conformance.suite.scripts import STUBBORN, listening
from cri_conformance.wire.runtime import Runtime, Sandbox
from cri_conformance.wire.together import together

Patience = Callable[[float], float]


# -- stops side by side ------------------------------------------------------------------------


@clause("RuntimeService.StopContainer.parallel")
def test_stops_of_different_containers_side_by_side(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    clause_id = "RuntimeService.StopContainer.parallel"
    grace, slack = 2, patience(9.0)
    # So many that one after the other they take longer than any machine's slack.
    stubborn = [listening(runtime, shared_sandbox, STUBBORN) for _ in range(8)]
    began = time.monotonic()
    together(
        *[
            partial(
                runtime.call,
                "StopContainer",
                container_id=container.id,
                timeout=grace,
                deadline=grace + slack + 1,
            )
            for container in stubborn
        ]
    )
    judge.within(
        clause_id,
        time.monotonic() - began,
        at_most=grace + slack,
        what=f"stopping {len(stubborn)} containers at once, each with {grace} s of grace,",
    )


# -- lists while objects come and go -----------------------------------------------------------

#: Threads that make and remove objects, and how many each.
CHURNERS, EACH = 3, 3


@clause("RuntimeService.ListPodSandbox.during-churn")
def test_sandboxes_are_listed_while_others_come_and_go(runtime: Runtime, judge: Judge) -> None:
    staying = {runtime.sandbox().id for _ in range(2)}

    def churn() -> None:
        for _ in range(EACH):
            runtime.get("RemovePodSandbox", pod_sandbox_id=runtime.sandbox().id)

    _listed_throughout(runtime, judge, "ListPodSandbox", staying, churn)


@clause("RuntimeService.ListContainers.during-churn")
def test_containers_are_listed_while_others_come_and_go(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    staying = {runtime.container(shared_sandbox).id for _ in range(3)}
    staying.add(runtime.running(shared_sandbox).id)

    def churn() -> None:
        for _ in range(EACH):
            runtime.get("RemoveContainer", container_id=runtime.container(shared_sandbox).id)

    _listed_throughout(runtime, judge, "ListContainers", staying, churn)


def _listed_throughout(
    runtime: Runtime, judge: Judge, lister: str, staying: set[str], churn: Callable[[], None]
) -> None:
    """List until the last churner has ended; each list must succeed and have all that stay."""
    with ThreadPoolExecutor(CHURNERS) as pool:
        churning = [pool.submit(churn) for _ in range(CHURNERS)]
        while True:
            over = all(future.done() for future in churning)
            listed = judge.response(
                f"RuntimeService.{lister}.during-churn",
                runtime.call(lister),
                about=staying,
            )
            items = listed.items if lister == "ListPodSandbox" else listed.containers
            missing = staying - {item.id for item in items}
            judge.that(
                f"RuntimeService.{lister}.during-churn",
                not missing,
                permitted="all objects that stay are listed",
                actual=f"{len(missing)} of {len(staying)} are not",
                about=missing,
            )
            if over:
                break
    for future in churning:
        future.result()
