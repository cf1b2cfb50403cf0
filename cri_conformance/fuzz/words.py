# SPDX-License-Identifier: Apache-2.0
"""What a finding is, for a terminal: the promise, what came, the calls that led there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cri_conformance.contract.register import register
from cri_conformance.fuzz.finding import Finding
from cri_conformance.report.text import count, visible
from cri_conformance.wire.history import CallRecord
from cri_conformance.wire.lines import folded, in_lines, told

#: Calls that a campaign shows of each of its findings, the last ones; the report has them all.
_CALLS = 12


def failure(
    what: str, clause: str, permitted: str, actual: str, calls: Sequence[CallRecord], most: int
) -> list[str]:
    """``what`` it is if it is a matter of no clause; ``most``: calls that are shown."""
    if clause:
        promise = register().clauses[clause]
        what = f"{promise.id} ({promise.level}): {promise.text}"
    shown = folded(calls)[-most:]
    earlier = len(calls) - told(shown)
    more = f" ({earlier} earlier ones stand in its files)" if earlier else ""
    return [
        what,
        f"  permitted: {visible(permitted)}",
        f"  got:       {visible(actual)}",
        f"  {count(told(shown), 'call')}, the last one last{more}:",
        *(f"    {visible(line)}" for line in in_lines(shown, width=160)),
    ]


def failures(findings: Iterable[Finding]) -> str:
    """Of each finding that, and how it is seen again."""
    return "\n\n".join("\n".join(_of(found)) for found in findings)


def _of(found: Finding) -> list[str]:
    lines = failure(
        str(found.kind), found.clause, found.permitted, found.actual, found.calls, _CALLS
    )
    lines += [f"    {visible(line)}" for line in found.sent_in_words]
    if found.replay:
        lines += ["  see it again with:", f"    {visible(found.replay)}"]
    return lines
