# SPDX-License-Identifier: Apache-2.0
"""Where broken messages are sent: objects of ours that they name, and others they must not touch.

The victim takes what comes. The bystander stands for whatever else runs on the node: it is named
in no message, and must be the same afterwards. A canary lies where tricks with paths lead to.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import Message

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.malformed.fields import Tree, parse
from cri_conformance.malformed.fields import places as places_of
from cri_conformance.malformed.mutations import Mutator
from cri_conformance.malformed.oracle import Kind, Misbehaviour
from cri_conformance.malformed.safety import NOWHERE, Guard
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import CLEANUP_DEADLINE, Container, Runtime, Sandbox

#: What a container of ours does: nothing that a broken word of it could turn into harm.
SLEEP = ["sleep", "3600"]
_CANARY = b"untouched\n"


class _Left(NamedTuple):
    """An object that nobody was given, and the call that removes it, with its field."""

    id: str
    what: str
    remove: str
    field: str
    may_be: bool


class Base:
    """A message to break, and what breaks it."""

    def __init__(self, rpc: str, name: str, message: Message) -> None:
        self.rpc, self.name = rpc, name
        data = message.SerializeToString(deterministic=True)
        self.tree: Tree = parse(data, RPCS[rpc].request.DESCRIPTOR)
        self.mutator = Mutator(self.tree)


class Yard:
    """Made once for many messages. ``close`` removes it."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.nonce = runtime.workshop.run.nonce
        #: Part of the name of all that is made here: other processes of this run make things, too.
        self.mark = f"y{secrets.token_hex(4)}"
        self.password = f"secret-{secrets.token_hex(12)}"
        self.secrets = (self.password,)
        root = runtime.workshop.log_root
        self.root = f"{root}/{self.mark}" if root else ""
        self.canary = Path(self.root) / "a" / "canary" if self.root else None
        if self.canary:
            (Path(self.root) / "a" / "b").mkdir(parents=True)
        self.bystander = self._pod("bystander")
        self.victim = self._pod("victim")
        self.spent = self._pod("spent")
        runtime.get("StopContainer", container_id=self.spent.id, timeout=0)
        runtime.get("RemoveContainer", container_id=self.spent.id)
        runtime.get("StopPodSandbox", pod_sandbox_id=self.spent.sandbox.id)
        runtime.get("RemovePodSandbox", pod_sandbox_id=self.spent.sandbox.id)
        #: Ids of what was left and can't be removed.
        self.stuck: set[str] = set()
        self._before = self._of_bystander()
        self._put_canary()
        self.bases = {f"{base.rpc}.{base.name}": base for base in self._bases()}
        self.guard = Guard(
            runtime.workshop.ids,
            self.nonce,
            self.root,
            frozenset(
                (field.name, field.value)
                for base in self.bases.values()
                for _, field in places_of(base.tree)
                if isinstance(field.value, bytes | int)
            ),
            self._foreign,
        )

    def _pod(self, stem: str) -> Container:
        name = self.runtime.name(f"{stem}-{self.mark}")
        sandbox = self.runtime.sandbox(name=name, log_directory=self._logs(stem))
        return self._container(sandbox)

    def _logs(self, stem: str) -> str:
        return f"{self.root}/a/b/{stem}" if self.root else ""

    def _container(self, sandbox: Sandbox) -> Container:
        container = self.runtime.container(sandbox, command=SLEEP)
        self.runtime.get("StartContainer", container_id=container.id)
        return container

    def _put_canary(self) -> None:
        if self.canary:
            self.canary.write_bytes(_CANARY)

    # -- what is broken --------------------------------------------------------------

    def _bases(self) -> Iterator[Base]:
        for rpc, message in self._messages():
            name, _, variant = rpc.partition("-")
            yield Base(name, variant or "plain", message)

    def _messages(self) -> Iterator[tuple[str, Message]]:
        """Requests that say as much as possible. A name may stand for several: ``Call-variant``."""
        victim, pod, gone = self.victim.id, self.victim.sandbox, self.spent
        resources = types.LinuxContainerResources(
            cpu_shares=128, cpu_period=100_000, cpu_quota=50_000, memory_limit_in_bytes=2**28
        )
        labels = {"cri-conformance/odd": "1"}
        image = types.ImageSpec(image=f"{NOWHERE}{self.nonce}/none:1", annotations=labels)
        fields: dict[str, dict[str, Any]] = {
            "Version": {"version": "0.1.0"},
            "Status": {"verbose": True},
            "RuntimeConfig": {},
            "UpdateRuntimeConfig": {},
            "StopPodSandbox": {"pod_sandbox_id": gone.sandbox.id},
            "RemovePodSandbox": {"pod_sandbox_id": gone.sandbox.id},
            "PodSandboxStatus": {"pod_sandbox_id": pod.id, "verbose": True},
            "StartContainer": {"container_id": victim},
            "StopContainer": {"container_id": gone.id, "timeout": 1},
            "RemoveContainer": {"container_id": gone.id},
            "ContainerStatus": {"container_id": victim, "verbose": True},
            "UpdateContainerResources": {
                "container_id": victim,
                "linux": resources,
                "annotations": labels,
            },
            "ReopenContainerLog": {"container_id": victim},
            "ExecSync": {"container_id": victim, "cmd": ["true"], "timeout": 2},
            "Exec": {"container_id": victim, "cmd": ["true"], "stdout": True, "stderr": True},
            "Attach": {"container_id": victim, "stdout": True},
            "PortForward": {"pod_sandbox_id": pod.id, "port": [80]},
            "ContainerStats": {"container_id": victim},
            "PodSandboxStats": {"pod_sandbox_id": pod.id},
            "CheckpointContainer": {
                "container_id": gone.id,
                "location": f"{self.root}/a/b/checkpoint" if self.root else "",
                "timeout": 1,
            },
            "CheckpointPod": {
                "pod_sandbox_id": gone.sandbox.id,
                "output_path": f"{self.root}/a/b/checkpoint" if self.root else "",
                "options": labels,
            },
            "RestorePod": {
                "checkpoint_path": f"{self.root}/a/b/none" if self.root else "",
                "config": self._sandbox_config(),
            },
            "UpdatePodSandboxResources": {
                "pod_sandbox_id": pod.id,
                "overhead": resources,
                "resources": resources,
            },
            "ImageStatus": {"image": image, "verbose": True},
            "PullImage": {
                "image": image,
                "auth": types.AuthConfig(username="user", password=self.password),
                "sandbox_config": pod.config,
            },
            "RemoveImage": {"image": image},
            "ListImages": {"filter": types.ImageFilter(image=image)},
            "ListPodSandbox": {
                "filter": types.PodSandboxFilter(
                    id=pod.id,
                    state=types.PodSandboxStateValue(state=types.SANDBOX_READY),
                    label_selector=labels,
                )
            },
            "ListContainers": {
                "filter": types.ContainerFilter(
                    id=victim,
                    state=types.ContainerStateValue(state=types.CONTAINER_RUNNING),
                    pod_sandbox_id=pod.id,
                    label_selector=labels,
                )
            },
            "ListContainerStats": {
                "filter": types.ContainerStatsFilter(
                    id=victim, pod_sandbox_id=pod.id, label_selector=labels
                )
            },
            "ListPodSandboxStats": {
                "filter": types.PodSandboxStatsFilter(id=pod.id, label_selector=labels)
            },
        }
        for rpc, alike in (
            ("StreamPodSandboxes", "ListPodSandbox"),
            ("StreamContainers", "ListContainers"),
            ("StreamContainerStats", "ListContainerStats"),
            ("StreamPodSandboxStats", "ListPodSandboxStats"),
            ("StreamImages", "ListImages"),
        ):
            fields[rpc] = fields[alike]
        for rpc, described in RPCS.items():
            if rpc not in ("RunPodSandbox", "CreateContainer"):
                yield rpc, described.request(**fields.get(rpc, {}))
        # Refused early, so that hundreds of them cost nothing; and to the end.
        for variant, handler in (("early", f"none-{self.nonce}"), ("full", None)):
            yield (
                f"RunPodSandbox-{variant}",
                types.RunPodSandboxRequest(
                    config=self._sandbox_config(),
                    runtime_handler=self.runtime.workshop.handler if handler is None else handler,
                ),
            )
        for variant, name in (("early", image.image), ("full", self.runtime.workshop.image)):
            config = self.runtime.container_config(
                pod,
                name=self.runtime.name(f"made-{self.mark}"),
                image=name,
                command=SLEEP,
                envs={"A": "1"},
                annotations=labels,
            )
            config.working_dir = "/"
            config.linux.resources.CopyFrom(resources)
            yield (
                f"CreateContainer-{variant}",
                types.CreateContainerRequest(
                    pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config
                ),
            )

    def _sandbox_config(self) -> types.PodSandboxConfig:
        config = self.runtime.sandbox_config(
            name=self.runtime.name(f"made-{self.mark}"),
            log_directory=self._logs("made"),
            annotations={"cri-conformance/odd": "1"},
        )
        config.dns_config.CopyFrom(types.DNSConfig(servers=["127.0.0.1"], searches=["a.test"]))
        return config

    def _foreign(self) -> list[str]:
        """Ids of objects that are not of this run."""
        found = []
        for rpc, items in (("ListPodSandbox", "items"), ("ListContainers", "containers")):
            for item in getattr(self.runtime.get(rpc), items):
                if item.id not in self.runtime.workshop.ids and self.nonce not in str(item):
                    found.append(item.id)
        return found

    # -- afterwards ------------------------------------------------------------------

    def made(self, rpc: str, data: bytes) -> None:
        """Remove what a call made that was answered with OK."""
        response = RPCS[rpc].response.FromString(data)
        for field, remove in (
            ("pod_sandbox_id", "RemovePodSandbox"),
            ("container_id", "RemoveContainer"),
        ):
            made = getattr(response, field, "")
            if made and rpc in ("RunPodSandbox", "RestorePod", "CreateContainer"):
                # Long as ids are: then it is nobody else's.
                self.runtime.workshop.ids.add(made)
                self._away(remove, field, made)

    def _away(self, remove: str, field: str, made: str) -> bool:
        """Whether it could be removed."""
        if remove == "RemovePodSandbox":
            self.runtime.call("StopPodSandbox", pod_sandbox_id=made, deadline=CLEANUP_DEADLINE)
        names: dict[str, Any] = {field: made}
        outcome = self.runtime.call(remove, deadline=CLEANUP_DEADLINE, **names)
        return isinstance(outcome, Ok) or "NOT_FOUND" in str(outcome)

    def check(self, *, doubtful: bool = False) -> None:
        """Nothing is there that was not asked for, and the bystander is as it was.

        ``doubtful``: some calls had no answer, so that what is left is no leak. It is removed.
        Raises Misbehaviour.
        """
        # What is left goes first: the next look must not find it again.
        try:
            self.left(doubtful=doubtful)
        finally:
            self._unharmed()
        self._revive()

    def left(self, *, doubtful: bool = False) -> None:
        """Remove what is there that was refused. Raises Misbehaviour if there was something.

        A sandbox that is not ready may be kept (``RunPodSandbox.failed-leftover``), so that what
        its network still holds can be given back: it counts only if it can't be removed.
        """
        found = self._left()
        for one in found:
            self.runtime.workshop.ids.add(one.id)
            if not self._away(one.remove, one.field, one.id):
                self.stuck.add(one.id)
        left = [one for one in found if one.id in self.stuck or not one.may_be]
        if not left or doubtful:
            return
        told = ", ".join(f"{one.what} {one.id[:12]}" for one in left)
        lasting = any(one.id in self.stuck for one in left)
        raise Misbehaviour(
            Kind.LEAK,
            f"left {left[0].what}" + (" for good" if lasting else ""),
            f"left behind by calls that were refused: {told}"
            + (", which can't be removed" if lasting else ""),
            lasting=lasting,
        )

    def _unharmed(self) -> None:
        after = self._of_bystander()
        if after != self._before:
            before, self._before = self._before, after
            raise Misbehaviour(
                Kind.DAMAGE,
                "bystander",
                f"a container that no message named was {before!r} and is {after!r}",
            )
        if self.canary:
            content = self.canary.read_bytes() if self.canary.exists() else None
            if content is None or not content.startswith(_CANARY):
                self._put_canary()
                raise Misbehaviour(
                    Kind.DAMAGE,
                    "canary",
                    "a file beside the log directory was "
                    + ("removed" if content is None else f"overwritten: {content[:80]!r}"),
                )

    def _left(self) -> list[_Left]:
        """What is there of ours that nobody was given."""
        kept = {one for pod in (self.bystander, self.victim) for one in (pod.id, pod.sandbox.id)}
        found = []
        for rpc, items, remove, field, what in (
            ("ListPodSandbox", "items", "RemovePodSandbox", "pod_sandbox_id", "sandbox"),
            ("ListContainers", "containers", "RemoveContainer", "container_id", "container"),
        ):
            for item in getattr(self.runtime.get(rpc), items):
                # Whatever of it was broken: some of it still has the nonce.
                if item.id not in kept | self.stuck and self.mark in str(item):
                    may_be = what == "sandbox" and item.state == types.SANDBOX_NOTREADY
                    found.append(_Left(item.id, what, remove, field, may_be))
        return found

    def _of_bystander(self) -> str:
        pod = self.bystander
        status = self.runtime.container_status(pod.id)
        sandbox = self.runtime.sandbox_status(pod.sandbox.id)
        return (
            f"{types.ContainerState.Name(status.state)} since {status.started_at}, "
            f"{types.PodSandboxState.Name(sandbox.state)}"
        )

    def _revive(self) -> None:
        """Have a victim that runs."""
        outcome = self.runtime.call("ContainerStatus", container_id=self.victim.id)
        running = isinstance(outcome, Ok) and (
            outcome.response.status.state == types.CONTAINER_RUNNING
        )
        if not running:
            self.runtime.call(
                "RemoveContainer", container_id=self.victim.id, deadline=CLEANUP_DEADLINE
            )
            self.victim = self._container(self.victim.sandbox)
            self.bases = {f"{base.rpc}.{base.name}": base for base in self._bases()}

    def close(self) -> None:
        """Remove it all."""
        if self.root:
            shutil.rmtree(self.root, ignore_errors=True)
