# SPDX-License-Identifier: Apache-2.0
"""Bringing a file of expectations up to date from results, and leaving alone what people wrote.

The file is worked on as text, entry by entry, so that reasons, comments and order stay as
they are. What broke, or a campaign found, gets an entry with a reason to be written; what held
loses its entry, or, where it is known from which version on it broke, gets an end of its range.
A finding that stayed away proves nothing: its entry is for people to end.
"""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from cri_conformance.contract.clause import Level
from cri_conformance.contract.expectations import (
    Applied,
    Expectation,
    ExpectationsError,
    parse,
)
from cri_conformance.contract.findings import KINDS
from cri_conformance.contract.register import Register
from cri_conformance.contract.verdict import Verdict
from cri_conformance.contract.versions import Version
from cri_conformance.report.collect import Found, held_throughout
from cri_conformance.report.schema import ClauseResult, Finding, Results
from cri_conformance.report.text import known_words, one_line, tried

#: How a reason begins that is still to be written.
TODO = "TODO: why, as in an issue's title"
#: When an entry on a finding is to be looked at again, which needs a day.
REVIEWED_AFTER = datetime.timedelta(days=90)

_ENTRY = re.compile(r"^\s*\[\[known\]\]", re.MULTILINE)
_HEADER = """\
# Known violations of {name}, for `pytest --cri-endpoint … --cri-expectations ./FILE.toml`.
# Written by `cri-conformance expectations update`: say why, where it stands with TODO.
runtime = {quoted}
"""


@dataclass(frozen=True, slots=True)
class Update:
    """The file as it should be, what changed, and what else is to be known, one line each."""

    text: str
    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()


def update(
    text: str,
    source: str,
    results: Results,
    register: Register,
    today: datetime.date | None = None,
) -> Update:
    """The text of a file ("" for a new one) after these results. Raises ExpectationsError."""
    target = results["target"]
    name, version = target["runtime_name"], target["runtime_version"]
    if not text.strip():
        text = _HEADER.format(name=one_line(name, 80), quoted=_quoted(name))
    before = parse(text, source, register)
    applied = before.at(name, version, campaign=bool(results["campaigns"]))
    found: dict[str, list[Found]] = defaultdict(list)
    for test in results["tests"]:
        for record in test["clauses"]:
            found[record["clause"]].append(Found(test["test"], record))
    clauses = {clause["id"]: clause for clause in results["clauses"] if clause["id"] in register}
    held = {
        entry.clause
        for entry in applied.entries.values()
        if not entry.flaky
        and entry.clause in clauses
        # Only a run of the suite can show that: a campaign goes by chance.
        and not (entry.campaigns or results["campaigns"])
        and held_throughout(clauses[entry.clause], found[entry.clause])
    }
    lines: list[str] = []
    kept = _without(text, before.entries, held, version, lines)
    ranged = any(entry.since or entry.until for entry in before.entries)
    for clause in clauses.values():
        new = clause["verdict"] == Verdict.BROKEN and clause["id"] not in applied.entries
        if not new or register[clause["id"]].level is Level.MAY:
            continue
        if any(entry.clause == clause["id"] for entry in applied.of_campaigns):
            why = "a run of the suite breaks it too: remove campaigns = true"
            lines.append(f"by hand  {clause['id']}: {why}")
            continue
        made = _entry(clause, version if ranged else "", campaign=bool(results["campaigns"]))
        kept = f"{kept.rstrip()}\n\n{made}"
        lines.append(f"added    {clause['id']}: its reason is to be written")
    review = (today or datetime.date.today()) + REVIEWED_AFTER
    for finding in _new(results, applied):
        made = _entry_of(finding, version if ranged else "", review)
        try:
            [entry] = parse(made, source, register).entries
        except ExpectationsError as error:
            why = str(error).partition("\n")[0].removeprefix(f"{source}, entry 1: ")
            lines.append(f"by hand  {finding['kind']}: {one_line(finding['cause'], 200)}: {why}")
            continue
        kept = f"{kept.rstrip()}\n\n{made}"
        lines.append(f"added    {entry.name}: its reason is to be written")
    # Whatever was done to the text, it must be one that can be used.
    parse(kept, source, register)
    return Update(kept, tuple(lines), _known_elsewhere(results, applied))


