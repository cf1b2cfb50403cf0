# SPDX-License-Identifier: Apache-2.0
"""The whole lifecycle as a table: every call on an object in every state.

One test for each cell of ``model.table``: the object is brought into the state, the call
made, the answer judged by the cell's clauses, and then status and list by those that
promise what is true afterwards. A cell that the contract leaves open can't fail on the
answer; what came stands in the report's table beside those that are judged.
"""

from __future__ import annotations

from typing import Any

import pytest

from cri_conformance.expect import Judge, NotExercised, clause
from cri_conformance.model.states import ContainerState, SandboxState
from cri_conformance.model.table import LISTS, LOOKS, TABLE, Answer, Cell
from cri_conformance.suite.specimens import Specimens, Unreachable, own
from cri_conformance.suite.stepper import Stepper
from cri_conformance.wire.runtime import Runtime, Sandbox

_SANDBOX_CALLS = {"StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus"}
_GONE = {
    SandboxState.NEVER,
    SandboxState.REMOVED,
    ContainerState.NEVER,
    ContainerState.REMOVED,
    ContainerState.SWEPT,
}
#: The report knows three answers; of an answer's code the clause itself tells.
_PERMITTED = {
    Answer.OK: "ok",
    Answer.OK_OR_NOT_FOUND: "ok",
    Answer.LISTED: "ok",
    Answer.REFUSED: "refused",
    Answer.NOT_FOUND: "refused",
    Answer.NOT_LISTED: "refused",
    Answer.EITHER: "either",
}


def _cells() -> list[Any]:
    """The cells worth a test: one that waits for a failing start is like a created one."""
    cells = [
        cell
        for cell in TABLE.values()
        if cell.state is not ContainerState.DOOMED or cell.call == "StartContainer"
    ]
    # In the order of a life, as the report shows the table in the order of the tests.
    calls = list(dict.fromkeys(cell.call for cell in cells))
    states = [*SandboxState, *ContainerState]
    cells.sort(key=lambda cell: (calls.index(cell.call), states.index(cell.state)))
    return [
        pytest.param(
            cell,
            id=cell.name.replace(",", "").replace(" ", "-"),
            marks=[
                *([clause(*cell.clauses)] if cell.clauses else []),
                # Objects that are only looked at are made once.
                *([pytest.mark.xdist_group("specimens")] if _harmless(cell) else []),
            ],
        )
        for cell in cells
    ]


def _harmless(cell: Cell) -> bool:
    """Whether the call changes nothing, so that tests can share the object."""
    if cell.call in LOOKS or cell.call == "ExecSync":
        return True
    if cell.call in ("RunPodSandbox", "CreateContainer"):
        return cell.state is ContainerState.SWEPT
    if cell.call in _SANDBOX_CALLS and cell.state is ContainerState.REMOVED:
        return False  # its sandbox is there
    return cell.state in _GONE


@pytest.fixture(scope="module")
def specimens(module_runtime: Runtime, shared_sandbox: Sandbox) -> Specimens:
    """Objects in every state, to be looked at."""
    return Specimens(module_runtime, shared_sandbox)


@pytest.mark.parametrize("cell", _cells())
def test_cell(
    cell: Cell,
    runtime: Runtime,
    shared_sandbox: Sandbox,
    specimens: Specimens,
    judge: Judge,
    lifecycle: list[dict[str, str]],
) -> None:
    stepper = Stepper(runtime, judge)
    row = {
        "call": cell.call,
        "state": cell.state.value,
        "permitted": _PERMITTED[cell.permitted],
        "clause": cell.clause,
        "seen": "",
    }
    lifecycle.append(row)
    try:
        if _harmless(cell):
            target = specimens.show(cell.state, stepper)
        else:
            reaches = cell.call in _SANDBOX_CALLS
            target = own(runtime, cell.state, None if reaches else shared_sandbox, stepper)
    except Unreachable as error:
        lifecycle.remove(row)
        if cell.state is ContainerState.DOOMED:
            # It failed earlier, which the clause permits.
            judge.that(cell.clause, True, permitted="an error", actual="refused at create")
        raise error
    before = frozenset(judge.records)
    try:
        _call(cell, stepper, target)
    finally:
        row["seen"] = stepper.answered
    stepper.look(target)
    _leave_open(judge, before)


def _call(cell: Cell, stepper: Stepper, target: str) -> None:
    sandbox = isinstance(cell.state, SandboxState)
    if cell.call in LISTS:
        stepper.list_call(cell.call, target)
    elif cell.call == "RunPodSandbox":
        if cell.state is SandboxState.NEVER:
            stepper.run(stepper.sandboxes.pop(target).config)
        else:
            stepper.run_again(target)
    elif cell.call == "CreateContainer" and sandbox:
        config = stepper.runtime.container_config(
            stepper.sandboxes[target], labels=stepper.labels()
        )
        stepper.create(target, config)
    elif cell.call == "CreateContainer":
        stepper.create_again(target)
    elif cell.call in _SANDBOX_CALLS:
        container = stepper.containers.get(target)
        stepper.sandbox_call(cell.call, container.sandbox.id if container else target, by=target)
    else:
        timeout = {"timeout": 1} if cell.call == "StopContainer" else {}
        stepper.container_call(cell.call, target, **timeout)


def _leave_open(judge: Judge, before: frozenset[str]) -> None:
    """What a call that didn't do what it should has not brought about can't be judged."""
    failed = [
        record["clause"]
        for record in judge.records.values()
        if record["clause"] not in before and record["verdict"] in ("warned", "known")
    ]
    if failed and judge.unjudged():
        raise NotExercised(f"the test ended when {failed[0]} broke", "")
