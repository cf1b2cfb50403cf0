# SPDX-License-Identifier: Apache-2.0
"""Which events fit the states that a container went through."""

from __future__ import annotations

import pytest

from cri_conformance.contract.register import register
from cri_conformance.model.states import ContainerState as C
from cri_conformance.model.telling import CREATED, DELETED, STARTED, STOPPED, Tale

_CALL, _KIND = "RuntimeService.GetContainerEvents", "ContainerEventType.CONTAINER"


def _tale(*states: C | set[C], mortal: bool = False) -> Tale:
    tale = Tale()
    for one in states:
        tale.went(frozenset(one if isinstance(one, set) else {one}), mortal=mortal)
    return tale


def _broken(tale: Tale, *told: str) -> str:
    clause = tale.broken(told)
    assert not clause or clause in register().clauses
    return clause


def test_a_whole_life_is_told_in_order() -> None:
    tale = _tale(C.CREATED, C.RUNNING, C.STOPPED, C.REMOVED)
    whole = (CREATED, STARTED, STOPPED, DELETED)
    assert tale.complete(whole)
    assert not _broken(tale, *whole)
    assert _broken(tale, CREATED, STOPPED, STARTED, DELETED) == f"{_CALL}.in-order"
    assert _broken(tale, *whole, DELETED) == f"{_CALL}.each-once"
    assert _broken(tale, CREATED, *whole) == f"{_CALL}.matches-life"
    for missing in whole:
        told = [kind for kind in whole if kind != missing]
        assert not tale.complete(told)
        assert _broken(tale, *told) == f"{_KIND}_{missing.upper()}_EVENT.told"


@pytest.mark.parametrize(
    ("states", "told"),
    [
        # Whether the end of one that is removed while it runs is told is open.
        ([C.CREATED, C.RUNNING, C.REMOVED], [CREATED, STARTED, DELETED]),
        ([C.CREATED, C.RUNNING, C.REMOVED], [CREATED, STARTED, STOPPED, DELETED]),
        # So it is of one that never ran and was stopped.
        ([C.CREATED, C.HALTED], [CREATED]),
        ([C.CREATED, C.HALTED], [CREATED, STOPPED]),
        ([C.CREATED, {C.LEFT, C.ENDED}], [CREATED]),
        # Nobody knows whether it is there.
        ([C.CREATED, {C.CREATED, C.REMOVED}], [CREATED]),
        ([C.CREATED, {C.CREATED, C.REMOVED}], [CREATED, DELETED]),
        # What could not be started may be gone already.
        ([C.CREATED, C.FAILED, C.REMOVED], [CREATED]),
        ([C.CREATED, C.FAILED, C.REMOVED], [CREATED, STOPPED, DELETED]),
    ],
)
def test_what_is_open_may_be_told(states: list[C | set[C]], told: list[str]) -> None:
    assert not _broken(_tale(*states), *told)


def test_what_did_not_happen_is_not_told() -> None:
    matches = f"{_CALL}.matches-life"
    assert _broken(_tale(C.CREATED), CREATED, STARTED) == matches
    assert _broken(_tale(C.CREATED, C.REMOVED), CREATED, STOPPED, DELETED) == matches
    assert _broken(_tale(C.CREATED, C.RUNNING), CREATED, STARTED, STOPPED) == matches
    failed = _tale(C.CREATED, C.FAILED)
    assert _broken(failed, CREATED, STARTED) == f"{_KIND}_STARTED_EVENT.not-if-failed"


def test_what_ends_by_itself_may_be_told_before_it_is_seen() -> None:
    tale = _tale(C.CREATED, C.RUNNING, mortal=True)
    assert not _broken(tale, CREATED, STARTED, STOPPED)
    assert not _broken(tale, CREATED, STARTED)
    ended = _tale(C.CREATED, C.RUNNING, C.EXITED, mortal=True)
    assert _broken(ended, CREATED, STARTED) == f"{_KIND}_STOPPED_EVENT.by-itself"


def test_of_one_that_goes_with_its_sandbox() -> None:
    tale = _tale(C.CREATED, C.RUNNING, C.SWEPT)
    assert _broken(tale, CREATED, STARTED) == f"{_KIND}_DELETED_EVENT.with-sandbox"
    assert not _broken(tale, CREATED, STARTED, DELETED)


def test_news_are_told_apart() -> None:
    tale = _tale(C.CREATED)
    assert tale.went(frozenset({C.RUNNING}), mortal=False)
    assert not tale.went(frozenset({C.RUNNING}), mortal=False)
