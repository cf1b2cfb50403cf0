# SPDX-License-Identifier: Apache-2.0
"""Any request of the contract, generated from its descriptor: valid, or with one thing wrong.

Three ways, the cheapest first:

- ``overlay``: a valid base with one to three of its fields drawn anew;
- ``message``: a whole message, each field drawn or left out;
- ``spoiled``: a valid message in which just one row of ``constraints`` is broken.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cri_conformance.api import types
from cri_conformance.build import strategies
from cri_conformance.build.constraints import CONSTRAINTS, Constraint, broken, mend
from cri_conformance.build.fields import FIELDS, NEVER, Ours, boundaries

#: Fields of an overlay at most.
MOST = 3

_IDS = ("pod_sandbox_id", "container_id")
_INTEGERS = {
    FieldDescriptor.TYPE_INT64: (0, 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: (0, 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
}


@cache
def values(field: FieldDescriptor, ours: Ours) -> SearchStrategy[Any]:
    """What a field may hold, all of a repeated one's entries at once."""
    assert field.containing_type
    path = f"{field.containing_type.name}.{field.name}"
    if path in FIELDS:
        return FIELDS[path](ours)
    if field.message_type and field.message_type.GetOptions().map_entry:
        return strategies.label_maps(3)
    one = _single(field, ours)
    return st.lists(one, max_size=2) if field.is_repeated else one


def _single(field: FieldDescriptor, ours: Ours) -> SearchStrategy[Any]:
    if field.message_type:
        return message(field.message_type.name, ours)
    if field.enum_type:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_STRING:
        return strategies.texts(40)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40)
    low, high = _INTEGERS[field.type]
    return boundaries(low, high, 0, 1)


@cache
def message(name: str, ours: Ours) -> SearchStrategy[Any]:
    """A valid message of this type: each field is drawn, or left as it is unset."""
    return st.deferred(lambda: _whole(name, ours)).map(mend)


@st.composite
def _whole(draw: st.DrawFn, name: str, ours: Ours) -> Any:
    made = getattr(types, name)()
    for field in drawable(made.DESCRIPTOR):
        # Without an id nothing is asked about, and what is meant by it is no object of ours alone.
        needed = name.endswith("Request") and field.name in _IDS
        value = draw(values(field, ours) if needed else _perhaps(values(field, ours)))
        if value is not None:
            put(made, field, value)
    return made


@st.composite
def _perhaps(draw: st.DrawFn, wanted: SearchStrategy[Any]) -> Any:
    """What is not wanted shrinks to nothing: as one draw, so that all of it goes at once."""
    return draw(wanted) if draw(st.booleans()) else None


@cache
def drawable(descriptor: Descriptor) -> list[FieldDescriptor]:
    """The fields of a message that are ever drawn."""
    return [one for one in descriptor.fields if f"{descriptor.name}.{one.name}" not in NEVER]


def put(made: Any, field: FieldDescriptor, value: Any) -> None:
    """Set a field, whatever its kind."""
    made.ClearField(field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        getattr(made, field.name).update(value)
    elif field.is_repeated:
        getattr(made, field.name).extend(value)
    elif field.message_type:
        getattr(made, field.name).CopyFrom(value)
    else:
        setattr(made, field.name, value)


@cache
def places(descriptor: Descriptor, depth: int = 5, before: str = "") -> list[str]:
    """The paths of all fields that an overlay may draw, such as ``config.linux.resources``."""
    found = []
    for field in drawable(descriptor):
        path = f"{before}{field.name}"
        found.append(path)
        drawn_whole = f"{descriptor.name}.{field.name}" in FIELDS or field.is_repeated
        if field.message_type and depth and not drawn_whole:
            found += places(field.message_type, depth - 1, f"{path}.")
    return found


def overlay(base: Any, ours: Ours, keep: Collection[str] = ()) -> SearchStrategy[Any]:
    """A copy of a valid message with one to three fields drawn anew; ``keep`` are left alone.

    Of fields below a kept one none is drawn either.
    """
    free = [
        path
        for path in places(base.DESCRIPTOR)
        if not any(path == kept or path.startswith(f"{kept}.") for kept in keep)
        and not any(kept.startswith(f"{path}.") for kept in keep)
    ]
    chosen = st.lists(st.sampled_from(free), min_size=1, max_size=MOST, unique=True)
    return _overlay(base, ours, chosen)


@st.composite
def _overlay(draw: st.DrawFn, base: Any, ours: Ours, chosen: SearchStrategy[list[str]]) -> Any:
    made = type(base)()
    made.CopyFrom(base)
    for path in draw(chosen):
        part, field = _reach(made, path)
        put(part, field, draw(values(field, ours)))
    return mend(made)


def _reach(made: Any, path: str) -> tuple[Any, FieldDescriptor]:
    *above, last = path.split(".")
    for name in above:
        made = getattr(made, name)
    made.SetInParent()
    return made, made.DESCRIPTOR.fields_by_name[last]


@dataclass(frozen=True)
class Spoiled:
    """A message in which just this row is broken."""

    message: Any
    row: Constraint


def spoiling(descriptor: Descriptor) -> list[Constraint]:
    """The rows that a message of this type can be made to break."""
    reached = _reachable(descriptor)
    return [
        row
        for row in CONSTRAINTS
        if row.spoil
        and row.message in reached
        and (not row.of or descriptor.name in row.of or descriptor.name == row.message)
    ]


@cache
def _reachable(descriptor: Descriptor) -> dict[str, str]:
    """Type → the path of the first part of this type that a message can have."""
    found = {descriptor.name: ""}
    waiting = [("", descriptor)]
    while waiting:
        path, kind = waiting.pop(0)
        for field in kind.fields:
            inner = field.message_type
            if inner and not inner.GetOptions().map_entry and inner.name not in found:
                if f"{kind.name}.{field.name}" in NEVER:
                    continue
                found[inner.name] = f"{path}.{field.name}".lstrip(".")
                waiting.append((found[inner.name], inner))
    return found


def spoil(base: Any, row: Constraint, ours: Ours) -> Message | None:
    """A copy of a valid message in which only ``row`` is broken; None if that can't be."""
    made = type(base)()
    made.CopyFrom(base)
    part = made
    path = _reachable(made.DESCRIPTOR)[row.message]
    for name in filter(None, path.split(".")):
        field = part.DESCRIPTOR.fields_by_name[name]
        if field.is_repeated:
            several = getattr(part, name)
            part = several[0] if several else several.add()
            if row.message == "Mount":
                part.container_path = part.container_path or "/cri-spoiled"
                part.host_path = part.host_path or ours.folder
        else:
            part = getattr(part, name)
            part.SetInParent()
    assert row.spoil
    row.spoil(part)
    return made if [line.partition(": ")[2] for line in broken(made)] == [row.id] else None


def spoiled(base: Any, ours: Ours) -> SearchStrategy[Spoiled]:
    """A valid base with one row broken."""
    rows = st.sampled_from(spoiling(base.DESCRIPTOR))
    made = rows.map(lambda row: (spoil(base, row, ours), row))
    return made.filter(lambda one: one[0] is not None).map(lambda one: Spoiled(*one))
