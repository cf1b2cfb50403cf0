# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for ids that are not whole: the beginning of many is taken for all of them."""

from __future__ import annotations

import contextlib
from typing import Any

from cri_conformance.api.rpcs import RPCS
from cri_conformance.api.status import StatusError
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators import answer_ok, operator


def _means_all(rpc: str, condition: When) -> Operator:
    """The call is done to every object of the session whose id begins like the one given."""
    field, lister, items = (
        ("pod_sandbox_id", "ListPodSandbox", "items")
        if "PodSandbox" in rpc
        else ("container_id", "ListContainers", "containers")
    )

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not condition(call, memory):
            return proceed(call.request)
        given = getattr(call.request, field)
        for item in getattr(call.upstream(lister, RPCS[lister].request()), items):
            if item.id.startswith(given) and memory.made(item.id):
                request = RPCS[rpc].request()
                request.CopyFrom(call.request)
                setattr(request, field, item.id)
                with contextlib.suppress(StatusError):
                    call.upstream(rpc, request)
        return RPCS[rpc].response()

    name = f"beginning-means-all-{rpc}-{condition.name}"
    return operator(name, rpc, f"{rpc} takes a {condition.name} for all ids like it", step)


#: Not whole and not empty. Whole ids are longer.
_BEGINNING = When("beginning", lambda c, m: 0 < len(subject(c.rpc, c.request)) < 32)

FAULTS = [
    *(
        one
        for rpc in ("StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer")
        for one in (
            fault(f"RuntimeService.{rpc}.empty-id", _means_all(rpc, when.empty_id)),
            fault(f"RuntimeService.{rpc}.ambiguous-prefix", _means_all(rpc, _BEGINNING)),
        )
    ),
    *(
        fault(f"RuntimeService.{rpc}.empty-id", answer_ok(rpc, when.empty_id))
        for rpc in (
            "PodSandboxStatus",
            "ContainerStatus",
            "StartContainer",
            "ExecSync",
            "ReopenContainerLog",
        )
    ),
]
