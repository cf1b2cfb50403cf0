# SPDX-License-Identifier: Apache-2.0
"""What the leading process makes of a run: records as they come, the report at the end.

The only process without pytest-xdist leads too. Workers run tests and know none of this.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import cri_conformance
from cri_conformance import records
from cri_conformance.contract import expectations
from cri_conformance.contract.profiles import NAMES
from cri_conformance.contract.register import register
from cri_conformance.report import campaigns, folder, github, journal, junit, load, terminal
from cri_conformance.report import exit as exit_codes
from cri_conformance.report.collect import Collector
from cri_conformance.report.environment import environment
from cri_conformance.report.journal import Journal
from cri_conformance.report.schema import EARLIER, Results
from cri_conformance.settings import Settings
from cri_conformance.target import Facts

NAME = "cri-conformance-reporting"
#: What a worker sends when it ends: clause id → node ids, and how long its calls took.
BOUND, LATENCIES = "cri_bound", "cri_latencies"


class Reporting:
    """Hooks and state of the process that reports."""

    def __init__(self, config: pytest.Config, settings: Settings, bound: dict[str, list[str]]):
        """``bound`` (clause id → node ids) is filled while tests are collected.

        Raises ResultsError for a baseline that can't be read.
        """
        self.results: Results | None = None
        #: Why the run ended before its time; "" for its own end.
        self.stopped = ""
        self._config = config
        self._settings = settings
        self._bound = bound
        #: Node ids of the tests that are to run: what was deselected is not cut short.
        self._chosen: set[str] = set()
        self._baseline = load.load(settings.baseline) if settings.baseline else None
        self._started = time.time()
        self._facts: Facts
        self._collector: Collector
        self._leftovers: list[str] = []
        self._journal: Journal | None = None
        self._problem = ""
        #: Whether any test has said something.
        self.heard = False
        #: Whether tests that are not the suite's failed, or passed: a vendor's, on our fixtures.
        self._foreign_failed = self._foreign_passed = False
        self._foreign: list[junit.Foreign] = []

    def begin(self, facts: Facts, known: expectations.Applied, leftovers: list[str]) -> None:
        """The runtime is there. What is found goes into a file at once; an earlier report goes.

        ``leftovers`` are objects of earlier runs, in words.
        """
        self._facts = facts
        self._leftovers = [f"{EARLIER}{what}" for what in leftovers]
        source = str(self._settings.baseline or "")
        self._collector = Collector(
            register(), self._bound, known, self._baseline, source, self._chosen
        )
        where = self._settings.report
        folder.clear(where)
        try:
            begin = {
                "suite": self._about_suite(complete=False),
                "target": self._about_target(),
                "environment": environment(),
                "leftovers": self._leftovers,
                "owner": facts.run_owner,
            }
            self._journal = Journal(where / journal.NAME, begin)
        except OSError as error:
            # Told at the end too, if it still can't be written.
            self._problem = f"the report can't be written to {where}: {error.strerror}"
        # From now on there is something to fold records into.
        self._config.pluginmanager.register(self, NAME)

    # -- what comes ------------------------------------------------------------------

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._choose(records.node_id(item) for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        # Behind an id pytest-xdist may have put a group.
        self._choose(name for id_ in ids for name in (id_, id_.rpartition("@")[0] or id_))

    def _choose(self, tests: Iterable[str]) -> None:
        """Once: all workers collect the same."""
        if not self._chosen:
            self._chosen.update(tests)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        record = getattr(report, "cri", None)
        if record:
            self.heard = True
            self._collector.add(record)
            if self._journal is not None:
                self._journal.add(record, time.time() - self._started)
            if record["blame"] == "environment" and "no longer answers" in record["message"]:
                self.stopped = record["message"]
        if getattr(report, "cri_foreign", False):
            self._add_foreign(report, record)

    def _add_foreign(self, report: pytest.TestReport, record: dict[str, Any] | None) -> None:
        self._foreign_failed |= report.failed and not (record and record["blame"])
        self._foreign_passed |= report.passed and report.when == "call" and not record
        if not record and (report.when == "call" or not report.passed):
            self._foreign.append(
                junit.Foreign(
                    test=report.nodeid,
                    seconds=report.duration,
                    outcome=report.outcome,
                    details=report.longreprtext,
                )
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker ended: what it collected, which this process did not."""
        output: dict[str, Any] = getattr(node, "workeroutput", {})
        self._bound.update(output.get(BOUND, {}))
        self._collector.add_latencies(output.get(LATENCIES, {}))

    # -- the end ---------------------------------------------------------------------

    def stop(self, why: str) -> str:
        """The run is to end early; the reason that counts, which is the first."""
        self.stopped = self.stopped or why
        return self.stopped

    def end(self, exitstatus: int, left: Iterable[str], latencies: dict[str, Any]) -> int:
        """Write the report; the run's exit status.

        ``left``: what could not be removed. ``latencies``: of this process's own calls.
        """
        status = self._write(exitstatus, left, latencies)
        assert self.results is not None
        if self._foreign_passed and not self.results["tests"]:
            # They were given fixtures, and asked for no verdict on any clause.
            status = exitstatus
        if self._foreign_failed and status not in (1, 2, 3, 4):
            status = int(pytest.ExitCode.TESTS_FAILED)
        return status

    def _write(self, exitstatus: int, left: Iterable[str], latencies: dict[str, Any]) -> int:
        self._collector.add_latencies(latencies)
        played = campaigns.read(self._settings.report)
        self.stopped = self.stopped or next(filter(None, (one["stopped"] for one in played)), "")
        self.results = self._collector.results(
            self._about_suite(complete=not self.stopped),
            self._about_target(),
            environment(),
            [*self._leftovers, *left],
            played,
        )
        where = self._settings.report
        try:
            folder.write(self.results, where, self._foreign)
            self._problem = ""
        except OSError as error:
            self._problem = f"the report can't be written to {where}: {error.strerror}"
        step_summary = os.environ.get("GITHUB_STEP_SUMMARY", "")
        if step_summary and not self._matrix:
            from cri_conformance.report import markdown

            with contextlib.suppress(OSError):
                markdown.append(self.results, Path(step_summary))
        if self._journal is not None:
            self._journal.close(remove=not self._problem)
            self._journal = None
        return exit_codes.status(self.results, exitstatus)

    @property
    def _matrix(self) -> bool:
        return bool(getattr(self._config.option, "cri_matrix", False))

    # -- what is said ----------------------------------------------------------------

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.results is None:
            return
        terminalreporter.section("contract")
        verbose = self._config.get_verbosity()
        for line, markup in terminal.summary_lines(self.results, verbose):
            terminalreporter.write_line(line, **markup)
        *_, where = self.end_lines()
        terminalreporter.write_line(where, red=bool(self._problem))
        if os.environ.get("GITHUB_ACTIONS") == "true" and not self._matrix:
            for line in github.lines(self.results):
                terminalreporter.write_line(line)

    def end_lines(self) -> list[str]:
        """What the run came to in one line, and where its report is."""
        assert self.results is not None
        where = self._problem or f"report: {self._settings.report / folder.PAGE}"
        return [terminal.said(self.results)[0], where]

    def at_once_lines(self) -> list[str]:
        """What to say where no report is written any more."""
        if self._journal is None:
            return []
        where = shlex.quote(str(self._settings.report))
        return [f"see what was found with: cri-conformance report {where}"]

    def _about_suite(self, *, complete: bool) -> dict[str, Any]:
        chosen = self._settings
        selection = {
            "clause": chosen.clause,
            "levels": sorted(chosen.levels),
            "keyword": self._config.option.keyword,
            "markexpr": self._config.option.markexpr,
            "fuzz": str(chosen.fuzz or ""),
            "shared_node": chosen.shared_node,
            "paths": []
            if self._config.args_source is not pytest.Config.ArgsSource.ARGS
            else list(self._config.args),
        }
        return {
            "version": cri_conformance.__version__,
            "depth": chosen.depth,
            "seed": chosen.seed,
            "strict": chosen.strict,
            "selection": {key: value for key, value in selection.items() if value},
            "command": shlex.join(["pytest", *sys.argv[1:]]),
            "workers": int(getattr(self._config.option, "numprocesses", 0) or 1),
            "started": datetime.fromtimestamp(self._started, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self._started, 3),
            "complete": complete,
            "stopped": self.stopped,
            "as_of": chosen.as_of,
            "profiles": [name for name in NAMES if name in chosen.profiles],
        }

    def _about_target(self) -> dict[str, Any]:
        plain = self._facts.plain()
        keys = (
            "image_endpoint",
            "runtime_name",
            "runtime_version",
            "runtime_api_version",
            "minor",
            "minor_source",
            "isolates",
            "handler",
            "image",
            "status",
            "info",
        )
        return {"endpoint": self._settings.endpoint, **{key: plain[key] for key in keys}}
