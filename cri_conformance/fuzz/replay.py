# SPDX-License-Identifier: Apache-2.0
"""Playing a finding again: ``cri-conformance replay FILE --cri-endpoint X``, and in a test.

Exit status 0: it no longer happens. 1: it still does. 2: the file or an option is wrong, or
there is no runtime to ask. 6: nothing showed, but the story could not be played whole. 7: a mistake
of the suite, or an argument in the file that no campaign writes.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cri_conformance
from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.expect.judge import Rules
from cri_conformance.fuzz.finding import Finding, Kind
from cri_conformance.fuzz.judging import CampaignJudge
from cri_conformance.fuzz.modes import MODES
from cri_conformance.fuzz.reading import problem
from cri_conformance.fuzz.restarting import restarts
from cri_conformance.fuzz.story import at_pace
from cri_conformance.fuzz.tools import Tools
from cri_conformance.fuzz.trying import Bench, shows
from cri_conformance.fuzz.words import failure
from cri_conformance.report.text import one_line, visible
from cri_conformance.settings import Settings
from cri_conformance.target import NOT_LOOKED, Preparation, Target, TargetError, connect, of_option
from cri_conformance.wire.history import CallRecord
from cri_conformance.wire.leaks import Leaks
from cri_conformance.wire.lines import folded, in_lines
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed
from cri_conformance.wire.runtime import poll

#: Calls that a test shows when it fails, the last ones.
_CALLS = 30

#: What is not played whole is played again, for so many seconds at most, with calls given up so
#: much sooner or later: mostly one was answered that was not then, or the other way round.
_PACES, _PLAY_SECONDS = (0.5, 1.0, 2.0, 0.25), 120.0
#: So much sooner than the last time, if all that was missing is that one was answered before.
_SOONER = 0.25
#: Seconds within which what was under way must have come to an end.
_SETTLES = 10.0
#: Exit statuses, as of a run.
_NO_VERDICT, _MISTAKE = 6, 7
_PACKAGE = Path(cri_conformance.__file__).parent
_NOT_WHOLE = "could not be played whole"

_HIDDEN = "what is left behind is looked for on the runtime's host, as root"


class ReplayError(Exception):
    """A replay file that can't be played; one line that says why."""


class Unplayable(Exception):
    """A step went wrong, and the runtime did nothing for it; one line that says which, and how."""


def load(path: Path) -> dict[str, Any]:
    """The document of a replay file, or of a finding's folder. Raises ReplayError."""
    file = path / "replay.json" if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReplayError(
            f"can't read {file}: there is no such file; give a finding's folder, or its replay.json"
        ) from None
    except OSError as error:
        raise ReplayError(f"can't read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ReplayError(f"{file} is no JSON: {error}") from None
    if reason := problem(document):
        raise ReplayError(f"{file}: {reason}")
    found: dict[str, Any] = document
    return found


@dataclass(frozen=True)
class _Came:
    """What came of it: the calls are those of the last play, without those that clean up."""

    again: bool
    #: Why the story was never played whole; "" if it was.
    missing: str
    calls: list[CallRecord]
    #: Whether only that was missing: a call was answered that was to be given up.
    in_time: bool = False
    #: What went wrong this time; "" for a crash, or where it did not happen.
    actual: str = ""


def happens(target: Target, document: dict[str, Any]) -> bool:
    """Whether what a replay file tells of happens with this runtime."""
    return _play(target, document).again


def _play(target: Target, document: dict[str, Any]) -> _Came:
    """Play it, some times if steps were left out and nothing showed."""
    until = time.monotonic() + _PLAY_SECONDS
    came, pace = _once(target, document), 1.0
    for other in _PACES:
        if came.again or not came.missing or time.monotonic() > until:
            break
        pace = pace * _SOONER if came.in_time else other
        came = _once(target, {**document, "steps": at_pace(document["steps"], pace)})
    return came


def _once(target: Target, document: dict[str, Any]) -> _Came:
    history = target.client.history
    mark = history.mark()
    finding = Finding(
        Kind(document["kind"]),
        document["mode"],
        document["clause"],
        document["cause"],
        document["permitted"],
        document["actual"],
        seed=0,
        behind=document.get("behind", False),
    )
    rules = Rules(register(), Minor.parse(target.facts.minor))
    tools = Tools(target)
    try:
        with target.scope() as runtime:
            judge = CampaignJudge(rules, target.client.history.mark)
            bench = Bench(runtime, judge, target, tools)
            bench.in_time_too = document.get("in_time_too", False)
            again = shows(MODES[document["mode"]], finding, bench, document["steps"])
            seen = bench.actual if again else ""
            in_time = bench.missing == bench.played("")
            return _Came(again, bench.missing, history.transcript(mark), in_time, seen)
    except RuntimeGone as error:
        # It crashed, and did not come back.
        again = finding.kind in (Kind.CRASH, Kind.HANG)
        return _Came(again, str(error), history.transcript(mark))
    except (SetupFailed, NotExercised):
        raise
    except Exception as error:
        raise Unplayable(one_line(_in_words(error))) from error
    finally:
        tools.close()


def _in_words(error: Exception) -> str:
    which = getattr(error, "__notes__", ["the story"])[-1]
    what = f"there is no {error}" if isinstance(error, KeyError) else str(error)
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_PACKAGE)
    ]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return (
        f"{which}, can't be played: {what or type(error).__name__} ({where}): "
        "a mistake of the suite, or an argument that no campaign writes"
    )


