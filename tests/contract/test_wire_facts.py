# SPDX-License-Identifier: Apache-2.0
"""The contract as compiled against the wire as it is in the field.

``cri-wire.tsv`` was made apart from ``proto/``: one row for each element, with number,
type, the minor in which it first came on the wire, and what changed since.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from cri_conformance.api.descriptors import descriptor_set, pool
from cri_conformance.contract.register import register

FACTS = Path(__file__).with_name("cri-wire.tsv")


class Row(NamedTuple):
    kind: str
    element: str
    since: str
    number: str
    type: str
    history: str


def _facts() -> dict[tuple[str, str], Row]:
    with FACTS.open(encoding="utf-8", newline="") as file:
        rows = [Row(*fields) for fields in csv.reader(file, delimiter="\t")][1:]
    return {(row.kind, row.element): row for row in rows}


def _ours() -> dict[tuple[str, str], Row]:
    elements = register().elements
    return {
        (kind, name): Row(
            kind, name, str(elements[name].since), number, type_, _history(kind, name)
        )
        for kind, name, number, type_ in _compiled()
    }


def _history(kind: str, name: str) -> str:
    """What the comments say; a new name of all values of an enum is said once, on the enum."""
    elements = register().elements
    if kind == "enum":
        return ""
    own = elements[name].history
    if kind == "value":
        enum = elements[name.rpartition(".")[0]]
        return own or enum.history.replace("names of the values", "name")
    return own


def _compiled() -> Iterator[tuple[str, str, str, str]]:
    for file in descriptor_set().file:
        described = pool().FindFileByName(file.name)
        for service in described.services_by_name.values():
            yield "service", service.name, "", ""
            for method in service.methods:
                assert not method.client_streaming
                stream = "stream " if method.server_streaming else ""
                signature = f"{method.input_type.name} -> {stream}{method.output_type.name}"
                yield "rpc", f"{service.name}.{method.name}", "", signature
        for message in described.message_types_by_name.values():
            yield from _message(message, message.name)
        for enum in described.enum_types_by_name.values():
            yield from _enum(enum, enum.name)


def _message(message: Descriptor, name: str) -> Iterator[tuple[str, str, str, str]]:
    yield "message", name, "", ""
    for field in message.fields:
        yield "field", f"{name}.{field.name}", str(field.number), _type(field)
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from _message(nested, f"{name}.{nested.name}")
    for enum in message.enum_types:
        yield from _enum(enum, f"{name}.{enum.name}")


def _enum(enum: EnumDescriptor, name: str) -> Iterator[tuple[str, str, str, str]]:
    yield "enum", name, "", ""
    for value in enum.values:
        yield "value", f"{name}.{value.name}", str(value.number), ""


def _type(field: FieldDescriptor) -> str:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        key, value = (entry.fields_by_name[side] for side in ("key", "value"))
        return f"map<{_plain(key)},{_plain(value)}>"
    words = ["repeated"] if field.is_repeated else []
    words.append(_plain(field))
    words += ["deprecated"] if field.GetOptions().deprecated else []
    words += [f"in {field.containing_oneof.name}"] if field.containing_oneof else []
    return " ".join(words)


def _plain(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    if named is not None:
        return str(named.name)
    kinds = {
        value: name.removeprefix("TYPE_").lower()
        for name, value in vars(FieldDescriptor).items()
        if name.startswith("TYPE_")
    }
    return kinds[field.type]


def test_every_fact_of_the_wire_is_in_the_contract() -> None:
    facts, ours = _facts(), _ours()
    wrong = [(row, ours.get(key)) for key, row in facts.items() if ours.get(key) != row]
    assert not wrong


def test_nothing_is_in_the_contract_that_is_not_on_the_wire() -> None:
    assert not _ours().keys() - _facts().keys()


@pytest.mark.parametrize(
    ("kind", "count"), [("service", 2), ("rpc", 43), ("message", 175), ("field", 478)]
)
def test_the_facts_are_all_there(kind: str, count: int) -> None:
    assert sum(row.kind == kind for row in _facts().values()) == count


def test_elements_stand_in_the_order_of_the_facts_within_their_message() -> None:
    """Whoever reads a message top to bottom meets its fields as the wire's history has them."""
    ours = [key for key in _ours() if key[0] == "field"]
    by_message: dict[str, list[str]] = {}
    for _, name in ours:
        by_message.setdefault(name.rpartition(".")[0], []).append(name)
    theirs: dict[str, list[str]] = {}
    for kind, name in _facts():
        if kind == "field":
            theirs.setdefault(name.rpartition(".")[0], []).append(name)
    assert by_message == theirs
