# SPDX-License-Identifier: Apache-2.0
"""A runtime of a few lines, by hand: what operators are tried on."""

from __future__ import annotations

import itertools
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults.fault import Call, Operator


class Upstream:
    """Containers in memory, without processes. Every call is written down in ``calls``."""

    def __init__(self) -> None:
        self.containers: dict[str, types.ContainerStatus] = {}
        self.sandbox_of: dict[str, str] = {}
        self.sandboxes: dict[str, types.PodSandboxStatus] = {}
        self.calls: list[tuple[str, Message]] = []
        self._numbers = itertools.count(1)

    def __call__(self, rpc: str, request: Any) -> Any:
        self.calls.append((rpc, request))
        return getattr(self, rpc)(request)

    def asked(self, rpc: str) -> list[Any]:
        """The requests of one call that came through."""
        return [request for name, request in self.calls if name == rpc]

    def RunPodSandbox(self, request: Any) -> Message:
        made = f"sandbox{next(self._numbers)}"
        self.sandboxes[made] = types.PodSandboxStatus(
            id=made, metadata=request.config.metadata, labels=request.config.labels
        )
        return types.RunPodSandboxResponse(pod_sandbox_id=made)

    def PodSandboxStatus(self, request: Any) -> Message:
        if request.pod_sandbox_id not in self.sandboxes:
            raise StatusError("NOT_FOUND", "no such sandbox")
        return types.PodSandboxStatusResponse(status=self.sandboxes[request.pod_sandbox_id])

    def StopPodSandbox(self, request: Any) -> Message:
        if request.pod_sandbox_id in self.sandboxes:
            self.sandboxes[request.pod_sandbox_id].state = types.SANDBOX_NOTREADY
        return types.StopPodSandboxResponse()

    def RemovePodSandbox(self, request: Any) -> Message:
        self.sandboxes.pop(request.pod_sandbox_id, None)
        for container, sandbox in list(self.sandbox_of.items()):
            if sandbox == request.pod_sandbox_id:
                self.containers.pop(container, None)
        return types.RemovePodSandboxResponse()

    def CreateContainer(self, request: Any) -> Message:
        made = f"container{next(self._numbers)}"
        self.containers[made] = types.ContainerStatus(
            id=made,
            metadata=request.config.metadata,
            labels=request.config.labels,
            created_at=next(self._numbers),
        )
        self.sandbox_of[made] = request.pod_sandbox_id
        return types.CreateContainerResponse(container_id=made)

    def StartContainer(self, request: Any) -> Message:
        self._status(request).state = types.CONTAINER_RUNNING
        return types.StartContainerResponse()

    def StopContainer(self, request: Any) -> Message:
        if request.container_id in self.containers:
            self._status(request).state = types.CONTAINER_EXITED
        return types.StopContainerResponse()

    def RemoveContainer(self, request: Any) -> Message:
        self.containers.pop(request.container_id, None)
        return types.RemoveContainerResponse()

    def ContainerStatus(self, request: Any) -> Message:
        return types.ContainerStatusResponse(status=self._status(request))

    def ListContainers(self, request: Any) -> Message:
        chosen = request.filter
        listed = types.ListContainersResponse()
        for status in self.containers.values():
            item = types.Container(
                id=status.id,
                state=status.state,
                labels=status.labels,
                pod_sandbox_id=self.sandbox_of[status.id],
                metadata=status.metadata,
            )
            if (
                chosen.id in ("", item.id)
                and chosen.pod_sandbox_id in ("", item.pod_sandbox_id)
                and (not chosen.HasField("state") or chosen.state.state == item.state)
                and all(item.labels.get(k) == v for k, v in chosen.label_selector.items())
            ):
                listed.containers.append(item)
        return listed

    def ExecSync(self, request: Any) -> Message:
        return types.ExecSyncResponse(stdout=" ".join(request.cmd).encode())

    def _status(self, request: Any) -> types.ContainerStatus:
        if request.container_id not in self.containers:
            raise StatusError("NOT_FOUND", "no such container")
        return self.containers[request.container_id]


class Session:
    """One session of an operator in front of an upstream."""

    def __init__(self, operator: Operator, upstream: Upstream | None = None) -> None:
        self.upstream = upstream or Upstream()
        self._middleware = operator.make()

    def __call__(self, request: Any) -> Any:
        rpc = type(request).__name__.removesuffix("Request")
        call = Call(rpc, request, self.upstream)
        return self._middleware(call, lambda asked: self.upstream(rpc, asked))

    def container(self, name: str = "one", **labels: str) -> str:
        """A created container in a sandbox of its own name."""
        config = types.ContainerConfig(
            metadata=types.ContainerMetadata(name=name), labels=labels, command=["sleep", "9"]
        )
        made = self(types.CreateContainerRequest(pod_sandbox_id=f"of-{name}", config=config))
        return str(made.container_id)

    def status(self, container: str) -> types.ContainerStatus:
        """What ContainerStatus tells."""
        answer = self(types.ContainerStatusRequest(container_id=container))
        return answer.status  # type: ignore[no-any-return]

    def listed(self, **chosen: Any) -> list[str]:
        """Ids in ListContainers under a filter."""
        request = types.ListContainersRequest(filter=types.ContainerFilter(**chosen))
        return [item.id for item in self(request).containers]

    def stop(self, container: str) -> None:
        self(types.StopContainerRequest(container_id=container))

    def start(self, container: str) -> None:
        self(types.StartContainerRequest(container_id=container))

    def remove(self, container: str) -> None:
        self(types.RemoveContainerRequest(container_id=container))
