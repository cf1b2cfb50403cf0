# SPDX-License-Identifier: Apache-2.0
"""RestorePod: what must be refused and leaves nothing behind, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.pod_checkpoints import (
    Pod,
    checkpoint,
    pod,
    restore,
    restore_request,
)
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Runtime, Sandbox

_RPC, _REQUEST = "RuntimeService.RestorePod", "RestorePodRequest"
_RESPONSE, _RESTORED = "RestorePodResponse", "RestoredContainer"
_CONFIGS, _PATH = f"{_REQUEST}.container_configs", f"{_REQUEST}.checkpoint_path"
_OPTION = "cri-conformance.example/no-runtime-has-this"

pytestmark = pytest.mark.xdist_group("restored-pods")


@dataclass(frozen=True, slots=True)
class Saved:
    """A pod, and the folder with what CheckpointPod made of it; ``outcome`` is its answer."""

    pod: Pod
    folder: Path
    outcome: Outcome


@pytest.fixture(scope="module")
def attempt(module_runtime: Runtime, shared_sandbox: Sandbox) -> Saved:
    """A try at a checkpoint. Where it is refused the folder stays empty."""
    found = pod(module_runtime, shared_sandbox)
    folder = found.new_folder(module_runtime)
    return Saved(found, folder, checkpoint(module_runtime, found, folder))


def _no_name(request: types.RestorePodRequest) -> None:
    request.container_configs[-1].metadata.name = ""


def _name_twice(request: types.RestorePodRequest) -> None:
    request.container_configs[-1].metadata.name = request.container_configs[0].metadata.name


def _no_configs(request: types.RestorePodRequest) -> None:
    del request.container_configs[:]


def _other_handler(request: types.RestorePodRequest) -> None:
    request.runtime_handler = "cri-conformance-no-such-handler"


def _option(request: types.RestorePodRequest) -> None:
    request.options[_OPTION] = "1"


def _relative(request: types.RestorePodRequest) -> None:
    request.checkpoint_path = "./checkpoint"


def _missing(request: types.RestorePodRequest) -> None:
    request.checkpoint_path += "/not-there"


#: Clause → what is done to a request.
_REFUSED: Mapping[str, Callable[[types.RestorePodRequest], None]] = {
    f"{_CONFIGS}.empty-error": _no_configs,
    f"{_CONFIGS}.unnamed-error": _no_name,
    f"{_CONFIGS}.twice-error": _name_twice,
    f"{_REQUEST}.runtime_handler.unknown-error": _other_handler,
    f"{_REQUEST}.options.unknown-error": _option,
    f"{_PATH}.relative-error": _relative,
    f"{_PATH}.missing-error": _missing,
}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [pytest.param(name, wrong, marks=clause(name), id=name) for name, wrong in _REFUSED.items()],
)
def test_a_wrong_request_is_refused(
    runtime: Runtime,
    judge: Judge,
    attempt: Saved,
    name: str,
    wrong: Callable[[types.RestorePodRequest], None],
) -> None:
    request = restore_request(runtime, attempt.pod, attempt.folder)
    wrong(request)
    judge.refused(name, restore(runtime, judge, request))


@clause(f"{_PATH}.unreadable-error", f"{_PATH}.untouched", f"{_RPC}.error-leaves-nothing")
def test_what_is_no_checkpoint(runtime: Runtime, judge: Judge, attempt: Saved) -> None:
    folder = attempt.pod.new_folder(runtime)
    (folder / "pages.img").write_bytes(b"this is no checkpoint")
    before = _content(folder)
    request = restore_request(runtime, attempt.pod, folder)
    outcome = restore(runtime, judge, request)
    judge.equal(f"{_PATH}.untouched", _content(folder), before)
    judge.refused(f"{_PATH}.unreadable-error", outcome)
    uid = request.config.metadata.uid
    left = [one.id for one in runtime.get("ListPodSandbox").items if one.metadata.uid == uid]
    names = {config.labels["restored"] for config in request.container_configs}
    left += [
        one.id
        for one in runtime.get("ListContainers").containers
        if one.labels.get("io.kubernetes.pod.uid") == uid and one.labels.get("restored") in names
    ]
    judge.equal(f"{_RPC}.error-leaves-nothing", left, [], "left behind:", about=left)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def _need_checkpoint(saved: Saved, judge: Judge) -> None:
    if not isinstance(saved.outcome, Ok):
        judge.skip(Reason.NOT_ADVERTISED, f"no checkpoint: {saved.outcome}")


@clause(f"{_CONFIGS}.exact-names-error")
def test_other_names_are_refused(runtime: Runtime, judge: Judge, attempt: Saved) -> None:
    _need_checkpoint(attempt, judge)
    one_less = restore_request(runtime, attempt.pod, attempt.folder)
    del one_less.container_configs[-1]
    one_more = restore_request(runtime, attempt.pod, attempt.folder)
    added = one_more.container_configs.add()
    added.CopyFrom(one_more.container_configs[0])
    added.metadata.name = runtime.name("more")
    for request in (one_less, one_more):
        judge.refused(f"{_CONFIGS}.exact-names-error", restore(runtime, judge, request))


@clause(
    f"{_RESPONSE}.pod_sandbox_id.not-empty",
    f"{_RESPONSE}.restored_containers.one-each",
    f"{_RESTORED}.name.unique",
    f"{_RESTORED}.container_id.unique",
    f"{_RESTORED}.name.matches",
    f"{_RPC}.created",
    f"{_RPC}.startable",
    f"{_REQUEST}.config.used",
    f"{_CONFIGS}.labels-applied",
)
def test_a_pod_comes_back(runtime: Runtime, judge: Judge, attempt: Saved) -> None:
    _need_checkpoint(attempt, judge)
    request = restore_request(runtime, attempt.pod, attempt.folder)
    outcome = restore(runtime, judge, request)
    if not isinstance(outcome, Ok):
        judge.skip(Reason.NOT_ADVERTISED, f"the checkpoint is not restored: {outcome}")
    response: types.RestorePodResponse = outcome.response
    _judge_response(judge, request, response)
    about = [response.pod_sandbox_id]
    listed = [one.id for one in runtime.get("ListPodSandbox").items]
    judge.that(
        f"{_RESPONSE}.pod_sandbox_id.not-empty",
        response.pod_sandbox_id in listed,
        permitted="the id of a sandbox",
        actual=repr(response.pod_sandbox_id),
        about=about,
    )
    metadata = runtime.sandbox_status(response.pod_sandbox_id).metadata
    judge.equal(f"{_REQUEST}.config.used", metadata, request.config.metadata, about=about)
    configs = {config.metadata.name: config for config in request.container_configs}
    for restored in response.restored_containers:
        status = runtime.container_status(restored.container_id)
        about = [restored.container_id]
        judge.equal(f"{_RESTORED}.name.matches", restored.name, status.metadata.name, about=about)
        state = types.ContainerState.Name(status.state)
        judge.equal(f"{_RPC}.created", state, "CONTAINER_CREATED", about=about)
        labels = dict(configs[restored.name].labels)
        judge.equal(f"{_CONFIGS}.labels-applied", dict(status.labels), labels, about=about)
        started = runtime.call("StartContainer", container_id=restored.container_id)
        judge.ok(f"{_RPC}.startable", started, about=about)


def _judge_response(
    judge: Judge, request: types.RestorePodRequest, response: types.RestorePodResponse
) -> None:
    judge.that(
        f"{_RESPONSE}.pod_sandbox_id.not-empty",
        response.pod_sandbox_id,
        permitted="an id",
        actual="an empty one",
    )
    names = [one.name for one in response.restored_containers]
    ids = [one.container_id for one in response.restored_containers]
    for name, values in (
        (f"{_RESTORED}.name.unique", names),
        (f"{_RESTORED}.container_id.unique", ids),
    ):
        judge.that(
            name,
            all(values) and len(set(values)) == len(values),
            permitted="each one once, and none empty",
            actual=values,
        )
    judge.equal(
        f"{_RESPONSE}.restored_containers.one-each",
        sorted(names),
        sorted(config.metadata.name for config in request.container_configs),
    )
