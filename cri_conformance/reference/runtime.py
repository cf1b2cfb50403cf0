# SPDX-License-Identifier: Apache-2.0
"""The parts of the runtime put together, as a table of calls."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api.status import StatusError
from cri_conformance.reference import parts, status
from cri_conformance.reference.checkpoints import Checkpoints
from cri_conformance.reference.containers import Containers
from cri_conformance.reference.events import Events
from cri_conformance.reference.exec import Exec, WhenGone
from cri_conformance.reference.forwarding import Forwarding
from cri_conformance.reference.images import Images
from cri_conformance.reference.metrics import Metrics
from cri_conformance.reference.processes import Processes
from cri_conformance.reference.resources import Resources
from cri_conformance.reference.sandboxes import Sandboxes
from cri_conformance.reference.sessions import Sessions
from cri_conformance.reference.state import Store
from cri_conformance.reference.stats import Stats
from cri_conformance.reference.sweep import StateDirectory
from cri_conformance.streaming.server import Server

_END_TAKES = 5.0

# Any, as each call takes the request message of its own name.
Call = Callable[[Any], Message]
StreamingCall = Callable[[Any], Iterator[Message]]


class Runtime:
    """A runtime without its server. ``start`` and ``close`` once, from the main thread."""

    def __init__(self, directory: StateDirectory, trust: ssl.SSLContext | None = None) -> None:
        """``trust`` is for registries: how to know them by TLS."""
        store = Store()
        images = Images(directory.images, trust)
        self._directory = directory
        self._processes = Processes()
        self._events = Events(store.clock)
        self._containers = Containers(store, self._processes, directory, self._events, images)
        self._exec = Exec(store, self._processes, self._containers)
        sandboxes = Sandboxes(store, self._containers, self._events)
        self._streaming = Server()
        sessions = Sessions(store, self._processes, self._containers, self._streaming.offer)
        resources = Resources(store)
        stats = Stats(store, self._processes, directory)
        metrics = Metrics(stats)
        checkpoints = Checkpoints(store)
        calls: list[Call] = [
            status.Version,
            status.Status,
            status.RuntimeConfig,
            status.UpdateRuntimeConfig,
            sandboxes.RunPodSandbox,
            sandboxes.StopPodSandbox,
            sandboxes.RemovePodSandbox,
            sandboxes.PodSandboxStatus,
            sandboxes.ListPodSandbox,
            self._containers.CreateContainer,
            self._containers.StartContainer,
            self._containers.ReopenContainerLog,
            self._containers.StopContainer,
            self._containers.RemoveContainer,
            self._containers.ContainerStatus,
            self._containers.ListContainers,
            sessions.Exec,
            sessions.Attach,
            Forwarding(store, self._streaming.offer).PortForward,
            resources.UpdateContainerResources,
            resources.UpdatePodSandboxResources,
            stats.ContainerStats,
            stats.ListContainerStats,
            stats.PodSandboxStats,
            stats.ListPodSandboxStats,
            metrics.ListMetricDescriptors,
            metrics.ListPodSandboxMetrics,
            checkpoints.CheckpointContainer,
            checkpoints.CheckpointPod,
            checkpoints.RestorePod,
            images.ListImages,
            images.ImageStatus,
            images.PullImage,
            images.RemoveImage,
            images.ImageFsInfo,
        ]
        self._calls = {call.__name__: call for call in calls}

    def start(self) -> None:
        """Begin to watch processes, and to take streaming clients."""
        self._processes.start()
        self._streaming.start()

    def call(self, rpc: str, when_gone: WhenGone) -> Call:
        """What answers a call; ``when_gone`` takes a function for when the client is gone.

        What it does not offer is answered with UNIMPLEMENTED.
        """
        # The one call that must know whether somebody still waits for its end.
        if rpc == "ExecSync":
            return lambda request: self._exec.ExecSync(request, when_gone)
        return self._calls.get(rpc) or _unimplemented(rpc)

    def stream(self, rpc: str, when_gone: WhenGone) -> StreamingCall:
        """What answers a call with a stream; ``when_gone`` as in ``call``."""
        if rpc == "GetContainerEvents":
            return lambda request: self._events.GetContainerEvents(request, when_gone)
        return lambda request: parts.stream(rpc, request, lambda twin: self.call(twin, when_gone))

    def kill(self) -> None:
        """Kill all processes; from now on none is started. Calls under way come to their end."""
        self._events.close()
        self._processes.close()
        self._containers.wait_for_all(_END_TAKES)

    def close(self) -> None:
        """Remove all files but the containers' logs. After ``kill``, and when no call is left."""
        self._streaming.close()
        self._processes.loop.stop()
        self._directory.remove()


def _unimplemented(rpc: str) -> Call:
    def refuse(_: Message) -> Message:
        raise StatusError("UNIMPLEMENTED", f"the reference runtime has no {rpc}")

    return refuse
