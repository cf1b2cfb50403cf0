# SPDX-License-Identifier: Apache-2.0
"""What the page tells of one clause that was not kept, or of one test without a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cri_conformance.report.brief import Piece, pieces, whole
from cri_conformance.report.schema import ClauseResult, TestRecord
from cri_conformance.wire.history import CallRecord

#: Calls that a card shows at once. What broke is at the end, so the earlier ones fold away.
CALLS = 12
#: Characters of an answer that a line shows: most say little, and there are many lines.
ANSWER = 100


@dataclass(frozen=True, slots=True)
class CallView:
    """One line of a transcript."""

    at: str
    took: str
    rpc: str
    thread: int
    outcome: str
    message: str
    request: list[Piece]
    request_whole: str
    response: list[Piece]
    response_whole: str

    @property
    def ok(self) -> bool:
        return self.outcome == "OK"


@dataclass(frozen=True, slots=True)
class Card:
    """A clause with the test that speaks for it; ``also`` are other tests that found the same."""

    clause: ClauseResult
    test: TestRecord | None
    also: list[str]
    earlier: list[CallView]
    calls: list[CallView]
    threads: bool

    @property
    def link(self) -> str:
        """Where the violation is tracked, if that is an address to follow."""
        link = self.clause["link"]
        # Anything else, javascript: above all, stays text.
        return link if link.startswith(("https://", "http://")) else ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What kept tests from a verdict; ``tests`` all met the same."""

    blame: str
    message: str
    tests: list[str]
    record: TestRecord
    calls: list[CallView]


def cards(clauses: Iterable[ClauseResult], tests: Iterable[TestRecord], verdict: str) -> list[Card]:
    """A card for each clause with this verdict, in the order of the contract."""
    speaking: dict[str, list[TestRecord]] = {}
    for test in tests:
        for record in test["clauses"]:
            if record["verdict"] == verdict:
                speaking.setdefault(record["clause"], []).append(test)
    return [
        _card(clause, speaking.get(clause["id"], []))
        for clause in clauses
        if clause["verdict"] == verdict
    ]


def troubles(tests: Iterable[TestRecord]) -> list[Trouble]:
    """Tests that came to no verdict, those with the same cause together."""
    groups: dict[tuple[str, str], list[TestRecord]] = {}
    for test in tests:
        if test["blame"] in ("environment", "suite"):
            groups.setdefault((test["blame"], test["message"]), []).append(test)
    return [
        Trouble(
            blame,
            message,
            [test["test"] for test in group],
            group[0],
            [call_view(call) for call in group[0]["transcript"][-CALLS:]],
        )
        for (blame, message), group in groups.items()
    ]


def _card(clause: ClauseResult, tests: list[TestRecord]) -> Card:
    test = tests[0] if tests else None
    calls = [call_view(call) for call in test["transcript"]] if test else []
    return Card(
        clause=clause,
        test=test,
        also=[other["test"] for other in tests[1:]],
        earlier=calls[:-CALLS],
        calls=calls[-CALLS:],
        threads=any(call.thread for call in calls),
    )


def call_view(call: CallRecord) -> CallView:
    """A call in words."""
    return CallView(
        at=f"{call['at']:.3f}",
        took=took(call["seconds"]),
        rpc=call["rpc"],
        thread=call["thread"],
        outcome=call["outcome"],
        message=call["message"],
        request=pieces(call["request"]),
        request_whole=whole(call["request"]),
        response=pieces(call["response"], ANSWER),
        response_whole=whole(call["response"]),
    )


def took(seconds: float) -> str:
    """A duration as a person says it."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
