# SPDX-License-Identifier: Apache-2.0
"""Versions of runtimes and of this suite, as far as two can be told apart by age.

Runtimes and distributions write what they like behind the numbers: ``1.7.24~ds1``,
``2.1.9+unknown``, ``v2.2.0-rc.1``, ``2.1.0-50-gdeadbee``. Only numbers count, and whether
it is a preview of the release with these numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

_VERSION = re.compile(
    r"v?(?P<numbers>(?>\d{1,9}(?:\.\d{1,9}){1,4}))"
    r"(?:[-~.+]?(?P<stage>alpha|beta|pre|rc|dev)(?![a-z])[-.]?(?P<number>\d{1,9})?)?",
)
_STAGES = ("dev", "alpha", "beta", "pre", "rc")
#: Behind all stages of one release: the release itself.
_RELEASED = (len(_STAGES), 0)
#: Before them all.
_UNBORN = (-1, 0)


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version; ``2.1`` and ``2.1.0`` are the same."""

    numbers: tuple[int, ...]
    stage: tuple[int, int] = _RELEASED
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read a version. Raises ValueError on what does not begin with numbers."""
        match = _VERSION.match(text.strip())
        if not match:
            raise ValueError(f"not a version such as 1.7.24: {text!r}")
        stage = _RELEASED
        if match["stage"]:
            stage = (_STAGES.index(match["stage"]), int(match["number"] or 0))
        numbers = tuple(int(part) for part in match["numbers"].split("."))
        return cls(numbers, stage, text.strip())

    @classmethod
    def bound(cls, text: str) -> Version:
        """A version as the edge of a range: its own previews belong to it. Raises ValueError."""
        version = cls.parse(f"{text}.0" if text.isdecimal() else text)
        return cls(version.numbers, _UNBORN, text) if version.stage == _RELEASED else version

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key == other._key

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[tuple[int, ...], tuple[int, int]]:
        numbers = self.numbers
        while numbers and not numbers[-1]:
            numbers = numbers[:-1]
        return numbers, self.stage
