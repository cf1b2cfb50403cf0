# SPDX-License-Identifier: Apache-2.0
"""From what the tests say to what can be said of each clause.

Pure: records in, one document out. The order in which records come in does not
show, as with several workers it is another one in each run.
"""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple, cast

from cri_conformance.api.descriptors import descriptor_set
from cri_conformance.contract.ages import younger
from cri_conformance.contract.clause import Clause
from cri_conformance.contract.expectations import NONE, Applied, Expectation
from cri_conformance.contract.profiles import profile_of
from cri_conformance.contract.register import Register
from cri_conformance.contract.verdict import ClauseRecord, Reason, Verdict, untested, worst
from cri_conformance.report.baseline import against
from cri_conformance.report.findings import of_clauses
from cri_conformance.report.profiles import AS_OF, evaluate
from cri_conformance.report.schema import (
    SCHEMA_VERSION,
    Campaign,
    ClauseResult,
    Environment,
    Expected,
    LifecycleRow,
    Overdue,
    Results,
    Suite,
    Summary,
    Target,
    TestRecord,
)
from cri_conformance.report.text import one_line
from cri_conformance.report.tree import call_of, homes, message_of
from cri_conformance.wire.latency import merged


class Found(NamedTuple):
    """What one test found of a clause."""

    test: str
    record: ClauseRecord


