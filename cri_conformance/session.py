# SPDX-License-Identifier: Apache-2.0
"""The pytest hooks of a run that judges a runtime.

On the process that leads (the only one without pytest-xdist) the runtime is prepared
before the first test and everything of ours removed after the last; what comes of it
``reporting.py`` makes a report of. Workers get the facts as plain data.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cri_conformance import header, records, settings, told_once
from cri_conformance.bindings import SUITE
from cri_conformance.contract import expectations
from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect.explore import Depth
from cri_conformance.expect.judge import Rules
from cri_conformance.expect.violation import NotExercised, SuiteMistake
from cri_conformance.following import Following
from cri_conformance.leaving import Leaving, heed, starting_others
from cri_conformance.report import campaigns
from cri_conformance.report.exit import INTERRUPTED
from cri_conformance.report.load import ResultsError
from cri_conformance.report.schema import FORGOTTEN
from cri_conformance.report.text import one_line
from cri_conformance.reporting import BOUND, LATENCIES, Reporting
from cri_conformance.selection import selected
from cri_conformance.target import Facts, Preparation, Target, TargetError, of_option
from cri_conformance.told_once import ToldOnce
from cri_conformance.wire import endpoint
from cri_conformance.wire.leaks import Leaks
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed

NAME = "cri-conformance-session"
#: What is run in place of the suite with --cri-fuzz.
CAMPAIGN = SUITE / "campaign.py"
#: Seconds that a campaign may go on beyond its time, to shrink and to clean up, before it is cut.
_AFTERWARDS = 900
#: Seconds in which nothing of an ordinary run's is left on the host.
_LEAKS_WITHIN = 2.0
#: Seconds one test of the suite may take, as a last resort: its calls have deadlines of their own.
TEST_TIMEOUT = {"gate": 300, "nightly": 7200}

#: With more than so many clauses a test is named by their number.
_CLAUSES_IN_NAME = 3

#: Characters of a line of progress: an error of the runtime's may be long.
_LINE = 1000
_FACTS = "cri_facts"
_SEED = "cri_seed"


def session_of(config: pytest.Config) -> Session:
    """The judging session of a run with an endpoint."""
    session = config.pluginmanager.get_plugin(NAME)
    assert isinstance(session, Session), "fixtures are registered together with the session"
    return session


def make(config: pytest.Config) -> Session:
    """The session as the options have it. Raises pytest.UsageError."""
    try:
        return Session(config)
    except expectations.ExpectationsError as error:
        raise pytest.UsageError(f"--cri-expectations: {error}") from None
    except ResultsError as error:
        raise pytest.UsageError(f"--cri-baseline: {error}") from None


def _ready_to_write(option: str, folder: Path) -> None:
    """Make a folder, and see that files can be made in it. Raises pytest.UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        told = f"{option}: {folder} can't be made, or be written to: {error.strerror}"
        raise pytest.UsageError(told) from None


class SuiteModule(pytest.Module):
    """A file of the suite. Its tests are named our way, however the user's own are."""

    def funcnamefilter(self, name: str) -> bool:
        return name.startswith("test_")


