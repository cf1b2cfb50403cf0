# SPDX-License-Identifier: Apache-2.0
"""Sandboxes, containers and images of somebody else, and all that can be seen of them.

Made by plain calls, with nothing of the suite's that keeps track of objects.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.build import helper, image, messages
from cri_conformance.registry import oci
from cri_conformance.registry.server import running
from cri_conformance.wire import cgroups
from cri_conformance.wire.client import Client
from cri_conformance.wire.host import Host
from cri_conformance.wire.identity import OWNER_LABEL, RUN_LABEL, owner_of
from cri_conformance.wire.outcome import Ok, answer
from cri_conformance.wire.runtime import poll

#: Seconds that one call may take.
PATIENT = 60
#: In the environment of all their processes.
MARK = f"THEIRS={os.getpid()}"
NONCE = "0badcafe"
#: What resembles the labels of ours, and is none, or belongs to a run that goes on.
LABELS: tuple[dict[str, str], ...] = (
    {"app": "shop"},
    {RUN_LABEL: NONCE},
    {OWNER_LABEL: "gone.1.1", f"{RUN_LABEL}s": NONCE},
    {RUN_LABEL: NONCE, OWNER_LABEL: owner_of(os.getpid())},
    {RUN_LABEL: "0badf00d", OWNER_LABEL: "another-node.1.1"},
)


@dataclass
class Foreign:
    """What somebody else has on the node; ``folder`` has its logs and volume."""

    client: Client
    folder: Path
    images: list[str] = field(default_factory=list)
    sandboxes: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)

    def call(self, rpc: str, **fields: Any) -> Any:
        return answer(self.client.call(rpc, deadline=PATIENT, **fields), rpc)

    @cached_property
    def _cgroup(self) -> str:
        """Below which their sandboxes go, as a kubelet's do, if it can be a path."""
        told = self.client.call("RuntimeConfig")
        by_path = isinstance(told, Ok) and told.response.linux.cgroup_driver == types.CGROUPFS
        return cgroups.parent(NONCE) if by_path else ""

    # -- making ----------------------------------------------------------------------

    def pull(self, push: Callable[..., str], number: int, made: oci.Image) -> str:
        self.images.append(push(f"theirs/app-{number}", "1", made))
        self.call("PullImage", image=types.ImageSpec(image=self.images[-1]))
        return self.images[-1]

    def pod(self, shell: str, labels: dict[str, str]) -> str:
        """A sandbox with containers that run, were never started, have ended and failed."""
        number = len(self.sandboxes)
        config = messages.sandbox_config(
            f"pod-{NONCE}-{number:08x}",
            labels=labels,
            log_directory=str(self.folder / "logs" / str(number)),
            cgroup_parent=self._cgroup,
        )
        sandbox = self.call("RunPodSandbox", config=config).pod_sandbox_id
        self.sandboxes.append(sandbox)
        volume = self.folder / "volume"
        for name, script, state in (
            ("runs", f"echo theirs; {messages.IDLE}", types.CONTAINER_RUNNING),
            ("waits", messages.IDLE, types.CONTAINER_CREATED),
            ("ended", "echo done", types.CONTAINER_EXITED),
            ("failed", "echo oh >&2; exit 3", types.CONTAINER_EXITED),
        ):
            container = messages.container_config(
                f"ctr-{NONCE}-{name}",
                shell,
                config,
                labels=labels,
                command=["/bin/sh", "-c", script],
                envs=dict([MARK.split("=")]),
            )
            container.mounts.add(container_path="/volume", host_path=str(volume))
            made = self.call(
                "CreateContainer", pod_sandbox_id=sandbox, config=container, sandbox_config=config
            ).container_id
            self.containers.append(made)
            if state != types.CONTAINER_CREATED:
                self.call("StartContainer", container_id=made)
                poll(lambda made=made: self._state(made), state.__eq__, PATIENT, f"{name} to be so")
        return sandbox

    def _state(self, container: str) -> int:
        state: int = self.call("ContainerStatus", container_id=container).status.state
        return state

    def remove(self) -> None:
        for sandbox in self.sandboxes:
            self.client.call("RemovePodSandbox", pod_sandbox_id=sandbox, deadline=PATIENT)
        for reference in self.images:
            self.client.call("RemoveImage", image=types.ImageSpec(image=reference))
        cgroups.remove(cgroups.HIERARCHIES, NONCE)

    # -- looking ---------------------------------------------------------------------

    def seen(self, *, briefly: bool = False) -> dict[str, Any]:
        """All that is on the node, whosever it is; and, unless briefly, how theirs is."""
        return {
            "sandboxes": {one.id for one in self.call("ListPodSandbox").items},
            "containers": {one.id for one in self.call("ListContainers").containers},
            "images": {
                one.id: (sorted(one.repo_tags), sorted(one.repo_digests), one.size, one.pinned)
                for one in self.call("ListImages").images
            },
            **({} if briefly else self.theirs()),
        }

    def theirs(self) -> dict[str, Any]:
        """Of their objects what can be seen, by kind."""
        statuses = [
            self.call("PodSandboxStatus", pod_sandbox_id=one).status for one in self.sandboxes
        ]
        statuses += [
            self.call("ContainerStatus", container_id=one).status for one in self.containers
        ]
        ids = [*self.sandboxes, *self.containers]
        host = Host(Path("/"))
        return {
            "statuses": [str(status) for status in statuses],
            "processes": dict(_processes(host, ids)),
            "mounts": sorted(
                mount.target for mount in host.mounts(1) if any(one in mount.target for one in ids)
            ),
            "files": dict(_files(self.folder)),
        }


