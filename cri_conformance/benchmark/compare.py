# SPDX-License-Identifier: Apache-2.0
"""Two results beside each other: what became slower, and whether chance alone could do that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cri_conformance.benchmark.document import Document, Latency
from cri_conformance.benchmark.figures import ratio

#: Dozens of steps are compared: at 95 % some would seem to differ by chance in every comparison.
CONFIDENCE = 0.99
#: What is not worth a word, even if it is certain.
THRESHOLD = 0.10


@dataclass(frozen=True)
class Change:
    """One step, or a whole lifecycle; ratios are new to old, above 1 for slower."""

    old: Latency
    new: Latency
    ratio: float
    low: float
    high: float
    verdict: str  # "slower", "faster", "same" or "unclear"


def compare(old: Document, new: Document, threshold: float = THRESHOLD) -> list[Change]:
    """What both have measured, in the order of the new one."""
    before = {_key(one): one for one in old["latencies"]}
    return [
        _change(before[_key(one)], one, threshold)
        for one in new["latencies"]
        if _key(one) in before
    ]


def _key(one: Latency) -> tuple[str, str, int]:
    return one["scenario"], one["step"], one["workers"]


def _change(old: Latency, new: Latency, threshold: float) -> Change:
    found, low, high = ratio(old["samples"], new["samples"], CONFIDENCE)
    most, least = 1 + threshold, 1 / (1 + threshold)
    if low > most:
        verdict = "slower"
    elif high < least:
        verdict = "faster"
    else:
        verdict = "same" if least <= low and high <= most else "unclear"
    return Change(old, new, found, low, high, verdict)


def cautions(old: Document, new: Document) -> Iterator[str]:
    """Why the two should not be compared, or not so."""
    for key, what in (("hostname", "machine"), ("kernel", "kernel"), ("cpus", "processors")):
        one, other = (str(document["environment"].get(key, "")) for document in (old, new))
        if one != other:
            yield f"another {what}: {one or '?'} and {other or '?'}"
    cpus = int(new["environment"]["cpus"] or 1)
    for name, document in (("the old", old), ("the new", new)):
        load = max(document["about"]["load_before"], document["about"]["load_after"])
        if load > cpus * 1.5:
            yield f"{name} one was measured at a load of {load:.1f} on {cpus} processors"
