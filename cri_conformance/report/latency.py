# SPDX-License-Identifier: Apache-2.0
"""Latencies as the page shows them: figures in words, and a histogram on an axis that all share."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from cri_conformance.wire.latency import Latency

#: The axis, from 100 µs to 10 s; what lies beyond is drawn at its end. Sizes are the template's.
FIRST, DECADES, WIDTH, HEIGHT = 1e-4, 5, 240.0, 23.0
#: One for each decade.
MARKS = ("0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s")
#: Bars across the plot: coarser than the buckets, so that few calls make a picture, too.
BARS = 60


@dataclass(frozen=True, slots=True)
class PlotBar:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One RPC. ``median`` is a place in the plot."""

    rpc: str
    answered: int
    others: int
    figures: list[str]
    bars: list[PlotBar]
    median: float


def latency_row(found: Latency) -> LatencyRow:
    """One row of the table."""
    heights: Counter[int] = Counter()
    for end, count in found["buckets"]:
        heights[min(int(place(end) / WIDTH * BARS), BARS - 1)] += int(count)
    most = max(heights.values(), default=1)
    wide = WIDTH / BARS
    bars = []
    for bar, count in sorted(heights.items()):
        # Few calls are to be seen beside many.
        height = round(max(HEIGHT * count / most, 1.5), 1)
        bars.append(PlotBar(bar * wide, round(HEIGHT - height, 1), wide - 0.5, height))
    keys = [found["median"], found["p90"], found["p99"], found["longest"]]
    figures = [in_words(value) if found["answered"] else "" for value in keys]
    return LatencyRow(
        found["rpc"], found["answered"], found["others"], figures, bars, place(found["median"])
    )


def in_words(seconds: float) -> str:
    """A duration with three digits that count."""
    if seconds < 1:
        return f"{float(f'{seconds * 1000:.3g}'):g} ms"
    return f"{float(f'{seconds:.3g}'):g} s"


def place(seconds: float) -> float:
    """Where a duration stands on the axis."""
    share = math.log10(max(seconds, FIRST) / FIRST) / DECADES
    return round(min(share, 1.0) * WIDTH, 1)
