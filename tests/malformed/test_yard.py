# SPDX-License-Identifier: Apache-2.0
"""What is left of calls that were refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.malformed.oracle import Kind, Misbehaviour
from cri_conformance.malformed.yard import Yard
from cri_conformance.wire.outcome import Ok, Outcome, Refused

READY = types.PodSandbox(
    id="1" * 64, state=types.SANDBOX_READY, metadata=types.PodSandboxMetadata(name="made-y1")
)
NOT_READY = types.PodSandbox(
    id="2" * 64, state=types.SANDBOX_NOTREADY, metadata=types.PodSandboxMetadata(name="made-y1")
)
CONTAINER = types.Container(id="3" * 64, metadata=types.ContainerMetadata(name="made-y1"))


class Runtime:
    """Has these objects, and lets go of them or does not."""

    workshop = SimpleNamespace(ids=set())

    def __init__(self, *there: Any, removes: bool = True) -> None:
        self.there, self._removes = list(there), removes

    def get(self, rpc: str) -> Any:
        kind = types.PodSandbox if rpc == "ListPodSandbox" else types.Container
        found = [one for one in self.there if isinstance(one, kind)]
        return SimpleNamespace(items=found, containers=found)

    def call(self, rpc: str, deadline: float, **ids: str) -> Outcome:
        if not self._removes:
            return Refused("UNKNOWN", "the network plugin refuses")
        if rpc.startswith("Remove"):
            self.there = [one for one in self.there if one.id not in ids.values()]
        return Ok(None)


def yard(runtime: Any) -> Yard:
    made = Yard.__new__(Yard)
    pod: Any = SimpleNamespace(id="", sandbox=SimpleNamespace(id=""))
    made.runtime, made.bystander, made.victim = runtime, pod, pod
    made.mark, made.stuck = "y1", set()
    return made


@pytest.mark.parametrize("there", [READY, CONTAINER])
def test_what_was_refused_and_is_there_is_a_leak_and_goes(there: Any):
    runtime = Runtime(there)
    with pytest.raises(Misbehaviour, match="left behind") as told:
        yard(runtime).left()
    assert (told.value.kind, told.value.lasting) == (Kind.LEAK, False)
    assert runtime.there == []


def test_a_sandbox_that_is_kept_not_ready_is_none_but_goes_as_well():
    runtime = Runtime(NOT_READY)
    yard(runtime).left()
    assert runtime.there == []


def test_a_sandbox_that_is_kept_and_cannot_be_removed_is_a_leak_told_once():
    there = yard(Runtime(NOT_READY, removes=False))
    with pytest.raises(Misbehaviour, match="can't be removed") as told:
        there.left()
    assert told.value.lasting
    there.left()


def test_what_may_yet_have_been_made_is_none():
    runtime = Runtime(READY)
    yard(runtime).left(doubtful=True)
    assert runtime.there == []
