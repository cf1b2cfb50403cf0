# SPDX-License-Identifier: Apache-2.0
"""Quantiles, and how far they can be trusted: intervals by the bootstrap."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

#: Resamples: the ends of an interval move by a few percent of its width from seed to seed.
RESAMPLES = 1000


def quantile(values: Sequence[float], share: float) -> float:
    """The least of the values that so large a share of them is not above."""
    return _of_sorted(sorted(values), share)


def _of_sorted(values: Sequence[float], share: float) -> float:
    return values[min(max(math.ceil(share * len(values)) - 1, 0), len(values) - 1)]


def interval(
    values: Sequence[float], share: float, confidence: float, seed: int = 0
) -> tuple[float, float]:
    """Where the quantile lies, with this confidence: (low, high)."""
    rng = random.Random(seed)
    found = [
        _of_sorted(sorted(rng.choices(values, k=len(values))), share) for _ in range(RESAMPLES)
    ]
    return _ends(found, confidence)


def ratio(
    old: Sequence[float], new: Sequence[float], confidence: float, seed: int = 0
) -> tuple[float, float, float]:
    """The ratio of the medians, new to old, and where it lies: (ratio, low, high)."""
    rng = random.Random(seed)

    def median(values: Sequence[float]) -> float:
        return _of_sorted(sorted(rng.choices(values, k=len(values))), 0.5)

    found = [_divided(median(new), median(old)) for _ in range(RESAMPLES)]
    return (_divided(quantile(new, 0.5), quantile(old, 0.5)), *_ends(found, confidence))


def _divided(one: float, other: float) -> float:
    return one / max(other, 1e-9)


def _ends(found: list[float], confidence: float) -> tuple[float, float]:
    found.sort()
    off = (1 - confidence) / 2
    return _of_sorted(found, off), _of_sorted(found, 1 - off)
