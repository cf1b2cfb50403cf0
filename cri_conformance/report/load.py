# SPDX-License-Identifier: Apache-2.0
"""Reading a results.json, also one of an earlier version of this suite, or of somebody else.

What earlier versions did not write is filled in as they would have: empty.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from cri_conformance.contract.verdict import Verdict
from cri_conformance.report import campaigns
from cri_conformance.report.schema import SCHEMA_VERSION, Results

#: Larger is no results.json of ours, and would take all memory.
_LARGEST = 512 * 1024 * 1024

_SUITE = {"version": "", "started": "", "as_of": "", "profiles": [], "selection": {}}
_TARGET = {"runtime_name": "", "runtime_version": "", "handler": "", "minor": ""}
_CLAUSE = {
    **dict.fromkeys(("level", "kind", "text", "call", "message", "element", "reason"), ""),
    **dict.fromkeys(("permitted", "actual", "link", "profile", "came", "flaky"), ""),
}
_FINDING = ("kind", "clause", "cause", "permitted", "actual", "reason", "link", "again")


class ResultsError(Exception):
    """The file is no results.json that can be used; one line."""


def load(path: Path) -> Results:
    """The results in a file. Raises ResultsError."""
    try:
        if path.is_dir():
            path = path / "results.json"
        if path.stat().st_size > _LARGEST:
            raise ResultsError(f"{path} is larger than any results.json")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(
            f"can't read {path}: there is no such file; give a run's results.json, or its folder"
        ) from None
    except OSError as error:
        raise ResultsError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ResultsError(f"{path} is not JSON") from None
    if not isinstance(data, dict) or not isinstance(data.get("schema_version"), int):
        raise ResultsError(f"{path} is no results.json of this suite: it has no schema_version")
    if data["schema_version"] > SCHEMA_VERSION:
        raise ResultsError(f"{path} was written by a newer version of this suite")
    try:
        return _filled(data)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ResultsError(f"{path} is no results.json of this suite: parts are missing") from None


def _filled(data: dict[str, Any]) -> Results:
    suite, target = {**_SUITE, **data["suite"]}, {**_TARGET, **data["target"]}
    clauses = [{**_CLAUSE, **clause} for clause in data["clauses"]]
    for clause in clauses:
        Verdict(clause["verdict"])
        texts = (clause["id"], *(clause[key] for key in _CLAUSE))
        if not all(isinstance(text, str) for text in texts):
            raise TypeError
    if not all(isinstance(target[key], str) for key in _TARGET):
        raise TypeError
    profiles = [{"verdict": "", **profile} for profile in data.get("profiles", [])]
    tests = data.get("tests", [])
    for test in tests:
        for record in test["clauses"]:
            Verdict(record["verdict"])
    made = [campaigns.filled(campaign) for campaign in data.get("campaigns", [])]
    for finding in (finding for campaign in made for finding in campaign["findings"]):
        given_up = finding["given_up"]
        parts = (*(finding[key] for key in _FINDING), *given_up)
        if not isinstance(given_up, list) or not all(isinstance(part, str) for part in parts):
            raise TypeError
    return cast(
        "Results",
        {**data, "suite": suite, "target": target, "clauses": clauses}
        | {"profiles": profiles, "tests": tests, "campaigns": made},
    )
