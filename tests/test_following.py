# SPDX-License-Identifier: Apache-2.0
"""What is said of a campaign's processes while they play."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cri_conformance.following import Following
from cri_conformance.report import campaigns


def _finding(clause: str, **more: Any) -> dict[str, Any]:
    told = {"clause": clause, "kind": "clause", "cause": "c", "permitted": "p", "actual": "a"}
    return {**told, "reason": "", **more}


def _state(folder: Path, worker: str, *findings: dict[str, Any]) -> None:
    made = {"worker": worker, "line": f"{len(findings)} found", "findings": findings}
    campaigns.file(folder, worker).write_text(json.dumps(made), encoding="utf-8")


def test_each_finding_is_told_once_by_each_process_and_how_far_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    following = Following(tmp_path, said.append)
    following.look(lines=True)
    assert said == []
    _state(tmp_path, "gw0", _finding("A.b"))
    _state(tmp_path, "gw1")
    following.look(lines=False)
    following.look(lines=False)
    assert said == ["gw0 found: A.b: permitted p; got a", "gw0: 1 found", "gw1: 0 found"]
    _state(tmp_path, "gw1", _finding("A.b", reason="slow"), _finding("", kind="leak"))
    following.look(lines=True)
    assert said[3:] == [
        "gw0: 1 found",
        "gw1 found: A.b: permitted p; got a, known: slow",
        "gw1 found: leak: permitted p; got a",
        "gw1: 2 found",
    ]


def test_nothing_is_said_after_its_end(tmp_path: Path) -> None:
    said: list[str] = []
    following = Following(tmp_path, said.append)
    following.end()
    following = Following(tmp_path, said.append)
    following.begin()
    following.end()
    following.end()
    _state(tmp_path, "gw0", _finding("A.b"))
    assert not said
    assert not following._thread.is_alive()
