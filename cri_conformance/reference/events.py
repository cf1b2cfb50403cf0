# SPDX-License-Identifier: Apache-2.0
"""What happens to containers and sandboxes, told to every client that listens.

An event is made in the moment of the change, under the lock of what changed, so that an
object's events are in the order of its life. It carries the sandbox and all its containers
as they are then. Each client has a queue of its own: one that reads slowly, or not at all,
holds up neither the runtime nor other clients.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference.state import Clock, Sandbox

#: Takes a function to be called when the client has gone away.
WhenGone = Callable[[Callable[[], None]], object]
#: Events kept for a client that does not read. After that its stream ends with an error, so
#: that it learns that it has missed some.
MOST_WAITING = 10_000


class Events:
    """Publishes events. Takes a lock of its own, the last of all in the order of locks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._clients: list[_Client] = []
        self._closed = False

    def publish(
        self, kind: types.ContainerEventType.ValueType, object_id: str, sandbox: Sandbox
    ) -> None:
        """Something happened to a container of ``sandbox``, or to the sandbox itself."""
        with self._lock:
            if not self._clients:
                return
            event = types.ContainerEventResponse(
                container_id=object_id,
                container_event_type=kind,
                created_at=self._clock.now(),
                pod_sandbox_status=sandbox.status,
                containers_statuses=[one.status for one in list(sandbox.containers.values())],
            )
            for client in self._clients:
                client.put(event)

    def GetContainerEvents(
        self, _: types.GetEventsRequest, when_gone: WhenGone
    ) -> Iterator[types.ContainerEventResponse]:
        """All events from now on, until the client goes or the runtime ends (UNAVAILABLE)."""
        client = _Client()
        with self._lock:
            if self._closed:
                client.end(_ENDS)
            self._clients.append(client)
        when_gone(lambda: self._leave(client))
        return iter(client)

    def _leave(self, client: _Client) -> None:
        with self._lock:
            if client in self._clients:
                self._clients.remove(client)
        client.end(None)

    def close(self) -> None:
        """At the runtime's end: end all streams."""
        with self._lock:
            self._closed = True
            clients, self._clients = self._clients, []
        for client in clients:
            client.end(_ENDS)


_ENDS = StatusError("UNAVAILABLE", "the runtime ends, and with it its events")


class _Client:
    """The events that wait for one client."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: collections.deque[types.ContainerEventResponse] = collections.deque()
        self._open = True
        self._error: StatusError | None = None

    def put(self, event: types.ContainerEventResponse) -> None:
        with self._changed:
            if not self._open:
                return
            self._waiting.append(event)
            if len(self._waiting) > MOST_WAITING:
                self._open = False
                self._error = StatusError("RESOURCE_EXHAUSTED", "this client reads too slowly")
            self._changed.notify_all()

    def end(self, error: StatusError | None) -> None:
        """What waits is still handed out, then the stream ends."""
        with self._changed:
            if self._open:
                self._open, self._error = False, error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[types.ContainerEventResponse]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._open)
                if not self._waiting:
                    break
                event = self._waiting.popleft()
            yield event
        if self._error:
            raise self._error
