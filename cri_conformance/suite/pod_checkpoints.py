# SPDX-License-Identifier: Apache-2.0
"""Requests of CheckpointPod and RestorePod, and what they are about."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, NotExercised
from cri_conformance.suite.container_life import folder_on_host
from cri_conformance.wire.outcome import Outcome, Refused
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: Seconds for a small pod. A deadline is the client's duty in both calls.
TAKES = 60.0


@dataclass(frozen=True, slots=True)
class Pod:
    """A sandbox with two running containers, one that is created and one that has exited."""

    sandbox: Sandbox
    running: tuple[Container, Container]
    created: Container
    exited: Container
    #: Of another sandbox.
    foreign: Container
    #: Of ours, on the host; the folders of the requests are made in it.
    folder: Path

    def new_folder(self, runtime: Runtime) -> Path:
        """An empty folder with nothing beside it."""
        made = self.folder / runtime.name("around") / "output"
        made.mkdir(parents=True)
        return made


def pod(runtime: Runtime, elsewhere: Sandbox) -> Pod:
    """Raises NotExercised where there is no CheckpointPod, or nothing can be put on the host."""
    # Before anything is made for it: no released runtime has the call yet.
    unknown = runtime.call("CheckpointPod", pod_sandbox_id=secrets.token_hex(32), deadline=TAKES)
    if isinstance(unknown, Refused) and unknown.code == "UNIMPLEMENTED":
        raise NotExercised(Reason.YOUNGER, "no CheckpointPod")
    if not elsewhere.config.log_directory:
        raise NotExercised(Reason.REMOTE, "checkpoints would be on the runtime's host")
    sandbox = runtime.sandbox()
    return Pod(
        sandbox,
        (runtime.running(sandbox), runtime.running(sandbox)),
        runtime.container(sandbox),
        runtime.exited(sandbox),
        runtime.running(elsewhere),
        folder_on_host(sandbox, "checkpoints"),
    )


def checkpoint(runtime: Runtime, found: Pod, folder: Path, **other: Any) -> Outcome:
    """CheckpointPod of both running containers, with some fields of the request ``other``wise."""
    fields = {
        "pod_sandbox_id": found.sandbox.id,
        "output_path": str(folder),
        "container_ids": [container.id for container in found.running],
        "deadline": TAKES,
        **other,
    }
    return runtime.call("CheckpointPod", **fields)


def restore_request(runtime: Runtime, found: Pod, folder: Path) -> types.RestorePodRequest:
    """RestorePod as the kubelet sends it, with a new identity for the pod."""
    config = runtime.sandbox_config()
    sandbox = Sandbox("", config)
    containers = [
        runtime.container_config(
            sandbox, name=one.config.metadata.name, labels={"restored": str(number)}
        )
        for number, one in enumerate(found.running)
    ]
    return types.RestorePodRequest(
        checkpoint_path=str(folder),
        config=config,
        runtime_handler=runtime.workshop.handler,
        container_configs=containers,
    )


def restore(runtime: Runtime, judge: Judge, request: types.RestorePodRequest) -> Outcome:
    """The call; ends the test where the runtime does not have it."""
    outcome = runtime.call("RestorePod", request, deadline=TAKES)
    if isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
        judge.skip(Reason.YOUNGER, "no RestorePod")
    return outcome
