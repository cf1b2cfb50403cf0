# SPDX-License-Identifier: Apache-2.0
"""The age of clauses: the lock is whole, and a clause that is sharpened gets younger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cri_conformance import __version__
from cri_conformance.contract import ages
from cri_conformance.contract.clause import Level
from cri_conformance.contract.register import register
from cri_conformance.contract.versions import Version

ONE, OTHER = list(register().clauses.values())[:2]


def test_every_clause_has_an_age() -> None:
    """If this fails: `cri-conformance contract build`."""
    locked = ages.read(ages.LOCK.read_text(encoding="utf-8"))
    assert locked.keys() == register().clauses.keys()
    for clause in register().clauses.values():
        came, known = locked[clause.id]
        assert known == ages.digest(clause)
        assert came == clause.came
        assert Version.parse(came) <= Version.parse(__version__)


def test_only_what_says_something_else_gets_younger() -> None:
    first = ages.read(ages.written([ONE, OTHER], {}, "0.1.0"))
    moved = replace(ONE, source="proto/other.proto:1", text="  ".join(ONE.text.split(" ")))
    assert ages.read(ages.written([moved, OTHER], first, "0.2.0")) == first
    sharper = replace(ONE, level=Level.SHOULD if ONE.level != Level.SHOULD else Level.MUST)
    second = ages.read(ages.written([sharper, OTHER], first, "0.2.0"))
    assert second[ONE.id][0] == "0.2.0"
    assert second[OTHER.id] == first[OTHER.id]
    third = ages.read(ages.written([OTHER], second, "0.3.0"))
    assert third.keys() == {OTHER.id}


def test_other_words_for_the_same_keep_the_age() -> None:
    first = ages.read(ages.written([ONE], {}, "0.1.0"))
    reworded = replace(ONE, text="In other words.")
    same = ages.read(ages.written([reworded], first, "0.2.0", frozenset([ONE.id])))
    assert same[ONE.id] == ("0.1.0", ages.digest(reworded))


def test_as_of() -> None:
    clause = replace(ONE, came="0.2.0")
    assert ages.younger(clause, "0.1.0")
    assert not ages.younger(clause, "0.2.0")
    assert not ages.younger(clause, "")
    assert not ages.younger(replace(ONE, came=""), "0.1.0")


def test_a_line_that_cannot_be_read() -> None:
    with pytest.raises(ages.AgesError, match="not 'id version hash'"):
        ages.read("# fine\nA.b 0.1.0\n")
