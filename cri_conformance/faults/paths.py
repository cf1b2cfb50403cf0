# SPDX-License-Identifier: Apache-2.0
"""Dotted field paths into messages.

``items.metadata.uid`` means the uid of each item; ``status.labels[app]`` one entry of a
map, ``status.labels[*]`` each of them. A path is checked against the descriptors when
it is made, so a misspelt fault fails when it is seeded and not when it is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

EACH = "*"
#: A key may hold dots and slashes, as label keys do.
_STEP = re.compile(r"(?P<name>\w+)(\[(?P<key>[^\]]*)\])?(\.|$)")


@dataclass(frozen=True, slots=True)
class Place:
    """One field of one message, or one entry of a map in it."""

    parent: Any
    field: FieldDescriptor
    key: Any = None

    @property
    def value(self) -> Any:
        """The value; a list or dict of its own for a repeated or map field."""
        value = getattr(self.parent, self.field.name)
        if self.key is not None:
            return value.get(self.key)
        if is_map(self.field):
            return dict(value)
        return list(value) if self.field.is_repeated else value

    def set(self, value: Any) -> None:
        """Put a value in; None clears. Messages are copied."""
        container = getattr(self.parent, self.field.name)
        if self.key is not None:
            if value is None:
                container.pop(self.key, None)
            else:
                container[self.key] = value
            return
        if isinstance(value, Message) and not self.field.is_repeated:
            container.CopyFrom(value)
            return
        self.parent.ClearField(self.field.name)
        if value is None:
            return
        container = getattr(self.parent, self.field.name)
        if is_map(self.field):
            container.update(value)
        elif self.field.is_repeated:
            container.extend(value)
        else:
            setattr(self.parent, self.field.name, value)

    @property
    def present(self) -> bool:
        """Whether anything is there: set, non-empty, or other than the default."""
        value = getattr(self.parent, self.field.name)
        if self.key is not None:
            return self.key in value
        if self.field.message_type is not None and not self.field.is_repeated:
            return bool(self.parent.HasField(self.field.name))
        return bool(value)


@dataclass(frozen=True, slots=True)
class Path:
    """A checked path below one message type."""

    text: str
    fields: tuple[FieldDescriptor, ...]
    key: str | None

    @classmethod
    def parse(cls, message: type[Message], text: str) -> Path:
        """Raises ValueError, saying which step does not exist."""
        at: Any = message.DESCRIPTOR
        fields: list[FieldDescriptor] = []
        key: str | None = None
        rest = text
        while rest:
            step = _STEP.match(rest)
            found = at.fields_by_name.get(step["name"]) if step and at else None
            if step is None or found is None or key is not None:
                raise ValueError(
                    f"{message.DESCRIPTOR.name} has no path {text!r}: it ends before {rest!r}"
                )
            key = step["key"]
            if key is not None and not is_map(found):
                raise ValueError(f"{text!r}: {found.name} is no map and has no keys")
            fields.append(found)
            at = None if is_map(found) else found.message_type
            rest = rest[step.end() :]
        if not fields:
            raise ValueError("a path names at least one field")
        return cls(text, tuple(fields), key)

    def places(self, message: Message, *, create: bool = False) -> Iterator[Place]:
        """Where the path leads in a message: once for each item of the lists on its way.

        ``create`` goes through messages that are not set, so that a value can be put there.
        """
        yield from self._walk(message, 0, create)

    def _walk(self, message: Any, depth: int, create: bool) -> Iterator[Place]:
        field = self.fields[depth]
        if depth == len(self.fields) - 1:
            if self.key == EACH:
                for key in sorted(getattr(message, field.name)):
                    yield Place(message, field, key)
            else:
                yield Place(message, field, self.key)
        elif field.is_repeated:
            for item in getattr(message, field.name):
                yield from self._walk(item, depth + 1, create)
        elif create or message.HasField(field.name):
            yield from self._walk(getattr(message, field.name), depth + 1, create)


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)
