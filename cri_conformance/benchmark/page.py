# SPDX-License-Identifier: Apache-2.0
"""A result, or two beside each other, as one page with plots; no script is on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cri_conformance.benchmark import words
from cri_conformance.benchmark.compare import compare
from cri_conformance.benchmark.document import Document, Latency
from cri_conformance.report.files import write_text
from cri_conformance.report.html import render_page
from cri_conformance.report.latency import DECADES, FIRST, WIDTH, in_words, place

#: Bars across a plot, and its height in the template's units.
BARS, HEIGHT = 80, 30.0
_MARKS = [FIRST * 10**n for n in range(DECADES)]


@dataclass(frozen=True, slots=True)
class Row:
    """One step. Places and outlines are of the plot; ``before`` is the old result's, if any."""

    name: str
    count: int
    figures: list[str]
    outline: str
    median: float
    low: float
    high: float
    before: str
    verdict: str
    ratio: str


def write(document: Document, path: Path, old: Document | None = None) -> None:
    """Write the page, whole or not at all. Raises OSError."""
    write_text(path, render(document, old))


def render(document: Document, old: Document | None = None) -> str:
    """The page; with the old result the distributions of both stand in one plot."""
    changes = {words.name(one.new): one for one in (compare(old, document) if old else ())}
    scenarios: dict[str, list[Row]] = {}
    for one in document["latencies"]:
        change = changes.get(words.name(one))
        scenarios.setdefault(one["scenario"], []).append(
            Row(
                name=f"{one['step'] or 'the whole'}, {words.at_once(one['workers'])}",
                count=one["count"],
                figures=_figures(one),
                outline=_outline(one["samples"]),
                median=place(one["median"]),
                low=place(one["median_low"]),
                high=place(one["median_high"]),
                before=_outline(change.old["samples"]) if change else "",
                verdict=change.verdict if change else "",
                ratio=f"{change.ratio:.2f} ({change.low:.2f} – {change.high:.2f})"
                if change
                else "",
            )
        )
    return render_page(
        "benchmark.html.jinja",
        ("page.css",),
        document=document,
        old=old,
        scenarios=scenarios,
        marks=[in_words(mark) for mark in _MARKS],
        at_once=words.at_once,
    )


def _figures(one: Latency) -> list[str]:
    p99 = in_words(one["p99"]) if one["count"] >= words.FEW else f"({in_words(one['longest'])})"
    interval = f"{in_words(one['median_low'])} – {in_words(one['median_high'])}"
    return [in_words(one["median"]), interval, in_words(one["p90"]), p99]


def _outline(samples: Sequence[float]) -> str:
    """A histogram as one path."""
    heights = Counter(min(int(place(value) / WIDTH * BARS), BARS - 1) for value in samples)
    most, wide = max(heights.values(), default=1), WIDTH / BARS
    return "".join(
        f"M{bar * wide:.1f} {HEIGHT:g}v-{HEIGHT * count / most:.1f}h{wide - 0.3:.1f}"
        f"v{HEIGHT * count / most:.1f}z"
        for bar, count in sorted(heights.items())
    )
