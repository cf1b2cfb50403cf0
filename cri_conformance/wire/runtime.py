# SPDX-License-Identifier: Apache-2.0
"""A runtime as a test sees it: a scope whose objects are gone when it ends.

Nothing is made except through a scope, so nothing leaks; and no call that destroys
is sent unless its id can only mean an object of ours (runtimes take a unique prefix
of an id for the id itself, in destructive calls too).
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from cri_conformance.api import types
from cri_conformance.build import messages
from cri_conformance.wire.client import Client, request_of
from cri_conformance.wire.identity import RUN_LABEL, Run
from cri_conformance.wire.outcome import (
    Ok,
    Outcome,
    Refused,
    RuntimeGone,
    SetupFailed,
    Unknown,
    answer,
)
from cri_conformance.wire.stream import Stream

T = TypeVar("T")

#: Seconds a removal may take before the scope gives it up and says so.
CLEANUP_DEADLINE = 30.0
#: Removals at the same time when a scope ends.
AT_A_TIME = 4
#: Seconds in which a scope removes all it made; what is left then is tried at the end of the run.
CLEANUP_WITHIN = 120.0

#: Calls that only look: an id of somebody else's does no harm in them.
_LOOKING = re.compile(r"Version|Status|RuntimeConfig|.*(Status|Stats|Info)|(List|Stream|Get).+")
#: Fields that name an object, and the call that lists such objects, with its field.
_LISTERS = {
    "pod_sandbox_id": ("ListPodSandbox", "items"),
    "container_id": ("ListContainers", "containers"),
}
#: An id shorter than this is not taken for an object's own before a list has shown it.
_SHORT_ID = 32


class UnsafeCall(SetupFailed):
    """A call that might have hit an object of somebody else. It was not sent."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox made by the suite and the config that made it."""

    id: str
    config: types.PodSandboxConfig
    handler: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """A container made by the suite, in whatever state."""

    id: str
    config: types.ContainerConfig
    sandbox: Sandbox


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every scope of a run shares.

    ``image`` is the reference of the test image, ``log_root`` a folder on the runtime's host.
    """

    run: Run
    image: str
    handler: str
    log_root: str
    #: The cgroup that sandboxes go below; "" for the runtime's own choice.
    cgroup_parent: str = ""
    #: Every id this run was ever given: what is in here can't be mistaken for a foreign object.
    ids: set[str] = field(default_factory=set)
    #: Names of images, by id and by digest, that can only mean images of this run.
    images: set[str] = field(default_factory=set)


class Runtime:
    """A scope over a client. Safe to use from several threads."""

    def __init__(self, client: Client, workshop: Workshop) -> None:
        self.client = client
        self.workshop = workshop
        self._sandboxes: dict[str, None] = {}
        self._containers: dict[str, None] = {}
        self._doubtful: set[str] = set()
        self._streams: list[Stream] = []
        self._lock = threading.Lock()

    # -- calls ---------------------------------------------------------------------

    def call(
        self,
        rpc: str,
        request: Message | None = None,
        /,
        *,
        deadline: float | None = None,
        cancel_after: float | None = None,
        **fields: Any,
    ) -> Outcome:
        """One call, as ``Client.call``; what it makes belongs to this scope.

        Raises UnsafeCall if it could destroy what is not ours.
        """
        if request is None:
            request = request_of(rpc, **fields)
        if not _LOOKING.fullmatch(rpc):
            for name in _LISTERS:
                if hasattr(request, name):
                    self._guard(getattr(request, name), *_LISTERS[name])
            if rpc == "RemoveImage":
                self._guard_image(getattr(request, "image").image)  # noqa: B009
        try:
            outcome = self.client.call(rpc, request, deadline=deadline, cancel_after=cancel_after)
        except RuntimeGone as gone:
            # What it was about to make may be there when it comes back.
            self._note(rpc, request, Unknown(str(gone)))
            raise
        self._note(rpc, request, outcome)
        return outcome

    def _note(self, rpc: str, request: Any, outcome: Outcome) -> None:
        """Keep in mind what a call has made or removed."""
        if rpc in ("RunPodSandbox", "RestorePod"):
            self._made(self._sandboxes, request, outcome, "pod_sandbox_id")
        elif rpc == "CreateContainer":
            self._made(self._containers, request, outcome, "container_id")
        elif rpc in ("RemovePodSandbox", "RemoveContainer") and isinstance(outcome, Ok):
            self._forget(rpc, request)

    def stream(self, rpc: str, request: Message | None = None, /, **options: Any) -> Stream:
        """A stream, as ``Client.stream``; it is cancelled when this scope ends."""
        stream = self.client.stream(rpc, request, **options)
        with self._lock:
            self._streams.append(stream)
        return stream

    def get(self, rpc: str, request: Message | None = None, /, **fields: Any) -> Any:
        """The response of a call that a test builds on. Raises SetupFailed if refused."""
        return answer(self.call(rpc, request, **fields), rpc)

    def _made(self, owned: dict[str, None], request: Any, outcome: Outcome, id_field: str) -> None:
        made = getattr(outcome.response, id_field) if isinstance(outcome, Ok) else ""
        trusted = len(made) >= _SHORT_ID or (made and self._listed_as_ours(made, id_field))
        with self._lock:
            if trusted:
                owned[made] = None
                self.workshop.ids.add(made)
            else:
                # It may have made something all the same: only a list can tell.
                self._doubtful.add(request.config.metadata.name)

    def _listed_as_ours(self, made: str, id_field: str) -> bool:
        """Whether a list shows just this id as an object of this run."""
        lister, _ = _LISTERS[id_field]
        return any(item.id == made for item in ours(self.client, self.workshop.run, lister))

    def _forget(self, rpc: str, request: Any) -> None:
        with self._lock:
            if rpc == "RemovePodSandbox":
                self._sandboxes.pop(request.pod_sandbox_id, None)
            else:
                self._containers.pop(request.container_id, None)

    def _guard(self, given: str, lister: str, items: str) -> None:
        """Refuse an id that could be the unique prefix of a foreign object's id."""
        if given in self.workshop.ids:
            return
        listed = answer(self.client.call(lister), lister)
        for item in getattr(listed, items):
            # What other workers of this run made is no more foreign than what we did.
            ours = item.id in self.workshop.ids or (
                item.labels.get(RUN_LABEL) == self.workshop.run.nonce
            )
            if item.id.startswith(given) and not ours:
                raise UnsafeCall(
                    f"{given!r} could be taken for {item.id}, which is not ours: call not sent"
                )

    def _guard_image(self, reference: str) -> None:
        """Refuse to remove an image that is not of this run by its name.

        Its tag has the run's nonce, or it is an id or a digest of what was made with the nonce.
        """
        if self.workshop.run.nonce not in reference and reference not in self.workshop.images:
            raise UnsafeCall(f"image {reference!r} is not of this run: call not sent")

    # -- objects -------------------------------------------------------------------

    def name(self, stem: str = "pod") -> str:
        """A name that no other object of this or any other run has."""
        return f"{stem}-{self.workshop.run.nonce}-{secrets.token_hex(4)}"

    def sandbox_config(self, **options: Any) -> types.PodSandboxConfig:
        """``messages.sandbox_config`` with a fresh name and this run's labels and log folder."""
        name = options.pop("name", "") or self.name()
        labels = {**self.workshop.run.labels(), **options.pop("labels", {})}
        root = self.workshop.log_root
        options.setdefault("log_directory", f"{root}/{name}" if root else "")
        options.setdefault("cgroup_parent", self.workshop.cgroup_parent)
        return messages.sandbox_config(name, labels=labels, **options)

    def container_config(self, sandbox: Sandbox, **options: Any) -> types.ContainerConfig:
        """``messages.container_config`` with a fresh name and this run's labels and image."""
        name = options.pop("name", "") or self.name("ctr")
        labels = {**self.workshop.run.labels(), **options.pop("labels", {})}
        image = options.pop("image", self.workshop.image)
        return messages.container_config(name, image, sandbox.config, labels=labels, **options)

    def run_sandbox(self, config: types.PodSandboxConfig, handler: str | None = None) -> Outcome:
        """RunPodSandbox with the handler under test unless another is given."""
        return self.call(
            "RunPodSandbox",
            config=config,
            runtime_handler=self.workshop.handler if handler is None else handler,
        )

    def sandbox(self, config: types.PodSandboxConfig | None = None, **options: Any) -> Sandbox:
        """A ready sandbox. Raises SetupFailed."""
        config = config or self.sandbox_config(**options)
        made = answer(self.run_sandbox(config), "RunPodSandbox")
        return Sandbox(made.pod_sandbox_id, config, self.workshop.handler)

    def container(
        self,
        sandbox: Sandbox,
        config: types.ContainerConfig | None = None,
        **options: Any,
    ) -> Container:
        """A created container. Raises SetupFailed."""
        config = config or self.container_config(sandbox, **options)
        made = answer(self.create(sandbox, config), "CreateContainer")
        return Container(made.container_id, config, sandbox)

    def create(self, sandbox: Sandbox, config: types.ContainerConfig) -> Outcome:
        """CreateContainer as the kubelet sends it, with the sandbox's config."""
        return self.call(
            "CreateContainer",
            pod_sandbox_id=sandbox.id,
            config=config,
            sandbox_config=sandbox.config,
        )

    def create_and_start(self, sandbox: Sandbox, config: types.ContainerConfig) -> Outcome:
        """Bring a container to run: StartContainer's answer, or CreateContainer's if not OK.

        For promises that leave open which of the two calls has to refuse.
        """
        created = self.create(sandbox, config)
        if not isinstance(created, Ok):
            return created
        return self.call("StartContainer", container_id=created.response.container_id)

    def running(self, sandbox: Sandbox, script: str = messages.IDLE, **options: Any) -> Container:
        """A started container that runs a shell script. Raises SetupFailed."""
        options.setdefault("command", ["/bin/sh", "-c", script])
        container = self.container(sandbox, **options)
        self.get("StartContainer", container_id=container.id)
        return container

    def exited(self, sandbox: Sandbox, script: str = "exit 0", **options: Any) -> Container:
        """A container that ran a script and ended by itself. Raises SetupFailed."""
        container = self.running(sandbox, script, **options)
        self.wait_exited(container.id)
        return container

    def wait_exited(self, container_id: str, seconds: float = 10.0) -> types.ContainerStatus:
        """Its status once it has exited. Raises SetupFailed after ``seconds``."""
        return poll(
            lambda: self.container_status(container_id),
            lambda status: status.state == types.CONTAINER_EXITED,
            seconds,
            f"container {container_id[:12]} to exit",
        )

    def container_status(self, container_id: str) -> types.ContainerStatus:
        """The status in ContainerStatus. Raises SetupFailed."""
        status: types.ContainerStatus = self.get(
            "ContainerStatus", container_id=container_id
        ).status
        return status

    def sandbox_status(self, sandbox_id: str) -> types.PodSandboxStatus:
        """The status in PodSandboxStatus. Raises SetupFailed."""
        status: types.PodSandboxStatus = self.get(
            "PodSandboxStatus", pod_sandbox_id=sandbox_id
        ).status
        return status

    def exec(self, container: Container, *cmd: str, timeout: int = 10) -> Any:
        """ExecSync's response. Raises SetupFailed."""
        return self.get(
            "ExecSync", container_id=container.id, cmd=cmd, timeout=timeout, deadline=timeout + 10
        )

    # -- the end -------------------------------------------------------------------

    def made(self) -> frozenset[str]:
        """Ids of what this scope holds now, for ``close(keep=...)``."""
        with self._lock:
            return frozenset(self._sandboxes) | frozenset(self._containers)

    def end(self) -> list[str]:
        """Leave all streams of this scope, then ``close`` it. It can be used again."""
        # In this order, as to each open stream the runtime tells of every removal.
        with self._lock:
            streams, self._streams = self._streams, []
        for stream in streams:
            stream.cancel()
        return self.close()

    def close(self, keep: Collection[str] = ()) -> list[str]:
        """Remove what was made in this scope, but for ``keep``; what can't be, in words.

        What stays behind all the same is tried again, and told, at the end of the run.
        """
        with self._lock:
            containers = [made for made in self._containers if made not in keep]
            sandboxes = [made for made in self._sandboxes if made not in keep]
            doubtful = set(self._doubtful)
            for made in containers:
                del self._containers[made]
            for made in sandboxes:
                del self._sandboxes[made]
            self._doubtful.clear()
        if doubtful:
            # A call without an answer may have made something: only a list can tell.
            sandboxes += [
                item.id
                for item in ours(self.client, self.workshop.run, "ListPodSandbox")
                if item.metadata.name in doubtful and item.id not in sandboxes
            ]
            containers += [
                item.id
                for item in ours(self.client, self.workshop.run, "ListContainers")
                if item.metadata.name in doubtful and item.id not in containers
            ]
        # With its sandbox a container is gone, unless the runtime is at fault.
        left = self._remove_all("RemovePodSandbox", sandboxes)
        return left + self._remove_all("RemoveContainer", containers)

    def _remove_all(self, rpc: str, ids: list[str]) -> list[str]:
        """Newest first, several at a time: runtimes spend most of a removal waiting."""
        newest = list(reversed(ids))
        until = time.monotonic() + CLEANUP_WITHIN
        if len(newest) < 2:
            lines = [remove(self.client, rpc, made) for made in newest]
        else:
            with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="removal") as pool:
                lines = list(
                    pool.map(
                        lambda made: (
                            remove(self.client, rpc, made)
                            if time.monotonic() < until
                            else f"{rpc}({made}): no time was left"
                        ),
                        newest,
                    )
                )
        return [line for line in lines if line]


