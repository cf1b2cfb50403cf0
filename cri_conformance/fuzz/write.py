# SPDX-License-Identifier: Apache-2.0
"""Findings as files, for people and for whoever wants to see it again.

- ``transcript.txt``: the calls, one a line;
- ``replay.json``: the steps, which ``cri-conformance replay`` plays, and the calls they made;
- ``test_finding.py``: the same as a test on our fixtures, with nothing beside it;
- ``crictl.sh``: where it can be said in crictl.
"""

from __future__ import annotations

import fcntl
import json
import os
import pprint
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from cri_conformance.fuzz import crictl
from cri_conformance.fuzz.finding import Finding
from cri_conformance.fuzz.restarting import restarts
from cri_conformance.report.files import write_text
from cri_conformance.report.text import REPLAY_OPTIONS, tried, visible
from cri_conformance.settings import FINDING_TEST, Settings
from cri_conformance.target import Facts
from cri_conformance.wire.history import Call, StreamRecord
from cri_conformance.wire.lines import in_lines
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.redacted import redacted

FORMAT = 1
#: Calls that only looked are not told in a script, but for the last ones.
_LOOKS = re.compile(r"(List|Stream).*|.*(Status|Stats)|Version")
_LAST = 3
#: What a replay file has for people, and nothing plays.
_NOT_IN_TESTS = ("calls", "again", "untried", "sent")


def kind_of(facts: Facts) -> str:
    """The runtime and its version, as the name of a folder."""
    return _plain(f"{facts.runtime_name}-{facts.runtime_version}")


def finding(found: Finding, facts: Facts, settings: Settings) -> None:
    """Write a finding, unless what is there of another campaign has fewer steps. Raises OSError."""
    folder = settings.fuzz_dir / "findings" / _plain(f"{kind_of(facts)}-{found.name}")
    found.folder = str(folder)
    found.replay = _replay(found, settings)
    with _alone_in(folder):
        replay = folder / "replay.json"
        if not replay.exists() or not 0 < _steps_in(replay) < found.steps:
            _write(found, folder, facts, settings)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """While no other process writes the files of a finding: they must be of one story."""
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY)
    try:
        # Some shared file systems have no locks; there the last one wins.
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _write(found: Finding, folder: Path, facts: Facts, settings: Settings) -> None:
    whole = document(found, facts)
    write_text(folder / "replay.json", json.dumps(whole, indent=1, ensure_ascii=True) + "\n")
    write_text(folder / "transcript.txt", _transcript(found, facts, settings))
    if found.steps:
        write_text(folder / FINDING_TEST, _test(found, whole))
    script = folder / "crictl.sh"
    # Of an earlier campaign, with other steps.
    script.unlink(missing_ok=True)
    # What ``wire`` sends no client can say: there are only the calls around it.
    if found.behind or found.mode == "wire" or restarts(found.story.get("steps", [])):
        return
    if text := crictl.script(found.line(), _telling(found.raw)):
        write_text(script, text)


def _replay(found: Finding, settings: Settings) -> str:
    if not found.steps:
        return ""
    told = [one for one in settings.options() if one.partition("=")[0] in REPLAY_OPTIONS]
    return shlex.join(["cri-conformance", "replay", found.folder, *told])


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
        "behind": found.behind,
        "in_time_too": found.in_time_too,
        "found_with": f"{facts.runtime_name} {facts.runtime_version}",
        **found.tried,
        "steps": found.story.get("steps", []),
        "calls": calls(found.raw),
        "sent": found.sent,
    }


def calls(raw: Iterable[Call]) -> list[dict[str, Any]]:
    """Calls with names in place of the ids that earlier calls gave: ``${sandbox1}``."""
    names: dict[str, str] = {}
    found = []
    for call in raw:
        asked = redacted(call.request)
        request = json_format.MessageToDict(asked, preserving_proto_field_name=True)
        one: dict[str, Any] = {"rpc": call.rpc, "request": _named(request, names)}
        outcome: Outcome | StreamRecord | None = call.outcome
        if isinstance(outcome, StreamRecord):
            one["brought"], outcome = outcome.in_words(), outcome.outcome
        one["outcome"] = "OPENED" if outcome is None else str(outcome)
        if isinstance(outcome, Ok):
            one["outcome"] = "OK"
            for rpc, field, stem in (
                ("RunPodSandbox", "pod_sandbox_id", "sandbox"),
                ("CreateContainer", "container_id", "container"),
            ):
                made = getattr(outcome.response, field, "") if call.rpc == rpc else ""
                if made:
                    number = sum(name.startswith(f"${{{stem}") for name in names.values()) + 1
                    one["gives"] = names.setdefault(made, f"${{{stem}{number}}}")
        found.append(one)
    for one in found:
        if "brought" in one:
            # Also of what was made after the stream was opened.
            one["brought"] = _named(one["brought"], names)
    return found


def _named(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {key: _named(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    return value


def _plain(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in name)


def _telling(raw: list[Call]) -> list[Call]:
    """The calls that did something, and the last ones, which show what is wrong."""
    last = raw[-_LAST:]
    return [call for call in raw if call in last or not _LOOKS.fullmatch(call.rpc)]


def _steps_in(path: Path) -> int:
    try:
        return len(json.loads(path.read_text(encoding="utf-8"))["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _transcript(found: Finding, facts: Facts, settings: Settings) -> str:
    lines = [
        found.line(),
        f"found with {facts.runtime_name} {facts.runtime_version}, mode {found.mode}, seed "
        f"{settings.seed}; {tried(**found.tried)}",
        "",
        *in_lines(found.calls, width=240),
        *found.sent_in_words,
    ]
    return "\n".join(map(visible, lines)) + "\n"


_TEST = '''"""{title}

Found with {found_with} by a campaign of cri-conformance. Run it with:

    pytest --cri-endpoint=unix:///path/to.sock test_finding.py

Its report goes to reports/replay, beside that of the last run.
"""

from cri_conformance.fuzz.replay import check

STORY = {story}


def test_finding(cri_target):
    check(cri_target, STORY)
'''


def _test(found: Finding, whole: dict[str, Any]) -> str:
    story = {key: value for key, value in whole.items() if key not in _NOT_IN_TESTS}
    title = ascii(found.line())[1:-1].replace("\\", "/").replace('"""', "'''")
    return _TEST.format(
        title=title,
        found_with=ascii(whole["found_with"])[1:-1],
        story=ascii_pretty(story),
    )


def ascii_pretty(value: Any) -> str:
    """A value as Python source that any editor shows."""
    return (
        pprint.pformat(value, width=96, sort_dicts=False)
        .encode("ascii", "backslashreplace")
        .decode()
    )
