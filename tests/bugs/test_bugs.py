# SPDX-License-Identifier: Apache-2.0
"""Every known bug has a test that would catch it and a fault that stands for it, or a reason."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from cri_conformance import bindings
from cri_conformance.contract.clause import Level
from cri_conformance.contract.register import register
from cri_conformance.faults.catalogue import faults

#: The list they were taken from numbers them so.
NUMBERS = list(range(1, 236, 2))
#: Why a bug has no fault. The list is closed.
WITHOUT = {
    "not visible": "no black-box client can see it, or bring it about",
    "left open": "the contract leaves it open: recorded where it can be seen, never judged",
    "needs more": "needs what the hosts at hand lack",
}
CLASSES = {
    "crash",
    "events",
    "exec",
    "filter",
    "idempotency",
    "image",
    "leak",
    "lifecycle",
    "log",
    "mount",
    "resources",
    "security",
    "stats",
    "stop",
    "streaming",
}


def _table() -> list[dict[str, Any]]:
    text = (Path(__file__).parent / "bugs.toml").read_text(encoding="utf-8")
    bugs: list[dict[str, Any]] = tomllib.loads(text)["bug"]
    return bugs


BUGS = _table()
each = pytest.mark.parametrize("bug", BUGS, ids=[str(bug["number"]) for bug in BUGS])


@pytest.fixture(scope="session")
def bound() -> dict[str, set[str]]:
    """Clause id → the tests bound to it, as ``file::function``."""
    return {
        clause: {node.partition("[")[0].rpartition("/")[2] for node in nodes}
        for clause, nodes in bindings.bound().items()
    }


def test_every_bug_is_there_once() -> None:
    assert [bug["number"] for bug in BUGS] == NUMBERS


@each
def test_every_bug_is_answered(bug: dict[str, Any]) -> None:
    assert all(bug[key] for key in ("upstream", "runtime", "what"))
    assert bug["class"] in CLASSES
    if "without" in bug:
        assert bug["without"] in WITHOUT
        assert bug["why"]
        assert "fault" not in bug
        assert ("test" in bug) == ("clause" in bug)
    else:
        assert bug["test"]
        assert bug["clause"]
        assert bug["fault"]


@each
def test_the_test_names_the_clause(bug: dict[str, Any], bound: dict[str, set[str]]) -> None:
    if "test" in bug:
        assert bug["test"] in bound.get(bug["clause"], ())


@each
def test_the_fault_is_seeded_for_the_clause(bug: dict[str, Any]) -> None:
    if "fault" in bug:
        assert bug["clause"] in faults()[bug["fault"]].clauses


@each
def test_what_is_recorded_alone_has_no_fault(bug: dict[str, Any]) -> None:
    if "clause" in bug:
        open_ = register()[bug["clause"]].level is Level.MAY
        assert open_ == (bug.get("without") == "left open")
