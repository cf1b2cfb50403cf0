# SPDX-License-Identifier: Apache-2.0
"""A summary in Markdown: for a file beside the page, and for GitHub's page of a build.

Whatever comes from the runtime stands in code spans, where nothing is markup, link or mention.
"""

from __future__ import annotations

import re
from pathlib import Path

from cri_conformance.contract.verdict import Verdict
from cri_conformance.report import again, campaigns, reasons
from cri_conformance.report.files import write_text
from cri_conformance.report.findings import distinct, is_breach, of_clauses
from cri_conformance.report.schema import Baseline, ClauseResult, Finding, Results
from cri_conformance.report.text import because, count, one_line, took, tried, visible
from cri_conformance.report.view import banner
from cri_conformance.wire.lines import folded, in_lines, told

#: Entries of one sort that are listed: GitHub takes no more than 1 MiB.
SHOWN = 25
#: Calls that are listed of each of a campaign's findings.
CALLS = 12


def write(results: Results, path: Path) -> None:
    """Write the file, whole or not at all. Raises OSError."""
    write_text(path, render(results))


def append(results: Results, path: Path) -> None:
    """Add to a file that other steps of a build write to, too. Raises OSError."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"\n{render(results)}")


def render(results: Results) -> str:
    """The summary."""
    told, target, suite = banner(results), results["target"], results["suite"]
    runtime = f"{target['runtime_name']} {target['runtime_version']}"
    lines = [
        f"## CRI conformance: {_prose(told.headline)}",
        "",
        f"{code(runtime)} at {code(target['endpoint'])}, judged by CRI {code(target['minor'])}; "
        f"depth {suite['depth']}, seed {suite['seed']}, {took(suite['seconds'])}.",
        "",
        f"{_prose(told.sentence)} {' '.join(map(_prose, told.notes))}",
        "",
        "| " + " | ".join(_ORDER) + " |",
        "|" + "--:|" * len(_ORDER),
        "| " + " | ".join(str(results["summary"][key]) for key in _ORDER) + " |",  # type: ignore[literal-required]
    ]
    base = results["baseline"]
    if base["source"]:
        who = code(f"{base['runtime_name']} {base['runtime_version']}")
        counts = [f"{len(ids)} {told}" for told, ids in _baseline(base) if ids]
        lines += ["", f"Against the baseline ({who}): {', '.join(counts) or 'nothing otherwise'}."]
    by_state: dict[str, list[str]] = {}
    for profile in results["profiles"]:
        by_state.setdefault(profile["verdict"], []).append(profile["name"])
    if by_state:
        told_of = (f"{state}: {', '.join(names)}" for state, names in by_state.items())
        lines += ["", f"Profiles {'; '.join(told_of)}."]
    of = {
        verdict: [clause for clause in results["clauses"] if clause["verdict"] == verdict]
        for verdict in Verdict
    }
    replays = again.commands(results)
    findings = of_clauses(results["campaigns"])
    if of[Verdict.BROKEN]:
        lines += ["", "### Broken", ""]
        for clause in of[Verdict.BROKEN][:SHOWN]:
            lines.append(
                f"- {code(clause['id'])} ({clause['level']}"
                f"{', new' if clause['id'] in base['new'] else ''}): {_prose(clause['text'])}"
            )
            for finding in findings.get(clause["id"], []):
                lines += _came(finding)
            if clause["id"] not in findings:
                lines += _against(clause, replays.get(clause["id"], ""))
        lines += _rest(len(of[Verdict.BROKEN]))
    lines += _found(results, {clause["id"] for clause in of[Verdict.BROKEN]})
    if results["stale"]:
        lines += ["", "### Expected to break, and held", ""]
        lines += [f"- {code(name)}: remove its entry" for name in results["stale"][:SHOWN]]
    troubled = {t["message"]: t["blame"] for t in results["tests"] if t["blame"] in _BLAMES}
    if troubled:
        lines += ["", "### No verdict", ""]
        lines += [f"- {_BLAMES[b]}: {code(m)}" for m, b in list(troubled.items())[:SHOWN]]
    for verdict, title in ((Verdict.KNOWN, "Known"), (Verdict.WARNED, "Warned")):
        if of[verdict]:
            entries = [
                f"- {code(c['id'])}: {code(c['reason'] or c['actual'])}" for c in of[verdict]
            ]
            lines += _folded(title, [*entries[:SHOWN], *_rest(len(of[verdict]))], len(entries))
    if of[Verdict.NOT_EXERCISED]:
        groups = reasons.grouped(of[Verdict.NOT_EXERCISED])
        entries = [f"- {reason}: {len(group)}" for reason, group in groups.items()]
        lines += _folded("Not exercised", entries, len(of[Verdict.NOT_EXERCISED]))
    return "\n".join(lines) + "\n"


_ORDER = ("held", "broken", "known", "warned", "recorded", "error", "not exercised", "stale")
_BLAMES = {"environment": "environment or runtime", "suite": "mistake of the suite"}


def _found(results: Results, broken: set[str]) -> list[str]:
    """What campaigns found beside breaches of what is broken, and how to see it again."""
    findings = [
        finding
        for finding in distinct(results["campaigns"])
        if not (is_breach(finding) and finding["clause"] in broken)
    ]
    notes = [note for campaign in results["campaigns"] for note in campaigns.notes(campaign)]
    lines = [f"\nThe campaign {_prose(note)}." for note in notes]
    if not findings:
        return lines
    lines += ["", "### Found by the campaign", ""]
    findings.sort(key=lambda finding: not finding["counts"])
    for finding in findings[:SHOWN]:
        what = finding["clause"] or finding["kind"]
        fails = "" if finding["counts"] else " (known)" if finding["reason"] else " (fails no run)"
        lines += [f"- {code(what)}{fails}", *_came(finding)]
    return [*lines, *_rest(len(findings))]


def _came(finding: Finding) -> list[str]:
    """A campaign's finding, with the last of the calls that led there."""
    lines = _against(finding, finding["replay"])
    if finding["reason"]:
        lines.append(f"  - known: {code(because(finding['reason'], finding['link']))}")
    if finding["folder"] and not finding["replay"]:
        lines.append(f"  - its files: {code(finding['folder'], 1000)}")
    steps = f"{count(finding['steps'], 'step')}, " if finding["steps"] else ""
    lines.append(f"  - {steps}{_prose(tried(finding['again'], finding['untried']))}")
    if (calls := folded(finding["transcript"])[-CALLS:]) or finding["sent"]:
        shown = [visible(line) for line in [*in_lines(calls, 160), *finding["sent"]]]
        fence = _fence("\n".join(shown), "```")
        block = [fence, *shown, fence]
        # As a part of the list's item.
        fold = _folded("the last calls that led there", block, told(calls) + len(finding["sent"]))
        lines += [f"    {line}".rstrip() for line in [*fold, ""]]
    return lines


