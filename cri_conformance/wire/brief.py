# SPDX-License-Identifier: Apache-2.0
"""A message within so many characters: what is short stands first and whole, what is long is cut.

In the contract's order an image and its labels would hide the state that comes after them. So
does the first item of a list those that follow: an answer that is a list has a line for each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

#: Characters of an id that tell it from others.
ID_SHOWN = 12
#: Characters that a field is given at least: one with an id, or an enum.
_LEAST = 48
#: Items of an answer that have a line.
ITEMS = 8
_ENDLESS = 1 << 30
#: Characters of the mark for what is left out.
_MARK = len(", …")

_ID = re.compile(r"(?:sha256:)?[0-9a-f]{32,128}")
_LONG_ID = re.compile(rf"\b([0-9a-f]{{{ID_SHOWN}}})[0-9a-f]{{20,116}}\b")


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
    #: Whether it has lists.
    lists: bool


def pieces(message: dict[str, Any] | None, room: int = _ENDLESS) -> list[Piece]:
    """A message as ``field=value, …``, the short fields first."""
    return _merged(_fields(message or {}, room))


def text(message: dict[str, Any] | None, room: int = _ENDLESS) -> str:
    """The same as text."""
    return said(_fields(message or {}, room))


def said(found: list[Piece]) -> str:
    """Pieces as text."""
    return "".join(piece.text for piece in found)


def short_ids(words: str) -> str:
    """A text in which ids are cut, so that there is room for what is said of them."""
    return _LONG_ID.sub(r"\1…", words)


def answer(
    response: dict[str, Any] | None,
    room: int = _ENDLESS,
    line_room: int = _ENDLESS,
    named: Collection[str] = (),
) -> Answer:
    """A response. Of many items those are shown that are about what is ``named``."""
    plain: dict[str, Any] = {}
    counts: list[str] = []
    items: list[_Line] = []
    hidden = 0
    for key, value in (response or {}).items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            listed = [item for item in value if isinstance(item, dict)]
            # More than are kept are told by a text behind them.
            more = _number(value[-1]) - len(listed) if isinstance(value[-1], str) else 0
            counts.append(f"{key}: {len(listed) + more}")
            items += [_Line([], item) for item in listed]
            hidden += more
        elif isinstance(value, dict) and key.isdecimal():
            # A message of a stream, by its place.
            items.append(_Line([Piece(f"{key}: ")], value))
        else:
            plain[key] = value
    counted = ", ".join(counts) + ", " * bool(counts and plain)
    room -= len(counted)
    large = []
    if len(text(plain)) > room:
        large = [key for key, value in plain.items() if isinstance(value, dict)]
    shown = _chosen(items, named)
    hidden += len(items) - len(shown)
    lines = [_Line([Piece(f"{key}: ")], plain.pop(key)) for key in large]
    told = [line.pieces(line_room) for line in [*lines, *shown]]
    if hidden:
        told.append([Piece(f"… and {hidden} more")])
    if not plain:
        counted = counted.removesuffix(", ")
    return Answer(_merged([Piece(counted), *_fields(plain, room)]), told, bool(counts))


class _Line(NamedTuple):
    """A message that has a line of its own."""

    lead: list[Piece]
    message: dict[str, Any]

    def pieces(self, room: int) -> list[Piece]:
        lead = self.lead
        own = any(isinstance(v, str) and _ID.fullmatch(v) for v in self.message.values())
        if not own and (found := next(ids_in(self.message), "")):
            # Of figures the id stands deep within.
            lead = [*lead, *_value(found, _ENDLESS), Piece(": ")]
        return _merged([*lead, *_fields(self.message, room - len(said(lead)))])


def ids_in(value: Any) -> Iterator[str]:
    """The ids that stand in a message."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from ids_in(inner)
    elif isinstance(value, str) and _ID.fullmatch(value):
        yield value


def _chosen(items: list[_Line], named: Collection[str]) -> list[_Line]:
    """Of many items the first and the last, and first of all those about what is named."""
    if len(items) <= ITEMS:
        return items
    foreign = [not any(one in named for one in ids_in(item.message)) for item in items]
    half = len(items) / 2
    ends = sorted(range(len(items)), key=lambda place: (foreign[place], -abs(place - half)))
    return [items[place] for place in sorted(ends[:ITEMS])]


def _number(words: str) -> int:
    """How many items there are, of a text that says so."""
    found = re.search(r"\d+", words)
    return int(found[0]) if found else 0


def _fields(message: dict[str, Any], room: int) -> list[Piece]:
    whole = {key: said(_value(value, _ENDLESS)) for key, value in message.items()}
    order = sorted(whole, key=lambda key: (key != "id", len(key) + len(whole[key])))
    return _shared([(f"{_key(key)}=", message[key]) for key in order], room)


def _key(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _shared(values: list[tuple[str, Any]], room: int) -> list[Piece]:
    """Each value behind its lead, as far as there is room: what a short one leaves is the others'.

    What is no message or list may take a little more: an id or an enum is soon said.
    """
    found: list[Piece] = []
    for number, (lead, value) in enumerate(values):
        left = len(values) - number
        lead = f"{', ' * bool(number)}{lead}"
        if room < len(lead) + _MARK:
            return [*found, Piece(", …"[2 * (not number) :])]
        least = 0 if isinstance(value, dict | list) else _LEAST
        # What comes after it has a mark at least.
        share = min(max(room // left, least), room - _MARK * (left > 1)) - len(lead)
        made = _value(value, share)
        found += [Piece(lead), *made]
        room -= len(lead) + len(said(made))
    return found


def _value(value: Any, room: int) -> list[Piece]:
    if isinstance(value, dict):
        return [Piece("{"), *_fields(value, room - 2), Piece("}")]
    if isinstance(value, list):
        return [Piece("["), *_shared([("", item) for item in value], room - 2), Piece("]")]
    if isinstance(value, str) and _ID.fullmatch(value):
        head, colon, digits = value.rpartition(":")
        return [Piece(_cut(f"{head}{colon}{digits[:ID_SHOWN]}…", room), value)]
    words = str(value)
    if isinstance(value, str):
        words = short_ids(value)
        words = words if words.isidentifier() else repr(words)
    return [Piece(_cut(words, room))]


def _cut(words: str, room: int) -> str:
    return words if len(words) <= room else f"{words[: max(room - 1, 0)]}…"


def _merged(found: list[Piece]) -> list[Piece]:
    made: list[Piece] = []
    for piece in found:
        if made and not piece.whole and not made[-1].whole:
            made[-1] = Piece(made[-1].text + piece.text)
        elif piece.text:
            made.append(piece)
    return made
