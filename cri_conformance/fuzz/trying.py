# SPDX-License-Identifier: Apache-2.0
"""Trying a finding again: its story is played on a bench, and made as small as it gets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, cycle
from random import Random
from typing import Protocol

from cri_conformance.expect.violation import Ended, Violation
from cri_conformance.fuzz.finding import Finding, Kind, Unspoken
from cri_conformance.fuzz.judging import CampaignJudge, cause_of
from cri_conformance.fuzz.leftovers import Leftovers, in_short, is_nameless, kinds
from cri_conformance.fuzz.story import Story, alone, at_other_moments, playable, smaller
from cri_conformance.fuzz.tools import Tools
from cri_conformance.malformed.oracle import Misbehaviour
from cri_conformance.report.text import one_line
from cri_conformance.suite.repeating import MINUTE
from cri_conformance.suite.restart import Restarter
from cri_conformance.target import Target
from cri_conformance.wire.client import ALIVE_WITHIN
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed
from cri_conformance.wire.runtime import Runtime

#: How often a finding is tried again, and how often it must show to be shrunk.
TRIES, ENOUGH = 5, 3
#: Seconds that trying again and shrinking may take for one finding.
SHRINK_SECONDS = 45.0
#: Times, and seconds, for which a story is played in one try to see what it leaves behind: often
#: that hangs on the moment at which a call is given up.
PLAYS, PLAY_SECONDS = 30, 20.0
#: Seconds in which a single step is looked for that leaves the same.
SEARCH_SECONDS = 60.0
#: Each of these is at most this part of the campaign's time; of what fails no run a third of it.
PART, LESS = 0.25, 3
#: Why a crash was not tried again.
NOT_BACK = "the runtime did not come back"
#: Seconds that a runtime is given to come back after it crashed.
BACK_WITHIN = 30.0


@dataclass
class Bench:
    """What a story is played on."""

    runtime: Runtime
    judge: CampaignJudge
    target: Target
    tools: Tools
    #: What the story sent below the types of a client, as in ``Finding.sent``.
    sent: list[dict[str, str]] = field(default_factory=list)
    #: Seconds within which what is repeated must come to its aim.
    patience: float = MINUTE
    #: Called now and then while it is played: it may take long.
    tick: Callable[[], None] = lambda: None
    #: How often a story is played to see what it leaves behind.
    plays: int = PLAYS
    #: Whether no other process of the run makes anything.
    alone: bool = True
    #: Why the story was never played whole; "" if it was.
    missing: str = ""
    #: Of the last play, a call that was to be given up and was answered before; "" for none.
    in_time: str = ""
    #: Whether a story is whole for all that.
    in_time_too: bool = False
    #: What went wrong this time, if it was the same; of a clause also what it permits.
    actual: str = ""
    permitted: str = ""

    def played(self, left_out: str) -> str:
        """What is missing of a story of which so much was left out."""
        if left_out or not self.in_time or self.in_time_too:
            return left_out
        return f"{self.in_time}, was answered before"


class Plays(Protocol):
    """A mode, as far as it plays stories."""

    name: str

    def play(self, bench: Bench, story: Story) -> str:
        """Play a story of this mode; what was left out of it, "" for nothing.

        Raises Violation or RuntimeGone if it goes wrong again.
        """


class Trying:
    """Tries the findings of a campaign, each on a bench of its own that ``scope`` gives."""

    def __init__(
        self,
        target: Target,
        scope: Callable[[], AbstractContextManager[Bench]],
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """``tick`` is called before each try."""
        self._target, self._scope, self._tick = target, scope, tick
        budget = target.settings.fuzz
        #: The most seconds for a search, and for trying and shrinking.
        self._most = budget.seconds * PART if budget and budget.seconds else math.inf
        #: Whether it is at it: steps that are made now are not the campaign's.
        self.busy = False
        #: Why the story was not played whole in the last try.
        self._missing = ""

    def once(self, mode: Plays, finding: Finding) -> bool:
        """Whether a finding shows when its story is played a single time."""
        self.busy = True
        try:
            return self._shows(mode, finding, finding.story["steps"], plays=1)
        finally:
            self.busy = False

    def again(self, mode: Plays, finding: Finding) -> None:
        """Try it some times; if it shows often enough make its story smaller."""
        gone = finding.kind in (Kind.CRASH, Kind.HANG)
        if gone and (why := stays_away(self._target)):
            finding.untried = why
            return
        self.busy = True
        try:
            if finding.behind:
                self._search(mode, finding)
            elif gone:
                self._begin_with_last(mode, finding)
            until = time.monotonic() + self._seconds(finding)
            parts = 0
            while finding.tries < TRIES and time.monotonic() < until:
                again = self._shows(mode, finding, finding.story["steps"])
                if not again and self._missing and parts < TRIES:
                    # What matters may not have been sent: that was no try.
                    parts += 1
                    continue
                finding.tries += 1
                finding.again += again
                if finding.again >= ENOUGH or finding.tries - finding.again > TRIES - ENOUGH:
                    break
            if not finding.tries:
                finding.untried = f"it could not be played whole: {self._missing}"
            if finding.again >= ENOUGH:
                self._shrink(mode, finding, until)
        finally:
            self.busy = False

    def longest(self, finding: Finding) -> float:
        """How many seconds all of it may take, about: the last try is not cut."""
        search = self._room(finding, SEARCH_SECONDS) if finding.behind else 0.0
        return self._seconds(finding) + search

    def _seconds(self, finding: Finding) -> float:
        """How long it may be tried and made smaller."""
        return self._room(finding, SHRINK_SECONDS) * (1 + finding.behind)

    def _room(self, finding: Finding, seconds: float) -> float:
        most = min(seconds, self._most)
        return most if finding.counts else most / LESS

    def _begin_with_last(self, mode: Plays, finding: Finding) -> None:
        """Begin with the last step, if that does it: each try of the whole may take long."""
        story: Story = finding.story["steps"]
        last = alone(story, len(story) - 1)
        if len(last) < len(story) and self._shows(mode, finding, last, keep=True):
            finding.story["steps"] = last

    def _search(self, mode: Plays, finding: Finding) -> None:
        """Begin with a single step that leaves the same, if there is one: it is soon played."""
        story: Story = finding.story["steps"]
        singles = {str(one): one for one in (alone(story, n) for n in range(len(story)))}
        # Mostly it is a call that was given up, and chance whether it shows.
        chancy = [one for one in singles.values() if one[-1]["with"].get("seconds")]
        until, chance = time.monotonic() + self._room(finding, SEARCH_SECONDS), Random(0)
        for candidate in chain(chancy * 4, singles.values(), cycle(chancy)):
            if time.monotonic() > until:
                return
            moved = at_other_moments(candidate, chance)
            if self._shows(mode, finding, moved, keep=True, plays=1):
                finding.story["steps"] = candidate
                return

    def _shrink(self, mode: Plays, finding: Finding, until: float) -> None:
        smallest: Story = finding.story["steps"]

        def shows(candidate: Story) -> bool:
            nonlocal smallest
            if time.monotonic() > until:
                raise TimeoutError
            found = bool(playable(candidate)) and self._shows(mode, finding, candidate, keep=True)
            if found:
                # Its calls are kept already: an interrupt must not part them from their steps.
                smallest = finding.story["steps"] = candidate
            return found

        with suppress(TimeoutError):
            # It may well be the last step alone.
            if len(smallest) > 1:
                shows(smallest[-1:])
            smaller(smallest, shows)
        finding.story["steps"] = playable(smallest)

    def _shows(
        self,
        mode: Plays,
        finding: Finding,
        story: Story,
        *,
        keep: bool = False,
        plays: int = PLAYS,
    ) -> bool:
        """Whether a story, played again, leads to the same; if so its calls are kept."""
        self._tick()
        history = self._target.client.history
        mark = history.mark()
        with self._scope() as bench:
            bench.plays, bench.in_time_too = plays, finding.in_time_too
            again = shows(mode, finding, bench, story)
            self._missing = bench.missing
            if again and bench.sent:
                finding.sent = bench.sent
            # Not what the bench makes to clean up.
            if again and keep:
                finding.keep(history, mark)
                if bench.permitted:
                    finding.permitted, finding.actual = bench.permitted, bench.actual
                # It was of another story.
                finding.in_time_too = False
            finding.in_time_too |= again and bool(bench.in_time)
            return again


def shows(mode: Plays, finding: Finding, bench: Bench, story: Story) -> bool:
    """Whether a story, played on a bench, leads to the same finding; ``bench.missing`` is set."""
    bench.judge.rules = replace(
        bench.judge.rules,
        selected=frozenset({finding.clause}) if finding.clause else frozenset(),
        known={},
        strict=True,
    )
    if finding.behind:
        return _leaves(mode, finding, bench, story)
    try:
        bench.missing = bench.played(mode.play(bench, story))
    except Violation as error:
        bench.permitted, bench.actual = error.permitted, error.actual
        return error.clause.id == finding.clause and cause_of(error.actual) == finding.cause
    except Unspoken as error:
        bench.permitted, bench.actual = error.permitted, error.actual
        return not finding.clause and cause_of(error.actual) == finding.cause
    except Misbehaviour as error:
        bench.actual = error.actual
        gone = (Kind.CRASH, Kind.HANG)
        if Kind(error.kind) in gone:
            if stays_away(bench.target):
                raise RuntimeGone(str(error)) from None
            return finding.kind in gone
        # Of a file of an earlier version, which told less of it, too.
        return Kind(error.kind) is finding.kind and error.cause.startswith(finding.cause)
    except RuntimeGone:
        if stays_away(bench.target):
            raise
        return finding.kind in (Kind.CRASH, Kind.HANG)
    except (Ended, SetupFailed) as error:
        bench.missing = str(error)
    return False


def _leaves(mode: Plays, finding: Finding, bench: Bench, story: Story) -> bool:
    """Whether something of the same kind is left behind when all has been removed."""
    leftovers = Leftovers(bench.target, alone=bench.alone)
    before = set(bench.target.workshop.ids)
    wanted = set(finding.cause.split("; "))
    # Others on the node come and go with what is nameless: it proves nothing beside what is not.
    wanted = {kind for kind in wanted if not is_nameless(kind)} or wanted
    until = time.monotonic() + PLAY_SECONDS
    chance = Random(0)
    missing: list[str] = []
    for number in range(bench.plays):
        if time.monotonic() > until:
            break
        bench.tick()
        left_out = ""
        try:
            moved = at_other_moments(story, chance) if number else story
            left_out = bench.played(mode.play(bench, moved))
        except (Violation, Unspoken, Misbehaviour):
            pass  # Whatever else is wrong: only what is left counts.
        except (Ended, SetupFailed) as error:
            left_out = str(error)
        except RuntimeGone:
            if stays_away(bench.target):
                raise
        missing.append(left_out)
        bench.runtime.end()
        left = leftovers.left(bench.target.workshop.ids - before)
        if wanted.intersection(kinds(left)):
            bench.actual = in_short(left)
            return True
    bench.missing = least(missing)
    return False


def least(missing: list[str]) -> str:
    """What was missing in each of several plays: nothing, if one of them was whole."""
    return min(missing, key=len, default="")


def stays_away(target: Target) -> str:
    """Why a runtime that was gone is not there again, by itself or as told; "" if it is."""
    command = target.settings.restart_command
    if not command:
        return "" if target.client.revived(BACK_WITHIN) else NOT_BACK
    if target.client.revived(ALIVE_WITHIN):
        return ""
    try:
        Restarter(command)(Runtime(target.client, target.workshop))
    except (SetupFailed, RuntimeGone) as error:
        return f"{NOT_BACK}: {one_line(str(error))}"
    return ""