def _against(seen: ClauseResult | Finding, replay: str) -> list[str]:
    lines = [
        f"  - permitted: {code(seen['permitted'])}",
        f"  - seen: {code(seen['actual'])}",
    ]
    return [*lines, f"  - again: {code(replay, 1000)}"] if replay else lines


def _baseline(base: Baseline) -> list[tuple[str, list[str]]]:
    return [
        ("newly broken", base["new"]),
        ("mended", base["gone"]),
        ("not judged this time", base["unjudged"]),
    ]


def code(text: str, longest: int = 300) -> str:
    """The text as a code span, whatever is in it."""
    line = one_line(text, longest) or "(nothing)"
    fence = _fence(line)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _fence(text: str, least: str = "`") -> str:
    """Longer than any run of back ticks in a text."""
    return max(least, "`" * (1 + max(map(len, re.findall("`+", text)), default=0)), key=len)


def _prose(text: str) -> str:
    """Words of ours, in which something of the runtime's may stand."""
    line = one_line(text, 1000).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~$@#!])", r"\\\1", line)


def _rest(number: int) -> list[str]:
    more = number - SHOWN
    return [f"- and {more} more: see the report"] if more > 0 else []


def _folded(title: str, entries: list[str], number: int) -> list[str]:
    return [
        "",
        f"<details><summary>{title}: {number}</summary>",
        "",
        *entries,
        "",
        "</details>",
    ]
