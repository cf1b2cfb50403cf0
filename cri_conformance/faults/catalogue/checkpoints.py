# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for checkpoints of containers and pods, and for what they are restored to.

No runtime that is released restores pods. So that the tests of restored pods can be seen to
fail, some of these faults act a runtime that does: what it brings back is made anew, and
wrong in one point.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    answer_error,
    answer_ok,
    delay,
    operator,
    side_effect,
    swallow,
    together,
)
from cri_conformance.faults.operators.host import touches, writes_then_fails

_CONTAINER, _POD, _RESTORE = "CheckpointContainer", "CheckpointPod", "RestorePod"
_C, _P, _R = (f"RuntimeService.{rpc}" for rpc in (_CONTAINER, _POD, _RESTORE))
_PATH, _IDS = f"{_POD}Request.output_path", f"{_POD}Request.container_ids"
_CONFIGS, _FROM = f"{_RESTORE}Request.container_configs", f"{_RESTORE}Request.checkpoint_path"
_RESPONSE, _RESTORED = f"{_RESTORE}Response", "RestoredContainer"
_INVALID, _PRECONDITION = "INVALID_ARGUMENT", "FAILED_PRECONDITION"
_NAMES = "names.json"


# -- conditions ------------------------------------------------------------------------------


def _when(name: str, test: Callable[[Any], bool]) -> When:
    return When(name, lambda call, memory: test(call.request))


def _output(test: Callable[[Path], bool]) -> Callable[[Any], bool]:
    return lambda request: test(Path(request.output_path))


def _states(call: Call) -> list[tuple[str, int]]:
    """Sandbox and state of the containers that are there, of those that a request names."""
    listed = call.upstream("ListContainers", types.ListContainersRequest()).containers
    wanted = set(call.request.container_ids)
    return [(one.pod_sandbox_id, one.state) for one in listed if one.id in wanted]


def _names_of(request: types.RestorePodRequest) -> list[str]:
    return [one.metadata.name for one in request.container_configs]


_relative = _when("relative", _output(lambda path: not path.is_absolute()))
_missing = _when("missing", _output(lambda p: p.is_absolute() and not p.exists()))
_not_empty = _when("not-empty", _output(lambda path: path.is_dir() and any(path.iterdir())))
_a_file = _when("a-file", _output(lambda path: path.is_file()))
_no_ids = _when("no-ids", lambda request: not request.container_ids)
_twice = _when(
    "twice", lambda request: len(set(request.container_ids)) < len(request.container_ids)
)
_foreign = When(
    "foreign",
    lambda call, memory: any(owner != call.request.pod_sandbox_id for owner, _ in _states(call)),
)
_not_running = When(
    "not-running",
    lambda call, memory: any(state != types.CONTAINER_RUNNING for _, state in _states(call)),
)
_absent = When(
    "absent", lambda call, memory: len(_states(call)) < len(set(call.request.container_ids))
)
_no_configs = _when("no-configs", lambda request: not request.container_configs)
_unnamed = _when("unnamed", lambda request: "" in _names_of(request))
_name_twice = _when(
    "name-twice", lambda request: len(set(_names_of(request))) < len(_names_of(request))
)
_from_relative = _when("relative", lambda r: not r.checkpoint_path.startswith("/"))
_from_missing = _when(
    "missing", lambda r: r.checkpoint_path.startswith("/") and not Path(r.checkpoint_path).exists()
)
_ready = when.in_state("SANDBOX_READY")


# -- containers that stay paused --------------------------------------------------------------


