# SPDX-License-Identifier: Apache-2.0
"""How a run ended: in one word for people, in one number for whatever started it.

=  ===========  ==================================================================
0  HELD         everything that was judged held, but for what is known
1  BROKEN       a clause is broken, an expectation is stale, or what is claimed is missing
2  INTERRUPTED  pytest's own, as are 3 (internal error) and 4 (usage)
5  NOTHING      no clause was judged
6  NO_VERDICT   the environment or the runtime failed where nothing was judged
7  MISTAKE      the suite is wrong, which says nothing of the runtime
8  INCOMPLETE   less was judged than the profiles need
=  ===========  ==================================================================
"""

from __future__ import annotations

from enum import IntEnum

import pytest

from cri_conformance.report.findings import distinct
from cri_conformance.report.profiles import JUDGED
from cri_conformance.report.schema import ClauseResult, Finding, Results

#: What ``suite.stopped`` begins with when a person stopped the run.
INTERRUPTED = "interrupted"


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
    gone = results["suite"]["stopped"] and not _interrupted(results)
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
    if _interrupted(results):
        return Ending.INTERRUPTED
    missing = any(profile["missing"] for profile in results["profiles"])
    bad = results["summary"]["broken"] or results["stale"] or missing or failures(results)
    blamed = {test["blame"] for test in results["tests"]}
    # A crash, a hang or a leak is tied to no clause.
    if bad or "runtime" in blamed:
        return Ending.BROKEN
    if "suite" in blamed:
        return Ending.MISTAKE
    complete = results["suite"]["complete"]
    if "environment" in blamed or (results["suite"]["stopped"] and not complete):
        return Ending.NO_VERDICT
    # Of broken messages and the like no clause speaks: a campaign may judge without any.
    looked = any(campaign["steps"] for campaign in results["campaigns"])
    if not judged(results["clauses"]) and not looked:
        return Ending.NOTHING
    short = any(profile["short"] for profile in results["profiles"])
    # A clause without a verdict that nobody is to blame for: its test skipped itself.
    if not complete or results["summary"]["error"] or short:
        return Ending.INCOMPLETE
    return Ending.HELD


def failures(results: Results) -> list[Finding]:
    """What campaigns found that fails the run, each once."""
    return [finding for finding in distinct(results["campaigns"]) if finding["counts"]]


def known(results: Results) -> list[Finding]:
    """What campaigns found that would, if it were not expected, each once."""
    found = distinct(results["campaigns"])
    return [one for one in found if one["reason"] and one["kind"] != "open"]


def _interrupted(results: Results) -> bool:
    """Whether a person stopped the run; more may follow the word."""
    return results["suite"]["stopped"].startswith(INTERRUPTED)


def judged(clauses: list[ClauseResult]) -> list[ClauseResult]:
    """The clauses that were exercised."""
    return [clause for clause in clauses if clause["verdict"] in JUDGED]
