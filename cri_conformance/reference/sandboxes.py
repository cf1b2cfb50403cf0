# SPDX-License-Identifier: Apache-2.0
"""Sandboxes: READY from the moment they are there, NOTREADY from their stop to their end.

Its events are those of a container with its id, as a pause container would have them.

A sandbox has no process. It holds a name, an address and containers. While it is being
stopped it is still reported as READY, but takes nothing new in; it becomes NOTREADY when
the last of its containers has exited, so that nobody ever sees a container running in a
sandbox that is not ready.
"""

from __future__ import annotations

import ipaddress
import json

from cri_conformance.api import types
from cri_conformance.reference import filters, handlers, resources, validate
from cri_conformance.reference.containers import Containers
from cri_conformance.reference.events import Events
from cri_conformance.reference.state import Sandbox, Store, new_id


class Sandboxes:
    """The five calls about sandboxes. All raise StatusError where they refuse."""

    def __init__(self, store: Store, containers: Containers, events: Events) -> None:
        self._events = events
        self._store = store
        self._containers = containers

    def RunPodSandbox(self, request: types.RunPodSandboxRequest) -> types.RunPodSandboxResponse:
        """The metadata are the sandbox's name, taken until it is removed (ALREADY_EXISTS)."""
        if not request.HasField("config") or not request.config.HasField("metadata"):
            validate.invalid("there is no config, or no metadata in it")
        handlers.check(request.runtime_handler)
        validate.sandbox(request.config)
        for part in (request.config.linux.overhead, request.config.linux.resources):
            resources.check(part)
        sandbox_id = new_id()
        self._store.reserve(_name(request.config), sandbox_id)
        sandbox = self._new(sandbox_id, request)
        with sandbox.lock:
            self._store.sandboxes[sandbox_id] = sandbox
            for kind in (types.CONTAINER_CREATED_EVENT, types.CONTAINER_STARTED_EVENT):
                self._events.publish(kind, sandbox_id, sandbox)
        return types.RunPodSandboxResponse(pod_sandbox_id=sandbox_id)

    def _new(self, sandbox_id: str, request: types.RunPodSandboxRequest) -> Sandbox:
        config = types.PodSandboxConfig()
        config.CopyFrom(request.config)
        options = config.linux.security_context.namespace_options
        address = self._store.take_address() if options.network != types.NODE else ""
        created_at = self._store.clock.now()
        status = types.PodSandboxStatus(
            id=sandbox_id,
            metadata=config.metadata,
            state=types.SANDBOX_READY,
            created_at=created_at,
            network=_network(address) if address else None,
            linux=types.LinuxPodSandboxStatus(namespaces=types.Namespace(options=options)),
            labels=config.labels,
            annotations=config.annotations,
            runtime_handler=request.runtime_handler,
        )
        item = types.PodSandbox(
            id=sandbox_id,
            metadata=config.metadata,
            state=types.SANDBOX_READY,
            created_at=created_at,
            labels=config.labels,
            annotations=config.annotations,
            runtime_handler=request.runtime_handler,
        )
        return Sandbox(id=sandbox_id, config=config, status=status, item=item, address=address)

    def StopPodSandbox(self, request: types.StopPodSandboxRequest) -> types.StopPodSandboxResponse:
        """No grace period: the text says forcibly. An unknown sandbox is a stopped one."""
        sandbox_id = validate.object_id("pod_sandbox_id", request.pod_sandbox_id)
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox:
            self._stop(sandbox)
        return types.StopPodSandboxResponse()

    def _stop(self, sandbox: Sandbox) -> None:
        with sandbox.lock:
            sandbox.stopping = True
            containers = list(sandbox.containers.values())
        # All first, then wait for all: together they take no longer than the slowest.
        for container in [one for one in containers if self._containers.kill(one)]:
            container.exited.wait()
        with sandbox.lock:
            if sandbox.ready:
                address = sandbox.address
                sandbox.publish_stopped()
                self._store.give_back_address(address)
                self._events.publish(types.CONTAINER_STOPPED_EVENT, sandbox.id, sandbox)

    def RemovePodSandbox(
        self, request: types.RemovePodSandboxRequest
    ) -> types.RemovePodSandboxResponse:
        """Stopped first if need be. An unknown sandbox is a removed one."""
        sandbox_id = validate.object_id("pod_sandbox_id", request.pod_sandbox_id)
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox:
            self._stop(sandbox)
            for container in list(sandbox.containers.values()):
                self._containers.remove(container)
            if self._store.sandboxes.pop(sandbox_id, None):
                self._events.publish(types.CONTAINER_DELETED_EVENT, sandbox_id, sandbox)
            self._store.release(_name(sandbox.config), sandbox_id)
        return types.RemovePodSandboxResponse()

    def PodSandboxStatus(
        self, request: types.PodSandboxStatusRequest
    ) -> types.PodSandboxStatusResponse:
        """NOT_FOUND if it is not there."""
        sandbox_id = validate.object_id("pod_sandbox_id", request.pod_sandbox_id)
        sandbox = self._store.sandbox(sandbox_id)
        # The order matters: nothing reported may be older than the timestamp says, and a
        # sandbox seen as NOTREADY has no running container any more.
        timestamp = self._store.clock.now()
        response = types.PodSandboxStatusResponse(status=sandbox.status, timestamp=timestamp)
        for container in list(sandbox.containers.values()):
            response.containers_statuses.append(container.status)
        if request.verbose:
            info = {"isolation": None, "containers": sorted(sandbox.containers)}
            response.info["info"] = json.dumps(info)
        return response

    def ListPodSandbox(self, request: types.ListPodSandboxRequest) -> types.ListPodSandboxResponse:
        """Those that match the filter, oldest first."""
        items = [sandbox.item for sandbox in list(self._store.sandboxes.values())]
        return types.ListPodSandboxResponse(items=filters.sandboxes(items, request.filter))


def _name(config: types.PodSandboxConfig) -> tuple[object, ...]:
    metadata = config.metadata
    return (metadata.name, metadata.namespace, metadata.uid, metadata.attempt)


def _network(address: str) -> types.PodSandboxNetworkStatus:
    """Both families: the second address is the first within IPv6's range for benchmarks."""
    second = str(ipaddress.IPv6Address(f"2001:2::{address}"))
    return types.PodSandboxNetworkStatus(ip=address, additional_ips=[types.PodIP(ip=second)])
