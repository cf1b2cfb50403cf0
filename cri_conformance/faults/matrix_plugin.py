# SPDX-License-Identifier: Apache-2.0
"""The pytest side of the fault matrix: every test of the suite under the faults of its clauses.

``cri_fault`` is a session fixture that everything else depends on, so a parameter of it
gives each fault a connection and shared objects of its own. All that concerns one
fault runs on one worker in one go, the most specific test first; once every clause of
a fault has been named, its other tests have nothing to add and are passed over.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from cri_conformance import records
from cri_conformance.contract.clause import Level
from cri_conformance.contract.register import register
from cri_conformance.faults import sentinels
from cri_conformance.faults.catalogue import faults
from cri_conformance.faults.fault import Fault
from cri_conformance.faults.rows import NONE, Evidence, chosen
from cri_conformance.target import Target, connect
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed
from cri_conformance.wire.runtime import ours, remove

NAME = "cri-conformance-matrix"
#: The file of the walk that follows the tests of every fault.
SENTINELS = Path(__file__).with_name("sentinel_test.py")
#: Stands round the fault in a test's node id, by which the tests are dealt out.
_MARK = "@@"
_BOUND = "cri_bound"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cri")
    group.addoption("--cri-matrix", action="store_true", help="run the suite under seeded faults")
    group.addoption("--cri-matrix-fault", default="", metavar="PATTERN", help="only these faults")
    group.addoption("--cri-matrix-clause", default="", metavar="PATTERN", help="… these clauses")
    group.addoption("--cri-matrix-isolated", action="store_true", help="… those of a real runtime")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.cri_matrix:
        config.pluginmanager.register(Matrix(config), NAME)


class Matrix:
    """Hooks of one process. On the leading one ``evidence`` and ``bound`` fill up."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        option = config.option
        isolated: bool = option.cri_matrix_isolated
        self.faults = chosen(
            faults(), option.cri_matrix_fault, option.cri_matrix_clause, isolated=isolated
        )
        self._by_clause: dict[str, list[str]] = defaultdict(list)
        for fault in self.faults.values():
            for clause in fault.clauses:
                self._by_clause[clause].append(fault.id)
        #: What a real runtime may be warned of by itself: its tests are run without a fault too.
        self._unsure = {
            clause
            for clause in self._by_clause
            if isolated and register()[clause].level is Level.SHOULD
        }
        self.evidence: dict[str, Evidence] = defaultdict(Evidence)
        self.bound: set[str] = set()
        self.problems: list[str] = []
        self._clean: Target | None = None

    # -- collection ------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "cri_fault" not in metafunc.fixturenames:
            return
        if metafunc.definition.path == SENTINELS:
            wanted = list(self.faults)
        else:
            bound = _all_clauses(metafunc)
            self.bound.update(bound)
            wanted = list(dict.fromkeys(f for c in bound for f in self._by_clause.get(c, ())))
            if self._unsure.intersection(bound):
                wanted.append("")
        if wanted:
            ids = [f"{_MARK}{fault or NONE}{_MARK}" for fault in wanted]
            metafunc.parametrize("cri_fault", wanted, ids=ids, indirect=True, scope="session")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            fault = self._fault_of(item)
            bound = records.bound_clauses(item)
            if fault:
                own = set(fault.clauses)
            elif _under_none(item):
                own = self._unsure
            else:
                own = set()
            judges = own.intersection(bound) or (fault and _is_sentinel(item))
            (kept if judges else dropped).append(item)
        if dropped:
            self._config.hook.pytest_deselected(items=dropped)
        order = {fault: n for n, fault in enumerate(self.faults)}
        kept.sort(key=lambda item: (order.get(_fault_id(item), -1), *_specificity(item)))
        items[:] = kept

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

        class ByFault(LoadScopeScheduling):  # type: ignore[misc]
            """One fault's tests stay together: its session fixtures are made once."""

            def _split_scope(self, nodeid: str) -> str:
                # The scheduler sees node ids alone.
                return nodeid.split(_MARK)[1]

        return ByFault(config, log)

    def _fault_of(self, item: pytest.Item) -> Fault | None:
        return self.faults.get(_fault_id(item))

    # -- running ---------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        fault = self._fault_of(item)
        if fault and not _is_sentinel(item) and self.evidence[fault.id].kills(fault):
            pytest.skip("the fault is killed already")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        report = yield
        if (record := getattr(report, "cri", None)) is not None:
            # Plain data: pytest-xdist sends no subclasses of str.
            report.cri = json.loads(json.dumps(record))
        fault = self._fault_of(item)
        if fault or _under_none(item):
            report.cri_fault = fault.id if fault else NONE
            if _is_sentinel(item) and report.when == "call":
                report.cri_findings = item.stash.get(sentinels.FINDINGS, None)
            if hasattr(self._config, "workerinput"):
                # The worker needs to know as well, to pass over what has nothing to add.
                self._take(report)
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        if not hasattr(self._config, "workerinput"):
            self._take(report)

    def _take(self, report: Any) -> None:
        fault = getattr(report, "cri_fault", "")
        if not fault:
            return
        seen = self.evidence[fault]
        if (findings := getattr(report, "cri_findings", None)) is not None:
            seen.findings = findings
            seen.walked = True
        record = getattr(report, "cri", None)
        if record and record["clauses"]:
            seen.add(record)
        elif report.failed:
            seen.troubles.append(str(report.longrepr).strip().splitlines()[-1])

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Remove, past the fault, what could not be removed under it."""
        if fixturedef.argname == "cri_target" and fixturedef.cached_result is not None:
            target = fixturedef.cached_result[0]
            if isinstance(target, Target):
                with contextlib.suppress(SetupFailed, RuntimeGone):
                    self._sweep(target)

    def _sweep(self, target: Target) -> None:
        if self._clean is None:
            self._clean = connect(target.settings, target.facts)
        client, made = self._clean.client, target.workshop.ids
        if not made:
            return
        for lister, remover in (
            ("ListPodSandbox", "RemovePodSandbox"),
            ("ListContainers", "RemoveContainer"),
        ):
            for item in ours(client, target.workshop.run, lister):
                if item.id in made:
                    remove(client, remover, item.id)

    # -- the end ---------------------------------------------------------------------

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problems.append(f"{report.nodeid}: {_last_line(report.longrepr)}")

    def pytest_internalerror(self, excrepr: Any) -> None:
        self.problems.append(f"internal error: {_last_line(excrepr)}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        if self._clean:
            self._clean.client.close()
        if output := getattr(self._config, "workeroutput", None):
            output[_BOUND] = sorted(self.bound)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        if error:
            self.problems.append(f"a worker ended: {error}")
        self.bound.update(getattr(node, "workeroutput", {}).get(_BOUND, ()))


def _all_clauses(metafunc: pytest.Metafunc) -> list[str]:
    """Clauses that a test function is bound to, by itself or by any of its parameters."""
    found = [name for mark in metafunc.definition.iter_markers("clause") for name in mark.args]
    for parametrize in metafunc.definition.iter_markers("parametrize"):
        values = parametrize.kwargs.get("argvalues", parametrize.args[1:2] and parametrize.args[1])
        for value in values or ():
            for mark in getattr(value, "marks", ()):
                if mark.name == "clause":
                    found += mark.args
    return list(dict.fromkeys(found))


def _fault_id(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("cri_fault", "")) if callspec else ""


def _under_none(item: pytest.Item) -> bool:
    """Whether a test is run without a fault, for comparison."""
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("cri_fault") == ""


def _is_sentinel(item: pytest.Item) -> bool:
    return item.path == SENTINELS


def _specificity(item: pytest.Item) -> tuple[bool, int, str]:
    return _is_sentinel(item), len(records.bound_clauses(item)), item.nodeid


def _last_line(text: object) -> str:
    return next((line for line in reversed(str(text).splitlines()) if line.strip()), "")