def _hidden(target: Target, document: dict[str, Any]) -> bool:
    return document.get("behind", False) and not Leaks(target.facts.host_root).seen


def check(target: Target, document: dict[str, Any]) -> None:
    """For a test, which fails with a text of ours if it still happens; skips what can't be tried.

    A traceback would show nothing but the inside of this library.
    """
    if reason := problem(document):
        raise SetupFailed(f"STORY: {reason}")
    if restarts(document["steps"]) and not target.settings.restart_command:
        pytest.skip(f"{Reason.SWITCHED_OFF}: give --cri-restart-command")
    if _hidden(target, document):
        pytest.skip(f"{Reason.NEEDS_HOST}: {_HIDDEN}")
    try:
        came = _play(target, document)
    except Unplayable as error:
        raise SetupFailed(f"STORY: {error}") from None
    if came.again:
        pytest.fail(_failure(document, came), pytrace=False)
    if came.missing:
        raise SetupFailed(f"{_NOT_WHOLE}: {came.missing}")


def _failure(document: dict[str, Any], came: _Came) -> str:
    permitted, actual = document["permitted"], came.actual or document["actual"]
    what, clause = document["kind"], document["clause"]
    return "\n".join(failure(what, clause, permitted, actual, came.calls, _CALLS))


def _clean(preparation: Preparation) -> None:
    """Remove what was made, and tell what is left all the same.

    What was interrupted may be under way yet, and is not removed in the midst of that.
    """
    left: list[str] = []

    def clean() -> list[str]:
        left[:] = preparation.clean()
        return left

    def over(now: list[str]) -> bool:
        return not now or now[-1].startswith(NOT_LOOKED)

    with suppress(SetupFailed):
        poll(clean, over, _SETTLES, "a runtime that removes what was made")
    for one in left:
        print(f"left behind: {visible(one)}", file=sys.stderr)
    if left:
        print(f"remove it with: {preparation.facts.sweep_command}", file=sys.stderr)


def run(path: Path, settings: Settings, ending: Callable[[], None] = lambda: None) -> int:
    """Play a file against a runtime and say what came; the exit status.

    ``ending`` is called when all has been played, before what was made is removed.
    """
    document = load(path)
    if restarts(document["steps"]) and not settings.restart_command:
        raise ReplayError(f"{path} restarts the runtime: give --cri-restart-command")
    try:
        with Preparation(settings) as preparation:
            target = connect(settings, preparation.facts)
            try:
                if _hidden(target, document):
                    raise ReplayError(f"{path}: {_HIDDEN}")
                came = _play(target, document)
                lines = in_lines(folded(target.client.history.transcript(0)), width=160)
            finally:
                ending()
                target.client.close()
                _clean(preparation)
    except (TargetError, SetupFailed) as error:
        raise ReplayError(of_option(settings.endpoint, error)) from None
    except NotExercised as error:
        came, lines = _Came(False, str(error), []), []
    except Unplayable as error:
        print(f"{path}: {error}")
        return _MISTAKE
    except (ReplayError, RuntimeGone):
        raise
    except Exception:
        # Python's own status would say that it still happens.
        traceback.print_exc()
        print("a mistake of the suite")
        return _MISTAKE
    for line in lines:
        print(visible(line))
    if came.missing and not came.again:
        print(f"{_NOT_WHOLE}: {visible(came.missing)}")
        return _NO_VERDICT
    verdict = "still happens" if came.again else "no longer happens"
    what = document["clause"] or document["kind"]
    got = f"got {came.actual or document['actual']}" if came.again else f"was {document['actual']}"
    came_of = f"permitted {document['permitted']}; {got}"
    print(visible(f"{verdict}: {what}: {came_of}"))
    return int(came.again)
