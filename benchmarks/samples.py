# SPDX-License-Identifier: Apache-2.0
"""Figures from several samples, and how two things are timed so that noise hits both alike."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: Calls in a row before the other side has its turn.
BLOCK = 25


@dataclass(frozen=True)
class Goal:
    """What a figure should be: at least, or at most, ``bound``."""

    sign: str
    bound: float

    def met(self, value: float) -> bool:
        return value >= self.bound if self.sign == ">=" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table. Its value is the median of its samples."""

    group: str
    name: str
    unit: str
    samples: Sequence[float]
    goal: Goal | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def plain(self) -> dict[str, Any]:
        """As it stands in the JSON."""
        return {
            "group": self.group,
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.samples),
            "max": max(self.samples),
            "samples": list(self.samples),
            "goal": str(self.goal) if self.goal else None,
            "met": self.goal.met(self.median) if self.goal else None,
            "note": self.note,
        }


def table(figures: Sequence[Figure]) -> list[str]:
    """All figures in lines, each group under its name."""
    width = max((len(figure.name) for figure in figures), default=0)
    lines = []
    group = ""
    for figure in figures:
        if figure.group != group:
            group = figure.group
            lines += ["", group]
        text = f"  {figure.name:{width}}  {_number(figure.median):>8} {figure.unit:5}"
        if len(figure.samples) > 1:
            extent = f"{_number(min(figure.samples))}–{_number(max(figure.samples))}"
            text += f"  {extent:>17}  n={len(figure.samples)}"
        if figure.goal:
            text += f"  goal {figure.goal}: {'met' if figure.goal.met(figure.median) else 'MISSED'}"
        lines.append(f"{text}  {figure.note}".rstrip())
    return lines


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    # Three digits that count.
    return f"{value:.{min(3, max(0, 2 - math.floor(math.log10(abs(value)))))}f}"


@dataclass(frozen=True)
class Duel:
    """Rates of two sides, calls a second, round by round."""

    ours: list[float]
    bare: list[float]

    @property
    def ratios(self) -> list[float]:
        return [ours / bare for ours, bare in zip(self.ours, self.bare, strict=True)]


def duel(
    ours: Callable[[], object], bare: Callable[[], object], *, rounds: int, calls: int
) -> Duel:
    """Time both in turns of a few calls, so that what else the machine does hits both alike."""
    found = Duel([], [])
    turns = max(1, calls // BLOCK)
    for _ in range(4):
        _timed(ours)
        _timed(bare)
    for _ in range(rounds):
        spent = {ours: 0.0, bare: 0.0}
        for turn in range(turns):
            # Whoever is second finds warmer caches: take turns in that, too.
            for side in (ours, bare) if turn % 2 else (bare, ours):
                spent[side] += _timed(side)
        found.ours.append(turns * BLOCK / spent[ours])
        found.bare.append(turns * BLOCK / spent[bare])
    return found


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(BLOCK):
        call()
    return time.perf_counter() - start


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)
