# SPDX-License-Identifier: Apache-2.0
"""What the page tells of one clause that was not kept, or of one test without a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cri_conformance.report.brief import whole
from cri_conformance.report.schema import ClauseResult, Finding, TestRecord
from cri_conformance.report.text import took, visible
from cri_conformance.report.timeline import Timeline, timeline
from cri_conformance.wire import brief
from cri_conformance.wire.brief import Piece
from cri_conformance.wire.history import CallRecord
from cri_conformance.wire.lines import in_lines, named

#: Calls that a card shows at once. What broke is at the end, so the earlier ones fold away.
CALLS = 12
#: Cards whose calls are rows at once, in each part of the page.
RICH = 20
#: Characters that a row shows of a request, of an answer, and of each line below it: most say
#: little, and there are many rows.
REQUEST, ANSWER, BELOW = 120, 80, 130
#: Characters of a line for an earlier call, and of each of its messages once it is looked at:
#: a page of 20,000 calls must stay one that can be opened.
LINE, EARLIER = 200, 400


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
    lines: list[list[Piece]]
    response_whole: str

    @property
    def ok(self) -> bool:
        return self.outcome == "OK"


@dataclass(frozen=True, slots=True)
class Story:
    """A transcript: the last calls whole, the earlier ones as lines and as data for the script.

    ``earlier`` is what anybody can read: lines. ``data`` has the same calls, of which the script
    makes rows when somebody looks: [at, took, thread, rpc, request, outcome, message, response],
    all of them texts, the last of several lines.
    """

    earlier: list[str]
    data: list[list[str]]
    calls: list[CallView]
    threads: bool
    #: Calls of a long one that it leaves out.
    left_out: int
    timeline: Timeline | None

    @property
    def any(self) -> bool:
        return bool(self.earlier or self.calls)

    @property
    def first(self) -> int:
        """The row of the first of ``calls``."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Found:
    """A campaign's finding, with the calls that led there."""

    finding: Finding
    story: Story

    @property
    def link(self) -> str:
        """Where a known one is tracked, if that is an address to follow."""
        return address(self.finding["link"])


@dataclass(frozen=True, slots=True)
class Card:
    """A clause with the test that speaks for it; ``also`` are other tests that found the same.

    Where a campaign broke it, what that found stands in the test's place.
    """

    clause: ClauseResult
    test: TestRecord | None
    also: list[str]
    story: Story
    found: list[Found]

    @property
    def link(self) -> str:
        """Where the violation is tracked, if that is an address to follow."""
        return address(self.clause["link"])


def address(link: str) -> str:
    """A link, if it is one to follow."""
    # Anything else, javascript: above all, stays text.
    return link if link.startswith(("https://", "http://")) else ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What kept tests from a verdict; ``tests`` all met the same."""

    blame: str
    message: str
    tests: list[str]
    record: TestRecord
    story: Story


def cards(
    clauses: Iterable[ClauseResult],
    tests: Iterable[TestRecord],
    verdict: str,
    rich: int = 0,
    findings: Mapping[str, list[Finding]] | None = None,
) -> list[Card]:
    """A card for each clause with this verdict, in the order of the contract.

    The first ``rich`` of them have rows for their last calls, all others lines. ``findings`` of
    campaigns by clause.
    """
    speaking: dict[str, list[TestRecord]] = {}
    for test in tests:
        for record in test["clauses"]:
            if record["verdict"] == verdict:
                speaking.setdefault(record["clause"], []).append(test)
    return [
        _card(
            clause,
            speaking.get(clause["id"], []),
            (findings or {}).get(clause["id"], []),
            CALLS if number < rich else 0,
        )
        for number, clause in enumerate(one for one in clauses if one["verdict"] == verdict)
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
            story(group[0]["transcript"], CALLS if number < RICH else 0),
        )
        for number, ((blame, message), group) in enumerate(groups.items())
    ]


def found(finding: Finding, rows: int = CALLS) -> Found:
    """A campaign's finding."""
    return Found(finding, story(finding["transcript"], rows))


def _card(
    clause: ClauseResult, tests: list[TestRecord], findings: list[Finding], rows: int
) -> Card:
    test = tests[0] if tests else None
    return Card(
        clause=clause,
        test=test,
        also=[other["test"] for other in tests[1:]],
        story=story(test["transcript"] if test else [], rows),
        found=[found(finding, rows) for finding in findings],
    )


def story(transcript: list[CallRecord], rows: int = CALLS) -> Story:
    """A transcript as the page shows it, the last ``rows`` calls as such."""
    earlier, last = transcript[: len(transcript) - rows], transcript[-rows:] if rows else []
    if len(transcript) <= rows:
        earlier, last = [], transcript
    about = named(transcript)
    return Story(
        earlier=[visible(line) for line in in_lines(earlier, LINE)],
        data=[_data(call, about) for call in earlier],
        calls=[call_view(call, about) for call in last],
        threads=any(call["thread"] for call in transcript),
        left_out=sum(call.get("left_out", 0) for call in transcript),
        timeline=timeline(transcript),
    )


def _data(call: CallRecord, about: frozenset[str]) -> list[str]:
    answer = brief.Response(call["response"], about).told(ANSWER, BELOW)
    return [
        visible(text, longest)
        for text, longest in (
            (f"{call['at']:.3f}", EARLIER),
            (took(call["seconds"]), EARLIER),
            (str(call["thread"]), EARLIER),
            (call["rpc"], EARLIER),
            (brief.text(call["request"], EARLIER), EARLIER),
            (call["outcome"], EARLIER),
            (call["message"], EARLIER),
            ("\n".join(map(brief.said, [answer.head, *answer.lines])), 0),
        )
    ]


def call_view(call: CallRecord, about: frozenset[str] = frozenset()) -> CallView:
    """A call in words."""
    answer = brief.Response(call["response"], about).told(ANSWER, BELOW)
    return CallView(
        at=f"{call['at']:.3f}",
        took=took(call["seconds"]),
        rpc=call["rpc"],
        thread=call["thread"],
        outcome=call["outcome"],
        message=call["message"],
        request=brief.pieces(call["request"], REQUEST),
        request_whole=whole(call["request"]),
        response=answer.head,
        lines=answer.lines,
        response_whole=whole(call["response"]),
    )
