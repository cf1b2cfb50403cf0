# SPDX-License-Identifier: Apache-2.0
"""What a campaign has done so far: for the terminal, and as plain data for the report."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cri_conformance.report.text import count

#: Combinations of state, call and code that the report lists at most, the rarest first.
LISTED = 400


@dataclass
class Meter:
    """Counts. Flat: what it keeps is bounded by what calls, states and codes there are."""

    began: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)
    steps: int = 0
    examples: int = 0
    calls: int = 0
    #: Calls of bytes, which the history does not have.
    unrecorded: int = 0
    #: Steps by mode.
    modes: Counter[str] = field(default_factory=Counter)
    #: (call, state of its object before, code or OK) → how often.
    met: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def meet(self, call: str, state: str, code: str) -> None:
        """A call on an object in this state was answered so."""
        self.met[call, state, code] += 1

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def line(self, findings: int, counted: int) -> str:
        """The campaign in one line."""
        seconds = max(self.seconds, 0.001)
        found = "no findings"
        if findings:
            failures = count(counted, "of them a failure", "of them failures")
            found = f"{count(findings, 'finding')}, {failures}"
        return (
            f"{seconds:.0f} s, {count(self.steps, 'step')} ({self.steps / seconds:.0f}/s), "
            f"{count(self.calls, 'call')} ({self.calls / seconds:.0f}/s), "
            f"{count(self.examples, 'sequence')}, {len(self.met)} states × calls × codes, {found}"
        )

    def plain(self) -> dict[str, Any]:
        """As it stands in results.json."""
        rarest = sorted(self.met.items(), key=lambda one: (one[1], one[0]))[:LISTED]
        return {
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(time.process_time() - self.cpu, 3),
            "steps": self.steps,
            "sequences": self.examples,
            "calls": self.calls,
            "modes": dict(self.modes),
            "combinations": len(self.met),
            "met": [
                {"call": call, "state": state, "code": code, "times": times}
                for (call, state, code), times in sorted(rarest)
            ],
        }
