# SPDX-License-Identifier: Apache-2.0
"""Ways to break a message, as plain data.

A mutation names what to do, where, and with which of some values; a message with mutations is
bytes again, by a pure function. So one is written down, tried again, and made smaller by leaving
others out. Whoever chooses (a random generator, or Hypothesis) gives numbers below a bound, of
which 0 is the simplest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from cri_conformance.malformed.fields import (
    Field,
    Kind,
    Path,
    Tree,
    Wire,
    at,
    places,
    replaced,
    serialize,
    tag,
    varint,
)

#: Gives a number from 0 up, below the bound.
Choose = Callable[[int], int]

#: Numbers at the ends of what the types hold, and beyond.
NUMBERS = (
    0, 1, -1, 2, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1,
    2**32, 2**53 + 1, 10**18, 2**62, 2**63 - 1, -(2**63), 2**64 - 1, 999,
)  # fmt: skip
KIB = 1024
#: Texts, as bytes: what stands for itself, what is no UTF-8, and what is large.
TEXTS = (
    b"", b" ", b"\x00", b"a\x00b", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"/", b"//", b".", b"..", b"../", b"../../x", b"a/../../x", b"../../canary", b"/../x",
    b"x/" * 200, b"-", b"--help",
    b"%s%n%d", b"${HOME}", b"{{.}}", b"\n", b"\r\n", b"\x1b[2J", b"\xe2\x80\xae", b"\xef\xbb\xbf",
    "é́".encode(), b"0", b"-1", b"null", b"[]", b"{", b'"', b"=", b":", b"@", b"#", b",",
    b"Z" * 64, b"z" * 63, b"Z" * 300, b"Z" * 5000, b"Z" * 70_000, b"Z" * KIB * KIB,
)  # fmt: skip
#: Field numbers that no message of the contract has; 0 is illegal, 19000 reserved.
STRANGE = (999, 100, 15, 16, 2047, 19000, 2**29 - 1, 0)
#: How deep to nest. Decoders give up at 100 or 10,000, or not at all.
DEPTHS = (2, 64, 101, 1000, 10_001)
#: How often to repeat a field.
REPEATS = (1, 2, 10, 500)
#: What a length says too much; -1 and 2^63 are none.
LIES = (1, -1, 100, 2**31, 2**32, 2**62, -(2**63))
#: Bytes to which repetition makes a message grow: two mutations together must not make gigabytes.
_ROOM = 2 * KIB * KIB
#: Bytes of a message that is too large: beyond the 4 MiB of gRPC's default, and the kubelet's 16.
SIZES = (5 * KIB * KIB, 17 * KIB * KIB)


@dataclass(frozen=True, slots=True)
class Mutation:
    """``what`` is a key of ``WAYS`` or of ``WHOLE``; ``where`` a path, () for the whole."""

    what: str
    where: Path = ()
    n: int = 0
    m: int = 0

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {"what": self.what, "where": list(self.where), "n": self.n, "m": self.m}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Mutation:
        """From plain data."""
        return cls(plain["what"], tuple(plain["where"]), plain["n"], plain["m"])


def _pick(values: Sequence[Any], n: int) -> Any:
    return values[n % len(values)]


# -- one field ---------------------------------------------------------------------


def _drop(field: Field, n: int, m: int) -> Tree:
    return ()


def _again(field: Field, n: int, m: int) -> Tree:
    room = _ROOM // (1 + len(serialize((field,))))
    return (field,) * (1 + min(REPEATS[n % len(REPEATS)], room))


def _number(field: Field, n: int, m: int) -> Tree:
    return (replace(field, wire=Wire.VARINT, value=_pick(NUMBERS, n), kind=Kind.NUMBER),)


def _text(field: Field, n: int, m: int) -> Tree:
    return (replace(field, wire=Wire.BYTES, value=_pick(TEXTS, n), kind=Kind.TEXT),)


def _extended(field: Field, n: int, m: int) -> Tree:
    """What was there, with something before or behind it."""
    own = field.value if isinstance(field.value, bytes) else b""
    more: bytes = _pick(TEXTS, n)
    return (replace(field, wire=Wire.BYTES, value=more + own if m % 2 else own + more),)


def _cut(field: Field, n: int, m: int) -> Tree:
    own = field.value if isinstance(field.value, bytes) else b""
    return (replace(field, wire=Wire.BYTES, value=own[: len(own) * (n % 16) // 16]),)


def _two(field: Field, n: int, m: int) -> Tree:
    """The field, and again with another value: the last one counts, messages are merged."""
    second = _number if field.wire is Wire.VARINT else _text
    fields = (*second(field, n, m), field)
    return fields[::-1] if m % 2 else fields


def _retyped(field: Field, n: int, m: int) -> Tree:
    """The same number with another wire type, well-formed in itself."""
    own = serialize(field.value) if isinstance(field.value, tuple) else field.value
    size = own if isinstance(own, int) else len(own)
    as_bytes = own if isinstance(own, bytes) else varint(own)
    ways: tuple[tuple[Wire, int | bytes | Tree], ...] = (
        (Wire.VARINT, size),
        (Wire.FIXED32, size),
        (Wire.FIXED64, size),
        (Wire.BYTES, as_bytes),
        (Wire.GROUP, ()),
    )
    others = [way for way in ways if way[0] is not field.wire]
    wire, value = others[n % len(others)]
    return (replace(field, wire=wire, value=value),)


def _illegal(field: Field, n: int, m: int) -> Tree:
    """Wire types 4, 6 and 7, the start of a group that has no end, a number with no end."""
    heads = (
        tag(field.number, 7),
        tag(field.number, 6),
        tag(field.number, Wire.END_GROUP),
        tag(field.number, Wire.GROUP),
        tag(field.number, Wire.VARINT) + b"\xff" * 11,
        tag(field.number, Wire.VARINT) + b"\x80" * 9 + b"\x00",
        b"\xff" * 10,
    )
    return (Field(field.number, Wire.VERBATIM, _pick(heads, n)),)


def _lying(field: Field, n: int, m: int) -> Tree:
    """A length that is not that of the value."""
    own = serialize(field.value) if isinstance(field.value, tuple) else field.value
    data = own if isinstance(own, bytes) else varint(own)
    head = tag(field.number, Wire.BYTES) + varint(len(data) + _pick(LIES, n))
    return (Field(field.number, Wire.VERBATIM, head + data),)


def _nested(field: Field, n: int, m: int) -> Tree:
    """A message within a message, and so on: each level has the same number."""
    data = b"" if m % 3 else (field.value if isinstance(field.value, bytes) else b"")
    depth = _pick(DEPTHS, n)
    if m % 2:
        return (
            Field(field.number, Wire.VERBATIM, tag(field.number, Wire.GROUP) * depth),
            Field(field.number, Wire.VERBATIM, tag(field.number, Wire.END_GROUP) * depth),
        )
    return (Field(field.number, Wire.VERBATIM, _onion(field.number, depth, data)),)


@lru_cache(maxsize=64)
def _onion(number: int, depth: int, data: bytes) -> bytes:
    head = tag(number, Wire.BYTES)
    layers = [data]
    size = len(data)
    for _ in range(depth):
        layer = head + varint(size)
        layers.append(layer)
        size += len(layer)
    return b"".join(reversed(layers))


def _strange(field: Field, n: int, m: int) -> Tree:
    """The field, and an unknown one."""
    return (field, unknown(n, m))


def _within(field: Field, n: int, m: int) -> Tree:
    """An unknown field within a message."""
    if isinstance(field.value, tuple):
        return (replace(field, value=(*field.value, unknown(n, m))),)
    return (field, unknown(n, m))


def _moved(field: Field, n: int, m: int) -> Tree:
    """The value under a number that means something else, or nothing."""
    return (replace(field, number=_pick(STRANGE, n), kind=Kind.UNKNOWN),)


def _packed(field: Field, n: int, m: int) -> Tree:
    """A number as a packed list of numbers."""
    numbers = b"".join(varint(_pick(NUMBERS, n + k)) for k in range(1 + m % 8))
    return (replace(field, wire=Wire.BYTES, value=numbers, kind=Kind.UNKNOWN),)


def unknown(n: int, m: int) -> Field:
    """A field that the contract has not."""
    wires: tuple[tuple[Wire, int | bytes | Tree], ...] = (
        (Wire.VARINT, 1),
        (Wire.BYTES, b"unknown"),
        (Wire.FIXED32, 2**32 - 1),
        (Wire.FIXED64, 2**64 - 1),
        (Wire.GROUP, (Field(1, Wire.VARINT, 1),)),
        (Wire.BYTES, b"\xff" * 1000),
        (Wire.VARINT, 2**64 - 1),
    )
    wire, value = _pick(wires, m)
    return Field(_pick(STRANGE, n), wire, value)


#: Ways to break one field. The simplest come first.
WAYS: dict[str, Callable[[Field, int, int], Tree]] = {
    "drop": _drop,
    "text": _text,
    "number": _number,
    "again": _again,
    "two": _two,
    "strange": _strange,
    "within": _within,
    "retyped": _retyped,
    "extended": _extended,
    "cut": _cut,
    "moved": _moved,
    "packed": _packed,
    "illegal": _illegal,
    "lying": _lying,
    "nested": _nested,
}


# -- the whole message ---------------------------------------------------------------


def _truncated(data: bytes, n: int, m: int) -> bytes:
    return data[: n % (len(data) or 1)]


def _flipped(data: bytes, n: int, m: int) -> bytes:
    if not data:
        return b"\x01"
    place = n % len(data)
    return data[:place] + bytes([data[place] ^ 1 << m % 8]) + data[place + 1 :]


def _inserted(data: bytes, n: int, m: int) -> bytes:
    place = n % (len(data) + 1)
    return data[:place] + bytes([m * 37 & 0xFF]) * (1 + m % 4) + data[place:]


def _trailed(data: bytes, n: int, m: int) -> bytes:
    return data + bytes((n * 31 + k * m) & 0xFF for k in range(1 + n % 20))


def _doubled(data: bytes, n: int, m: int) -> bytes:
    return data * min(2 + n % 3, 1 + _ROOM // (1 + len(data)))


def _bloated(data: bytes, n: int, m: int) -> bytes:
    size = _pick(SIZES, n)
    return data + tag(STRANGE[0], Wire.BYTES) + varint(size) + bytes(size)


def _extra(data: bytes, n: int, m: int) -> bytes:
    return data + serialize((unknown(n, m),))


def _deep(data: bytes, n: int, m: int) -> bytes:
    return data + serialize(_nested(Field(_pick(STRANGE, m), Wire.BYTES, b""), n, m))


WHOLE: dict[str, Callable[[bytes, int, int], bytes]] = {
    "extra": _extra,
    "truncated": _truncated,
    "flipped": _flipped,
    "inserted": _inserted,
    "trailed": _trailed,
    "doubled": _doubled,
    "deep": _deep,
    "bloated": _bloated,
}
#: One that is too large takes as long as a hundred others, and is refused before anybody looks
#: at its fields, whatever the call: of so many mutations of a whole message one is of that kind.
_RARE = 800
_WAYS, _WHOLE = tuple(WAYS), tuple(way for way in WHOLE if way != "bloated")


def apply(tree: Tree, mutations: Sequence[Mutation]) -> bytes:
    """The bytes of a message with mutations, one after the other; those of the whole come last.

    Any mutation applies to any message: one whose field is gone does nothing.
    """
    for mutation in mutations:
        if mutation.where and (field := at(tree, mutation.where)) is not None:
            made = WAYS[mutation.what](field, mutation.n, mutation.m)
            tree = replaced(tree, mutation.where, made)
    data = serialize(tree)
    for mutation in mutations:
        if not mutation.where:
            data = WHOLE[mutation.what](data, mutation.n, mutation.m)
    return data


#: Above all values that ``n`` and ``m`` choose from.
_BOUND = 1 << 16


class Mutator:
    """Makes mutations of one message."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._places = [path for path, _ in places(tree)]

    def some(self, choose: Choose) -> tuple[Mutation, ...]:
        """One mutation, less often two or three."""
        count = (1, 1, 1, 1, 2, 3)[choose(6)]
        return tuple(self.one(choose) for _ in range(count))

    def one(self, choose: Choose) -> Mutation:
        """One mutation: of a field three times out of four."""
        if self._places and choose(4):
            where = self._places[choose(len(self._places))]
            return Mutation(_WAYS[choose(len(_WAYS))], where, choose(_BOUND), choose(_BOUND))
        what = _WHOLE[choose(len(_WHOLE))]
        if choose(_RARE) == 1:  # 0 is the simplest
            what = "bloated"
        return Mutation(what, (), choose(_BOUND), choose(_BOUND))


def by_chance(seed: int) -> Choose:
    """Choices of a seed: cheap, as a campaign needs them."""
    # As fast as can be: randrange takes four times as long.
    chance = random.Random(seed).random
    return lambda bound: int(chance() * bound)


@st.composite
def _one(draw: st.DrawFn, mutator: Mutator) -> Mutation:
    return mutator.one(lambda bound: draw(st.integers(0, bound - 1)))


def mutations(tree: Tree, most: int = 3) -> st.SearchStrategy[list[Mutation]]:
    """Mutations of a message, which shrink to fewer and simpler ones."""
    return st.lists(_one(Mutator(tree)), min_size=1, max_size=most)
