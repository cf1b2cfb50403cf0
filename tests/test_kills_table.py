# SPDX-License-Identifier: Apache-2.0
"""benchmarks/kills.tsv, the faults that campaigns look for, and docs/kills.md, how soon."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from cri_conformance.faults.catalogue import faults, malformed, restart, retry, stateful

ROOT = Path(__file__).parents[1]
#: Faults of such files that are the suite's alone, and why.
ALONE = {"fail-Version": "a campaign waits for Version before it looks at anything"}


def _listed() -> list[tuple[str, str]]:
    with (ROOT / "benchmarks" / "kills.tsv").open(encoding="utf-8", newline="") as file:
        return [(kind, fault) for kind, fault in csv.reader(file, delimiter="\t")][1:]


LISTED = _listed()
NAMES = [fault for _, fault in LISTED]


def test_each_fault_is_one_and_stands_there_once() -> None:
    assert set(NAMES) <= faults().keys()
    assert [name for name, times in Counter(NAMES).items() if times > 1] == []


@pytest.mark.parametrize(
    "file", [malformed, restart, retry, stateful], ids=lambda file: file.__name__
)
def test_of_what_only_campaigns_can_meet_none_is_missing(file: object) -> None:
    of_file = {fault.id for fault in file.FAULTS}  # type: ignore[attr-defined]
    assert of_file - ALONE.keys() <= set(NAMES)


def test_what_no_clause_speaks_of_is_listed() -> None:
    assert {fault.id for fault in faults().values() if fault.misbehaves} <= set(NAMES)


def test_the_page_has_each_of_them_killed_with_every_seed() -> None:
    page = (ROOT / "docs" / "kills.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \|(.+)\|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == NAMES
    for name, found in rows:
        assert re.fullmatch(r"( \d+( / \d+)? \|){2} \d+( / \d+)? ", found), name
