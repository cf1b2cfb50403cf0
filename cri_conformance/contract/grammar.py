# SPDX-License-Identifier: Apache-2.0
"""The comment of one element, read: description, clauses, age.

The form is made to be read by people first::

    Stops the sandbox and gives its network resources back.

    - idempotent (MUST, idempotency): A stop of a sandbox that is stopped
      already succeeds.
    - oom-reason (MUST, field; since 1.27; needs host): ...

    Since 1.25.
    History: string from 1.20; bytes from 1.37.

A clause that cannot be read is an error, never a comment: a typing slip must not
make a promise disappear from the register.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cri_conformance.contract.clause import FIRST_MINOR, Kind, Level, Minor, Needs

_CLAUSE = re.compile(r"- (?P<name>[a-z0-9]+(?:-[a-z0-9]+)*) \((?P<head>.*?)\): (?P<text>.+)")
_SINCE = re.compile(r"Since (\d+\.\d+)\.")
_HISTORY = re.compile(r"History: (.+)\.")


class GrammarError(ValueError):
    """A comment that looks like a clause and is none."""


@dataclass(frozen=True, slots=True)
class ParsedClause:
    """A clause without its element; ``since`` is None where the element's age holds."""

    name: str
    level: Level
    kind: Kind
    since: Minor | None
    needs: Needs
    evidence: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class ParsedComment:
    """Everything one comment says."""

    description: str
    clauses: tuple[ParsedClause, ...]
    since: Minor
    history: str


def parse(comment: str) -> ParsedComment:
    """Read a comment as protoc hands it over (no slashes, one line each).

    Raises GrammarError with the offending text.
    """
    description: list[str] = []
    clauses: list[ParsedClause] = []
    since, history = FIRST_MINOR, ""
    for start, paragraph in _paragraphs(comment):
        if paragraph.startswith("- "):
            clauses.append(_clause(paragraph, start))
        elif match := _SINCE.fullmatch(paragraph):
            since = Minor.parse(match[1])
        elif match := _HISTORY.fullmatch(paragraph):
            history = match[1]
        elif clauses:
            raise GrammarError(f"text after the clauses: {paragraph!r}")
        else:
            description.append(paragraph)
    names = [clause.name for clause in clauses]
    if twice := {name for name in names if names.count(name) > 1}:
        raise GrammarError(f"clause named twice: {', '.join(sorted(twice))}")
    return ParsedComment("\n\n".join(description), tuple(clauses), since, history)


def _paragraphs(comment: str) -> list[tuple[int, str]]:
    """Split into paragraphs and clauses, each joined to one line, with its first line's offset."""
    found: list[tuple[int, list[str]]] = []
    open_ = False
    for offset, raw in enumerate(comment.split("\n")):
        line = raw.strip()
        starts = line.startswith("- ") or _SINCE.fullmatch(line) or _HISTORY.fullmatch(line)
        if not line:
            open_ = False
        elif open_ and not starts:
            found[-1][1].append(line)
        else:
            found.append((offset, [line]))
            open_ = True
    return [(offset, " ".join(lines)) for offset, lines in found]


def _clause(text: str, line: int) -> ParsedClause:
    match = _CLAUSE.fullmatch(text)
    if not match:
        raise GrammarError(f"not a clause '- name (LEVEL, kind; ...): text': {text!r}")
    first, *attributes = [part.strip() for part in match["head"].split(";")]
    try:
        level, kind = (part.strip() for part in first.split(","))
        parsed_level, parsed_kind = Level(level), Kind(kind)
        since: Minor | None = None
        needs, evidence = Needs.NOTHING, ""
        for attribute in attributes:
            word, _, rest = attribute.partition(" ")
            if word == "since":
                since = Minor.parse(rest)
            elif word == "needs":
                needs = Needs(rest)
            elif word == "evidence" and rest:
                evidence = rest
            else:
                raise ValueError(f"unknown attribute {attribute!r}")
    except ValueError as error:
        raise GrammarError(f"{error} in {text!r}") from None
    if (parsed_level is Level.KUBELET) != bool(evidence):
        raise GrammarError(f"KUBELET clauses, and only they, name their evidence: {text!r}")
    return ParsedClause(
        match["name"], parsed_level, parsed_kind, since, needs, evidence, match["text"], line
    )