def ours(client: Client, run: Run, lister: str) -> list[Any]:
    """The items of ListPodSandbox or ListContainers that this run made."""
    listed = answer(client.call(lister, deadline=CLEANUP_DEADLINE), lister)
    items = listed.items if lister == "ListPodSandbox" else listed.containers
    return [item for item in items if item.labels.get(RUN_LABEL) == run.nonce]


def remove(client: Client, rpc: str, object_id: str) -> str:
    """Remove one object for good; "" or what went wrong, in words."""
    field = "pod_sandbox_id" if rpc == "RemovePodSandbox" else "container_id"
    names: dict[str, Any] = {field: object_id}
    outcome = client.call(rpc, deadline=CLEANUP_DEADLINE, **names)
    if isinstance(outcome, Refused) and outcome.code != "NOT_FOUND":
        # Some runtimes remove a sandbox only once it is stopped, and get there in two steps.
        if rpc == "RemovePodSandbox":
            client.call("StopPodSandbox", deadline=CLEANUP_DEADLINE, pod_sandbox_id=object_id)
        outcome = client.call(rpc, deadline=CLEANUP_DEADLINE, **names)
    if isinstance(outcome, Ok) or (isinstance(outcome, Refused) and outcome.code == "NOT_FOUND"):
        return ""
    return f"{rpc}({object_id}): {outcome}"


def poll(look: Callable[[], T], wanted: Callable[[T], bool], seconds: float, what: str) -> T:
    """Look until ``wanted``; without events the contract gives nothing to wait on.

    Raises SetupFailed after ``seconds``.
    """
    give_up = time.monotonic() + seconds
    pause = threading.Event()
    interval = 0.002
    while True:
        seen = look()
        if wanted(seen):
            return seen
        if time.monotonic() > give_up:
            raise SetupFailed(f"waited {seconds:g} s for {what}")
        pause.wait(interval)
        interval = min(interval * 1.5, 0.05)