def _processes(host: Host, ids: list[str]) -> Iterator[tuple[int, Any]]:
    """Their containers' processes, pauses and shims: (pid, when and in what it runs)."""
    marked = host.processes(MARK)
    for pid in host.pids():
        about = host.read(pid, "cmdline") + host.read(pid, "cgroup")
        if pid != os.getpid() and (pid in marked or any(one in about for one in ids)):
            born = host.read(pid, "stat").rpartition(")")[2].split()[19:20]
            namespaces = [host.namespace(pid, kind) for kind in ("mnt", "net", "pid", "ipc", "uts")]
            own = namespaces[0] != host.namespace(os.getpid(), "mnt")
            mounts = host.read(pid, "mountinfo") if own else ""
            rest = [host.read(pid, name) for name in ("comm", "cgroup", "oom_score_adj", "limits")]
            yield pid, (born, namespaces, mounts, rest)


def _files(folder: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(folder.rglob("*")):
        about = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        yield str(path), (about.st_ino, about.st_mode, about.st_mtime_ns, content)


@contextmanager
def foreign(client: Client, folder: Path, shell: str) -> Iterator[Foreign]:
    """Somebody else's objects in every state. ``shell`` is an image; "": one of their own."""
    theirs = Foreign(client, folder)
    (folder / "volume").mkdir(parents=True)
    (folder / "volume" / "data").write_text("theirs")
    try:
        with running() as registry:
            for number, made in _images():
                theirs.pull(registry.push, number, made)
            if not shell:
                root = image.root()
                made = oci.image([root.layer], {}, architecture=root.architecture)
                shell = theirs.pull(registry.push, 9, made)
        for labels in LABELS:
            theirs.pod(shell, labels)
        theirs.call("StopPodSandbox", pod_sandbox_id=theirs.sandboxes[0])
        theirs.pod(shell, LABELS[0])
        yield theirs
    finally:
        theirs.remove()


def _images() -> Iterator[tuple[int, oci.Image]]:
    """One with a layer that the suite's images have too, if there is such, and one with its own."""
    here = oci.architecture_here()
    layers = [oci.layer([oci.File("theirs", b"theirs")])]
    yield 0, oci.image(layers, {"Cmd": ["/theirs"]}, architecture=here)
    try:
        layers.insert(0, helper.layer(helper.find(here)))
    except image.ImageError:
        return
    yield 1, oci.image(layers, {"Cmd": ["/theirs"]}, architecture=here)
