# SPDX-License-Identifier: Apache-2.0
"""Stop and remove, again: a call whose state is reached already succeeds and changes nothing.

A kubelet that was restarted, or whose call had no answer, stops and removes again what
it has stopped and removed before. So each of these calls is repeated after every history
that leads to its target state, whoever brought it there: one after the other, and eight
at once. An id that the runtime never had is the end of no history, and only expected to be
answered alike.

The clauses come from the register: all of kind idempotency on these calls. What is here
is, for each, the histories that it speaks of.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.scripts import PROMPT, listening
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.runtime import Runtime, Sandbox
from cri_conformance.wire.together import together

#: How often a call is repeated in a row, and how many are made at once.
IN_A_ROW, AT_ONCE = 3, 8

_STOP_POD, _REMOVE_POD = "RuntimeService.StopPodSandbox", "RuntimeService.RemovePodSandbox"
_STOP, _REMOVE = "RuntimeService.StopContainer", "RuntimeService.RemoveContainer"
#: What each call names its object by, and what else it is sent.
_FIELDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "StopPodSandbox": ("pod_sandbox_id", {}),
    "RemovePodSandbox": ("pod_sandbox_id", {}),
    "StopContainer": ("container_id", {"timeout": 2}),
    "RemoveContainer": ("container_id", {}),
}


# -- histories: what happened to an object before --------------------------------------------


@dataclass(frozen=True, slots=True)
class History:
    """``lead`` makes an object, lives through the history, and returns its id.

    It gets the scope, and a sandbox to put containers in which must stay as it is.
    """

    name: str
    lead: Callable[[Runtime, Sandbox], str]


def _then(history: History, rpc: str) -> History:
    """The same, and then a call that has to succeed."""

    def lead(runtime: Runtime, shared: Sandbox) -> str:
        object_id = history.lead(runtime, shared)
        field, others = _FIELDS[rpc]
        runtime.get(rpc, **{field: object_id, **others})
        return object_id

    done = "stopped" if rpc.startswith("Stop") else "removed"
    return History(f"{history.name}-{done}", lead)


def _populated(runtime: Runtime) -> Sandbox:
    sandbox = runtime.sandbox()
    runtime.container(sandbox)
    runtime.running(sandbox)
    runtime.exited(sandbox, "exit 3")
    return sandbox


def _with_its_sandbox(rpc: str) -> Callable[[Runtime, Sandbox], str]:
    def lead(runtime: Runtime, shared: Sandbox) -> str:
        sandbox = runtime.sandbox()
        container = runtime.running(sandbox)
        runtime.get(rpc, pod_sandbox_id=sandbox.id)
        return container.id

    return lead


_NEVER = History("never-known", lambda runtime, shared: secrets.token_hex(32))
_READY = History("ready", lambda runtime, shared: runtime.sandbox().id)
_POPULATED = History("with-containers", lambda runtime, shared: _populated(runtime).id)
_CREATED = History("created", lambda runtime, shared: runtime.container(shared).id)
_RUNNING = History("running", lambda runtime, shared: listening(runtime, shared, PROMPT).id)
_EXITED = History("exited", lambda runtime, shared: runtime.exited(shared, "exit 3").id)
_SANDBOX_STOPPED = History("sandbox-stopped", _with_its_sandbox("StopPodSandbox"))
_SANDBOX_REMOVED = History("sandbox-removed", _with_its_sandbox("RemovePodSandbox"))

_CONTAINER_REMOVED = tuple(
    _then(history, "RemoveContainer")
    for history in (_CREATED, _RUNNING, _EXITED, _then(_RUNNING, "StopContainer"))
)

#: Clause, or clauses that ask the same → after which histories the call must succeed.
HISTORIES: Mapping[tuple[str, ...], tuple[History, ...]] = {
    (f"{_STOP_POD}.idempotent",): (
        _then(_READY, "StopPodSandbox"),
        _then(_POPULATED, "StopPodSandbox"),
    ),
    (f"{_STOP_POD}.after-removal",): (
        _then(_READY, "RemovePodSandbox"),
        _then(_then(_READY, "StopPodSandbox"), "RemovePodSandbox"),
        _then(_POPULATED, "RemovePodSandbox"),
    ),
    (f"{_STOP_POD}.unknown-id",): (_NEVER,),
    (f"{_REMOVE_POD}.idempotent",): (
        _then(_READY, "RemovePodSandbox"),
        _then(_then(_READY, "StopPodSandbox"), "RemovePodSandbox"),
        _then(_POPULATED, "RemovePodSandbox"),
    ),
    (f"{_REMOVE_POD}.unknown-id",): (_NEVER,),
    (f"{_STOP}.idempotent",): (
        _then(_RUNNING, "StopContainer"),
        _then(_EXITED, "StopContainer"),
        _SANDBOX_STOPPED,
    ),
    (f"{_STOP}.ended-by-itself",): (_EXITED,),
    (f"{_STOP}.after-removal", f"{_STOP}.after-removal-success"): (
        *_CONTAINER_REMOVED,
        _SANDBOX_REMOVED,
    ),
    (f"{_STOP}.unknown-id",): (_NEVER,),
    (f"{_REMOVE}.idempotent",): _CONTAINER_REMOVED,
    (f"{_REMOVE}.removed-with-sandbox",): (_SANDBOX_REMOVED,),
    (f"{_REMOVE}.unknown-id",): (_NEVER,),
}
#: Codes that a clause permits beside success.
TOLERATED: Mapping[str, frozenset[str]] = {f"{_STOP}.after-removal": frozenset({"NOT_FOUND"})}


@pytest.mark.parametrize(
    ("clause_ids", "history"),
    [
        pytest.param(clause_ids, history, marks=clause(*clause_ids), id=history.name)
        for clause_ids, histories in HISTORIES.items()
        for history in histories
    ],
)
def test_repeated_call_succeeds(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    clause_ids: tuple[str, ...],
    history: History,
) -> None:
    rpc = clause_ids[0].split(".")[1]
    object_id = history.lead(runtime, shared_sandbox)
    field, others = _FIELDS[rpc]
    repeat = partial(runtime.call, rpc, **{field: object_id, **others})
    outcomes = [*(repeat() for _ in range(IN_A_ROW)), *together(*[repeat] * AT_ONCE)]
    for clause_id in clause_ids:
        tolerated = TOLERATED.get(clause_id, frozenset())
        for outcome in outcomes:
            judge.that(
                clause_id,
                isinstance(outcome, Ok)
                or (isinstance(outcome, Refused) and outcome.code in tolerated),
                permitted=" or ".join(["the call succeeds", *sorted(tolerated)]),
                actual=outcome,
                about=[object_id],
            )


# -- what a repeated stop must leave as it was ------------------------------------------------

Ends = dict[str, tuple[types.ContainerStatus, types.ContainerStatus]]


@pytest.fixture(scope="module")
def ends(module_runtime: Runtime, shared_sandbox: Sandbox) -> Ends:
    """By history: an exited container's status before and after its stop was repeated."""
    seen: Ends = {}
    for history in (_then(_RUNNING, "StopContainer"), _EXITED, _SANDBOX_STOPPED):
        container = history.lead(module_runtime, shared_sandbox)
        before = module_runtime.container_status(container)
        _repeat(partial(module_runtime.call, "StopContainer", container_id=container, timeout=2))
        seen[history.name] = before, module_runtime.container_status(container)
    return seen


