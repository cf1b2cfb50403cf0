# SPDX-License-Identifier: Apache-2.0
"""The table of histories and the register agree: no promise of idempotency without one."""

from __future__ import annotations

from cri_conformance.contract.clause import Kind
from cri_conformance.contract.register import register
from cri_conformance.suite.test_idempotency import HISTORIES, TOLERATED

#: Judged by tests of their own.
_ELSEWHERE = (
    "retry-after-deadline",
    "retry-after-cancel",
    "retry-after-restart",
    "repeat-changes-nothing",
)


def test_every_clause_of_the_kind_has_its_histories() -> None:
    judged = {name for names in HISTORIES for name in names}
    calls = {name.rpartition(".")[0] for name in judged}
    of_kind = {
        clause.id
        for clause in register().clauses.values()
        if clause.kind is Kind.IDEMPOTENCY
        and clause.element in calls
        and not clause.id.endswith(_ELSEWHERE)
    }
    assert of_kind == judged


def test_only_known_clauses_tolerate_codes() -> None:
    assert TOLERATED.keys() <= {name for names in HISTORIES for name in names}
