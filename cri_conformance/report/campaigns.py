# SPDX-License-Identifier: Apache-2.0
"""The processes of a campaign, as each of them keeps its last state beside the report."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from cri_conformance.report.files import CALLS, SAID
from cri_conformance.report.schema import Campaign

_FINDING: dict[str, Any] = {
    "cause": "",
    "reason": "",
    "link": "",
    "given_up": [],
    "replay": "",
    "transcript": [],
    "sent": [],
}


def file(folder: Path, worker: str) -> Path:
    """Where a process keeps it."""
    return folder / f"fuzz-{worker or 'main'}.json"


def clear(folder: Path) -> None:
    """Remove those of a run before."""
    for ending in (".json", CALLS, SAID):
        for path in folder.glob(f"fuzz-*{ending}"):
            path.unlink(missing_ok=True)


def read(folder: Path, *, calls: bool = True) -> list[dict[str, Any]]:
    """The last state of each, whether it came to its end or not.

    ``calls``: with those that led to its findings, which it keeps in a file beside.
    """
    found = []
    for path in sorted(folder.glob("fuzz-*.json")):
        with contextlib.suppress(OSError, ValueError):
            made = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(made, dict):
                beside = path.with_suffix(CALLS)
                with contextlib.suppress(OSError, ValueError):
                    told = json.loads(beside.read_text(encoding="utf-8")) if calls else ()
                    for finding, more in zip(made["findings"], told, strict=False):
                        finding |= more
                found.append(filled(made))
    return found


def filled(campaign: dict[str, Any]) -> dict[str, Any]:
    """With what earlier versions did not write of findings."""
    findings = [{**_FINDING, **finding} for finding in campaign["findings"]]
    return {"unplayed": [], "met": [], **campaign, "findings": findings}


def notes(campaign: Campaign) -> list[str]:
    """Why it is not the whole, each as what the campaign did."""
    found = []
    if campaign["stopped"]:
        found.append(f"ended before its time: {campaign['stopped']}")
    if campaign["unplayed"]:
        found.append(f"had no time left for {', '.join(campaign['unplayed'])}")
    return found