def _without(
    text: str,
    entries: Iterable[Expectation],
    held: set[str],
    version: str,
    lines: list[str],
) -> str:
    """The text without the entries that held, or with their ranges ended."""
    head, blocks = _blocks(text)
    kept = [head]
    for block, entry in zip(blocks, entries, strict=True):
        if entry.clause not in held or not entry.covers(_version(version)):
            kept.append(block)
        elif entry.since and entry.since < Version.bound(_plain(version)):
            ended = re.sub(r"(?m)^\s*until\s*=.*\n", "", block)
            since = re.search(r"(?m)^\s*since\s*=.*\n", ended)
            assert since, "it has a since"
            line = f"until = {_quoted(_plain(version))}\n"
            kept.append(f"{ended[: since.end()]}{line}{ended[since.end() :]}")
            lines.append(f"ended    {entry.clause}: it held in {_plain(version)}")
        else:
            kept.append(_comments_of_the_next(block))
            lines.append(f"removed  {entry.clause}: it held")
    return "".join(kept)


def _blocks(text: str) -> tuple[str, list[str]]:
    """What stands before the first entry, and each entry up to the next."""
    starts = [match.start() for match in _ENTRY.finditer(text)]
    # A name in a multi-line string may look like a table: then the pieces are no TOML.
    ends = [*starts[1:], len(text)][: len(starts)]
    blocks = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    for block in blocks:
        try:
            tomllib.loads(block)
        except tomllib.TOMLDecodeError:
            raise ExpectationsError("the file is too odd to be changed by a program") from None
    return text[: starts[0]] if starts else text, blocks


def _comments_of_the_next(block: str) -> str:
    """Of an entry that goes, the comments behind it: they are about the next one."""
    lines = block.splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    rest = "".join(lines[last + 1 :])
    return rest if rest.strip() else ""


def _known_elsewhere(results: Results, applied: Applied) -> tuple[str, ...]:
    """That the run knew something by a file that was loaded, and this file does not."""
    clauses = sum(
        one["verdict"] == Verdict.KNOWN and one["id"] not in applied.entries
        for one in results["clauses"]
    )
    findings = _new(results, applied, known=True)
    if not (words := known_words(clauses, len(findings))):
        return ()
    source = one_line(results["expectations"]["source"], 200) or "its expectations"
    return (f"no entry for {words}: known to the run by {source}",)


def _new(results: Results, applied: Applied, *, known: bool = False) -> list[Finding]:
    """What campaigns found that may be known and is not, whichever process found it; or that the
    run knew, and the file does not."""
    found = {
        (one["kind"], one["cause"], *sorted(one["given_up"])): one
        for campaign in results["campaigns"]
        for one in campaign["findings"]
        if one["counts"] is not known and one["kind"] in KINDS and not one["clause"]
    }
    return [
        one
        for one in found.values()
        if not applied.forgiving(one["kind"], one["cause"], one["given_up"])
    ]


def _entry_of(finding: Finding, since: str, review: datetime.date) -> str:
    evidence = (
        f"permitted {one_line(finding['permitted'], 200)}; got {one_line(finding['actual'], 200)}; "
        f"{tried(finding['again'], finding['untried'])}"
    )
    calls = ", ".join(map(_quoted, finding["given_up"]))
    return (
        "[[known]]\n"
        f"finding = {_quoted(finding['kind'])}\n"
        f"cause = {_quoted(finding['cause'])}\n"
        + (f"given_up = [{calls}]\n" if calls else "")
        + f"reason = {_quoted(TODO)}\n"
        f"evidence = {_quoted(evidence)}\n" + _since(since) + f"review = {review}\n"
    )


def _entry(clause: ClauseResult, since: str, *, campaign: bool) -> str:
    """``campaign``: one found it, so that it says nothing of what a run of the suite may break."""
    evidence = (
        f"permitted {one_line(clause['permitted'], 200)}; got {one_line(clause['actual'], 200)}"
    )
    made = (
        "[[known]]\n"
        f"clause = {_quoted(clause['id'])}\n"
        f"reason = {_quoted(TODO)}\n"
        f"evidence = {_quoted(evidence)}\n"
    )
    return made + _since(since) + "campaigns = true\n" * campaign


def _since(version: str) -> str:
    return f"since = {_quoted(_plain(version))}\n" if version and _version(version) else ""


def _plain(version: str) -> str:
    """A version without what distributions write behind it."""
    parsed = _version(version)
    return ".".join(map(str, parsed.numbers)) if parsed else version


def _version(text: str) -> Version | None:
    try:
        return Version.parse(text)
    except ValueError:
        return None


def _quoted(text: str) -> str:
    """A TOML string: as in JSON, once nothing unseen is in it."""
    return json.dumps(one_line(text, 2000), ensure_ascii=False)
