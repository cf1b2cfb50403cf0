# SPDX-License-Identifier: Apache-2.0
"""A message in one line of a table: long ids cut to what an eye compares, and whole on hover."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

#: Characters of a message that a line shows.
LONGEST = 180
#: Characters of an id that tell it from others.
ID_SHOWN = 12

_ID = re.compile(r"(?:sha256:)?[0-9a-f]{32,128}")


class Piece(NamedTuple):
    """A run of text; ``whole`` is what an id is in full, "" for anything else."""

    text: str
    whole: str = ""


def pieces(message: dict[str, Any] | None, longest: int = LONGEST) -> list[Piece]:
    """A message as ``field=value, …``, cut after ``longest`` characters."""
    found: list[Piece] = []
    room = longest
    for piece in _fields(message or {}):
        if len(piece.text) > room:
            rest = "…" if piece.whole else f"{piece.text[:room]}…"
            return [*found, Piece(rest, piece.whole)]
        room -= len(piece.text)
        if found and not piece.whole and not found[-1].whole:
            found[-1] = Piece(found[-1].text + piece.text)
        else:
            found.append(piece)
    return found


def whole(message: dict[str, Any] | None) -> str:
    """The message as indented JSON; "" for an empty one."""
    return json.dumps(message, indent=2, ensure_ascii=False, default=str) if message else ""


def whole_line(message: dict[str, Any] | None) -> str:
    """The message as JSON in one line; "" for an empty one."""
    return json.dumps(message, ensure_ascii=False, default=str) if message else ""


def _fields(message: dict[str, Any]) -> Iterator[Piece]:
    for number, (key, value) in enumerate(message.items()):
        yield Piece(f"{', ' if number else ''}{key}=")
        yield from _value(value)


def _value(value: Any) -> Iterator[Piece]:
    if isinstance(value, dict):
        yield Piece("{")
        yield from _fields(value)
        yield Piece("}")
    elif isinstance(value, list):
        yield Piece("[")
        for number, item in enumerate(value):
            if number:
                yield Piece(", ")
            yield from _value(item)
        yield Piece("]")
    elif isinstance(value, str) and _ID.fullmatch(value):
        head, colon, digits = value.rpartition(":")
        yield Piece(f"{head}{colon}{digits[:ID_SHOWN]}…", value)
    elif isinstance(value, str):
        yield Piece(json.dumps(value, ensure_ascii=False))
    else:
        yield Piece(str(value))
