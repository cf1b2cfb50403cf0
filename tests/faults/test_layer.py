# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.contract.register import register
from cri_conformance.faults import layer as layers
from cri_conformance.faults.catalogue import CatalogueError, checked, faults
from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import drop, second_call_fails

from .upstream import Upstream

STOPS = fault("RuntimeService.StopContainer.idempotent", second_call_fails("StopContainer"))
CATALOGUE = {STOPS.id: STOPS}


def stop(layer: layers.FaultLayer, upstream: Upstream, metadata: dict[str, str]) -> Any:
    request = types.StopContainerRequest(container_id="one")
    return layer.handle(
        "StopContainer",
        request,
        tuple(metadata.items()),
        lambda asked: upstream("StopContainer", asked),
    )


def test_each_session_has_a_fault_of_its_own_and_no_key_means_none() -> None:
    upstream = Upstream()
    layer = layers.FaultLayer(upstream, CATALOGUE)
    for session in ("@a", "@b", ""):
        stop(layer, upstream, {"cri-fault": STOPS.id + session})
    for _ in range(3):
        stop(layer, upstream, {"user-agent": "x"})
    with pytest.raises(StatusError, match="seeded fault"):
        stop(layer, upstream, {"cri-fault": f"{STOPS.id}@a"})
    stop(layer, upstream, {"cri-fault": f"{STOPS.id}@c"})


def test_an_unknown_fault_is_an_invalid_argument() -> None:
    upstream = Upstream()
    with pytest.raises(StatusError) as caught:
        stop(layers.FaultLayer(upstream, CATALOGUE), upstream, {"cri-fault": "nonsense@a"})
    assert caught.value.code == "INVALID_ARGUMENT"
    assert not upstream.calls


def test_sessions_are_bounded_and_the_oldest_falls_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "CAPACITY", 2)
    upstream = Upstream()
    layer = layers.FaultLayer(upstream, CATALOGUE)
    for session in ("a", "b", "c", "a"):
        stop(layer, upstream, {"cri-fault": f"{STOPS.id}@{session}"})
    with pytest.raises(StatusError):
        stop(layer, upstream, {"cri-fault": f"{STOPS.id}@a"})


def test_the_catalogue_that_ships_is_sound() -> None:
    assert all(found.id == name for name, found in faults().items())


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([STOPS, STOPS], "two faults are called"),
        ([fault("Nonsense.clause", STOPS.operator)], "no clause Nonsense.clause"),
        ([fault("RuntimeService.StopContainer.short-id", STOPS.operator)], "is a MAY"),
        ([fault(STOPS.clauses, STOPS.operator, also=["Nonsense"])], "no clause Nonsense"),
        ([fault((), STOPS.operator)], "has a clause"),
        ([fault(STOPS.clauses, STOPS.operator, name="a@b")], "plain ASCII id"),
    ],
)
def test_a_fault_that_can_not_count_is_refused(found: list[Fault], why: str) -> None:
    with pytest.raises(CatalogueError, match=why):
        checked(found, register())


def test_ids_come_from_operators() -> None:
    seeded = fault(
        "PodSandboxMetadata.uid.in-status", drop("PodSandboxStatus", "status.metadata.uid")
    )
    assert seeded.id == "drop-PodSandboxStatus.status.metadata.uid"
    assert STOPS.id == "fail-second-StopContainer"
