# SPDX-License-Identifier: Apache-2.0
"""Ids that are not whole: empty, the beginning of one id, the beginning of several.

People type the first letters of an id, and runtimes grew to take them. The contract
knows whole ids only. What it comes to is therefore recorded; judged is the damage: an
empty id must not mean "any", and a beginning that several share not "all of them".

None of these calls is sent if it could mean an object that is not of this run: then the
clause is not exercised.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.others import foreign_objects
from cri_conformance.suite.scripts import PROMPT, listening
from cri_conformance.wire.outcome import Ok, Outcome, Refused, SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox, UnsafeCall

#: With sixteen letters of an alphabet, two of seventeen ids begin alike.
MOST = 17

_SANDBOX_CALLS = ("StopPodSandbox", "RemovePodSandbox")
_CONTAINER_CALLS = ("StopContainer", "RemoveContainer")
_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "StopPodSandbox": ("pod_sandbox_id", {}),
    "RemovePodSandbox": ("pod_sandbox_id", {}),
    "PodSandboxStatus": ("pod_sandbox_id", {}),
    "StartContainer": ("container_id", {}),
    "StopContainer": ("container_id", {"timeout": 2}),
    "RemoveContainer": ("container_id", {}),
    "ContainerStatus": ("container_id", {}),
    "ReopenContainerLog": ("container_id", {}),
    "ExecSync": ("container_id", {"cmd": ["true"], "timeout": 5}),
    # Of which nothing changes, whatever it hits.
    "UpdateContainerResources": ("container_id", {}),
}


def _params(short: str, rpcs: tuple[str, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "rpc",
        [pytest.param(rpc, marks=clause(f"RuntimeService.{rpc}.{short}"), id=rpc) for rpc in rpcs],
    )


def _call(runtime: Runtime, rpc: str, object_id: str) -> Outcome:
    field, others = _FIELDS[rpc]
    return runtime.call(rpc, **{field: object_id, **others})


@contextlib.contextmanager
def _safely(judge: Judge) -> Iterator[None]:
    """Leave the clause unexercised rather than risk what belongs to others."""
    try:
        yield
    except UnsafeCall as refused:
        judge.skip(Reason.OTHERS, f"{refused}")


# -- what may be hit ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Couple:
    """Two live objects whose ids begin alike, and what a call can do to them."""

    beginning: str
    ids: tuple[str, str]


@pytest.fixture(scope="module")
def sandboxes_alike(module_runtime: Runtime) -> Couple:
    """Two ready sandboxes."""
    return _alike(foreign_objects(module_runtime), lambda: module_runtime.sandbox().id)


@pytest.fixture(scope="module")
def containers_alike(module_runtime: Runtime, shared_sandbox: Sandbox) -> Couple:
    """Two running containers."""
    foreign = foreign_objects(module_runtime)
    couple = _alike(foreign, lambda: module_runtime.container(shared_sandbox).id)
    for container in couple.ids:
        module_runtime.get("StartContainer", container_id=container)
    return couple


def _alike(foreign: list[str], make: Callable[[], str]) -> Couple:
    """Make objects until two ids begin with the same letters, and if possible no foreign one."""
    made: list[str] = []
    couple = None
    while len(made) < MOST or couple is None:
        new = make()
        for old in made:
            if shared := _common(old, new):
                couple = Couple(shared, (old, new))
                if not any(name.startswith(shared) for name in foreign):
                    return couple
        made.append(new)
        if len(made) > MOST * 4:
            raise SetupFailed(f"of {len(made)} ids no two begin with the same letter")
    return couple


def _common(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return one[:length]


def _living_sandboxes(runtime: Runtime, ids: tuple[str, ...]) -> dict[str, str]:
    """The state of those that are there."""
    return {
        item.id: types.PodSandboxState.Name(item.state)
        for item in runtime.get("ListPodSandbox").items
        if item.id in ids
    }


def _living_containers(runtime: Runtime, ids: tuple[str, ...]) -> dict[str, str]:
    return {
        item.id: types.ContainerState.Name(item.state)
        for item in runtime.get("ListContainers").containers
        if item.id in ids
    }


# -- empty ids ---------------------------------------------------------------------------------


@_params("empty-id", _SANDBOX_CALLS)
def test_empty_id_means_no_sandbox(runtime: Runtime, judge: Judge, rpc: str) -> None:
    sandbox = runtime.sandbox()
    before = _living_sandboxes(runtime, (sandbox.id,))
    with _safely(judge):
        _call(runtime, rpc, "")
    judge.equal(
        f"RuntimeService.{rpc}.empty-id",
        _living_sandboxes(runtime, (sandbox.id,)),
        before,
        f"after {rpc} of an empty id, a sandbox",
        about=[sandbox.id],
    )


@_params("empty-id", _CONTAINER_CALLS)
def test_empty_id_means_no_container(runtime: Runtime, judge: Judge, rpc: str) -> None:
    container = listening(runtime, runtime.sandbox(), PROMPT)
    before = _living_containers(runtime, (container.id,))
    with _safely(judge):
        _call(runtime, rpc, "")
    judge.equal(
        f"RuntimeService.{rpc}.empty-id",
        _living_containers(runtime, (container.id,)),
        before,
        f"after {rpc} of an empty id, a container",
        about=[container.id],
    )


@clause("RuntimeService.StartContainer.empty-id")
def test_empty_id_starts_nothing(runtime: Runtime, judge: Judge, shared_sandbox: Sandbox) -> None:
    clause_id = "RuntimeService.StartContainer.empty-id"
    container = runtime.container(shared_sandbox)
    before = _living_containers(runtime, (container.id,))
    with _safely(judge):
        judge.refused(clause_id, _call(runtime, "StartContainer", ""), about=[container.id])
    after = _living_containers(runtime, (container.id,))
    judge.equal(clause_id, after, before, "a container", about=[container.id])


@_params(
    "empty-id",
    (
        "PodSandboxStatus",
        "ContainerStatus",
        "ExecSync",
        "ReopenContainerLog",
        "UpdateContainerResources",
    ),
)
def test_empty_id_is_refused(
    runtime: Runtime, judge: Judge, shared_sandbox: Sandbox, rpc: str
) -> None:
    # With something there that it could be taken for.
    runtime.running(shared_sandbox)
    with _safely(judge):
        judge.refused(f"RuntimeService.{rpc}.empty-id", _call(runtime, rpc, ""))


# -- ids that could mean several ---------------------------------------------------------------


@pytest.mark.xdist_group("alike")
@_params("ambiguous-prefix", _SANDBOX_CALLS)
def test_shared_beginning_means_one_sandbox_at_most(
    runtime: Runtime, judge: Judge, sandboxes_alike: Couple, rpc: str
) -> None:
    before = _living_sandboxes(runtime, sandboxes_alike.ids)
    with _safely(judge):
        _call(runtime, rpc, sandboxes_alike.beginning)
    after = _living_sandboxes(runtime, sandboxes_alike.ids)
    _one_at_most(judge, rpc, before, after)


@pytest.mark.xdist_group("alike")
@_params("ambiguous-prefix", _CONTAINER_CALLS)
def test_shared_beginning_means_one_container_at_most(
    runtime: Runtime, judge: Judge, containers_alike: Couple, rpc: str
) -> None:
    before = _living_containers(runtime, containers_alike.ids)
    with _safely(judge):
        _call(runtime, rpc, containers_alike.beginning)
    after = _living_containers(runtime, containers_alike.ids)
    _one_at_most(judge, rpc, before, after)


def _one_at_most(judge: Judge, rpc: str, before: dict[str, str], after: dict[str, str]) -> None:
    hit = [name for name, state in before.items() if after.get(name) != state]
    judge.that(
        f"RuntimeService.{rpc}.ambiguous-prefix",
        len(hit) <= 1,
        permitted="one object at most is acted on",
        actual=f"{len(hit)} were: {after}",
        about=before,
    )


# -- what is recorded --------------------------------------------------------------------------


@pytest.mark.xdist_group("alike")
@_params("short-id", (*_SANDBOX_CALLS, "PodSandboxStatus"))
def test_short_ids_of_sandboxes_are_recorded(
    runtime: Runtime, judge: Judge, sandboxes_alike: Couple, rpc: str
) -> None:
    sandbox = runtime.sandbox()
    _record(runtime, judge, rpc, sandbox.id, sandboxes_alike.beginning)


@pytest.mark.xdist_group("alike")
@_params("short-id", (*_CONTAINER_CALLS, "ContainerStatus", "UpdateContainerResources"))
def test_short_ids_of_containers_are_recorded(
    runtime: Runtime, judge: Judge, shared_sandbox: Sandbox, containers_alike: Couple, rpc: str
) -> None:
    container = listening(runtime, shared_sandbox, PROMPT)
    _record(runtime, judge, rpc, container.id, containers_alike.beginning)


def _record(runtime: Runtime, judge: Judge, rpc: str, whole: str, shared: str) -> None:
    """How the three forms are answered; of the unique one also whether it was acted on."""
    answers = []
    with _safely(judge):
        for name, given in (("empty", ""), ("unique", whole[:-1]), ("ambiguous", shared)):
            answers.append(f"{name} → {_word(_call(runtime, rpc, given))}")
    look = _living_sandboxes if "PodSandbox" in rpc else _living_containers
    became = look(runtime, (whole,)).get(whole, "removed")
    judge.record(f"RuntimeService.{rpc}.short-id", f"{', '.join(answers)}; then {became}")


def _word(outcome: Outcome) -> str:
    """Without the message, which names ids."""
    if isinstance(outcome, Refused):
        return outcome.code
    return "OK" if isinstance(outcome, Ok) else "no answer"
