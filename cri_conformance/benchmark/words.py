# SPDX-License-Identifier: Apache-2.0
"""Results and comparisons as Markdown tables, which a terminal shows as well."""

from __future__ import annotations

from collections.abc import Sequence

from cri_conformance.benchmark.compare import Change
from cri_conformance.benchmark.document import Document, Latency
from cri_conformance.report.latency import in_words
from cri_conformance.report.text import one_line

#: Samples below which a p99 is no more than the longest.
FEW = 100


def result(document: Document) -> list[str]:
    """Every step, and how many lifecycles a second there were."""
    about = document["about"]
    percent = f"{about['confidence']:.0%}"
    rows = [
        (
            name(one),
            str(one["count"]),
            in_words(one["median"]),
            f"{in_words(one['median_low'])} – {in_words(one['median_high'])}",
            in_words(one["p90"]),
            in_words(one["p99"]) if one["count"] >= FEW else f"({in_words(one['longest'])})",
        )
        for one in document["latencies"]
    ]
    lines = table(
        ("step", "n", "median", f"median, {percent}", "p90", f"p99 (longest below {FEW})"), rows
    )
    rates = [
        (
            f"{one['scenario']}, {at_once(one['workers'])}",
            f"{one['per_second']:.3g}",
            f"{one['low']:.3g} – {one['high']:.3g}",
            f"{one['failed']} failed: {one_line(one['message'], 120)}" if one["failed"] else "",
        )
        for one in document["throughputs"]
    ]
    return [*lines, "", *table(("lifecycles", "a second", percent, ""), rates)]


def changes(found: Sequence[Change]) -> list[str]:
    """A comparison: what became slower first."""
    order = ("slower", "faster", "unclear", "same")
    rows = [
        (
            one.verdict,
            name(one.new),
            in_words(one.old["median"]),
            in_words(one.new["median"]),
            f"{one.ratio:.2f}",
            f"{one.low:.2f} – {one.high:.2f}",
        )
        for one in sorted(found, key=lambda change: order.index(change.verdict))
    ]
    return table(("", "step", "old median", "new median", "new / old", "99%"), rows)


def name(one: Latency) -> str:
    """Scenario, step and how many at a time."""
    return f"{one['scenario']}: {one['step'] or 'the whole'}, {at_once(one['workers'])}"


def at_once(workers: int) -> str:
    return "serial" if workers == 1 else f"{workers} at a time"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown whose columns stand below each other, too."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [line(head), rule, *map(line, rows)]
