# SPDX-License-Identifier: Apache-2.0
"""The register: every element and clause of the contract, by id.

Read from the source info of the descriptor set. There is no second list.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf import descriptor_pb2

from cri_conformance.api.descriptors import descriptor_set
from cri_conformance.contract import ages, patterns
from cri_conformance.contract.clause import FIRST_MINOR, Clause, Element, Minor
from cri_conformance.contract.grammar import GrammarError, parse

Path = tuple[int, ...]


@dataclass(frozen=True)
class Register:
    """All elements in the order of the files, and their clauses by id."""

    elements: Mapping[str, Element]
    clauses: Mapping[str, Clause]

    def __getitem__(self, clause_id: str) -> Clause:
        return self.clauses[clause_id]

    def __contains__(self, clause_id: object) -> bool:
        return clause_id in self.clauses

    @property
    def latest(self) -> Minor:
        """The youngest minor that any element came with."""
        return max(element.since for element in self.elements.values())

    def matching(self, text: str) -> list[Clause]:
        """Clauses whose id, or the end of it, matches a shell pattern, or one of several.

        An element's bare name takes all of its own.
        """
        found = {name for pattern in patterns.each(text) for name in self._matching(pattern)}
        return [clause for clause in self.clauses.values() if clause.id in found]

    def _matching(self, pattern: str) -> list[str]:
        if pattern in self.clauses:
            # Lists have hundreds of whole ids.
            return [pattern]
        return [
            name
            for name in self.clauses
            if fnmatch.fnmatchcase(name, pattern)
            or fnmatch.fnmatchcase(name, f"*.{pattern}")
            or fnmatch.fnmatchcase(name, f"{pattern}.*")
            or fnmatch.fnmatchcase(name, f"*.{pattern}.*")
        ]


@cache
def register() -> Register:
    """The register of the descriptor set that ships with the package."""
    locked = ages.read(ages.LOCK.read_text(encoding="utf-8")) if ages.LOCK.is_file() else {}
    return read(descriptor_set(), {name: version for name, (version, _) in locked.items()})


def read(
    files: descriptor_pb2.FileDescriptorSet, came: Mapping[str, str] | None = None
) -> Register:
    """Read the clauses of any descriptor set that carries its source info.

    ``came`` says of clauses in which version of the suite they came. Raises GrammarError,
    naming file and element, if a comment can't be read.
    """
    elements: dict[str, Element] = {}
    clauses: dict[str, Clause] = {}
    for file in files.file:
        locations = {tuple(loc.path): loc for loc in file.source_code_info.location}
        for name, kind, path in walk(file):
            # What says nothing of its age came with what it is a part of.
            whole = elements.get(name.rpartition(".")[0])
            oldest = whole.since if whole else FIRST_MINOR
            element = _element(name, kind, locations.get(path), file.name, oldest, came or {})
            elements[name] = element
            clauses.update((clause.id, clause) for clause in element.clauses)
    return Register(elements, clauses)


def _element(
    name: str,
    kind: str,
    location: descriptor_pb2.SourceCodeInfo.Location | None,
    file: str,
    oldest: Minor,
    came: Mapping[str, str],
) -> Element:
    comment = location.leading_comments if location else ""
    line = location.span[0] + 1 if location else 0
    try:
        parsed = parse(comment)
    except GrammarError as error:
        raise GrammarError(f"proto/{file}, {name}: {error}") from None
    age = max(parsed.since, oldest)
    # A comment ends on the line above its element, so its first line can be counted back.
    top = line - len(comment.rstrip("\n").split("\n"))
    made = tuple(
        Clause(
            id=f"{name}.{clause.name}",
            element=name,
            level=clause.level,
            kind=clause.kind,
            since=clause.since or age,
            needs=clause.needs,
            evidence=clause.evidence,
            text=clause.text,
            source=f"proto/{file}:{top + clause.line}",
            came=came.get(f"{name}.{clause.name}", ""),
        )
        for clause in parsed.clauses
    )
    return Element(
        name, kind, age, parsed.history, parsed.description, made, f"proto/{file}:{line}"
    )


def walk(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str, Path]]:
    """(name, kind, source path) of every element of a file; names as in ``Message.field``."""
    for i, service in enumerate(file.service):
        yield service.name, "service", (6, i)
        for j, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", "rpc", (6, i, 2, j)
    for i, message in enumerate(file.message_type):
        yield from _walk_message(message, message.name, (4, i))
    for i, enum in enumerate(file.enum_type):
        yield from _walk_enum(enum, enum.name, (5, i))


def _walk_message(
    message: descriptor_pb2.DescriptorProto, name: str, path: Path
) -> Iterator[tuple[str, str, Path]]:
    yield name, "message", path
    for j, field in enumerate(message.field):
        yield f"{name}.{field.name}", "field", (*path, 2, j)
    for j, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _walk_message(nested, f"{name}.{nested.name}", (*path, 3, j))
    for j, enum in enumerate(message.enum_type):
        yield from _walk_enum(enum, f"{name}.{enum.name}", (*path, 4, j))


def _walk_enum(
    enum: descriptor_pb2.EnumDescriptorProto, name: str, path: Path
) -> Iterator[tuple[str, str, Path]]:
    yield name, "enum", path
    for j, value in enumerate(enum.value):
        yield f"{name}.{value.name}", "value", (*path, 2, j)
