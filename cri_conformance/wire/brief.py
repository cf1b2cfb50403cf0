# SPDX-License-Identifier: Apache-2.0
"""A message within so many characters: what is short stands first and whole, what is long is cut.

In the contract's order an image and its labels would hide the state that comes after them. So
does the first item of a list those that follow: an answer that is a list has a line for each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

#: Characters of an id that tell it from others, and of the shortest that is cut to them.
ID_SHOWN, _ID_LENGTH = 12, 32
#: Characters that a field is given at least: one with an id, or an enum.
_LEAST = 48
#: Items of an answer that have a line.
ITEMS = 8
_ENDLESS = 1 << 30
#: Characters of the mark for what is left out.
_MARK = len(", …")

_ID = re.compile(rf"(?:sha256:)?[0-9a-f]{{{_ID_LENGTH},128}}")
_LONG_ID = re.compile(
    rf"\b([0-9a-f]{{{ID_SHOWN}}})[0-9a-f]{{{_ID_LENGTH - ID_SHOWN},{128 - ID_SHOWN}}}\b"
)


class Piece(NamedTuple):
    """A run of text; ``whole`` is what an id is in full, "" for anything else."""

    text: str
    whole: str = ""


class Answer(NamedTuple):
    """A response: what it says in a line, and what has lines of its own.

    These are the items of its lists, and messages that the line has no room for.
    """

    head: list[Piece]
    lines: list[list[Piece]]


def pieces(message: dict[str, Any] | None, room: int = _ENDLESS) -> list[Piece]:
    """A message as ``field=value, …``."""
    return _told([], _fields(message or {}), room)


def text(message: dict[str, Any] | None, room: int = _ENDLESS) -> str:
    """The same as text."""
    return said(pieces(message, room))


def said(found: Iterable[Piece]) -> str:
    """Pieces as text."""
    return "".join([piece.text for piece in found])


def short_ids(words: str) -> str:
    """A text in which ids are cut, so that there is room for what is said of them."""
    return words if len(words) < _ID_LENGTH else _LONG_ID.sub(r"\1…", words)


def ids_in(value: Any) -> Iterator[str]:
    """The ids that stand in a message."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from ids_in(inner)
    elif isinstance(value, str) and _is_id(value):
        yield value


class Response:
    """A response, to be told with more or less room."""

    def __init__(self, response: dict[str, Any] | None, named: Collection[str] = ()) -> None:
        """Of many items those are told that are about what is ``named``."""
        plain: dict[str, Any] = {}
        counts: list[str] = []
        items: list[tuple[str, dict[str, Any]]] = []
        hidden = 0
        for key, value in (response or {}).items():
            if isinstance(value, list) and any(isinstance(item, dict) for item in value):
                listed = [item for item in value if isinstance(item, dict)]
                # More than are kept are told by a text behind them.
                more = _number(value[-1]) - len(listed) if isinstance(value[-1], str) else 0
                counts.append(f"{key}: {len(listed) + more}")
                items += [("", item) for item in listed]
                hidden += more
            elif isinstance(value, dict) and key.isdecimal():
                # A message of a stream, by its place.
                items.append((f"{key}: ", value))
            else:
                plain[key] = value
        shown = _chosen(items, named)
        self._items = [(lead, _fields(item)) for lead, item in shown]
        self._hidden = hidden + len(items) - len(shown)
        self._counts = ", ".join(counts)
        self._plain = _fields(plain)
        #: Whether it has lists.
        self.lists = bool(counts)
        #: Characters of its line, if it has room.
        self.size = len(self._counts) + 2 * bool(counts and plain) + len(_whole(self._plain))

    def told(self, room: int = _ENDLESS, line_room: int = _ENDLESS) -> Answer:
        """Its line, and the lines below it."""
        plain: _Parts = []
        lines: list[tuple[str, _Parts]] = []
        for key, tree in self._plain:
            if self.size > room and tree.parts is not None and tree.text.startswith("{"):
                lines.append((f"{key[:-1]}: ", tree.parts))
            else:
                plain.append((key, tree))
        told = [_line(lead, parts, line_room) for lead, parts in [*lines, *self._items]]
        if self._hidden:
            told.append([Piece(f"… and {self._hidden} more")])
        counts = self._counts + ", " * bool(self._counts and plain)
        return Answer(_told([Piece(counts)], plain, room - len(counts)), told)


