# SPDX-License-Identifier: Apache-2.0
"""What the runtime knows, and how its threads share it.

Each object holds the messages in which it is reported. A message is never changed once
it can be seen: a transition builds new ones and puts them in place. So status and list
calls take no lock and can't be held up by a long stop; and what they return is always
one moment's truth.

Locks, in the order in which they may be taken: that of a sandbox, that of a container,
that of the store. They are held for the decision and never while waiting for a process
to end.
"""

from __future__ import annotations

import ipaddress
import secrets
import threading
import time
from dataclasses import dataclass, field

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference.identity import Identity
from cri_conformance.reference.image import Image
from cri_conformance.reference.logs import LogFile
from cri_conformance.reference.processes import Process

#: Addresses for sandboxes: reserved for tests of network gear, so that no host has them.
#: They tell sandboxes apart and lead nowhere.
ADDRESSES = ipaddress.ip_network("198.18.0.0/15")


def new_id() -> str:
    """64 hexadecimal digits, never given out before."""
    return secrets.token_hex(32)


class Clock:
    """Nanoseconds since 1970, greater with every look: what came later has the later time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def now(self) -> int:
        with self._lock:
            self._last = max(time.time_ns(), self._last + 1)
            return self._last


@dataclass(eq=False, slots=True)
class Container:
    """A container. Its state is that in ``response``."""

    id: str
    sandbox: Sandbox
    config: types.ContainerConfig
    image: Image
    identity: Identity
    response: types.ContainerStatusResponse
    item: types.Container
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: There while RUNNING.
    process: Process | None = None
    #: Where its output goes, from its start on. For the loop only.
    log: LogFile | None = None
    #: The stop signal was sent; it is sent once.
    signalled: bool = False
    #: Its first process has ended: nothing new may be started in it.
    ending: bool = False
    #: It is being removed: it may not be started any more.
    removing: bool = False
    #: Set when it is EXITED, and never before.
    exited: threading.Event = field(default_factory=threading.Event)

    @property
    def status(self) -> types.ContainerStatus:
        """The status as reported. Not to be changed."""
        return self.response.status

    @property
    def running(self) -> bool:
        return self.status.state == types.CONTAINER_RUNNING

    def publish(self, change: types.ContainerStatus) -> None:
        """Report it with the fields set in ``change`` from now on. With the lock held."""
        response = types.ContainerStatusResponse()
        response.CopyFrom(self.response)
        response.status.MergeFrom(change)
        item = types.Container()
        item.CopyFrom(self.item)
        item.state = response.status.state
        self.response, self.item = response, item

    def publish_resources(self, linux: types.LinuxContainerResources) -> None:
        """Report these resources from now on. With the lock held."""
        response = types.ContainerStatusResponse()
        response.CopyFrom(self.response)
        response.status.resources.linux.CopyFrom(linux)
        self.response = response


@dataclass(eq=False, slots=True)
class Sandbox:
    """A sandbox. Its state is that in ``status``."""

    id: str
    config: types.PodSandboxConfig
    status: types.PodSandboxStatus
    item: types.PodSandbox
    #: "" on the node's network, and once it is stopped.
    address: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    containers: dict[str, Container] = field(default_factory=dict)
    #: A stop has begun: no container may be created or started in it.
    stopping: bool = False

    @property
    def ready(self) -> bool:
        return self.status.state == types.SANDBOX_READY

    def publish_stopped(self) -> None:
        """Report it as NOTREADY and without address. With the lock held."""
        status, item = types.PodSandboxStatus(), types.PodSandbox()
        status.CopyFrom(self.status)
        item.CopyFrom(self.item)
        status.state = item.state = types.SANDBOX_NOTREADY
        status.ClearField("network")
        self.status, self.item = status, item
        self.address = ""


class Store:
    """All objects by id, and the names and addresses that are taken."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self._lock = threading.Lock()
        self._names: dict[tuple[object, ...], str] = {}
        self._addresses: set[str] = set()
        self._next_address = 1

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """Raises StatusError (NOT_FOUND) if there is none with just this id."""
        found = self.sandboxes.get(sandbox_id)
        if found is None:
            raise StatusError("NOT_FOUND", f"there is no sandbox {sandbox_id}")
        return found

    def container(self, container_id: str) -> Container:
        """Raises StatusError (NOT_FOUND) if there is none with just this id."""
        found = self.containers.get(container_id)
        if found is None:
            raise StatusError("NOT_FOUND", f"there is no container {container_id}")
        return found

    def reserve(self, name: tuple[object, ...], object_id: str) -> None:
        """Take a name. Raises StatusError (ALREADY_EXISTS) if another object has it."""
        with self._lock:
            holder = self._names.setdefault(name, object_id)
        if holder != object_id:
            raise StatusError("ALREADY_EXISTS", f"{holder} has this name already: {name}")

    def release(self, name: tuple[object, ...], object_id: str) -> None:
        """Give a name back, if this object has it."""
        with self._lock:
            if self._names.get(name) == object_id:
                del self._names[name]

    def take_address(self) -> str:
        """An address that no other sandbox has; given back ones come last."""
        with self._lock:
            while True:
                address = str(ADDRESSES[self._next_address])
                self._next_address = self._next_address % (ADDRESSES.num_addresses - 2) + 1
                if address not in self._addresses:
                    self._addresses.add(address)
                    return address

    def give_back_address(self, address: str) -> None:
        """Let another sandbox have it."""
        with self._lock:
            self._addresses.discard(address)
