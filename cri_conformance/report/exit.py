# SPDX-License-Identifier: Apache-2.0
"""How a run ended: in one word for people, in one number for whatever started it.

=  ===========  ==================================================================
0  HELD         everything that was judged held, but for what is known
1  BROKEN       a clause is broken, or an expectation is stale
2  INTERRUPTED  pytest's own, as are 3 (internal error) and 4 (usage)
5  NOTHING      nothing was judged
6  NO_VERDICT   the environment or the runtime failed where nothing was judged
7  MISTAKE      the suite is wrong, which says nothing of the runtime
8  INCOMPLETE   less was judged than a verdict on the whole needs
=  ===========  ==================================================================
"""

from __future__ import annotations

from enum import IntEnum

import pytest

from cri_conformance.contract.clause import Level, Minor, Needs
from cri_conformance.contract.verdict import Reason, Verdict
from cri_conformance.report.schema import ClauseResult, Finding, Results

#: The calls without which nothing is a runtime: never skipped, and the measure of a full run.
CORE = frozenset(
    f"RuntimeService.{name}"
    for name in (
        "Version",
        "Status",
        "RunPodSandbox",
        "StopPodSandbox",
        "RemovePodSandbox",
        "PodSandboxStatus",
        "ListPodSandbox",
        "CreateContainer",
        "StartContainer",
        "StopContainer",
        "RemoveContainer",
        "ContainerStatus",
        "ListContainers",
        "ExecSync",
    )
)

#: What a full run must have judged of the core's clauses that need nothing special.
MINIMUM = 0.8

#: What the session says in ``suite.stopped`` when a person stopped the run.
INTERRUPTED = "interrupted"

_JUDGED = (Verdict.HELD, Verdict.BROKEN, Verdict.KNOWN, Verdict.WARNED, Verdict.RECORDED)


class Ending(IntEnum):
    """How a run ended; the value is its exit status."""

    HELD = 0
    BROKEN = 1
    INTERRUPTED = 2
    NOTHING = 5
    NO_VERDICT = 6
    MISTAKE = 7
    INCOMPLETE = 8


def status(results: Results, pytest_status: int) -> int:
    """The exit status of a run that pytest would have ended with ``pytest_status``."""
    # A runtime that goes away stops the run too, and pytest calls that an interruption:
    # only one by a person (or by pytest, which then says nothing of why) stays one.
    gone = results["suite"]["stopped"] not in ("", INTERRUPTED)
    if pytest_status == pytest.ExitCode.INTERRUPTED and not gone:
        return pytest_status
    if pytest_status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        return pytest_status
    end = ending(results)
    if end is Ending.INTERRUPTED:
        return int(end)
    failed_without_a_word = pytest_status == pytest.ExitCode.TESTS_FAILED and end not in (
        Ending.BROKEN,
        Ending.NO_VERDICT,
        Ending.MISTAKE,
    )
    # A test failed and sent no record, as when a worker dies: no verdict on the runtime,
    # and no success either.
    return int(Ending.MISTAKE if failed_without_a_word else end)


def ending(results: Results) -> Ending:
    """How the run ended, by its results alone."""
    if results["suite"]["stopped"] == INTERRUPTED:
        return Ending.INTERRUPTED
    if results["summary"]["broken"] or results["stale"] or failures(results):
        return Ending.BROKEN
    blamed = {test["blame"] for test in results["tests"]}
    if "suite" in blamed:
        return Ending.MISTAKE
    complete = results["suite"]["complete"]
    if "environment" in blamed or (results["suite"]["stopped"] and not complete):
        return Ending.NO_VERDICT
    if not judged(results["clauses"]):
        return Ending.NOTHING
    exercised, of = core(results)
    # A clause without a verdict that nobody is to blame for: its test skipped itself.
    if not complete or results["summary"]["error"] or exercised < MINIMUM * of:
        return Ending.INCOMPLETE
    return Ending.HELD


def failures(results: Results) -> list[Finding]:
    """What campaigns found that fails the run."""
    return [
        finding
        for campaign in results["campaigns"]
        for finding in campaign["findings"]
        if finding["counts"]
    ]


def judged(clauses: list[ClauseResult]) -> list[ClauseResult]:
    """The clauses that were exercised."""
    return [clause for clause in clauses if clause["verdict"] in _JUDGED]


def core(results: Results) -> tuple[int, int]:
    """(judged, all) of the core's binding clauses that have a test and need nothing.

    (0, 0) for a run that was narrowed on purpose. A wording younger than the runtime's
    contract is not asked of it, nor of the reference runtime what it does not have.
    """
    if results["suite"]["selection"]:
        return 0, 0
    minor = Minor.parse(results["target"]["minor"])
    isolates = results["target"]["isolates"]
    asked = [
        clause
        for clause in results["clauses"]
        if clause["call"] in CORE
        and Level(clause["level"]).binding
        and clause["needs"] == Needs.NOTHING
        and clause["tests"]
        and Minor.parse(clause["since"]) <= minor
        and (isolates or not clause["reason"].startswith(Reason.NOT_ADVERTISED))
    ]
    return len(judged(asked)), len(asked)
