# SPDX-License-Identifier: Apache-2.0
"""CheckpointPod: what must be refused, what is left behind, and that the pod runs on.

The call is younger than any released runtime. Its rules can be judged all the same of a
runtime that refuses in the end, as it can't save processes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.pod_checkpoints import Pod, checkpoint, pod
from cri_conformance.wire.outcome import Ok, Refused, Unknown
from cri_conformance.wire.runtime import Runtime, Sandbox

_RPC, _PATH = "RuntimeService.CheckpointPod", "CheckpointPodRequest.output_path"
_IDS, _OPTIONS = "CheckpointPodRequest.container_ids", "CheckpointPodRequest.options"
_OPTION = "cri-conformance.example/no-runtime-has-this"
#: Seconds after which a client gives up in the midst; within which the pod runs again then.
_GIVES_UP, _RUNS_WITHIN = 0.2, 10


@pytest.fixture(scope="module")
def found(module_runtime: Runtime, shared_sandbox: Sandbox) -> Pod:
    return pod(module_runtime, shared_sandbox)


def _ids(pod: Pod) -> list[str]:
    return [container.id for container in pod.running]


#: Clause → what is otherwise in the request.
_REFUSED: Mapping[str, Callable[[Pod, Path], list[dict[str, Any]]]] = {
    f"{_PATH}.relative-error": lambda p, f: [{"output_path": f"./{f.name}"}, {"output_path": ""}],
    f"{_PATH}.missing-error": lambda p, f: [{"output_path": f"{f}/not-there"}],
    f"{_IDS}.empty-error": lambda p, f: [{"container_ids": []}],
    f"{_IDS}.twice-error": lambda p, f: [{"container_ids": [*_ids(p), _ids(p)[0]]}],
    f"{_IDS}.foreign-error": lambda p, f: [{"container_ids": [*_ids(p), p.foreign.id]}],
    f"{_IDS}.not-running-error": lambda p, f: [
        {"container_ids": [*_ids(p), other.id]} for other in (p.created, p.exited)
    ],
    f"{_IDS}.absent-error": lambda p, f: [{"container_ids": [*_ids(p), secrets.token_hex(32)]}],
    f"{_OPTIONS}.unknown-error": lambda p, f: [{"options": {_OPTION: "1"}}],
    f"{_RPC}.absent-error": lambda p, f: [{"pod_sandbox_id": secrets.token_hex(32)}],
}


@pytest.mark.xdist_group("pod-checkpoints")
@pytest.mark.parametrize(
    ("name", "requests"),
    [pytest.param(n, r, marks=clause(n), id=n) for n, r in _REFUSED.items()],
)
def test_a_wrong_request_is_refused(
    runtime: Runtime,
    judge: Judge,
    found: Pod,
    name: str,
    requests: Callable[[Pod, Path], list[dict[str, Any]]],
) -> None:
    for other in requests(found, folder := found.new_folder(runtime)):
        outcome = checkpoint(runtime, found, folder, **other)
        judge.refused(name, outcome, about=[found.sandbox.id])


@clause(f"{_PATH}.not-empty-error", f"{_PATH}.file-error")
@pytest.mark.xdist_group("pod-checkpoints")
def test_what_is_there_is_not_written_over(runtime: Runtime, judge: Judge, found: Pod) -> None:
    folder = found.new_folder(runtime)
    file = folder / "of-the-client"
    for name, path in ((f"{_PATH}.not-empty-error", folder), (f"{_PATH}.file-error", file)):
        file.write_text("kept")
        judge.refused(name, checkpoint(runtime, found, path), about=[found.sandbox.id])
        seen = {one.name: one.read_text() for one in folder.iterdir() if one.is_file()}
        judge.equal(name, seen, {file.name: "kept"}, "files", about=[found.sandbox.id])


@clause(f"{_RPC}.not-ready-error")
def test_a_stopped_sandbox_is_refused(runtime: Runtime, judge: Judge, found: Pod) -> None:
    stopped = runtime.sandbox()
    container = runtime.running(stopped)
    runtime.get("StopPodSandbox", pod_sandbox_id=stopped.id)
    outcome = checkpoint(
        runtime,
        found,
        found.new_folder(runtime),
        pod_sandbox_id=stopped.id,
        container_ids=[container.id],
    )
    judge.refused(f"{_RPC}.not-ready-error", outcome, about=[stopped.id])


@clause(
    f"{_RPC}.resumed",
    f"{_PATH}.kept",
    f"{_PATH}.nothing-outside",
    f"{_PATH}.filled",
    f"{_PATH}.clean-after-error",
)
@pytest.mark.xdist_group("pod-checkpoints")
def test_what_a_checkpoint_leaves(runtime: Runtime, judge: Judge, found: Pod) -> None:
    folder = found.new_folder(runtime)
    outcome = checkpoint(runtime, found, folder)
    about = [found.sandbox.id]
    _judge_runs(runtime, judge, f"{_RPC}.resumed", found)
    judge.that(
        f"{_PATH}.kept", folder.is_dir(), permitted="the folder", actual="it is gone", about=about
    )
    beside = sorted(one.name for one in folder.parent.iterdir())
    judge.equal(f"{_PATH}.nothing-outside", beside, [folder.name], "around it", about=about)
    inside = sorted(one.name for one in folder.iterdir())
    if isinstance(outcome, Ok):
        judge.not_exercised(f"{_PATH}.clean-after-error", Reason.NOT_ADVERTISED, "no error")
        judge.that(
            f"{_PATH}.filled", inside, permitted="files", actual="an empty folder", about=about
        )
    else:
        judge.not_exercised(f"{_PATH}.filled", Reason.NOT_ADVERTISED, f"no checkpoint: {outcome}")
        judge.equal(f"{_PATH}.clean-after-error", inside, [], "in the folder", about=about)


@clause(f"{_RPC}.deadline-resumed")
@pytest.mark.xdist_group("pod-checkpoints")
def test_a_client_that_gives_up(runtime: Runtime, judge: Judge, found: Pod) -> None:
    outcome = checkpoint(runtime, found, found.new_folder(runtime), deadline=_GIVES_UP)
    # An error of that code may be the runtime's own word for the same.
    late = isinstance(outcome, Refused) and outcome.code == "DEADLINE_EXCEEDED"
    if not isinstance(outcome, Unknown) and not late:
        judge.skip(Reason.NOT_ADVERTISED, f"the call ends before the deadline: {outcome}")
    _judge_runs(runtime, judge, f"{_RPC}.deadline-resumed", found)


def _judge_runs(runtime: Runtime, judge: Judge, name: str, pod: Pod) -> None:
    """A command in each container has to go through: in one that is paused it would not."""
    for container in pod.running:
        outcome = runtime.call(
            "ExecSync",
            container_id=container.id,
            cmd=["true"],
            timeout=_RUNS_WITHIN,
            deadline=_RUNS_WITHIN + 5,
        )
        judge.that(
            name,
            isinstance(outcome, Ok) and outcome.response.exit_code == 0,
            permitted="a command in the container goes through",
            actual=outcome,
            about=[container.id],
        )
