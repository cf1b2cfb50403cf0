# SPDX-License-Identifier: Apache-2.0
"""No call is sent that might destroy what is somebody else's."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.wire.client import Client
from cri_conformance.wire.identity import RUN_LABEL, Run
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Runtime, UnsafeCall, Workshop

FOREIGN = "ab12" + "0" * 60
OURS = "cd34" + "0" * 60


class Fake:
    """A client of a runtime with a foreign sandbox and container, and one each of ours."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.makes = "ab"

    def call(self, rpc: str, request: Any = None, /, **_: Any) -> Outcome:
        self.sent.append(rpc)
        labels = {RUN_LABEL: "0123abcd"}
        if rpc == "ListPodSandbox":
            theirs = types.PodSandbox(id=FOREIGN)
            return Ok(
                types.ListPodSandboxResponse(
                    items=[theirs, types.PodSandbox(id=OURS, labels=labels)]
                )
            )
        if rpc == "ListContainers":
            container = types.Container(id=FOREIGN, labels={RUN_LABEL: "99999999"})
            return Ok(
                types.ListContainersResponse(
                    containers=[container, types.Container(id=OURS, labels=labels)]
                )
            )
        if rpc == "RunPodSandbox":
            return Ok(types.RunPodSandboxResponse(pod_sandbox_id=self.makes))
        return Ok(types.RemoveContainerResponse())


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def runtime(fake: Fake) -> Runtime:
    workshop = Workshop(Run("0123abcd", "host.1.1"), "image", "", "")
    return Runtime(cast("Client", fake), workshop)


@pytest.mark.parametrize("given", ["", "a", "ab12", FOREIGN[:40], FOREIGN])
@pytest.mark.parametrize(
    ("rpc", "field"),
    [
        ("StopPodSandbox", "pod_sandbox_id"),
        ("RemovePodSandbox", "pod_sandbox_id"),
        ("StopContainer", "container_id"),
        ("RemoveContainer", "container_id"),
        ("StartContainer", "container_id"),
        ("ExecSync", "container_id"),
        ("UpdateContainerResources", "container_id"),
    ],
)
def test_prefix_of_a_foreign_id(
    runtime: Runtime, fake: Fake, rpc: str, field: str, given: str
) -> None:
    with pytest.raises(UnsafeCall, match="not ours: call not sent"):
        runtime.call(rpc, RPCS[rpc].request(**{field: given}))
    assert rpc not in fake.sent


@pytest.mark.parametrize("given", ["cd", OURS, "no-such-id", f"{FOREIGN}0"])
def test_what_can_mean_nothing_foreign_is_sent(runtime: Runtime, fake: Fake, given: str) -> None:
    runtime.call("RemoveContainer", container_id=given)
    assert fake.sent[-1] == "RemoveContainer"


def test_looking_is_free(runtime: Runtime, fake: Fake) -> None:
    runtime.call("ContainerStatus", container_id="ab")
    assert fake.sent == ["ContainerStatus"]


def test_short_id_that_no_list_shows_is_not_trusted(runtime: Runtime, fake: Fake) -> None:
    """A runtime at fault may answer with the prefix of a foreign id: it must not be removed."""
    runtime.run_sandbox(runtime.sandbox_config())
    assert "ab" not in runtime.workshop.ids
    runtime.close()
    assert "RemovePodSandbox" not in fake.sent
    with pytest.raises(UnsafeCall):
        runtime.call("StopPodSandbox", pod_sandbox_id="ab")


@pytest.mark.parametrize("image", ["", "busybox", "sha256:0", "localhost/x:99999999"])
def test_foreign_image(runtime: Runtime, fake: Fake, image: str) -> None:
    with pytest.raises(UnsafeCall, match="not of this run"):
        runtime.call("RemoveImage", image=types.ImageSpec(image=image))
    assert fake.sent == []


def test_image_of_this_run(runtime: Runtime, fake: Fake) -> None:
    runtime.call("RemoveImage", image=types.ImageSpec(image="localhost/x:0123abcd-y"))
    assert fake.sent == ["RemoveImage"]
