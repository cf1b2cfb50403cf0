# SPDX-License-Identifier: Apache-2.0
"""What the runtime shows of one sandbox or container, in its status and in the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cri_conformance.api import types
from cri_conformance.build.messages import CONTAINER_NAME
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox


@dataclass(frozen=True, slots=True)
class SandboxView:
    """One sandbox in the answer of PodSandboxStatus, and as an item of ListPodSandbox."""

    response: types.PodSandboxStatusResponse
    item: types.PodSandbox

    @property
    def status(self) -> types.PodSandboxStatus:
        """The status in the answer; an empty one if it carries none."""
        return self.response.status


def sandbox_view(runtime: Runtime, sandbox: Sandbox) -> SandboxView:
    """Both views of a sandbox. Raises SetupFailed if a call is refused or it isn't listed."""
    response = runtime.get("PodSandboxStatus", pod_sandbox_id=sandbox.id)
    items = runtime.get("ListPodSandbox").items
    # By its uid too: the id of an item is among the things that are judged.
    uid = sandbox.config.metadata.uid
    found = [item for item in items if item.id == sandbox.id]
    found += [item for item in items if item.metadata.uid == uid]
    if not found:
        raise SetupFailed(f"sandbox {sandbox.id} is not in the list")
    return SandboxView(response, found[0])


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container in the answer of ContainerStatus, and as an item of ListContainers."""

    response: types.ContainerStatusResponse
    item: types.Container

    @property
    def status(self) -> types.ContainerStatus:
        """The status in the answer; an empty one if it carries none."""
        return self.response.status


def container_view(runtime: Runtime, container: Container) -> ContainerView:
    """Both views of a container. Raises SetupFailed if a call is refused or it isn't listed."""
    response = runtime.get("ContainerStatus", container_id=container.id)
    items = runtime.get("ListContainers").containers
    # By its name too: the id of an item is among the things that are judged.
    name = container.config.labels.get(CONTAINER_NAME, "")
    found = [item for item in items if item.id == container.id]
    found += [item for item in items if item.labels.get(CONTAINER_NAME, "") == name]
    if not found:
        raise SetupFailed(f"container {container.id} is not in the list")
    return ContainerView(response, found[0])


def differences(
    actual: Mapping[str, str], sent: Mapping[str, str], *, more: bool = False
) -> list[str]:
    """In what a map differs from the one sent, in words; ``more`` allows further entries."""
    found = [f"{key!r} is missing" for key in sent if key not in actual]
    found += [
        f"{key!r} is {actual[key]!r} and was sent as {value!r}"
        for key, value in sent.items()
        if key in actual and actual[key] != value
    ]
    if not more:
        found += [f"{key!r} was added" for key in actual if key not in sent]
    return found


def container_state(runtime: Runtime, container_id: str) -> str:
    """The state of a container in its status, by name. Raises SetupFailed."""
    return types.ContainerState.Name(runtime.container_status(container_id).state)


def container_states(runtime: Runtime, container: Container) -> list[str]:
    """The state of a container in the list and, asked after that, in its status."""
    items = runtime.get("ListContainers").containers
    listed = [
        types.ContainerState.Name(item.state) for item in items if item.id == container.id
    ] or ["not listed"]
    return [*listed, container_state(runtime, container.id)]