class Collector:
    """Takes the records of a run, one by one, and folds them into a verdict for each clause."""

    def __init__(
        self,
        register: Register,
        bound: Mapping[str, list[str]],
        expectations: Mapping[str, Expectation] | Applied,
        baseline: Results | None = None,
        baseline_source: str = "",
        chosen: Container[str] = (),
    ) -> None:
        """``bound`` (clause id → node ids) is read at the end, so it may still be filled.

        So is ``chosen``: the tests that were to run, as far as that is known.
        """
        self._register = register
        self._bound = bound
        if not isinstance(expectations, Applied):
            expectations = Applied("given", expectations) if expectations else NONE
        self._applied = expectations
        self._expectations = expectations.entries
        self._baseline = baseline
        self._baseline_source = baseline_source
        self._chosen = chosen
        self._tests: list[TestRecord] = []
        self._latencies: list[Mapping[str, Any]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """The record of one test, as it came on the test's report."""
        self._tests.append(cast("TestRecord", dict(record)))

    def add_latencies(self, plain: Mapping[str, Any]) -> None:
        """How long the calls of one process took (``Latencies.plain``)."""
        self._latencies.append(plain)

    def results(
        self,
        suite: Mapping[str, object],
        target: Mapping[str, object],
        environment: Mapping[str, object],
        leftovers: Iterable[str],
        campaigns: Iterable[Mapping[str, Any]] = (),
    ) -> Results:
        """The whole document. ``leftovers`` names objects of ours that are still there,
        ``campaigns`` are those of the processes of this run."""
        tests = sorted(self._tests, key=lambda record: record["test"])
        found: dict[str, list[Found]] = defaultdict(list)
        for test in tests:
            for record in test["clauses"]:
                found[record["clause"]].append(Found(test["test"], record))
        about = cast("Suite", dict(suite))
        spoke = {test["worker"] for test in tests}
        played = []
        for campaign in map(dict, campaigns):
            # Where the test of a campaign does not come to speak, as it was interrupted, its file
            # does.
            records = campaign.pop("clauses", ())
            name = f"campaign {campaign['worker']}".rstrip()
            for record in records if campaign["worker"] not in spoke else ():
                found[record["clause"]].append(Found(name, record))
            played.append(cast("Campaign", campaign))
        where = homes(descriptor_set())
        clauses = [
            self._clause(clause, found[clause.id], about, where)
            for clause in self._register.clauses.values()
        ]
        _as_found(clauses, played)
        stale = [
            clause["id"]
            for clause in clauses
            if clause["id"] in self._expectations
            # A campaign goes by chance: what it did not meet proves nothing.
            and not played
            # What breaks now and then may hold now.
            and not clause["flaky"]
            and held_throughout(clause, found[clause["id"]])
        ]
        about_target = cast("Target", dict(target))
        return Results(
            schema_version=SCHEMA_VERSION,
            suite=about,
            target=about_target,
            environment=cast("Environment", dict(environment)),
            summary=_summary(clauses, stale),
            clauses=clauses,
            stale=stale,
            leftovers=list(leftovers),
            tests=tests,
            lifecycle=_lifecycle(tests),
            campaigns=played,
            latencies=merged(self._latencies),
            expectations=_expected(self._applied),
            profiles=evaluate(clauses, about, about_target),
            baseline=against(clauses, self._baseline, self._baseline_source),
        )

    def _clause(
        self, clause: Clause, found: list[Found], suite: Suite, where: dict[str, str]
    ) -> ClauseResult:
        verdict = worst(Verdict(one.record["verdict"]) for one in found)
        # The same test speaks for the clause in every run: the first by its name.
        spoken = next((one.record for one in found if one.record["verdict"] == verdict), None)
        bound = self._bound.get(clause.id, [])
        chosen = any(test in self._chosen for test in bound)
        reason = spoken["reason"] if spoken else _unspoken(clause, bool(bound), chosen, suite)
        profile = profile_of(clause.element)
        if verdict is Verdict.NOT_EXERCISED and bound:
            reason = _left_out(clause, profile, suite) or reason
        expected = self._expectations.get(clause.id)
        return ClauseResult(
            id=clause.id,
            element=clause.element,
            call=call_of(clause.element, self._register, where),
            message=message_of(clause.element, self._register),
            level=str(clause.level),
            kind=str(clause.kind),
            since=str(clause.since),
            needs=str(clause.needs),
            text=clause.text,
            source=clause.source,
            evidence=clause.evidence,
            verdict=str(verdict),
            reason=one_line(reason),
            permitted=spoken["permitted"] if spoken else "",
            actual=spoken["actual"] if spoken else "",
            tests=sorted({*bound, *(one.test for one in found)}),
            link=expected.link if expected and verdict is Verdict.KNOWN else "",
            profile=profile,
            came=clause.came,
            flaky=expected.flaky if expected else "",
        )


def _as_found(clauses: list[ClauseResult], played: list[Campaign]) -> None:
    """Of a campaign's findings the first speaks, as it was made smaller: its calls are told."""
    findings = of_clauses(played)
    for clause in clauses:
        if clause["verdict"] in (Verdict.BROKEN, Verdict.WARNED) and clause["id"] in findings:
            first = findings[clause["id"]][0]
            clause["permitted"], clause["actual"] = first["permitted"], first["actual"]


def _unspoken(clause: Clause, bound: bool, chosen: bool, suite: Suite) -> str:
    """Why no test spoke of a clause. ``chosen``: one was to run."""
    if suite["selection"].get("fuzz"):
        if not suite["complete"]:
            before = "the run ended before the campaign came by it"
            return f"{before}: {suite['stopped']}".rstrip(": ")
        return f"{Reason.SWITCHED_OFF}: the campaign did not come by it"
    unknown = not bound and untested(clause.needs) is Reason.UNTESTED
    if unknown and suite["selection"].get("paths"):
        return f"{Reason.SWITCHED_OFF}: not among the tests that were named"
    # The processes of -n tell at their end what their tests are about.
    if (chosen or unknown) and not suite["complete"]:
        return f"the run ended before its test: {suite['stopped']}".rstrip(": ")
    if not bound:
        return untested(clause.needs)
    return f"{Reason.SWITCHED_OFF}: not selected"


def _left_out(clause: Clause, profile: str, suite: Suite) -> str:
    """Why a clause was left out that options leave out; "" if none does."""
    if younger(clause, suite["as_of"]):
        return f"{AS_OF}{suite['as_of']}, and this came with {clause.came}"
    if suite["profiles"] and profile not in suite["profiles"]:
        return f"{Reason.SWITCHED_OFF}: the profile {profile} is not claimed"
    return ""


def _expected(applied: Applied) -> Expected:
    return Expected(
        source=applied.source,
        entries=len(applied.all),
        elsewhere=applied.elsewhere,
        overdue=[
            Overdue(
                clause=one.clause,
                finding=str(one.finding or ""),
                review=str(one.review),
            )
            for one in applied.overdue(datetime.date.today())
        ],
        notes=list(applied.notes),
    )


def held_throughout(clause: ClauseResult, found: Iterable[Found]) -> bool:
    """Whether a clause that should have broken held, wherever it is tested.

    The entry must not be called stale because the one test that breaks the clause was
    left out or cut short. What this runtime's set-up never allows does not stand in the way.
    """
    if clause["verdict"] != Verdict.HELD:
        return False
    open_ = set(clause["tests"])
    for test, record in found:
        if record["verdict"] != Verdict.NOT_EXERCISED or _lasting(record["reason"]):
            open_.discard(test)
    return not open_


def _lasting(reason: str) -> bool:
    return reason.startswith(
        (
            Reason.NEEDS_HOST,
            Reason.NEEDS_HARDWARE,
            Reason.NEEDS_WINDOWS,
            Reason.NOT_ADVERTISED,
            Reason.YOUNGER,
            Reason.REMOTE,
        )
    )


def _summary(clauses: list[ClauseResult], stale: list[str]) -> Summary:
    counted = Counter(clause["verdict"] for clause in clauses)
    return cast("Summary", {**{str(v): counted[v] for v in Verdict}, "stale": len(stale)})


def _lifecycle(tests: list[TestRecord]) -> list[LifecycleRow]:
    """Every row once, in the order of the tests."""
    rows: dict[tuple[str, ...], LifecycleRow] = {}
    for test in tests:
        for row in test["table"]:
            key = (row["call"], row["state"], row["permitted"], row["clause"], row["seen"])
            rows.setdefault(key, row)
    return list(rows.values())
