# SPDX-License-Identifier: Apache-2.0
"""GitHub's annotations: lines on standard output that its runner shows with the build."""

from __future__ import annotations

from cri_conformance.contract.verdict import Verdict
from cri_conformance.report.schema import Results
from cri_conformance.report.text import one_line

#: GitHub shows ten of each sort a step.
SHOWN = 10


def lines(results: Results) -> list[str]:
    """Errors for what fails the run, warnings for a SHOULD; the last of many says how many more."""
    errors = [
        (
            f"{clause['id']} ({clause['level']})",
            f"{clause['text']} Permitted: {one_line(clause['permitted'], 300)}; "
            f"got {one_line(clause['actual'], 300)}",
        )
        for clause in results["clauses"]
        if clause["verdict"] == Verdict.BROKEN
    ]
    errors += [
        (clause, "was expected to break and held: remove its entry from the expectations file")
        for clause in results["stale"]
    ]
    met = {
        test["message"] for test in results["tests"] if test["blame"] in ("environment", "suite")
    }
    errors += [("no verdict", message) for message in sorted(met)]
    warnings = [
        (
            f"{clause['id']} ({clause['level']})",
            f"{clause['text']} Got {one_line(clause['actual'], 300)}",
        )
        for clause in results["clauses"]
        if clause["verdict"] == Verdict.WARNED
    ]
    return [*_some("error", errors), *_some("warning", warnings)]


def _some(sort: str, found: list[tuple[str, str]]) -> list[str]:
    if len(found) > SHOWN:
        more = len(found) - SHOWN + 1
        found = [*found[: SHOWN - 1], (f"and {more} more", "see the report of this run")]
    return [f"::{sort} title={_property(title)}::{_message(text)}" for title, text in found]


def _message(text: str) -> str:
    """A text that the runner takes for nothing but text: it reads commands by line."""
    # one_line leaves no line feed and no control character.
    return one_line(text, 1000).replace("%", "%25")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
