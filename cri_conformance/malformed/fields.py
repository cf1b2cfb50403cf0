# SPDX-License-Identifier: Apache-2.0
"""A message as a tree of its fields, as they stand on the wire.

The descriptor is needed only to tell a message in a field from a string. What is not as the
descriptor has it stays a leaf of bytes, so that any bytes come back as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

#: Longest varint that a receiver has to take.
_LONGEST_VARINT = 10


class Wire(IntEnum):
    """How a field's value is laid out. ``VERBATIM`` is our own: bytes with no tag before them."""

    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    GROUP = 3
    END_GROUP = 4
    FIXED32 = 5
    VERBATIM = 8


#: By their numbers: looked up for each field of each message.
_WIRES = {wire.value: wire for wire in Wire}


class Kind(IntEnum):
    """What the contract takes the field for."""

    UNKNOWN = 0
    NUMBER = 1
    ENUM = 2
    BOOL = 3
    TEXT = 4
    BYTES = 5
    MESSAGE = 6


@dataclass(frozen=True, slots=True)
class Field:
    """One field. ``value`` is an int, bytes, or the fields within."""

    number: int
    wire: Wire
    value: int | bytes | tuple[Field, ...]
    kind: Kind = Kind.UNKNOWN
    name: str = ""


Tree = tuple[Field, ...]
Path = tuple[int, ...]
"""Where a field stands: its index, and so on within it."""


class NotAMessage(ValueError):
    """These bytes are no message."""


def varint(value: int) -> bytes:
    """A number as a varint; negative ones as 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire: int) -> bytes:
    """What stands before a field's value."""
    return varint(number << 3 | wire)


def serialize(tree: Tree) -> bytes:
    """The bytes of a tree."""
    return b"".join(map(_field, tree))


def _field(field: Field) -> bytes:
    value = field.value
    if field.wire is Wire.VERBATIM:
        assert isinstance(value, bytes)
        return value
    head = tag(field.number, field.wire)
    if isinstance(value, tuple):
        inner = serialize(value)
        if field.wire is Wire.GROUP:
            return head + inner + tag(field.number, Wire.END_GROUP)
        return head + varint(len(inner)) + inner
    if isinstance(value, bytes):
        return head + varint(len(value)) + value
    if field.wire is Wire.VARINT:
        return head + varint(value)
    size = 8 if field.wire is Wire.FIXED64 else 4
    return head + (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def parse(data: bytes, descriptor: Any = None) -> Tree:
    """The fields of a message, with the names its descriptor gives them. Raises NotAMessage."""
    fields: list[Field] = []
    at = 0
    while at < len(data):
        start = at
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if not number:
            # Illegal everywhere, and what megabytes of zeros would be read as.
            raise NotAMessage(f"field 0 at byte {at}")
        known = descriptor.fields_by_number.get(number) if descriptor else None
        name, kind = (known.name, _kind(known)) if known else ("", Kind.UNKNOWN)
        value: int | bytes | Tree
        if wire == Wire.VARINT:
            value, at = _varint(data, at)
        elif wire in (Wire.FIXED64, Wire.FIXED32):
            size = 8 if wire == Wire.FIXED64 else 4
            value = int.from_bytes(_slice(data, at, size), "little")
            at += size
        elif wire == Wire.BYTES:
            size, at = _varint(data, at)
            value = _slice(data, at, size)
            at += size
            if kind is Kind.MESSAGE and known:
                try:
                    value = parse(value, known.message_type)
                except NotAMessage:
                    kind = Kind.UNKNOWN
        elif wire == Wire.GROUP:
            # The contract has none: what is in one is nothing to anybody.
            at = _end_of_group(data, at, number)
            value, wire = data[start:at], Wire.VERBATIM
        else:
            raise NotAMessage(f"wire type {wire} at byte {at}")
        fields.append(Field(number, _WIRES[wire], value, kind, name))
    return tuple(fields)


def _end_of_group(data: bytes, at: int, number: int) -> int:
    # No recursion: they may be nested as deep as there are bytes.
    open_groups = [number]
    while open_groups:
        key, at = _varint(data, at)
        wire = key & 7
        if wire == Wire.VARINT:
            _, at = _varint(data, at)
        elif wire == Wire.BYTES:
            size, at = _varint(data, at)
            at += len(_slice(data, at, size))
        elif wire in (Wire.FIXED64, Wire.FIXED32):
            at += len(_slice(data, at, 8 if wire == Wire.FIXED64 else 4))
        elif wire == Wire.GROUP:
            open_groups.append(key >> 3)
        elif wire != Wire.END_GROUP or open_groups.pop() != key >> 3:
            raise NotAMessage(f"wire type {wire} at byte {at}")
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << 7 * index
        at += 1
        if data[at - 1] < 0x80:
            return value & (1 << 64) - 1, at
    raise NotAMessage(f"no number at byte {at}")


def _slice(data: bytes, at: int, size: int) -> bytes:
    if size > len(data) - at:
        raise NotAMessage(f"{size} bytes wanted at byte {at} of {len(data)}")
    return data[at : at + size]


def _kind(field: FieldDescriptor) -> Kind:
    kinds = {
        FieldDescriptor.TYPE_MESSAGE: Kind.MESSAGE,
        FieldDescriptor.TYPE_STRING: Kind.TEXT,
        FieldDescriptor.TYPE_BYTES: Kind.BYTES,
        FieldDescriptor.TYPE_ENUM: Kind.ENUM,
        FieldDescriptor.TYPE_BOOL: Kind.BOOL,
    }
    return kinds.get(field.type, Kind.NUMBER)


def places(tree: Tree, before: Path = ()) -> Iterator[tuple[Path, Field]]:
    """Every field with its path, outer ones before inner ones."""
    for index, field in enumerate(tree):
        path = (*before, index)
        yield path, field
        if isinstance(field.value, tuple):
            yield from places(field.value, path)


def replaced(tree: Tree, path: Path, fields: Tree) -> Tree:
    """The tree with other fields (or none, or several) where one was; as it was if none was."""
    index, *rest = path
    if index >= len(tree):
        return tree
    if not rest:
        return (*tree[:index], *fields, *tree[index + 1 :])
    inner = tree[index].value
    if not isinstance(inner, tuple):
        return tree
    changed = replace(tree[index], value=replaced(inner, tuple(rest), fields))
    return (*tree[:index], changed, *tree[index + 1 :])


def at(tree: Tree, path: Path) -> Field | None:
    """The field at a path, None if there is none any more."""
    found: Field | None = None
    level = tree
    for index in path:
        if index >= len(level):
            return None
        found = level[index]
        level = found.value if isinstance(found.value, tuple) else ()
    return found
