# SPDX-License-Identifier: Apache-2.0
"""Playing a finding again: ``cri-conformance replay FILE --cri-endpoint X``, and in a test.

Exit status 0: it no longer happens. 1: it still does. 2: the file or an option is wrong, or
there is no runtime to ask.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect.judge import Rules
from cri_conformance.fuzz.finding import Finding, Kind
from cri_conformance.fuzz.judging import CampaignJudge
from cri_conformance.fuzz.modes import MODES
from cri_conformance.fuzz.restarting import restarts
from cri_conformance.fuzz.tools import Tools
from cri_conformance.fuzz.trying import Bench, shows
from cri_conformance.fuzz.write import FORMAT
from cri_conformance.report.text import count, visible
from cri_conformance.settings import Settings
from cri_conformance.target import Preparation, Target, TargetError, connect, of_option
from cri_conformance.wire.history import in_lines
from cri_conformance.wire.leaks import Leaks
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed

#: Its steps are there, and how they are to be played.
_KEYS = {"format", "mode", "kind", "clause", "cause", "permitted", "actual", "steps"}

#: Calls that a test shows when it fails, the last ones.
_CALLS = 30

_HIDDEN = "what is left behind is looked for on the runtime's host, as root"


class ReplayError(Exception):
    """A replay file that can't be played; one line that says why."""


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
    except ValueError as error:
        raise ReplayError(f"{file} is no JSON: {error}") from None
    if not isinstance(document, dict) or not document.keys() >= _KEYS:
        raise ReplayError(f"{file} is no replay file of a campaign's")
    if document["format"] != FORMAT:
        raise ReplayError(f"{file} has format {document['format']}; this version knows {FORMAT}")
    if document["mode"] not in MODES:
        raise ReplayError(f"{file}: there is no mode {document['mode']!r} in this version")
    if document["clause"] and document["clause"] not in register():
        raise ReplayError(f"{file}: the contract has no clause {document['clause']}")
    if not document["steps"]:
        raise ReplayError(f"{file} has no steps to play: what was found came of no sequence")
    return document


def happens(target: Target, document: dict[str, Any]) -> bool:
    """Whether what a replay file tells of happens with this runtime."""
    return _play(target, document)[0]


def _play(target: Target, document: dict[str, Any]) -> tuple[bool, list[str]]:
    """Whether it happens, and the calls that were made of it, without those that clean up."""
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
            again = shows(MODES[document["mode"]], finding, bench, document["steps"])
            return again, in_lines(history.transcript(mark), width=160)
    except RuntimeGone:
        # It crashed, and did not come back.
        again = finding.kind in (Kind.CRASH, Kind.HANG)
        return again, in_lines(history.transcript(mark), width=160)
    finally:
        tools.close()


def _hidden(target: Target, document: dict[str, Any]) -> bool:
    return document.get("behind", False) and not Leaks(target.facts.host_root).seen


def check(target: Target, document: dict[str, Any]) -> None:
    """For a test, which fails with a text of ours if it still happens; skips what can't be tried.

    A traceback would show nothing but the inside of this library.
    """
    if restarts(document["steps"]) and not target.settings.restart_command:
        pytest.skip(f"{Reason.SWITCHED_OFF}: give --cri-restart-command")
    if _hidden(target, document):
        pytest.skip(f"{Reason.NEEDS_HOST}: {_HIDDEN}")
    again, lines = _play(target, document)
    if again:
        pytest.fail(_failure(document, lines), pytrace=False)


def _failure(document: dict[str, Any], lines: list[str]) -> str:
    what = document["kind"]
    if document["clause"]:
        clause = register().clauses[document["clause"]]
        what = f"{clause.id} ({clause.level}): {clause.text}"
    shown = lines[-_CALLS:]
    return "\n".join(
        [
            what,
            f"  permitted: {visible(document['permitted'])}",
            f"  got:       {visible(document['actual'])}",
            f"  {count(len(shown), 'call')}, the last one last:",
            *(f"    {visible(line)}" for line in shown),
        ]
    )


def run(path: Path, settings: Settings) -> int:
    """Play a file against a runtime and say what came; the exit status."""
    document = load(path)
    if restarts(document["steps"]) and not settings.restart_command:
        raise ReplayError(f"{path} restarts the runtime: give --cri-restart-command")
    try:
        with Preparation(settings) as preparation:
            target = connect(settings, preparation.facts)
            try:
                if _hidden(target, document):
                    raise ReplayError(f"{path}: {_HIDDEN}")
                again = happens(target, document)
                lines = in_lines(target.client.history.transcript(0), width=160)
            finally:
                target.client.close()
                preparation.clean()
    except (TargetError, SetupFailed) as error:
        raise ReplayError(of_option(settings.endpoint, error)) from None
    for line in lines:
        print(line)
    verdict = "still happens" if again else "no longer happens"
    what = document["clause"] or document["kind"]
    print(f"{verdict}: {what}: permitted {document['permitted']}; got {document['actual']}")
    return int(again)
