# SPDX-License-Identifier: Apache-2.0
"""What an operator does to a value: named changes, so that a fault's id can say which.

One of one's own: ``Change("rot13", lambda text: codecs.encode(text, "rot13"))``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Change:
    """A named change of one value."""

    name: str
    apply: Callable[[Any], Any]

    def __call__(self, value: Any) -> Any:
        return self.apply(value)


lower = Change("lower", lambda text: text.lower())
upper = Change("upper", lambda text: text.upper())
strip = Change("strip", lambda text: text.strip())
#: Encodes what has a meaning in URLs; an id or a plain word stays as it is.
percent_encode = Change("percent-encode", lambda text: quote(text, safe=""))
#: Every character outside ASCII becomes a question mark.
ascii_only = Change("ascii-only", lambda text: text.encode("ascii", "replace").decode())
#: For lists, strings and bytes.
reverse = Change("reverse", lambda value: value[::-1])
empty = Change("empty", lambda value: type(value)())
negate = Change("negate", lambda value: -value)
as_shell = Change("through-a-shell", lambda words: ["/bin/sh", "-c", " ".join(words)])
drop_first = Change("drop-first", lambda items: items[1:])
drop_last = Change("drop-last", lambda items: items[:-1])
seconds = Change("in-seconds", lambda nanoseconds: nanoseconds // 1_000_000_000)


def cut(length: int) -> Change:
    """At most so many characters, bytes or items."""
    return Change(f"cut-{length}", lambda value: value[:length])


def plus(amount: int) -> Change:
    """A number, off by so much."""
    return Change(f"plus-{amount}" if amount >= 0 else f"minus-{-amount}", lambda n: n + amount)


def times(factor: float) -> Change:
    """A number, scaled."""
    return Change(f"times-{factor:g}", lambda n: int(n * factor))


def prefixed(text: Any) -> Change:
    """Something put in front: a string, bytes or a list of items."""
    return Change(f"prefixed-{_word(text)}", lambda value: text + value)


def suffixed(text: Any) -> Change:
    """Something put behind: a string, bytes or a list of items."""
    return Change(f"suffixed-{_word(text)}", lambda value: value + text)


def replaced(old: str, new: str) -> Change:
    """Each occurrence of a text in a string put in other words."""
    return Change(f"replaced-{_word(old)}-{_word(new)}", lambda value: value.replace(old, new))


def _word(value: Any) -> str:
    """A value in an id: readable, without blanks."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return "".join(c if c.isalnum() or c in "._/:-" else "_" for c in text)[:32]
