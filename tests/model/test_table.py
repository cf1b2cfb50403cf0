# SPDX-License-Identifier: Apache-2.0
"""The table is complete, consistent, and names clauses that exist."""

from __future__ import annotations

import pytest

from cri_conformance.contract.clause import Level
from cri_conformance.contract.register import register
from cri_conformance.model.states import (
    SHOWN,
    STANDING,
    ContainerState,
    SandboxState,
    shown_of,
    standing,
)
from cri_conformance.model.table import LOOKS, TABLE, Answer, Cell

_BOTH = {"StopPodSandbox", "RemovePodSandbox"}
_ON_SANDBOXES = {"RunPodSandbox", "PodSandboxStatus", "ListPodSandbox", "CreateContainer"} | _BOTH
_ON_CONTAINERS = {
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "ContainerStatus",
    "ListContainers",
    "ExecSync",
}


def test_every_call_has_a_cell_for_every_state() -> None:
    wanted = {(call, state) for call in _ON_SANDBOXES for state in SandboxState}
    wanted |= {(call, state) for call in _ON_CONTAINERS | _BOTH for state in ContainerState}
    # There is no container to be named before one was made.
    wanted -= {(call, ContainerState.NEVER) for call in _BOTH | {"CreateContainer"}}
    assert set(TABLE) == wanted


@pytest.mark.parametrize("cell", TABLE.values(), ids=lambda cell: cell.name)
def test_every_clause_of_a_cell_exists_and_fits_its_answer(cell: Cell) -> None:
    contract = register()
    for rule in cell.rules:
        # What may be either is no promise: such a clause is a MAY, and no other is.
        may = contract[rule.clause].level is Level.MAY
        assert may is (rule.answer is Answer.EITHER)
    for promise in cell.promises:
        assert contract[promise.clause].level is not Level.MAY


@pytest.mark.parametrize("cell", TABLE.values(), ids=lambda cell: cell.name)
def test_a_cell_stays_with_its_kind_of_object(cell: Cell) -> None:
    assert cell.after
    assert cell.after_refusal
    kinds = {type(state) for state in cell.after | cell.after_refusal | {cell.state}}
    assert len(kinds) == 1


@pytest.mark.parametrize("cell", TABLE.values(), ids=lambda cell: cell.name)
def test_what_a_cell_leads_to_keeps_its_promises(cell: Cell) -> None:
    for promise in (*cell.promises, *standing(cell.after)):
        expected = shown_of(cell.after)
        assert any(promise.permits(shown, expected) for shown in expected)


@pytest.mark.parametrize(
    "cell", [cell for cell in TABLE.values() if cell.call in LOOKS], ids=lambda cell: cell.name
)
def test_looking_changes_nothing(cell: Cell) -> None:
    assert cell.after == cell.after_refusal == {cell.state}


@pytest.mark.parametrize("state", [*SandboxState, *ContainerState], ids=lambda state: state.value)
def test_every_state_is_shown_somehow_and_keeps_what_stands_for_it(
    state: SandboxState | ContainerState,
) -> None:
    assert SHOWN[state]
    for promise in STANDING[state]:
        assert promise.clause in register()
        assert all(promise.permits(shown, SHOWN[state]) for shown in SHOWN[state])


def test_nothing_leads_back() -> None:
    """Whatever is called, a container does not come to life again."""
    over = {ContainerState.EXITED, ContainerState.STOPPED, ContainerState.ENDED}
    gone = {ContainerState.REMOVED, ContainerState.SWEPT}
    for cell in TABLE.values():
        if cell.state in gone:
            assert cell.after <= gone
        if cell.state in over:
            assert cell.after <= over | gone
