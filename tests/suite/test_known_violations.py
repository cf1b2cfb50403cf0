# SPDX-License-Identifier: Apache-2.0
"""Clauses that every runtime at hand breaks: their tests let a runtime pass that keeps them.

No seeded fault can show that, as in front of such a runtime the clause is broken anyhow.
"""

from __future__ import annotations

from typing import Any

import pytest

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect import Judge, Violation
from cri_conformance.expect.judge import Rules
from cri_conformance.suite import test_security_capabilities as capabilities
from cri_conformance.suite import test_security_sandbox as sandbox
from cri_conformance.suite.cells import AMBIENT, BOTH, SANDBOX_GROUP, bits
from cri_conformance.suite.observed import SETS, Process

_AMBIENT = "Capability.add_ambient_capabilities"
_GROUPS = "LinuxSandboxSecurityContext.supplemental_groups.in-force"


class Seen:
    """Cells in which always the same process is seen, also as the sandbox's own."""

    def __init__(self, groups: frozenset[int], sets: dict[str, frozenset[int]]) -> None:
        self.process = self.init = Process(0, 0, groups, sets, 0, 0)
        self.init_command = ["pause"]
        self.id = "c0ffee"

    def observed(self, name: str) -> Seen:
        return self

    container = sandbox = observed


def _judge(clause_id: str) -> Judge:
    return Judge(Rules(register(), Minor(1, 37)), [clause_id])


def _held(judge: Judge) -> bool:
    return [record["verdict"] for record in judge.records.values()] == ["held"]


@pytest.mark.parametrize("name", ["ambient", "other-sets", "in-both-lists"])
def test_ambient_capabilities(name: str) -> None:
    clause_id = f"{_AMBIENT}.{name}"
    wanted, sets = {
        "ambient": ([AMBIENT], ["ambient"]),
        "other-sets": ([AMBIENT], [one for one in SETS if one != "ambient"]),
        "in-both-lists": ([BOTH], list(SETS)),
    }[name]

    def judged(kept: dict[str, frozenset[int]]) -> Judge:
        judge, cells = _judge(clause_id), _cells(frozenset(), kept)
        capabilities.test_what_is_added(clause_id, "ambient", wanted, sets, cells, judge)
        return judge

    everywhere = dict.fromkeys(SETS, bits(AMBIENT, BOTH))
    assert _held(judged(everywhere))
    for one in sets:
        with pytest.raises(Violation, match=f"in the {one} set"):
            judged({**everywhere, one: frozenset()})


def test_groups_of_the_sandboxs_own_process() -> None:
    look, permitted = sandbox._ROWS["supplemental_groups"]

    def judged(groups: frozenset[int]) -> Judge:
        judge, cells = _judge(_GROUPS), _cells(groups, dict.fromkeys(SETS, frozenset()))
        sandbox.test_the_sandboxs_own_process("supplemental_groups", look, permitted, cells, judge)
        return judge

    assert _held(judged(frozenset({SANDBOX_GROUP})))
    with pytest.raises(Violation):
        judged(frozenset())


def _cells(groups: frozenset[int], sets: dict[str, frozenset[int]]) -> Any:
    return Seen(groups, sets)
