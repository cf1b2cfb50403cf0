# SPDX-License-Identifier: Apache-2.0
"""benchmarks/critest.tsv: what critest's specs look at, and the clauses that judge it here."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from cri_conformance import bindings
from cri_conformance.contract.clause import Level
from cri_conformance.contract.register import register

ROOT = Path(__file__).parents[1]
#: Why a part of what a spec looks at has no clause, or all of it. The list is closed.
WITHOUT = {
    "another contract": "it is no part of the CRI",
    "no promise": "no text and no kubelet asks for it",
    "missing": "it is one, and has no clause yet",
}


class Spec(NamedTuple):
    spec: str
    looks_at: str
    clauses: str
    without: str
    remark: str


def _table() -> list[Spec]:
    with (ROOT / "benchmarks" / "critest.tsv").open(encoding="utf-8", newline="") as file:
        return [Spec(*fields) for fields in csv.reader(file, delimiter="\t")][1:]


SPECS = _table()
each = pytest.mark.parametrize("spec", SPECS, ids=[spec.spec for spec in SPECS])


@pytest.fixture(scope="session")
def tested() -> set[str]:
    return set(bindings.bound())


def test_every_spec_is_there_once() -> None:
    assert [name for name, times in Counter(spec.spec for spec in SPECS).items() if times > 1] == []


@each
def test_a_spec_has_clauses_or_a_reason(spec: Spec) -> None:
    assert re.fullmatch(r"[a-z_]+\.go:\d+", spec.spec)
    assert spec.looks_at
    assert spec.without in ("", *WITHOUT)
    assert spec.clauses or (spec.without and spec.remark)


@each
def test_its_clauses_exist_and_have_a_test(spec: Spec, tested: set[str]) -> None:
    clauses = spec.clauses.split(" ") if spec.clauses else []
    assert len(set(clauses)) == len(clauses)
    assert set(clauses) <= register().clauses.keys()
    assert set(clauses) <= tested


def test_the_document_counts_as_the_table_does() -> None:
    text = (ROOT / "docs" / "critest.md").read_text(encoding="utf-8")
    chosen = [[register()[name] for name in spec.clauses.split()] for spec in SPECS]
    whole = [spec for spec in SPECS if spec.clauses and not spec.without]
    none = [spec for spec in SPECS if not spec.clauses]
    recorded = [clauses for clauses in chosen if {c.level for c in clauses} == {Level.MAY}]
    for words in (
        f"{len(SPECS)} specs",
        f"{len({clause.id for clauses in chosen for clause in clauses})} clauses",
        f"{len(whole)} wholly, {len(SPECS) - len(whole) - len(none)} in part",
        f"{len(none)} not at all",
        f"{len(recorded)} are recorded",
    ):
        assert words in text