def _paused_after(name: str, says: str, *, waits: bool = False) -> Operator:
    """After CheckpointPod commands in the containers fail; ``waits`` until the client gave up."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == _POD:
            if not waits or call.ended.wait(5):
                for container_id in call.request.container_ids:
                    memory.keep(("paused", container_id), True)
        elif memory.kept(("paused", call.request.container_id), lambda: False):
            raise StatusError(_PRECONDITION, "the container is paused")
        return proceed(call.request)

    return operator(name, [_POD, "ExecSync"], says, step)


# -- a runtime that restores ------------------------------------------------------------------

#: Changes what comes back, given the call and the response that is right so far.
Twist = Callable[[Call, types.RestorePodResponse], None]
#: Changes what is asked for before anything is made of it.
Beforehand = Callable[[types.RestorePodRequest], None]


def _restores(
    name: str, twist: Twist | None = None, *, first: Beforehand | None = None, strict: bool = True
) -> Operator:
    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        try:
            return proceed(call.request)
        except StatusError as error:
            if error.code != _PRECONDITION:
                raise
            if call.rpc == _POD and _ready(call, memory):
                return _save(call)
            if call.rpc == _RESTORE and (Path(call.request.checkpoint_path) / _NAMES).is_file():
                return _bring_back(call, twist, first, strict)
            raise

    return operator(name, [_POD, _RESTORE], f"a runtime that restores pods, but {name}", step)


def _save(call: Call) -> Any:
    names = []
    for container_id in call.request.container_ids:
        asked = types.ContainerStatusRequest(container_id=container_id)
        names.append(call.upstream("ContainerStatus", asked).status.metadata.name)
    (Path(call.request.output_path) / _NAMES).write_text(json.dumps(names))
    return types.CheckpointPodResponse()


def _bring_back(call: Call, twist: Twist | None, first: Beforehand | None, strict: bool) -> Any:
    request = types.RestorePodRequest()
    request.CopyFrom(call.request)
    saved = json.loads((Path(request.checkpoint_path) / _NAMES).read_text())
    if strict and sorted(_names_of(request)) != sorted(saved):
        raise StatusError(_INVALID, "these are not the names of the checkpoint")
    if first:
        first(request)
    run = types.RunPodSandboxRequest(config=request.config, runtime_handler=request.runtime_handler)
    response = types.RestorePodResponse(
        pod_sandbox_id=call.upstream("RunPodSandbox", run).pod_sandbox_id
    )
    for config in request.container_configs:
        create = types.CreateContainerRequest(
            pod_sandbox_id=response.pod_sandbox_id, config=config, sandbox_config=request.config
        )
        made = call.upstream("CreateContainer", create).container_id
        response.restored_containers.add(name=config.metadata.name, container_id=made)
    if twist:
        twist(call, response)
    return response


def _starts_one(call: Call, response: types.RestorePodResponse) -> None:
    first = response.restored_containers[0].container_id
    call.upstream("StartContainer", types.StartContainerRequest(container_id=first))


def _no_sandbox_id(call: Call, response: types.RestorePodResponse) -> None:
    response.pod_sandbox_id = ""


def _one_less(call: Call, response: types.RestorePodResponse) -> None:
    del response.restored_containers[-1]


def _same_name(call: Call, response: types.RestorePodResponse) -> None:
    response.restored_containers[1].name = response.restored_containers[0].name


def _same_id(call: Call, response: types.RestorePodResponse) -> None:
    response.restored_containers[1].container_id = response.restored_containers[0].container_id


def _swapped_names(call: Call, response: types.RestorePodResponse) -> None:
    one, other = response.restored_containers
    one.name, other.name = other.name, one.name


def _old_uid(request: types.RestorePodRequest) -> None:
    request.config.metadata.uid = f"old-{request.config.metadata.uid}"


def _old_labels(request: types.RestorePodRequest) -> None:
    for config in request.container_configs:
        config.labels["restored"] = "before"


def _leaves_sandbox(call: Call, response: Any, memory: Memory) -> Any:
    return types.RunPodSandboxRequest(config=call.request.config)


_restored = When("restored", lambda call, memory: memory.times(_RESTORE) > 0)

FAULTS: list[Fault] = [
    # -- of one container
    fault(f"{_C}.archive", swallow(_CONTAINER, [_PRECONDITION])),
    fault(f"{_C}.archive", answer_ok(_CONTAINER), isolated=True),
    fault(f"{_C}.absent-error", swallow(_CONTAINER, ["NOT_FOUND"])),
    fault(f"{_C}.error-harmless", side_effect(_CONTAINER, "StopContainer", first=True)),
    fault(f"{_CONTAINER}Request.timeout.bounds", delay(_CONTAINER, 20, when=when.given("timeout"))),
    # -- of a pod
    fault(f"{_P}.absent-error", swallow(_POD, ["NOT_FOUND"])),
    fault(f"{_P}.not-ready-error", swallow(_POD, when=~_ready)),
    fault(
        f"{_P}.resumed", _paused_after("stays-paused", "the containers stay paused after the call")
    ),
    fault(
        f"{_P}.deadline-resumed",
        _paused_after(
            "stays-paused-when-late", "after a deadline the containers stay paused", waits=True
        ),
    ),
    *(
        fault(f"{_PATH}.{name}-error", swallow(_POD, [_INVALID], when=condition))
        for name, condition in (
            ("relative", _relative),
            ("missing", _missing),
            ("not-empty", _not_empty),
            ("file", _a_file),
        )
    ),
    *(
        fault(f"{_IDS}.{name}-error", swallow(_POD, [_INVALID], when=condition))
        for name, condition in (
            ("empty", _no_ids),
            ("twice", _twice),
            ("foreign", _foreign),
            ("not-running", _not_running),
            ("absent", _absent),
        )
    ),
    fault(f"{_POD}Request.options.unknown-error", swallow(_POD, when=when.given("options"))),
    fault(f"{_PATH}.filled", swallow(_POD, [_PRECONDITION], when=_ready)),
    fault(
        f"{_PATH}.kept",
        touches("remove", _POD, "output_path", "the folder is removed", lambda p: p.rmdir()),
    ),
    fault(
        f"{_PATH}.clean-after-error",
        writes_then_fails(
            "leave-files",
            _POD,
            "output_path",
            "an error leaves half a checkpoint",
            lambda path: (path / "half").write_text(""),
        ),
    ),
    fault(
        f"{_PATH}.nothing-outside",
        touches(
            "write-beside",
            _POD,
            "output_path",
            "something is written beside the folder",
            lambda path: path.is_dir() and (path.parent / "beside").write_text(""),
        ),
    ),
    # -- what is no checkpoint
    *(
        fault(clause, swallow(_RESTORE, when=condition))
        for clause, condition in (
            (f"{_CONFIGS}.empty-error", _no_configs),
            (f"{_CONFIGS}.unnamed-error", _unnamed),
            (f"{_CONFIGS}.twice-error", _name_twice),
            (f"{_FROM}.relative-error", _from_relative),
            (f"{_FROM}.missing-error", _from_missing),
            (f"{_RESTORE}Request.options.unknown-error", when.given("options")),
        )
    ),
    fault(
        f"{_RESTORE}Request.runtime_handler.unknown-error",
        swallow(_RESTORE, [_INVALID], when=when.given("runtime_handler")),
    ),
    fault(f"{_FROM}.unreadable-error", swallow(_RESTORE, [_PRECONDITION])),
    fault(
        f"{_FROM}.untouched",
        touches(
            "write-into",
            _RESTORE,
            "checkpoint_path",
            "a log of the restore is put beside the checkpoint's files",
            lambda path: path.is_dir() and (path / "restore.log").write_text(""),
        ),
    ),
    fault(
        f"{_R}.error-leaves-nothing",
        side_effect(_RESTORE, "RunPodSandbox", _leaves_sandbox, first=True),
    ),
    # -- what comes back
    fault(f"{_R}.created", _restores("one-runs-already", _starts_one)),
    fault(
        f"{_R}.startable",
        together(_restores("none-starts"), answer_error("StartContainer", _restored)),
        name="restored-do-not-start",
        ordinary=False,
    ),
    fault(f"{_RESTORE}Request.config.used", _restores("with-the-old-uid", first=_old_uid)),
    fault(f"{_CONFIGS}.labels-applied", _restores("with-the-old-labels", first=_old_labels)),
    fault(f"{_CONFIGS}.exact-names-error", _restores("under-any-names", strict=False)),
    fault(f"{_RESPONSE}.pod_sandbox_id.not-empty", _restores("without-an-id", _no_sandbox_id)),
    fault(f"{_RESPONSE}.restored_containers.one-each", _restores("one-untold", _one_less)),
    fault(f"{_RESTORED}.name.unique", _restores("under-one-name", _same_name)),
    fault(f"{_RESTORED}.container_id.unique", _restores("under-one-id", _same_id)),
    fault(f"{_RESTORED}.name.matches", _restores("with-names-swapped", _swapped_names)),
]
