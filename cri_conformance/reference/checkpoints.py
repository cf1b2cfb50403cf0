# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: every rule of the requests, and then a refusal.

This runtime has nothing that could save the state of a process. To write down a config and
to start the command anew would look like a restore and be none, so it is not done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import handlers, resources, validate
from cri_conformance.reference.state import Sandbox, Store


class Checkpoints:
    """The calls about checkpoints. All raise StatusError, one way or another."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def CheckpointContainer(
        self, request: types.CheckpointContainerRequest
    ) -> types.CheckpointContainerResponse:
        """Of a running container to an absolute path; which is as far as it goes."""
        container_id = validate.object_id("container_id", request.container_id)
        container = self._store.container(container_id)
        if not request.location.startswith("/"):
            validate.invalid(f"location is not an absolute path: {request.location!r}")
        if request.timeout < 0:
            validate.invalid(f"timeout is negative: {request.timeout}")
        if not container.running:
            raise StatusError("FAILED_PRECONDITION", f"container {container_id} does not run")
        _refuse()

    def CheckpointPod(self, request: types.CheckpointPodRequest) -> types.CheckpointPodResponse:
        """INVALID_ARGUMENT for what is wrong with the request, FAILED_PRECONDITION for the rest."""
        sandbox_id = validate.object_id("pod_sandbox_id", request.pod_sandbox_id)
        sandbox = self._store.sandbox(sandbox_id)
        _no_options(request.options)
        folder = _directory("output_path", request.output_path)
        if any(folder.iterdir()):
            validate.invalid(f"output_path is not empty: {folder}")
        if not sandbox.ready or sandbox.stopping:
            raise StatusError("FAILED_PRECONDITION", f"sandbox {sandbox_id} is not ready")
        _running_ones(sandbox, request.container_ids)
        _refuse()

    def RestorePod(self, request: types.RestorePodRequest) -> types.RestorePodResponse:
        """The same; no checkpoint is one of this runtime."""
        if not request.HasField("config") or not request.config.HasField("metadata"):
            validate.invalid("there is no config, or no metadata in it")
        handlers.check(request.runtime_handler)
        _no_options(request.options)
        validate.sandbox(request.config)
        _named_once(config.metadata.name for config in request.container_configs)
        for config in request.container_configs:
            resources.check(config.linux.resources)
        _directory("checkpoint_path", request.checkpoint_path)
        raise StatusError("FAILED_PRECONDITION", "there is no checkpoint that could be restored")


def _refuse() -> NoReturn:
    raise StatusError("FAILED_PRECONDITION", "this runtime can't save the state of a process")


def _no_options(options: Iterable[str]) -> None:
    for key in options:
        validate.invalid(f"there is no option {key!r}")


def _directory(what: str, path: str) -> Path:
    if not path.startswith("/") or "\0" in path:
        validate.invalid(f"{what} is not an absolute path: {path!r}")
    if not Path(path).is_dir():
        validate.invalid(f"{what} is no directory: {path}")
    return Path(path)


def _running_ones(sandbox: Sandbox, ids: Iterable[str]) -> None:
    counted = Counter(ids)
    if not counted:
        validate.invalid("container_ids is empty")
    for container_id, times in counted.items():
        if times > 1:
            validate.invalid(f"container_ids has {container_id} {times} times")
        container = sandbox.containers.get(container_id)
        if container is None:
            validate.invalid(f"{container_id} is no container of this sandbox")
        if not container.running:
            validate.invalid(f"container {container_id} does not run")


def _named_once(names: Iterable[str]) -> None:
    counted = Counter(names)
    if not counted:
        validate.invalid("container_configs is empty")
    for name, times in counted.items():
        if not name or times > 1:
            validate.invalid(f"container_configs has the name {name!r} {times} times")
