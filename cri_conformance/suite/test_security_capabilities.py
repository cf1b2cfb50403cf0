# SPDX-License-Identifier: Apache-2.0
"""The five sets of capabilities of a container's first process.

Names are sent as a kubelet sends them, without the prefix CAP_. What a process that is not
root has effectively comes from its ambient set alone; so that is looked at as such a user.
"""

from __future__ import annotations

from collections.abc import Collection

import pytest

from cri_conformance.expect import Judge, clause
from cri_conformance.suite.cells import ADDED, AMBIENT, BOTH, DROPPED, Cells, bits
from cri_conformance.suite.observed import SETS, named

_ADD = "Capability.add_capabilities"
_DROP = "Capability.drop_capabilities"
_AMBIENT = "Capability.add_ambient_capabilities"
_ALL_SETS = tuple(SETS)


@pytest.mark.parametrize(
    ("clause_id", "cell", "capabilities", "sets"),
    [
        pytest.param(name, *row, marks=clause(name), id=name)
        for name, row in {
            f"{_ADD}.effective": ("added", [ADDED, AMBIENT], ["effective"]),
            f"{_ADD}.permitted": ("added", [ADDED, AMBIENT], ["permitted"]),
            f"{_ADD}.bounding": ("numbers", [ADDED], ["bounding"]),
            f"{_AMBIENT}.ambient": ("ambient", [AMBIENT], ["ambient"]),
            f"{_AMBIENT}.other-sets": (
                "ambient",
                [AMBIENT],
                [name for name in _ALL_SETS if name != "ambient"],
            ),
            f"{_AMBIENT}.in-both-lists": ("ambient", [BOTH], _ALL_SETS),
        }.items()
    ],
)
def test_what_is_added(
    clause_id: str,
    cell: str,
    capabilities: list[str],
    sets: Collection[str],
    cells: Cells,
    judge: Judge,
) -> None:
    seen = cells.observed(cell).process.capabilities
    for name in sets:
        judge.that(
            clause_id,
            seen[name] >= bits(*capabilities),
            permitted=f"{' and '.join(capabilities)} in the {name} set",
            actual=", ".join(named(seen[name])) or "an empty set",
            about=[cells.container(cell).id],
        )


@pytest.mark.parametrize(
    ("clause_id", "cell", "capabilities", "sets"),
    [
        pytest.param(name, *row, marks=clause(name), id=name)
        for name, row in {
            f"{_ADD}.not-ambient": ("added", [ADDED, AMBIENT], ["ambient"]),
            f"{_DROP}.dropped": ("less", [DROPPED], ["effective", "bounding"]),
            f"{_DROP}.from-all-sets": ("less", [DROPPED], _ALL_SETS),
        }.items()
    ],
)
def test_what_is_not_there(
    clause_id: str,
    cell: str,
    capabilities: list[str],
    sets: Collection[str],
    cells: Cells,
    judge: Judge,
) -> None:
    seen = cells.observed(cell).process.capabilities
    for name in sets:
        judge.that(
            clause_id,
            seen[name].isdisjoint(bits(*capabilities)),
            permitted=f"no {' and no '.join(capabilities)} in the {name} set",
            actual=", ".join(named(seen[name])),
            about=[cells.container(cell).id],
        )


@clause(f"{_ADD}.inheritable")
def test_inheritable(cells: Cells, judge: Judge) -> None:
    seen = cells.observed("added").process.capabilities["inheritable"]
    shown = ", ".join(named(seen)) or "nothing"
    judge.record(f"{_ADD}.inheritable", f"of {ADDED} and {AMBIENT} added: {shown}")


@clause(f"{_ADD}.all", f"{_DROP}.all")
def test_the_word_all(cells: Cells, judge: Judge) -> None:
    for clause_id, cell in ((f"{_ADD}.all", "add-all"), (f"{_DROP}.all", "drop-all")):
        seen = cells.observed(cell).process.capabilities["effective"]
        judge.record(clause_id, f"{len(seen)} in the effective set: {', '.join(named(seen))}")
