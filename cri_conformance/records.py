# SPDX-License-Identifier: Apache-2.0
"""What one test has to say, as plain data on its pytest report.

The record travels with the report, so it arrives wherever the report does: from a
worker of pytest-xdist as from this process.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.contract.verdict import ClauseRecord, Reason, Verdict, rank
from cri_conformance.expect.judge import Judge
from cri_conformance.expect.violation import (
    Ended,
    Misbehaved,
    NotExercised,
    SuiteMistake,
    Violation,
)
from cri_conformance.report.terminal import failure_text
from cri_conformance.report.text import visible
from cri_conformance.selection import selected
from cri_conformance.settings import Settings
from cri_conformance.target import Target
from cri_conformance.wire.history import CallRecord, bounded
from cri_conformance.wire.lines import folded, in_lines
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed

JUDGE = pytest.StashKey[Judge]()
LOG_POSITION = pytest.StashKey[int]()
#: Rows of the lifecycle table that a test fills in.
TABLE = pytest.StashKey[list[dict[str, str]]]()

#: Characters of what a failing test shows, and of one text in its record.
LONGEST = 64 * 1024
#: Bytes of the runtime's log that a failure shows at most.
LOG_EXCERPT = 16_384


def bound_clauses(item: pytest.Item) -> list[str]:
    """Ids of the clauses that a test, or one parameter of it, is bound to."""
    return list(dict.fromkeys(i for mark in item.iter_markers("clause") for i in mark.args))


#: Fixtures that could disturb other pods, whichever test asks for them.
_DISTURBING = {"restart": "restart", "population": "load"}


def disturbs(item: pytest.Item) -> list[str]:
    """By what a test could disturb other pods on the node."""
    marked = [what for mark in item.iter_markers("disturbs") for what in mark.args]
    asked = [_DISTURBING[name] for name in getattr(item, "fixturenames", ()) if name in _DISTURBING]
    return list(dict.fromkeys([*marked, *asked]))


def attach(
    item: pytest.Item,
    call: pytest.CallInfo[Any],
    report: pytest.TestReport,
    settings: Settings,
    target: Target | None,
    *,
    ours: bool,
) -> None:
    """Put this test's record on its report, and say on the report whose fault a failure is.

    ``ours``: a test of the suite. What fails in a vendor's own test is no mistake of ours.
    """
    judge = item.stash.get(JUDGE, None)
    error = _cause(call.excinfo.value) if call.excinfo else None
    if call.when == "call" and error is None and judge and (forgotten := judge.unjudged()):
        error = SuiteMistake(f"bound to {', '.join(forgotten)} and never judged it")
        report.outcome = "failed"
    if judge and judge.broken and not isinstance(error, Violation | SuiteMistake):
        # Whatever came after it, or was made of it on the way: this is what the test failed of.
        error = judge.broken
        report.outcome = "failed"
    if isinstance(error, NotExercised):
        _skip(item, report, error)
    elif isinstance(error, Ended):
        report.outcome, report.longrepr = "passed", None
    clauses = _clauses(item, settings, judge, error)
    blame, message = _blame(error)
    if blame == "suite" and not ours and not isinstance(error, SuiteMistake):
        blame = ""
    story = any(
        record["verdict"] in (Verdict.BROKEN, Verdict.KNOWN, Verdict.WARNED, Verdict.ERROR)
        for record in clauses
    )
    # A campaign's findings have each its own calls, and its own way to be seen again.
    tells = blame in ("environment", "suite") or judge is None or judge.one_story
    transcript = bounded(_story(target, judge, error)) if target and story and tells else []
    replay = replay_command(settings, clauses, "" if ours else _path_from_here(item))
    if isinstance(error, Violation):
        report.longrepr = failure_text(
            error.clause, error.permitted, error.actual, transcript, replay
        ) + _notes(call)
    elif isinstance(error, Misbehaved):
        report.longrepr = error.details or message
    elif error is not None and blame:
        lead = "the suite is wrong" if blame == "suite" else "no verdict"
        traced = report.longrepr if blame == "suite" else None
        shown = f"\n{traced}" if traced else ""
        report.longrepr = f"{lead}: {message}{shown}"
        if lines := in_lines(folded(transcript)):
            report.longrepr += "\n" + "\n".join(f"  {line}" for line in lines)
    known = [record for record in clauses if record["verdict"] == Verdict.KNOWN]
    if known and report.passed:
        report.outcome = "skipped"
        report.wasxfail = f"known: {known[0]['reason']}"
    for found in clauses:
        item.user_properties.append(("clause", f"{found['clause']}: {found['verdict']}"))
    report.user_properties = list(item.user_properties)
    if isinstance(report.longrepr, str):
        report.longrepr = visible(_plain(report.longrepr), LONGEST)
    elif report.failed and len(longrepr := str(report.longrepr)) > LONGEST:
        report.longrepr = visible(_plain(longrepr), LONGEST)
    record = {
        "test": node_id(item),
        "seconds": report.duration,
        "worker": worker_of(item.config),
        "outcome": "passed" if known and not error else report.outcome,
        "blame": blame,
        "message": message[:LONGEST],
        "details": str(report.longrepr or "")[:LONGEST] if blame else "",
        # Plain strings: pytest-xdist's wire knows no enum.
        "clauses": [{**record, "verdict": str(record["verdict"])} for record in clauses],
        "transcript": transcript,
        "replay": replay if story else "",
        "log": _log_excerpt(settings.runtime_log, item.stash.get(LOG_POSITION, 0)) if story else "",
        "table": item.stash.get(TABLE, []),
    }
    report.cri = _plain(record)  # type: ignore[attr-defined]


def _story(target: Target, judge: Judge | None, error: BaseException | None) -> list[CallRecord]:
    """The calls that led to what a test found."""
    history = target.client.history
    if judge and judge.broken and isinstance(error, Violation):
        mark, until = judge.story
        return history.transcript(mark, error.about, until)
    return history.transcript(judge.mark if judge else 0)


def node_id(item: pytest.Item) -> str:
    """A test's node id; pytest-xdist may have put its group behind it."""
    group = item.get_closest_marker("xdist_group")
    name = group.args[0] if group and group.args else ""
    return item.nodeid.removesuffix(f"@{name}") if name else item.nodeid