class Session:
    """Hooks and state of one judging run in one process."""

    def __init__(self, config: pytest.Config) -> None:
        self.settings = settings.read(config)
        self.target: Target | None = None
        self.facts: Facts
        self.rules: Rules
        self._config = config
        named = self.settings.expectations
        self._expectations = expectations.find(named, register()) if named else None
        #: The expectations that are about this runtime in its version.
        self.known = expectations.NONE
        self._bound: dict[str, list[str]] = defaultdict(list)
        self._preparation: Preparation | None = None
        self._host_before: Leaks | None = None
        #: None in a worker.
        self._reporting = Reporting(config, self.settings, self._bound) if self.leads else None
        self._leftovers: list[str] = []
        self._others: list[str] = []
        #: Whether we say which process of -n runs what: the user has not.
        self._schedules = False
        self._session: pytest.Session | None = None
        self._leaving = Leaving(self._stop, self._leave_at_once, self._leave_by_force)
        #: Of a campaign by several processes.
        self._following: Following | None = None
        self.matrix = bool(getattr(config.option, "cri_matrix", False))

    # -- start -----------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Whether this process prepares the runtime and reports (is no xdist worker)."""
        return not hasattr(self._config, "workerinput")

    @property
    def depth(self) -> Depth:
        """How hard tests look in this run."""
        database = None
        if self.settings.nightly:
            kind = f"{self.facts.runtime_name}-{self.facts.runtime_version}".replace("/", "-")
            database = Path(".hypothesis") / "cri-conformance" / kind
        return Depth(self.settings.seed, self.settings.nightly, self.matrix, database)

    def fault_session(self, fault: str) -> str:
        """The gRPC metadata value that switches a fault on for this process alone."""
        return f"{fault}@{self.facts.run_nonce}-{records.worker_of(self._config)}"

    def pytest_configure(self, config: pytest.Config) -> None:
        if self.settings.fuzz:
            self._configure_campaign(config)
        elif config.args_source is not pytest.Config.ArgsSource.ARGS:
            # Our folder, whatever python_files says. (File by file, pytest would make a module of
            # each of them for each.)
            config.args[:] = [str(SUITE)]
            config.addinivalue_line("python_files", f"{SUITE}/test_*.py")
        option = config.option
        if getattr(option, "dist", "no") == "load" and not self.settings.fuzz:
            # Tests of one file share costly objects, which are then made once.
            option.dist = "loadfile"
            self._schedules = True

    def _configure_campaign(self, config: pytest.Config) -> None:
        from cri_conformance.fuzz.modes import UnknownMode, chosen

        if config.args_source is pytest.Config.ArgsSource.ARGS and not hasattr(
            config, "workerinput"
        ):
            raise pytest.UsageError("--cri-fuzz runs by itself: leave out the paths of tests")
        try:
            chosen(self.settings.fuzz_modes)
        except UnknownMode as error:
            raise pytest.UsageError(f"--cri-fuzz-modes: {error}") from None
        config.args[:] = [str(CAMPAIGN)]

    def say(self, line: str) -> None:
        """Write a line on the terminal in the midst of a test."""
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            self._write_line(line)

    def _write_line(self, line: str) -> None:
        terminal_reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal_reporter is None or not self.leads or self._config.get_verbosity() < -1:
            return
        terminal_reporter.ensure_newline()
        terminal_reporter.write_line(f"cri-fuzz: {one_line(line, _LINE)}")

    def progress_file(self, worker: str) -> Path:
        """Where a process of a campaign keeps its last state."""
        return campaigns.file(self.settings.report, worker)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Generator[None, None, None]:
        if not self._config.option.collectonly:
            self._start(session)
        if not self.leads:
            heed()
            return (yield)
        # Workers of pytest-xdist are.
        with starting_others():
            return (yield)

    def _start(self, session: pytest.Session) -> None:
        self._session = session
        seconds = self.settings.run_timeout if self.leads else 0.0
        self._leaving.watch(seconds, f"the run took longer than --cri-run-timeout={seconds:g}")
        if self._reporting:
            self._prepare()
            self._reporting.begin(self.facts, self.known, self._leftovers)
            if not self.matrix:
                self._config.pluginmanager.register(ToldOnce(), told_once.NAME)
            if self.settings.fuzz and getattr(self._config.option, "dist", "no") != "no":
                self._following = Following(self.settings.report, self._write_line)
                self._following.begin()
        else:
            worker_input: dict[str, Any] = self._config.workerinput  # type: ignore[attr-defined]
            self.facts = Facts(**worker_input[_FACTS])
            self.settings = replace(self.settings, seed=worker_input[_SEED])
            self.known = self._expected()
        self.rules = Rules(
            register=register(),
            minor=Minor.parse(self.facts.minor),
            strict=self.settings.strict,
            known={name: known.reason for name, known in self.known.entries.items()},
            selected=selected(self.settings),
        )

    def _prepare(self) -> None:
        """Find the runtime and make it ready. Raises pytest.UsageError; nothing is left then."""
        selected(self.settings)
        _ready_to_write("--cri-report", self.settings.report)
        if self.settings.fuzz:
            _ready_to_write("--cri-fuzz-dir", self.settings.fuzz_dir)
        campaigns.clear(self.settings.report)
        preparation = Preparation(self.settings, faults=self.matrix, pulls=self._runs_suite())
        try:
            self.facts = preparation.__enter__().facts
            self.known = self._expected()
            self._leftovers, self._others = preparation.look()
            self._host_before = Leaks(self.facts.host_root, self.facts.log_root)
        except (TargetError, RuntimeGone) as error:
            preparation.__exit__()
            raise pytest.UsageError(of_option(self.settings.endpoint, error)) from None
        except BaseException:
            preparation.__exit__()
            raise
        self._preparation = preparation

    def _runs_suite(self) -> bool:
        """Whether tests of ours are run, not those of a vendor alone."""
        here = self._config.invocation_params.dir
        paths = ((here / arg.partition("::")[0]).resolve() for arg in self._config.args)
        return any(path.is_relative_to(SUITE.parent) for path in paths)

    def _expected(self) -> expectations.Applied:
        """What is expected of this runtime. Raises pytest.UsageError."""
        if self._expectations is None:
            return expectations.NONE
        try:
            return self._expectations.at(
                self.facts.runtime_name,
                self.facts.runtime_version,
                campaign=bool(self.settings.fuzz),
            )
        except expectations.ExpectationsError as error:
            raise pytest.UsageError(f"--cri-expectations: {error}") from None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        if not self._schedules or self.matrix:
            return None
        from cri_conformance.scheduling import Scheduling

        return Scheduling(config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[_FACTS] = self.facts.plain()
        node.workerinput[_SEED] = self.settings.seed

    def pytest_report_header(self) -> list[str]:
        if self._preparation is None:
            return []
        return header.lines(
            self._config, self.settings, self.facts, self.known, self._leftovers, self._others
        )

    # -- collection ------------------------------------------------------------------

    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> pytest.Module | None:
        if not module_path.is_relative_to(SUITE):
            return None
        # Outside of the user's folder pytest would leave the file out of the node id: then tests
        # could not be told apart by it, and pytest-xdist would take them all for one file's.
        node_id = f"{SUITE.parent.name}/{SUITE.name}/{module_path.name}"
        made: pytest.Module = SuiteModule.from_parent(parent, path=module_path, nodeid=node_id)
        return made

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makeitem(self) -> Generator[None, Any, Any]:
        made = yield
        for item in made if isinstance(made, list) else ():
            unknown = [clause for clause in records.bound_clauses(item) if clause not in register()]
            if unknown:
                raise pytest.Collector.CollectError(
                    f"{item.nodeid} is bound to clauses that the contract has not: "
                    f"{', '.join(unknown)} (see: cri-conformance clauses)"
                )
        return made

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Put the clauses of a test into its name, where people and JUnit look."""
        ids = [name for mark in metafunc.definition.iter_markers("clause") for name in mark.args]
        if metafunc.definition.path == CAMPAIGN:
            # One for each process, with seeds of its own.
            processes = getattr(self._config, "workerinput", {}).get("workercount") or getattr(
                self._config.option, "numprocesses", 0
            )
            metafunc.parametrize("part", range(int(processes or 1)))
        if ids and "judge" in metafunc.fixturenames and "cri_clauses" in metafunc.fixturenames:
            few = len(ids) <= _CLAUSES_IN_NAME
            label = " ".join(ids) if few else f"{len(ids)} clauses"
            metafunc.parametrize("cri_clauses", [tuple(ids)], ids=[label])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        # Before anything is deselected: a clause whose tests are left out has tests all the same.
        for item in items:
            for clause in records.bound_clauses(item):
                self._bound[clause].append(records.node_id(item))
        yield
        self._deselect(items)

    def _deselect(self, items: list[pytest.Item]) -> None:
        """Leave out the tests of clauses that the options leave out."""
        chosen = selected(self.settings)
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            clauses = records.bound_clauses(item)
            campaign = item.path == CAMPAIGN
            wanted = chosen is None or campaign or bool(chosen.intersection(clauses))
            if campaign and self.settings.fuzz:
                seconds = (self.settings.fuzz.seconds or 24 * 3600) + _AFTERWARDS
                item.add_marker(pytest.mark.timeout(seconds))
            (kept if wanted else dropped).append(item)
            if clauses and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(TEST_TIMEOUT[self.settings.depth]))
        if dropped:
            self._config.hook.pytest_deselected(items=dropped)
            items[:] = kept

    # -- tests -----------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        item.stash[records.LOG_POSITION] = records.log_position(self.settings.runtime_log)
        if self.settings.shared_node and (what := records.disturbs(item)):
            raise NotExercised(Reason.SWITCHED_OFF, f"--cri-shared-node ({', '.join(what)})")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        failed_early = call.when != "call" and call.excinfo is not None
        ours = item.path.is_relative_to(SUITE)
        report.cri_foreign = not ours  # type: ignore[attr-defined]
        error = call.excinfo.value if call.excinfo else None
        gone = records.has_cause(error, RuntimeGone)
        # A vendor's own test is pytest's business, unless it judges, or our fixtures failed it.
        told = ours or records.bound_clauses(item) or gone
        told = told or records.has_cause(error, SetupFailed, SuiteMistake)
        if (call.when == "call" or failed_early) and told:
            records.attach(item, call, report, self.settings, self.target, ours=ours)
        if gone and not self.matrix:
            item.session.shouldstop = "the runtime is gone"
        return report

    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, str] | None:
        record = getattr(report, "cri", None)
        if record and record["outcome"] == "passed":
            if any(c["verdict"] == "known" for c in record["clauses"]):
                return "known", "k", "KNOWN"
            if any(c["verdict"] == "warned" for c in record["clauses"]):
                return "warned", "w", "WARNED"
        return None

    # -- end -------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        self._leaving.ending()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, None, None]:
        """After all others, and whatever becomes of them: nothing of ours stays behind."""
        self._leaving.ending()
        if self._following:
            self._following.end()
        gone = ""
        try:
            yield
        except (RuntimeGone, SetupFailed) as error:
            # Fixtures that last for the run are ended here after an interrupt, and no test is
            # there to tell that their objects could not be removed.
            gone = one_line(str(error), 2000)
        finally:
            self._finish(session, exitstatus, gone)

    def pytest_unconfigure(self) -> None:
        self._leaving.end()
        # A plugin that fails at the start of the session keeps pytest from finishing it.
        if self._preparation is not None:
            self._preparation.__exit__()

    def _stop(self, why: str) -> None:
        """Asked for by a signal ("") or the watchdog: also if something swallows the interrupt."""
        told = why or INTERRUPTED
        if self._reporting:
            told = self._reporting.stop(told)
        if self._session is not None:
            self._session.shouldstop = told

    def _leave_at_once(self) -> None:
        """A second signal: nothing is removed, and nothing written that is not there already."""
        if self._reporting is None or self._preparation is None:
            return
        lines = ["left at once: what this run made may still be there"]
        if self.settings.endpoint != endpoint.REFERENCE:
            lines.append(f"remove it with: {self.facts.sweep_command}")
        self._say([*lines, *self._reporting.at_once_lines()])

    def _leave_by_force(self, why: str) -> int:
        """The end in good order does not come, and this is no longer the main thread."""
        if self._reporting is None or self._preparation is None:
            return int(pytest.ExitCode.INTERRUPTED)
        stopped = self._reporting.stop(why)
        objects = "what this run made, as it had to be ended by force"
        status = self._reporting.end(int(pytest.ExitCode.INTERRUPTED), [objects], self._latencies())
        lines = [f"ended by force: {stopped}", *self._reporting.end_lines()]
        if self.settings.endpoint != endpoint.REFERENCE:
            lines.append(f"remove what is left with: {self.facts.sweep_command}")
        self._say(lines)
        return status

    def _say(self, lines: list[str]) -> None:
        """Say something although pytest may have taken stdout and stderr away."""
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if capture is not None:
            with contextlib.suppress(Exception):
                capture.suspend_global_capture()
        text = "".join(f"cri: {line}\n" for line in lines)
        with contextlib.suppress(OSError):
            os.write(2, f"\n{text}".encode(errors="backslashreplace"))

    def _finish(self, session: pytest.Session, exitstatus: int, gone: str) -> None:
        if self._reporting is None:
            output: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined]
            output[BOUND] = dict(self._bound)
            output[LATENCIES] = self._latencies()
            return
        if self._preparation is None:
            return
        try:
            with self._leaving.breakable():
                if gone:
                    left = [f"what this run made: {gone}"]
                else:
                    # What is still there after an interrupt goes first: it has files open.
                    left = self._preparation.clean()
                    left += self._leaks()
        except KeyboardInterrupt:
            # Stopped only now, by a person or the watchdog: the report is written all the same.
            left = ["what was not yet removed when it was stopped"]
        self._preparation.__exit__()
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            self._reporting.stop(INTERRUPTED)
        self._reporting.stop(str(session.shouldfail or session.shouldstop or ""))
        session.exitstatus = self._reporting.end(int(exitstatus), left, self._latencies())

    def _latencies(self) -> dict[str, Any]:
        """How long this process's calls took."""
        return self.target.client.history.latencies.plain() if self.target else {}

    def _leaks(self) -> list[str]:
        """What the runtime has forgotten on its host of what is gone, in words."""
        quiet = self._reporting is None or not self._reporting.heard
        if self._host_before is None or quiet or self.matrix:
            return []
        found = self._host_before.left(frozenset(), within=_LEAKS_WITHIN)
        return [f"{FORGOTTEN}{line}" for line in found]
