# SPDX-License-Identifier: Apache-2.0
"""The values at which runtimes have fallen over, one at a time: before chance is asked.

A field that is not there, an empty text, a number below zero, a value that an enum has not, a
path that leads upwards. What they find by themselves needs no luck.
"""

from __future__ import annotations

from collections.abc import Iterator

from cri_conformance.malformed.fields import Field, Kind, Tree, places
from cri_conformance.malformed.mutations import KIB, NUMBERS, TEXTS, Mutation

_EMPTY = b""
#: Values to take the place of a field's own, by what the contract takes the field for.
_NUMBERS: dict[Kind, tuple[int, ...]] = {
    Kind.NUMBER: (-1, 0, 2**31 - 1, 2**63 - 1, -(2**63)),
    Kind.ENUM: (-1, 999),
    Kind.BOOL: (2,),
}
_TEXTS: dict[Kind, tuple[bytes, ...]] = {
    Kind.TEXT: (_EMPTY, b"\x00", b"\xff", b"../../canary", b"Z" * 5000, b"Z" * KIB * KIB),
    Kind.BYTES: (_EMPTY, b"\xff"),
    Kind.MESSAGE: (_EMPTY,),
}
#: What is put behind a text.
_BEHIND = (b"\x00", b":")


def boundaries(tree: Tree) -> Iterator[Mutation]:
    """Every field of a message, missing and with each of these values."""
    for path, field in places(tree):
        yield Mutation("drop", path)
        yield from (Mutation("number", path, NUMBERS.index(one)) for one in _numbers(field))
        yield from (Mutation("text", path, TEXTS.index(one)) for one in _texts(field))
        if field.kind is Kind.TEXT:
            yield from (Mutation("extended", path, TEXTS.index(one)) for one in _BEHIND)


def _numbers(field: Field) -> tuple[int, ...]:
    return tuple(one for one in _NUMBERS.get(field.kind, ()) if one != field.value)


def _texts(field: Field) -> tuple[bytes, ...]:
    return tuple(one for one in _TEXTS.get(field.kind, ()) if one != field.value)
