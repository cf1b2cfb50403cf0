# SPDX-License-Identifier: Apache-2.0
"""Findings as files, for people and for whoever wants to see it again."""

from __future__ import annotations

import json
from pathlib import Path

from cri_conformance.fuzz.finding import Finding
from cri_conformance.report.files import write_text
from cri_conformance.settings import Settings
from cri_conformance.target import Facts
from cri_conformance.wire.history import in_lines

FORMAT = 1


def finding(folder: Path, found: Finding, facts: Facts, settings: Settings) -> None:
    """Write a finding, unless what is there of an earlier campaign has fewer steps."""
    replay = folder / "replay.json"
    if replay.exists() and 0 < _steps_in(replay) < found.steps:
        return
    write_text(replay, json.dumps(document(found, facts), indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "transcript.txt", _transcript(found, facts, settings))


def document(found: Finding, facts: Facts) -> dict[str, object]:
    """A replay file."""
    return {
        "format": FORMAT,
        "mode": found.mode,
        "kind": str(found.kind),
        "clause": found.clause,
        "cause": found.cause,
        "permitted": found.permitted,
        "actual": found.actual,
        "found_with": f"{facts.runtime_name} {facts.runtime_version}",
        "again": f"{found.again} of {found.tries}",
        "steps": found.story.get("steps", []),
    }


def _steps_in(path: Path) -> int:
    try:
        return len(json.loads(path.read_text(encoding="utf-8"))["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _transcript(found: Finding, facts: Facts, settings: Settings) -> str:
    lines = [
        found.line(),
        f"found with {facts.runtime_name} {facts.runtime_version}, mode {found.mode}, seed "
        f"{settings.seed}; it showed again in {found.again} of {found.tries} tries",
        "",
        *in_lines(found.calls, width=240),
    ]
    return "\n".join(lines) + "\n"
