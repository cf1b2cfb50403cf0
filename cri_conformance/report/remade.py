# SPDX-License-Identifier: Apache-2.0
"""The report of a run that did not come to write it, from what it wrote as it went."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cri_conformance.contract.narrowing import narrowed
from cri_conformance.contract.register import register
from cri_conformance.report import campaigns, journal
from cri_conformance.report.collect import Collector
from cri_conformance.report.exit import INTERRUPTED
from cri_conformance.report.load import load
from cri_conformance.report.schema import Results

STOPPED = f"{INTERRUPTED}: the run was killed, or goes on"


def results(folder: Path, bound: Callable[[], dict[str, list[str]]]) -> Results:
    """Of the folder of a report. Raises JournalError, ResultsError.

    Of a run that came to its end only the page and its like are made again.
    ``bound`` is asked which tests are bound to which clauses: a run knows it only at its end.
    """
    path = folder / journal.NAME
    if not path.exists():
        return load(folder)
    read = journal.read(path)
    suite, tests = read.begin["suite"], bound()
    selection = suite["selection"]
    clauses = narrowed(
        register(),
        selection.get("clause", ""),
        selection.get("levels", ()),
        suite["profiles"],
        suite["as_of"],
    )
    chosen = {test for clause in clauses for test in tests.get(clause, ())}
    collector = Collector(register(), tests, {}, chosen=chosen)
    for record in read.tests:
        collector.add(record)
    about = {**suite, "seconds": read.seconds, "stopped": STOPPED}
    return collector.results(
        about,
        read.begin["target"],
        read.begin["environment"],
        read.begin["leftovers"],
        campaigns.read(folder),
    )
