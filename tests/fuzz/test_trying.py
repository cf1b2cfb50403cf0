# SPDX-License-Identifier: Apache-2.0
"""Trying a finding again, with a mode and a runtime of our own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.fuzz import trying
from cri_conformance.fuzz.finding import Finding, Kind
from cri_conformance.fuzz.judging import CampaignJudge
from cri_conformance.fuzz.story import Story
from cri_conformance.fuzz.trying import Bench, Trying
from cri_conformance.malformed import oracle
from cri_conformance.malformed.oracle import Misbehaviour
from cri_conformance.settings import Budget
from cri_conformance.wire.history import History

STORY = [{"do": "send", "with": {"n": n}} for n in range(40)]


class Mode:
    """Notes what is played; hangs at the last of these steps, once all have been sent."""

    name = "wire"

    def __init__(self, *deadly: int) -> None:
        self.deadly, self.played = set(deadly), []

    def play(self, bench: Bench, story: Story) -> str:
        self.played.append(len(story))
        if self.deadly <= {step["with"]["n"] for step in story}:
            raise Misbehaviour(oracle.Kind.HANG, "ExecSync", "no answer")
        return ""


def again(mode: Any, tick: Any = lambda: None) -> Finding:
    found = Finding(Kind.HANG, "wire", "", "hang", "", "", 0, {"steps": list(STORY)})
    try_again(mode, found, tick)
    return found


def try_again(mode: Any, found: Finding, tick: Any = lambda: None) -> None:
    client = SimpleNamespace(revived=lambda seconds: True, history=History(0.0))
    settings = SimpleNamespace(restart_command="", fuzz=None)
    target: Any = SimpleNamespace(client=client, settings=settings)

    @contextmanager
    def scope() -> Iterator[Bench]:
        nothing: Any = None
        judge = CampaignJudge(Rules(register(), Minor.parse("1.30")))
        yield Bench(nothing, judge, target, nothing)

    Trying(target, scope, tick).again(mode, found)


def test_a_hang_is_tried_first_with_its_last_step():
    mode = Mode(39)
    found = again(mode)
    assert found.story["steps"] == STORY[39:]
    assert (found.again, found.tries) == (3, 3)
    assert set(mode.played) == {1}


def test_where_that_is_not_enough_all_of_it_is_tried_and_made_smaller():
    mode = Mode(7, 39)
    found = again(mode)
    assert found.story["steps"] == [STORY[7], STORY[39]]
    assert mode.played[:2] == [1, 40]


class InParts(Mode):
    """Leaves steps out in the first tries, in which nothing shows."""

    def play(self, bench: Bench, story: Story) -> str:
        if len(story) == len(STORY) and self.played.count(len(STORY)) < 3:
            self.played.append(len(story))
            return "step 2 is about what was not made"
        return super().play(bench, story)


def test_what_was_not_played_whole_is_no_try():
    found = again(InParts(7, 39))
    assert (found.again, found.tries) == (3, 3)


def test_what_was_never_played_whole_in_all_its_time_was_not_tried(
    monkeypatch: pytest.MonkeyPatch,
):
    class Slow(InParts):
        def play(self, bench: Bench, story: Story) -> str:
            time.sleep(0.2)
            return super().play(bench, story)

    monkeypatch.setattr(trying, "SHRINK_SECONDS", 0.1)
    found = again(Slow(7, 39))
    assert found.tries == 0
    assert found.untried == ("it could not be played whole: step 2 is about what was not made")


def test_an_interrupt_leaves_it_as_small_as_it_was_made():
    class Interrupted(Mode):
        def play(self, bench: Bench, story: Story) -> None:
            if 1 < len(story) < 15:
                raise KeyboardInterrupt
            super().play(bench, story)

    found = Finding(Kind.HANG, "wire", "", "hang", "", "", 0, {"steps": list(STORY)})
    with pytest.raises(KeyboardInterrupt):
        try_again(Interrupted(38, 39), found)
    assert 15 <= found.steps < len(STORY)


def test_what_shows_whatever_is_played_is_not_made_smaller_than_what_can_be():
    """As it may seem where others do the same on the node."""
    gives = {"do": "run", "with": {"n": 1}, "gives": "r1"}
    uses = [{"do": "stop", "with": {"n": 1, "sandbox": {"ref": "r1"}}}] * 3
    found = Finding(Kind.HANG, "wire", "", "hang", "", "", 0, {"steps": [gives, *uses]})
    try_again(Mode(), found)
    assert found.again == 3
    assert found.story["steps"] == [gives]


def test_what_does_not_show_again_is_kept_as_it_is():
    found = again(Mode(100))
    assert found.story["steps"] == STORY
    assert (found.again, found.tries) == (0, 3)


def test_each_try_is_told():
    ticks: list[int] = []
    mode = Mode(7, 39)
    again(mode, lambda: ticks.append(len(mode.played)))
    assert ticks == list(range(len(mode.played)))


class InTime(Mode):
    """A call that is to be given up is answered before: it shows then too, or only else."""

    def __init__(self, *deadly: int, too: bool) -> None:
        super().__init__(*deadly)
        self.too, self.plays = too, 0

    def play(self, bench: Bench, story: Story) -> str:
        self.plays += 1
        bench.in_time = "StartContainer" if self.plays % 2 or self.too else ""
        if self.too or not bench.in_time:
            super().play(bench, story)
        return ""


@pytest.mark.parametrize("too", [True, False])
def test_whether_a_call_must_be_given_up_is_kept(too: bool) -> None:
    mode = InTime(39, too=too)
    found = again(mode)
    assert found.again == 3
    assert found.in_time_too is too


@pytest.mark.parametrize(
    ("budget", "reason", "longest"),
    [
        (Budget(steps=9), "", 150),
        (Budget(seconds=3600), "", 150),
        (Budget(seconds=40), "", 30),
        (Budget(seconds=3600), "known", 50),
        (Budget(seconds=40), "known", 10),
    ],
)
def test_one_finding_does_not_take_all_of_the_time(
    budget: Budget, reason: str, longest: float
) -> None:
    target: Any = SimpleNamespace(settings=SimpleNamespace(fuzz=budget))
    unused: Any = None
    leak = Finding(Kind.LEAK, "lives", "", "shim", "", "", 0, behind=True, reason=reason)
    assert Trying(target, unused).longest(leak) == longest
    # Nor what fails no run, as it is of a clause that does not bind.
    leak.kind, leak.reason = (Kind.OPEN if reason else Kind.LEAK), ""
    assert Trying(target, unused).longest(leak) == longest
