# SPDX-License-Identifier: Apache-2.0
"""CheckpointContainer: an archive where it was asked for, or an error; never a harmed container.

Runtimes need CRIU for it, which many hosts lack. Without it they refuse, and that is
judged as well: the archive must not be said to be there.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import folder_on_host
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, UnsafeCall

_RPC = "RuntimeService.CheckpointContainer"
_REQUEST = "CheckpointContainerRequest"
#: Seconds that are given to the runtime; those that a small container takes; those beyond.
_TIMEOUT, _TAKES, _SLACK = 5, 60.0, 10.0


@pytest.fixture(scope="module")
def folder(module_runtime: Runtime, shared_sandbox: Sandbox) -> Path | None:
    """A folder of ours on the host for archives; None where there is none to be had."""
    if not shared_sandbox.config.log_directory:
        return None
    return folder_on_host(shared_sandbox, module_runtime.name("checkpoints"))


def _location(folder: Path | None, judge: Judge) -> Path:
    if folder is None:
        judge.skip(Reason.REMOTE, "the archive would be on the runtime's host")
    return folder / f"{secrets.token_hex(4)}.tar"


def _checkpoint(
    runtime: Runtime,
    judge: Judge,
    container_id: str,
    location: str | Path,
    *,
    timeout: int = 0,
    deadline: float = _TAKES,
) -> Outcome:
    outcome = runtime.call(
        "CheckpointContainer",
        container_id=container_id,
        location=str(location),
        timeout=timeout,
        deadline=deadline,
    )
    if isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
        judge.skip(Reason.YOUNGER, "no CheckpointContainer")
    return outcome


def _goes_on(runtime: Runtime, container: Container) -> str:
    """The container's state, with what a command in it says."""
    status = runtime.container_status(container.id)
    said = runtime.call("ExecSync", container_id=container.id, cmd=["true"], timeout=5)
    return f"{types.ContainerState.Name(status.state)}; a command in it: {said}"


@clause(f"{_RPC}.archive", f"{_RPC}.goes-on")
def test_an_archive_is_written(
    runtime: Runtime, shared_sandbox: Sandbox, folder: Path | None, judge: Judge
) -> None:
    location = _location(folder, judge)
    container = runtime.running(shared_sandbox)
    outcome = _checkpoint(runtime, judge, container.id, location)
    if not isinstance(outcome, Ok):
        judge.skip(Reason.NOT_ADVERTISED, f"no checkpoint: {outcome}")
    judge.record(f"{_RPC}.goes-on", _goes_on(runtime, container))
    there = location.is_file() and location.stat().st_size
    judge.that(
        f"{_RPC}.archive",
        there,
        permitted="an archive at the location",
        actual="an empty file" if location.exists() else "nothing there",
        about=[container.id],
    )


@clause(f"{_REQUEST}.timeout.bounds")
def test_a_timeout_bounds_the_call(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    folder: Path | None,
    judge: Judge,
    patience: Callable[[float], float],
) -> None:
    location = _location(folder, judge)
    container = runtime.running(shared_sandbox)
    longest = _TIMEOUT + patience(_SLACK)
    began = time.monotonic()
    _checkpoint(runtime, judge, container.id, location, timeout=_TIMEOUT, deadline=longest + 1)
    judge.within(
        f"{_REQUEST}.timeout.bounds",
        time.monotonic() - began,
        at_most=longest,
        what=f"a checkpoint with a timeout of {_TIMEOUT} s",
    )


@clause(f"{_RPC}.error-harmless", f"{_RPC}.after-error")
def test_an_error_harms_nothing(
    runtime: Runtime, shared_sandbox: Sandbox, folder: Path | None, judge: Judge
) -> None:
    # In a folder that is not there.
    location = _location(folder, judge) / "archive.tar"
    container = runtime.running(shared_sandbox)
    before = runtime.container_status(container.id).started_at
    outcome = _checkpoint(runtime, judge, container.id, location)
    if isinstance(outcome, Ok):
        judge.skip(Reason.NOT_ADVERTISED, "the runtime makes the folder")
    judge.record(f"{_RPC}.after-error", "something" if location.exists() else "nothing")
    said = runtime.call("ExecSync", container_id=container.id, cmd=["true"], timeout=5)
    status = runtime.container_status(container.id)
    judge.that(
        f"{_RPC}.error-harmless",
        status.state == types.CONTAINER_RUNNING
        and status.started_at == before
        and isinstance(said, Ok),
        permitted="the container runs on",
        actual=_goes_on(runtime, container),
        about=[container.id],
    )


@clause(f"{_RPC}.not-running", f"{_REQUEST}.location.nowhere")
def test_what_can_not_be_saved(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    idle: Container,
    folder: Path | None,
    judge: Judge,
) -> None:
    location = _location(folder, judge)
    created = runtime.container(shared_sandbox)
    exited = runtime.exited(shared_sandbox)
    answers = {
        state: str(_checkpoint(runtime, judge, one.id, location)).replace(one.id, "ID")
        for state, one in (("created", created), ("exited", exited))
    }
    judge.record(f"{_RPC}.not-running", answers)
    judge.record(f"{_REQUEST}.location.nowhere", _checkpoint(runtime, judge, idle.id, ""))


@clause(f"{_RPC}.absent-error", f"{_RPC}.short-id")
def test_what_is_not_there(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    idle: Container,
    folder: Path | None,
    judge: Judge,
) -> None:
    location = _location(folder, judge)
    removed = runtime.exited(shared_sandbox)
    runtime.get("RemoveContainer", container_id=removed.id)
    for container_id in (removed.id, secrets.token_hex(32)):
        outcome = _checkpoint(runtime, judge, container_id, location)
        judge.refused(f"{_RPC}.absent-error", outcome, about=[container_id])
    try:
        outcome = _checkpoint(runtime, judge, idle.id[:-1], location)
    except UnsafeCall as refused:
        judge.not_exercised(f"{_RPC}.short-id", Reason.OTHERS, str(refused))
    else:
        judge.record(f"{_RPC}.short-id", str(outcome).replace(idle.id[:-1], "ID"))
