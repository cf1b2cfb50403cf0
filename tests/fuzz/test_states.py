# SPDX-License-Identifier: Apache-2.0
"""What a campaign says that it met: the RPC, its object's state before, the code."""

from __future__ import annotations

from typing import Any

from cri_conformance.api import types
from cri_conformance.fuzz import states
from cri_conformance.fuzz.meter import Meter
from cri_conformance.wire.history import History, StreamRecord
from cri_conformance.wire.outcome import Ok, Outcome, Refused, Unknown

POD, CTR, OTHER = "a" * 64, "b" * 64, "c" * 64
NO = Refused("NOT_FOUND", "no such thing")


class Told:
    """A meter that is told of calls."""

    def __init__(self) -> None:
        self.meter, self.history = Meter(), History(0.0)
        self.history.heard = self.meter.heard

    def call(self, rpc: str, outcome: Outcome | None = None, **asked: Any) -> str:
        """The state that was met."""
        before = self.meter.met.copy()
        request = getattr(types, f"{rpc}Request")(**asked)
        answer = Ok(getattr(types, f"{rpc}Response", types.VersionResponse)())
        self.history.add(rpc, request, outcome or answer, 0.0, 0.0)
        [(found, state, _)] = self.meter.met - before
        assert found == rpc
        return state

    def run(self) -> None:
        self.call("RunPodSandbox", Ok(types.RunPodSandboxResponse(pod_sandbox_id=POD)))

    def create(self, container: str = CTR) -> str:
        made = Ok(types.CreateContainerResponse(container_id=container))
        return self.call("CreateContainer", made, pod_sandbox_id=POD)


def test_a_life_is_followed() -> None:
    told = Told()
    told.run()
    assert told.create() == "sandbox ready"
    went = [
        told.call(rpc, container_id=CTR)
        for rpc in ("StartContainer", "StopContainer", "RemoveContainer", "RemoveContainer")
    ]
    assert went == [f"container {one}" for one in ("created", "running", "exited", "removed")]
    told.create(OTHER)
    told.call("StartContainer", container_id=OTHER)
    assert told.call("StopPodSandbox", pod_sandbox_id=POD) == "sandbox ready"
    assert told.call("ExecSync", NO, container_id=OTHER) == "container exited"
    assert told.call("RemovePodSandbox", pod_sandbox_id=POD) == "sandbox stopped"
    assert told.call("PodSandboxStatus", NO, pod_sandbox_id=POD) == "sandbox removed"
    assert told.call("StopContainer", container_id=OTHER) == "container removed"


def test_what_the_runtime_shows_counts() -> None:
    told = Told()
    told.run()
    told.create()
    told.call("StartContainer", Unknown("given up"), container_id=CTR)
    status = types.ContainerStatus(state=types.ContainerState.CONTAINER_EXITED)
    shown = Ok(types.ContainerStatusResponse(status=status))
    assert told.call("ContainerStatus", shown, container_id=CTR) == "container created"
    assert told.call("ContainerStatus", NO, container_id=CTR) == "container exited"
    assert told.call("ContainerStatus", NO, container_id=CTR) == "container removed"
    assert told.call("ContainerStatus", NO, container_id=OTHER) == "container not known"
    assert told.call("ContainerStatus", NO, container_id=OTHER) == "container not known"


def test_images_are_by_the_name_that_is_asked_for() -> None:
    told = Told()
    one, other = ({"image": {"image": name}} for name in ("a:1", "b:1"))
    gone = Ok(types.ImageStatusResponse())
    assert told.call("ImageStatus", gone, **one) == "image not known"
    assert told.call("PullImage", **one) == "image absent"
    assert told.call("PullImage", **other) == "image not known"
    assert told.call("RemoveImage", **one) == "image present"
    assert told.call("ImageStatus", gone, **one) == "image absent"
    # It may have been another name of the same.
    assert told.call("PullImage", **other) == "image not known"


def test_codes_are_the_answers() -> None:
    told = Told()
    assert told.call("Version") == ""
    told.call("ExecSync", Refused("INTERNAL", ""), container_id=CTR)
    told.call("ExecSync", Unknown("given up"), container_id=CTR)
    stream = StreamRecord()
    # Its opening is no answer.
    told.history.add("GetContainerEvents", types.GetEventsRequest(), stream, 0.0, 0.0)
    assert set(told.meter.met) == {
        ("Version", "", "OK"),
        ("ExecSync", "container not known", "INTERNAL"),
        ("ExecSync", "container not known", "UNKNOWN-OUTCOME"),
    }
    assert told.meter.plain()["combinations"] == 3
    assert "3 states × RPCs × codes" in told.meter.line(0, 0)


def test_what_was_met_first_is_forgotten_first() -> None:
    told = Told()
    told.run()
    for number in range(states.MOST):
        told.create(f"{number:064x}")
    assert told.call("StopPodSandbox", pod_sandbox_id=POD) == "sandbox not known"
    last = f"{states.MOST - 1:064x}"
    assert told.call("StopContainer", container_id=last) == "container created"