def _repeat(call: Callable[[], Outcome]) -> None:
    """Whether they succeed is judged elsewhere."""
    for _ in range(IN_A_ROW):
        call()
    together(*[call] * AT_ONCE)


@pytest.mark.xdist_group("repeated stops")
@pytest.mark.parametrize(
    "field",
    [
        pytest.param(field, marks=clause(f"ContainerStatus.{field}.immutable"), id=field)
        for field in ("exit_code", "reason", "started_at", "finished_at", "created_at")
    ],
)
def test_repeated_stop_leaves_the_end_as_it_was(ends: Ends, judge: Judge, field: str) -> None:
    for name, (before, after) in ends.items():
        judge.equal(
            f"ContainerStatus.{field}.immutable",
            getattr(after, field),
            getattr(before, field),
            f"{field} of a container ({name}) after more stops is",
            about=[before.id],
        )


@clause(f"{_STOP_POD}.repeat-changes-nothing")
def test_repeated_stop_of_a_sandbox_changes_nothing(runtime: Runtime, judge: Judge) -> None:
    sandbox = _populated(runtime)
    runtime.get("StopPodSandbox", pod_sandbox_id=sandbox.id)
    before = _sandbox_in_brief(runtime, sandbox)
    _repeat(partial(runtime.call, "StopPodSandbox", pod_sandbox_id=sandbox.id))
    after = _sandbox_in_brief(runtime, sandbox)
    for what, value in before.items():
        judge.equal(
            f"{_STOP_POD}.repeat-changes-nothing",
            after.get(what),
            value,
            what,
            about=[sandbox.id],
        )


def _sandbox_in_brief(runtime: Runtime, sandbox: Sandbox) -> dict[str, Any]:
    """What the clause names of a sandbox and of its exited containers."""
    status = runtime.sandbox_status(sandbox.id)
    brief: dict[str, Any] = {
        "state": types.PodSandboxState.Name(status.state),
        "metadata": status.metadata,
        "created_at": status.created_at,
    }
    chosen = types.ContainerFilter(pod_sandbox_id=sandbox.id)
    for item in runtime.get("ListContainers", filter=chosen).containers:
        if item.state == types.CONTAINER_EXITED:
            end = runtime.container_status(item.id)
            for field in ("state", "exit_code", "started_at", "finished_at"):
                brief[f"{field} of container {item.id[:12]}"] = getattr(end, field)
    return brief