def _plain(value: Any) -> Any:
    """Only what pytest-xdist can send: a runtime may put anything into a string."""
    if isinstance(value, str):
        return str(value).encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def worker_of(config: pytest.Config) -> str:
    """The name of this xdist worker, "" without xdist."""
    return str(getattr(config, "workerinput", {}).get("workerid", ""))


def worker_number(config: pytest.Config) -> int:
    """0 for the first xdist worker, and without xdist."""
    return int(worker_of(config).removeprefix("gw") or 0)


def has_cause(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    """Whether an error is of one of these kinds, or a group that holds such a one."""
    return error is not None and any(isinstance(leaf, kinds) for leaf in _leaves(error))


def replay_command(settings: Settings, clauses: list[ClauseRecord], path: str = "") -> str:
    """The one command that shows the first failing clause again; of a campaign all of it.

    ``path`` is the file of a vendor's own test: without one the suite that ships is run.
    """
    worst_first = sorted(clauses, key=lambda record: rank(Verdict(record["verdict"])))
    pattern = worst_first[0]["clause"] if worst_first else ""
    words = ["pytest", *settings.options(), f"--cri-report={settings.replay_report}"]
    words += [f"--cri-clause={pattern}"] if pattern and not settings.fuzz else []
    return shlex.join([*words, path] if path else words)


def _path_from_here(item: pytest.Item) -> str:
    here = item.config.invocation_params.dir
    return str(item.path.relative_to(here) if item.path.is_relative_to(here) else item.path)


def log_position(log: Path | None) -> int:
    """Where the runtime's log ends now, in bytes."""
    try:
        return log.stat().st_size if log else 0
    except OSError:
        return 0


def _log_excerpt(log: Path | None, start: int) -> str:
    if not log:
        return ""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            # A log that is shorter than before was rotated: all of it is new.
            file.seek(max(start if start <= size else 0, size - LOG_EXCERPT))
            return file.read().decode(errors="replace")
    except OSError as error:
        return f"(the log can't be read: {error})"


def _cause(error: BaseException) -> BaseException:
    """What a test really failed of: Hypothesis may wrap it in a group."""
    for leaf in _leaves(error):
        if isinstance(leaf, Violation | Misbehaved | RuntimeGone):
            return leaf
    return error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _blame(error: BaseException | None) -> tuple[str, str]:
    """(whose fault, one line); ("", …) when nobody's."""
    if error is None:
        return "", ""
    line = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Violation | Misbehaved):
        return "runtime", line
    if isinstance(error, RuntimeGone | SetupFailed):
        return "environment", line
    if isinstance(error, NotExercised | Ended | pytest.skip.Exception):
        return "", line
    return "suite", f"{type(error).__name__}: {line}"


def _clauses(
    item: pytest.Item, settings: Settings, judge: Judge | None, error: BaseException | None
) -> list[ClauseRecord]:
    """The records of every clause the test is bound to, judged or not."""
    records = dict(judge.records) if judge else {}
    verdict, reason = Verdict.ERROR, str(error or "")
    if isinstance(error, NotExercised | Ended):
        verdict = Verdict.NOT_EXERCISED
    elif isinstance(error, Violation):
        # The test ended at its first violation: what it had still to judge was not exercised.
        verdict, reason = Verdict.NOT_EXERCISED, f"the test ended at {error.clause.id}, broken"
    wanted = selected(settings)
    for clause in bound_clauses(item):
        if clause in records:
            continue
        found, why = verdict, reason
        if wanted is not None and clause not in wanted:
            # Nobody asked for it, so nothing came in between.
            found, why = Verdict.NOT_EXERCISED, f"{Reason.SWITCHED_OFF}: not selected"
        records[clause] = ClauseRecord(
            clause=clause, verdict=str(found), permitted="", actual="", reason=why
        )
    return list(records.values())


def _skip(item: pytest.Item, report: pytest.TestReport, error: NotExercised) -> None:
    path, line, _ = item.reportinfo()
    report.outcome = "skipped"
    report.longrepr = (str(path), (line or 0) + 1, f"Skipped: {error}")


def _notes(call: pytest.CallInfo[Any]) -> str:
    """What Hypothesis says of the example, which it leaves as notes on the exception."""
    assert call.excinfo
    notes = getattr(call.excinfo.value, "__notes__", [])
    return "".join(f"\n{note}" for note in notes)