@dataclass(slots=True)
class _Tree:
    """A value in words: ``whole`` if it is an id, or its parts, each behind its key."""

    text: str
    whole: str = ""
    parts: _Parts | None = None


_Parts: TypeAlias = list[tuple[str, _Tree]]


def _fields(message: dict[str, Any]) -> _Parts:
    """The fields of a message, its id and the short ones first."""
    found = [
        (f"{key if key.isprintable() else repr(key)}=", _tree(value))
        for key, value in message.items()
    ]
    return sorted(found, key=lambda part: (part[0] != "id=", len(part[0]) + len(part[1].text)))


def _tree(value: Any) -> _Tree:
    if isinstance(value, str):
        if _is_id(value):
            head, colon, digits = value.rpartition(":")
            return _Tree(f"{head}{colon}{digits[:ID_SHOWN]}…", value)
        words = short_ids(value)
        return _Tree(words if words.isidentifier() else repr(words))
    if isinstance(value, dict):
        parts = _fields(value)
        return _Tree(f"{{{_whole(parts)}}}", parts=parts)
    if isinstance(value, list):
        parts = [("", _tree(item)) for item in value]
        return _Tree(f"[{_whole(parts)}]", parts=parts)
    return _Tree(str(value))


def _whole(parts: _Parts) -> str:
    return ", ".join([f"{key}{tree.text}" for key, tree in parts])


def _line(lead: str, parts: _Parts, room: int) -> list[Piece]:
    """A message that has a line of its own. Of figures the id stands deep within."""
    begin = [Piece(lead)]
    if not any(tree.whole for _, tree in parts) and (found := _first_id(parts)):
        begin += [Piece(found.text, found.whole), Piece(": ")]
    return _told(begin, parts, room - len(said(begin)))


def _first_id(parts: _Parts) -> _Tree | None:
    for _, tree in parts:
        if found := tree if tree.whole else _first_id(tree.parts or []):
            return found
    return None


def _told(begin: list[Piece], parts: _Parts, room: int) -> list[Piece]:
    found = list(begin)
    _share(found, parts, room)
    made: list[Piece] = []
    for piece in found:
        if made and not piece.whole and not made[-1].whole:
            made[-1] = Piece(made[-1].text + piece.text)
        elif piece.text:
            made.append(piece)
    return made


def _share(found: list[Piece], parts: _Parts, room: int) -> None:
    """Each part as far as there is room: what a short one leaves is the others'.

    What has no parts itself may take a little more: an id or an enum is soon said.
    """
    for number, (key, tree) in enumerate(parts):
        left = len(parts) - number
        lead = f", {key}" if number else key
        if room < len(lead) + _MARK:
            found.append(Piece(", …" if number else "…"))
            return
        least = 0 if tree.parts is not None else _LEAST
        # What comes after it has a mark at least.
        share = min(max(room // left, least), room - _MARK * (left > 1)) - len(lead)
        found.append(Piece(lead))
        before = len(found)
        _write(found, tree, share)
        room -= len(lead) + len(said(found[before:]))


def _write(found: list[Piece], tree: _Tree, room: int) -> None:
    if tree.parts is None:
        fits = len(tree.text) <= room
        found.append(Piece(tree.text if fits else f"{tree.text[: max(room - 1, 0)]}…", tree.whole))
    else:
        found.append(Piece(tree.text[0]))
        _share(found, tree.parts, room - 2)
        found.append(Piece(tree.text[-1]))


def _chosen(
    items: list[tuple[str, dict[str, Any]]], named: Collection[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Of many items the first and the last, and first of all those about what is named."""
    if len(items) <= ITEMS:
        return items
    foreign = [not any(one in named for one in ids_in(item)) for _, item in items]
    half = len(items) / 2
    ends = sorted(range(len(items)), key=lambda place: (foreign[place], -abs(place - half)))
    return [items[place] for place in sorted(ends[:ITEMS])]


def _is_id(words: str) -> bool:
    return len(words) >= _ID_LENGTH and _ID.fullmatch(words) is not None


def _number(words: str) -> int:
    """How many items there are, of a text that says so."""
    found = re.search(r"\d+", words)
    return int(found[0]) if found else 0
