# SPDX-License-Identifier: Apache-2.0
"""Mounts as the status lists them, and those that must be refused.

That a mount has its effect is judged elsewhere. What is judged here is what a kubelet
reads from the list: by it, it finds the file with the last words of a container. All host
paths are below the run's own folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import folder_on_host
from cri_conformance.suite.views import ContainerView, container_view
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

_WORDS = "last words"


@dataclass(frozen=True, slots=True)
class Mounted:
    """A container with mounts, and what was seen of it; ``file`` is its termination file."""

    container: Container
    file: types.Mount
    views: dict[str, ContainerView]


def _mount(folder: Path, **options: Any) -> types.Mount:
    # In and out of the container the path is the same: so it is there in any runtime,
    # also one that doesn't isolate its containers.
    return types.Mount(container_path=str(folder), host_path=str(folder), **options)


@pytest.fixture(scope="module")
def mounted(module_runtime: Runtime, shared_sandbox: Sandbox) -> Mounted | None:
    """A container that wrote its last words; None where nothing can be put on the host."""
    runtime, sandbox = module_runtime, shared_sandbox
    if not sandbox.config.log_directory:
        return None
    config = runtime.container_config(sandbox)
    base = folder_on_host(sandbox, f"{config.metadata.name}-mounts")
    folders = {name: base / name for name in ("plain", "readonly", "upper case and ä")}
    for folder in folders.values():
        folder.mkdir()
    words = base / "termination-log"
    words.touch(mode=0o666)
    file = _mount(words)
    config.mounts.extend(
        [*(_mount(f, readonly=name == "readonly") for name, f in folders.items()), file]
    )
    script = f"printf '{_WORDS}' > '{words}'; exit 4"
    config.command[:] = ["/bin/sh", "-c", script]
    container = runtime.container(sandbox, config)
    views = {"created": container_view(runtime, container)}
    runtime.get("StartContainer", container_id=container.id)
    runtime.wait_exited(container.id)
    views["exited"] = container_view(runtime, container)
    return Mounted(container, file, views)


def _local(mounted: Mounted | None, judge: Judge) -> Mounted:
    return mounted or judge.skip(Reason.REMOTE, "host paths can't be prepared")


@clause("ContainerStatus.mounts.requested-listed")
def test_every_mount_is_listed_once(mounted: Mounted | None, judge: Judge) -> None:
    mounted = _local(mounted, judge)
    for when, view in mounted.views.items():
        listed = [mount.container_path for mount in view.status.mounts]
        for mount in mounted.container.config.mounts:
            judge.equal(
                "ContainerStatus.mounts.requested-listed",
                listed.count(mount.container_path),
                1,
                f"when {when}, entries for {mount.container_path}:",
                about=[mounted.container.id],
            )


@clause("ContainerStatus.mounts.termination-path")
def test_the_last_words_are_found(mounted: Mounted | None, judge: Judge) -> None:
    mounted = _local(mounted, judge)
    path = mounted.file.container_path
    listed = [m for m in mounted.views["exited"].status.mounts if m.container_path == path]
    read = [Path(mount.host_path) for mount in listed]
    words = [file.read_text(encoding="utf-8") if file.is_file() else None for file in read]
    judge.equal(
        "ContainerStatus.mounts.termination-path",
        words,
        [_WORDS],
        f"content of {', '.join(map(str, read)) or 'no file'}:",
        about=[mounted.container.id],
    )


@clause("Mount.readonly.reported")
def test_readonly_is_reported(mounted: Mounted | None, judge: Judge) -> None:
    mounted = _local(mounted, judge)
    for when, view in mounted.views.items():
        listed = {mount.container_path: mount.readonly for mount in view.status.mounts}
        for mount in mounted.container.config.mounts:
            judge.equal(
                "Mount.readonly.reported",
                listed.get(mount.container_path),
                mount.readonly,
                f"when {when}, readonly of {mount.container_path}:",
                about=[mounted.container.id],
            )


# -- one mount a container --------------------------------------------------------------------


def _tried(
    runtime: Runtime, sandbox: Sandbox, judge: Judge, *, missing: bool = False, **options: Any
) -> tuple[Outcome, Container | None]:
    """What came of a container with one mount: how far it got, the container if it was made."""
    if not sandbox.config.log_directory:
        judge.skip(Reason.REMOTE, "host paths can't be prepared")
    config = runtime.container_config(sandbox)
    folder = folder_on_host(sandbox, f"{config.metadata.name}-mount")
    config.mounts.append(_mount(folder / "missing" if missing else folder, **options))
    made = runtime.create(sandbox, config)
    if not isinstance(made, Ok):
        return made, None
    container = Container(made.response.container_id, config, sandbox)
    return runtime.call("StartContainer", container_id=container.id), container


@clause("Mount.host_path.missing-error")
def test_a_missing_host_path_is_refused(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    outcome, _ = _tried(runtime, shared_sandbox, judge, missing=True)
    judge.refused("Mount.host_path.missing-error", outcome)


RECURSIVE: dict[str, dict[str, Any]] = {
    "needs-readonly": {"recursive_read_only": True},
    "needs-private": {
        "recursive_read_only": True,
        "readonly": True,
        "propagation": types.PROPAGATION_HOST_TO_CONTAINER,
    },
}


@pytest.mark.parametrize(
    ("clause_id", "options"),
    [
        pytest.param(
            f"Mount.recursive_read_only.{name}",
            options,
            id=name,
            marks=clause(f"Mount.recursive_read_only.{name}"),
        )
        for name, options in RECURSIVE.items()
    ],
)
def test_recursively_read_only_needs_more(
    clause_id: str,
    options: dict[str, Any],
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
) -> None:
    outcome, _ = _tried(runtime, shared_sandbox, judge, **options)
    judge.refused(clause_id, outcome)


@clause("Mount.recursive_read_only.reported")
def test_recursively_read_only_is_reported(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    outcome, container = _tried(
        runtime, shared_sandbox, judge, readonly=True, recursive_read_only=True
    )
    if container is None:
        # Handlers say in their features whether they have it.
        judge.skip(Reason.NOT_ADVERTISED, f"recursive_read_only_mounts: {outcome}")
    _judge_echo(judge, runtime, container, "recursive_read_only")


@clause("Mount.propagation.reported")
def test_propagation_is_reported(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    outcome, container = _tried(
        runtime, shared_sandbox, judge, propagation=types.PROPAGATION_HOST_TO_CONTAINER
    )
    if container is None:
        # The host's own mount has to be shared.
        judge.skip(Reason.NEEDS_HOST, f"no such mount can be made there: {outcome}")
    _judge_echo(judge, runtime, container, "propagation")


def _judge_echo(judge: Judge, runtime: Runtime, container: Container, field: str) -> None:
    sent = container.config.mounts[0]
    listed = runtime.container_status(container.id).mounts
    shown = [getattr(m, field) for m in listed if m.container_path == sent.container_path]
    judge.equal(
        f"Mount.{field}.reported", shown, [getattr(sent, field)], field, about=[container.id]
    )


@clause("Mount.host_path.with-image")
def test_a_host_path_and_an_image(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    image = types.ImageSpec(image=runtime.workshop.image)
    outcome, container = _tried(runtime, shared_sandbox, judge, image=image)
    at = "StartContainer" if container else "CreateContainer"
    judge.record("Mount.host_path.with-image", f"{outcome} ({at})")
