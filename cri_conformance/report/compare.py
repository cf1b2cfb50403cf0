# SPDX-License-Identifier: Apache-2.0
"""Several results beside each other: runtimes or versions × clauses, what differs first.

The first is the baseline. Another is *worse* where it does not keep a clause that the
baseline keeps, expected or not, or where a profile that was conformant is not there or was
judged too little. What is listed as flaky makes nobody worse, nor does a single clause that
was not judged in one of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from cri_conformance.contract.verdict import Verdict
from cri_conformance.report import html, json_file
from cri_conformance.report.baseline import KEPT, NOT_KEPT, by_id
from cri_conformance.report.profiles import State
from cri_conformance.report.schema import ClauseResult, ProfileResult, Results
from cri_conformance.report.text import count, one_line, visible

MATRIX_VERSION = 1

#: Numbers and ids in a recorded answer differ from run to run.
_CHANGING = re.compile(r"\b[0-9a-f]{8,}\b|\d+")


class Column(TypedDict):
    """One results file."""

    label: str
    source: str
    runtime_name: str
    runtime_version: str
    handler: str
    minor: str
    suite: str
    as_of: str
    started: str
    counts: dict[str, int]
    worse: list[str]  # clauses not kept here and kept in the baseline
    better: list[str]  # the other way round
    unjudged: list[str]  # judged in the baseline and not here
    worse_profiles: list[str]


class Cell(TypedDict):
    """What one results file says of a clause; ``verdict`` is "" where it does not know it."""

    verdict: str
    flaky: str
    text: str


class Row(TypedDict):
    """A clause in every column."""

    id: str
    level: str
    text: str
    group: str  # one of GROUPS
    cells: list[Cell]


class ProfileRow(TypedDict):
    """A profile in every column; "" where a file does not tell."""

    name: str
    verdicts: list[str]


class Matrix(TypedDict):
    """All of a comparison, as --json writes it."""

    matrix_version: int
    worse: bool  # any column than the first
    notes: list[str]
    columns: list[Column]
    profiles: list[ProfileRow]
    clauses: list[Row]


#: The order of the rows, and what their headings say.
GROUPS = {
    "differs": "Kept by one and not by another",
    "broken": "Kept by none that was judged by it",
    "warned": "Warned for one and not for another",
    "recorded": "Left open by the contract, and answered differently",
    "judged": "Judged in one and not in another",
    "same": "The same for all",
}


def compare(given: Sequence[tuple[str, Results]]) -> Matrix:
    """The matrix of some results, each with the file it is from."""
    results = [one for _, one in given]
    labels = _labels(given)
    first = results[0]
    found = [by_id(one) for one in results]
    ids = dict.fromkeys(clause["id"] for one in results for clause in one["clauses"])
    rows = [_row(name, [clauses.get(name) for clauses in found]) for name in ids]
    order = list(GROUPS)
    rows.sort(key=lambda row: order.index(row["group"]))
    columns = [
        _column(label, source, one, first)
        for label, (source, one) in zip(labels, given, strict=True)
    ]
    names = dict.fromkeys(profile["name"] for one in results for profile in one["profiles"])
    said = [{p["name"]: p["verdict"] for p in one["profiles"]} for one in results]
    return Matrix(
        matrix_version=MATRIX_VERSION,
        worse=any(column["worse"] or column["worse_profiles"] for column in columns),
        notes=_notes(results),
        columns=columns,
        profiles=[
            ProfileRow(name=name, verdicts=[one.get(name, "") for one in said]) for name in names
        ],
        clauses=rows,
    )


def _column(label: str, source: str, results: Results, first: Results) -> Column:
    then, suite, target = by_id(first), results["suite"], results["target"]
    worse, better, unjudged = [], [], []
    for clause in results["clauses"]:
        before = then.get(clause["id"])
        if before is None:
            continue
        now, was = clause["verdict"], before["verdict"]
        if now in NOT_KEPT and was in KEPT and not (clause["flaky"] or before["flaky"]):
            worse.append(clause["id"])
        elif now in KEPT and was in NOT_KEPT:
            better.append(clause["id"])
        elif was in KEPT | NOT_KEPT and now not in KEPT | NOT_KEPT:
            unjudged.append(clause["id"])
    profiles = {p["name"]: p for p in first["profiles"]}
    return Column(
        label=label,
        source=source,
        runtime_name=target["runtime_name"],
        runtime_version=target["runtime_version"],
        handler=target["handler"],
        minor=target["minor"],
        suite=suite["version"],
        as_of=suite["as_of"],
        started=suite["started"],
        counts=dict(Counter(clause["verdict"] for clause in results["clauses"])),
        worse=worse,
        better=better,
        unjudged=unjudged,
        worse_profiles=[
            p["name"] for p in results["profiles"] if _lesser(p, profiles.get(p["name"]))
        ],
    )


def _lesser(now: ProfileResult, was: ProfileResult | None) -> bool:
    """Whether less of a profile is there. What is broken in it is told by its clauses."""
    if was is None:
        return False
    gone = was["verdict"] == State.CONFORMANT and now["verdict"] in (
        State.PARTIAL,
        State.NOT_SUPPORTED,
    )
    return gone or bool(now.get("missing") and not was.get("missing"))


def _row(name: str, clauses: Sequence[ClauseResult | None]) -> Row:
    known = next(clause for clause in clauses if clause)
    return Row(
        id=name,
        level=known["level"],
        text=known["text"],
        group=_group(clauses),
        cells=[
            Cell(verdict=c["verdict"], flaky=c["flaky"], text=_told(c))
            if c
            else Cell(verdict="", flaky="", text="this suite did not know it")
            for c in clauses
        ],
    )


def _told(clause: ClauseResult) -> str:
    if clause["verdict"] in NOT_KEPT | {Verdict.WARNED}:
        return one_line(f"permitted {clause['permitted']}; got {clause['actual']}", 300)
    if clause["verdict"] == Verdict.RECORDED:
        return one_line(clause["actual"], 300)
    return one_line(clause["reason"], 300)


def _group(clauses: Sequence[ClauseResult | None]) -> str:
    verdicts = {clause["verdict"] for clause in clauses if clause}
    if verdicts & NOT_KEPT:
        return "differs" if verdicts & KEPT else "broken"
    judged = verdicts & KEPT
    if Verdict.WARNED in judged and len(judged) > 1:
        return "warned"
    answers = {
        _CHANGING.sub("#", clause["actual"])
        for clause in clauses
        if clause and clause["verdict"] == Verdict.RECORDED
    }
    if len(answers) > 1:
        return "recorded"
    if judged and (verdicts - KEPT or None in clauses):
        return "judged"
    return "same"


def _labels(given: Sequence[tuple[str, Results]]) -> list[str]:
    """A short name for each, that tells it from the others."""
    plain = [
        one_line(f"{one['target']['runtime_name']} {one['target']['runtime_version']}", 60)
        for _, one in given
    ]
    handlers = [one["target"]["handler"] for _, one in given]
    made = []
    for number, (name, handler) in enumerate(zip(plain, handlers, strict=True)):
        label = f"{name} ({one_line(handler, 40)})" if handler else name
        same = plain.count(name) > 1 and handlers.count(handler) > 1
        made.append(f"{label} [{number + 1}]" if same else label)
    return made


def _notes(results: Sequence[Results]) -> list[str]:
    notes = []
    for what, key in (("versions of the suite", "version"), ("clauses as of", "as_of")):
        values = list(dict.fromkeys(str(one["suite"][key]) for one in results))  # type: ignore[literal-required]
        if len(values) > 1:
            told = ", ".join(visible(value) or "(its own)" for value in values)
            notes.append(f"different {what}: {told}")
    if len(minors := {one["target"]["minor"] for one in results}) > 1:
        notes.append(f"judged by different minors of the contract: {', '.join(sorted(minors))}")
    if any(one["suite"]["selection"] for one in results):
        notes.append("not all were full runs")
    return notes


# -- for people and for programs -------------------------------------------------------------


def lines(matrix: Matrix, most: int = 20) -> list[str]:
    """The comparison on a terminal."""
    first, *others = matrix["columns"]
    told = [f"note: {note}" for note in matrix["notes"]]
    for column in others:
        told += [f"WORSE    {column['label']}: {name}" for name in column["worse"][:most]]
        if len(column["worse"]) > most:
            told.append(f"… and {len(column['worse']) - most} more of {column['label']}")
        told += [f"WORSE    {column['label']}: profile {p}" for p in column["worse_profiles"]]
    told += [
        f"{column['label']}: {count(len(column['worse']), 'clause')} worse than {first['label']}, "
        f"{len(column['better'])} better, {len(column['unjudged'])} no longer judged"
        for column in others
    ]
    groups = Counter(row["group"] for row in matrix["clauses"])
    told.append(
        f"{len(matrix['clauses']) - groups['same']} of {len(matrix['clauses'])} clauses differ, or "
        "are kept by none"
    )
    return [visible(line) for line in told]


def as_json(matrix: Matrix) -> str:
    """The matrix as data."""
    return json_file.document(matrix)


def as_html(matrix: Matrix) -> str:
    """The matrix as a page: one file, without a script."""
    groups = {
        heading: [row for row in matrix["clauses"] if row["group"] == group]
        for group, heading in GROUPS.items()
    }
    styles = ("page.css", "compare.css")
    return html.render_page(
        "compare.html.jinja",
        styles,
        matrix=matrix,
        groups=groups,
        verdicts=[str(verdict) for verdict in Verdict],
    )


def as_markdown(matrix: Matrix) -> str:
    """The matrix as Markdown, without the rows that are the same for all."""
    columns = matrix["columns"]
    head = ["", *(_md(column["label"]) for column in columns)]
    out = ["# CRI conformance, compared", ""]
    out += [f"- {_md(note)}" for note in matrix["notes"]] + [""] * bool(matrix["notes"])
    out += _table(
        head,
        [
            ["worse than the first", *(str(len(column["worse"])) for column in columns)],
            *(
                [verdict, *(str(column["counts"].get(verdict, 0)) for column in columns)]
                for verdict in map(str, Verdict)
            ),
        ],
    )
    if matrix["profiles"]:
        rows = [[row["name"], *(v or "–" for v in row["verdicts"])] for row in matrix["profiles"]]
        out += ["## Profiles", "", *_table(["profile", *head[1:]], rows)]
    for group, heading in GROUPS.items():
        rows = [
            [f"`{row['id']}` ({row['level']})", *(_word(cell) for cell in row["cells"])]
            for row in matrix["clauses"]
            if row["group"] == group
        ]
        if group == "same":
            out += [f"{heading}: {count(len(rows), 'clause')}.", ""]
        elif rows:
            out += [f"## {heading}", "", *_table(["clause", *head[1:]], rows)]
    return "\n".join(out)


def _word(cell: Cell) -> str:
    verdict = cell["verdict"]
    word = "–" if verdict in ("", Verdict.NOT_EXERCISED) else verdict
    if cell["flaky"]:
        word += f" (flaky, {_md(cell['flaky'])})"
    bold = verdict in NOT_KEPT
    told = f": {_md(one_line(cell['text'], 80))}" if verdict == Verdict.RECORDED else ""
    return f"**{word}**" if bold else f"{word}{told}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _md(text: str) -> str:
    """Text from a runtime that does nothing in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&:@-])", r"\\\1", one_line(text, 200))
