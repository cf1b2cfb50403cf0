# SPDX-License-Identifier: Apache-2.0
"""How long calls took, by RPC: a histogram each, so that a run of any length stays small.

It is kept for every call of a run, so adding one must cost next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

#: Each bucket is so much longer than the one before: what is read from one is right within 3 %.
GROWTH = 1.06
#: Seconds where the first bucket ends, and how many there are: the last begins after 15 minutes.
SHORTEST, BUCKETS = 10e-6, 316

_PER_LOG = 1 / math.log(GROWTH)
_LOG_SHORTEST = math.log(SHORTEST)


class Latency(TypedDict):
    """How long the calls of one RPC took, in seconds; of those that succeeded."""

    rpc: str
    answered: int  # calls that succeeded: the times are theirs
    others: int  # calls that were refused or had no answer
    median: float
    p90: float
    p99: float
    longest: float
    buckets: list[list[float]]  # [upper end in seconds, calls], empty ones left out


class Latencies:
    """One histogram for each RPC. Not safe to use from several threads: History locks."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, int]] = {}
        self._others: dict[str, int] = {}
        self._longest: dict[str, float] = {}

    def add(self, rpc: str, seconds: float) -> None:
        """Count a call that succeeded."""
        place = (
            min(int((math.log(seconds) - _LOG_SHORTEST) * _PER_LOG) + 1, BUCKETS - 1)
            if seconds > SHORTEST
            else 0
        )
        counts = self._counts.get(rpc)
        if counts is None:
            counts = self._counts[rpc] = {}
            self._longest[rpc] = seconds
        counts[place] = counts.get(place, 0) + 1
        if seconds > self._longest[rpc]:
            self._longest[rpc] = seconds

    def add_other(self, rpc: str) -> None:
        """Count a call that did not succeed."""
        self._others[rpc] = self._others.get(rpc, 0) + 1

    def plain(self) -> dict[str, Any]:
        """As plain data, which a worker can send home."""
        return {
            rpc: {
                "counts": [[place, count] for place, count in self._counts.get(rpc, {}).items()],
                "others": self._others.get(rpc, 0),
                "longest": self._longest.get(rpc, 0.0),
            }
            for rpc in {**self._counts, **self._others}
        }


def merged(parts: Iterable[Mapping[str, Any]]) -> list[Latency]:
    """What several processes measured (``Latencies.plain``), together, by the RPC's name."""
    counts: dict[str, dict[int, int]] = {}
    others: dict[str, int] = {}
    longest: dict[str, float] = {}
    for part in parts:
        for rpc, found in part.items():
            into = counts.setdefault(rpc, {})
            for place, count in found["counts"]:
                into[place] = into.get(place, 0) + count
            others[rpc] = others.get(rpc, 0) + found["others"]
            longest[rpc] = max(longest.get(rpc, 0.0), found["longest"])
    return [
        Latency(
            rpc=rpc,
            answered=sum(counts[rpc].values()),
            others=others[rpc],
            median=_quantile(counts[rpc], 0.5, longest[rpc]),
            p90=_quantile(counts[rpc], 0.9, longest[rpc]),
            p99=_quantile(counts[rpc], 0.99, longest[rpc]),
            longest=round(longest[rpc], 6),
            buckets=[[_end(place), count] for place, count in sorted(counts[rpc].items())],
        )
        for rpc in sorted(counts)
    ]


def _end(place: int) -> float:
    return float(f"{SHORTEST * GROWTH**place:.4g}")


def _quantile(counts: Mapping[int, int], share: float, longest: float) -> float:
    """The middle of the bucket that so large a share of the calls is not above."""
    wanted, seen = share * sum(counts.values()), 0
    for place, count in sorted(counts.items()):
        seen += count
        if seen >= wanted:
            return min(float(f"{SHORTEST * GROWTH ** (place - 0.5):.4g}"), round(longest, 6))
    return 0.0
