# SPDX-License-Identifier: Apache-2.0
"""What a campaign has done so far: for the terminal, and as plain data for the report."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from cri_conformance.fuzz.states import States
from cri_conformance.report.text import count
from cri_conformance.wire.history import UNANSWERED
from cri_conformance.wire.outcome import Ok, Outcome


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
    #: (RPC, state of its object before, gRPC code) → how often.
    met: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _states: States = field(default_factory=States)

    def heard(self, rpc: str, request: Message, outcome: Outcome) -> None:
        """A call was answered."""
        code = "OK" if isinstance(outcome, Ok) else getattr(outcome, "code", UNANSWERED)
        self.meet(rpc, self._states.of(request), code)
        self._states.follow(rpc, request, outcome)

    def meet(self, rpc: str, state: str, code: str) -> None:
        """A call on an object in this state was answered so."""
        self.met[rpc, state, code] += 1

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
            f"{count(self.examples, 'sequence')}, {len(self.met)} states × RPCs × codes, {found}"
        )

    def plain(self) -> dict[str, Any]:
        """As it stands in results.json."""
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
                for (call, state, code), times in sorted(self.met.items())
            ],
        }
