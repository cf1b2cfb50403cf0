# SPDX-License-Identifier: Apache-2.0
"""A campaign: modes take turns until the time is over; what they find is tried again and kept.

A mode (``mode.Mode``, all in ``modes.MODES``) is a way of looking. It plays turns, each with a
seed of its own that follows from the campaign's seed, the process and the turn's number alone.
What goes wrong in a turn is handed to ``found``, and the campaign goes on: past what was found
once it only counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cri_conformance.contract import expectations
from cri_conformance.contract.findings import LOG
from cri_conformance.expect.judge import Rules
from cri_conformance.expect.violation import Ended, Misbehaved, NotExercised, Violation
from cri_conformance.fuzz import write
from cri_conformance.fuzz.behind import INTERRUPTED, Behind
from cri_conformance.fuzz.finding import Finding, Kind, Unspoken
from cri_conformance.fuzz.judging import CampaignJudge, Key, cause_of, key_of
from cri_conformance.fuzz.leftovers import Played
from cri_conformance.fuzz.log import Log
from cri_conformance.fuzz.machine import Halt
from cri_conformance.fuzz.meter import Meter
from cri_conformance.fuzz.mode import Mode, Over, Player
from cri_conformance.fuzz.objects import Objects
from cri_conformance.fuzz.retrying import given_up
from cri_conformance.fuzz.story import Story
from cri_conformance.fuzz.tools import Tools
from cri_conformance.fuzz.trying import Bench, Trying, stays_away
from cri_conformance.fuzz.turns import TurnOver, Turns
from cri_conformance.fuzz.words import failures
from cri_conformance.malformed.oracle import Misbehaviour, panic_of
from cri_conformance.report.files import CALLS, SAID, write_text
from cri_conformance.report.text import count, one_line, tried
from cri_conformance.settings import Budget, Settings
from cri_conformance.suite.repeating import MINUTE
from cri_conformance.target import Facts, Target
from cri_conformance.wire.client import ALIVE_WITHIN
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed
from cri_conformance.wire.runtime import Runtime

#: Seconds for which a call that never succeeds is repeated meanwhile: a minute long it was already.
TRIED_FOR = 3.0
#: What must be, of what no clause need speak of.
PERMITTED = {
    Kind.CRASH: "the runtime goes on answering Version",
    Kind.HANG: "an answer in time",
    Kind.LEAK: "nothing is left of what was refused",
    Kind.PANIC: "no text that betrays a panic",
    Kind.DAMAGE: "nothing that was not named is touched",
    Kind.SECRET: "no password comes back",
}
#: Seconds between two lines of progress, and between two states of the report's file.
LINE_EVERY, SAVE_EVERY = 10.0, 2.0
#: Why something was not tried again.
_FOR_GOOD = "what it left is there for good"


class CampaignFailed(Misbehaved):
    """What a campaign found fails the run."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(finding.line() for finding in findings))
        self.details = failures(findings)


class Campaign:
    """One process's part of a campaign."""

    def __init__(
        self,
        target: Target,
        rules: Rules,
        modes: Sequence[Mode],
        *,
        worker: str = "",
        said: Callable[[str], None] = lambda line: None,
        progress: Path | None = None,
        expected: expectations.Applied = expectations.NONE,
    ) -> None:
        """``said`` takes a line of progress; ``progress`` is a file that holds the last state;
        what is ``expected`` to be found fails no run."""
        assert target.settings.fuzz
        self.target = target
        self.settings: Settings = target.settings
        self.facts: Facts = target.facts
        self.budget: Budget = target.settings.fuzz
        self.rules = rules
        self.modes = modes
        self.worker = worker
        self.meter = Meter()
        target.client.history.heard = self.meter.heard
        self.judge = CampaignJudge(rules, target.client.history.mark)
        self.findings: dict[Key, Finding] = {}
        self.runtime = Runtime(target.client, target.workshop)
        #: Seconds within which what is repeated must come to its aim.
        self.patience = MINUTE
        #: What modes share: images, folders.
        self.tools = Tools(target, int(worker.removeprefix("gw") or 0))
        self.objects = Objects(self.runtime)
        self.expected = expected
        self.behind = Behind(self)
        #: Of the sequence that is played: mode, seed, and what it has done so far.
        self._playing: tuple[str, int, Callable[[], Story]] = "", 0, list
        self._trying = Trying(target, self.scope, self._tell)
        self._said, self._progress = said, progress
        self._log = Log(target.settings.runtime_log)
        # Of several each is to be heard of soon.
        self._next_line, self._next_save = 0.0 if worker else LINE_EVERY, 0.0
        #: Why it ended; of that, why the runtime is gone for good.
        self._stopped = self._gone = ""
        #: Whether Ctrl-C has come: from then on nothing is tried any more.
        self.interrupted = False
        self._turns = Turns([], self.budget)
        self._mode = ""
        self._seed = 0

    # -- for modes -------------------------------------------------------------------

    @property
    def database(self) -> Path:
        """Hypothesis's examples, apart by runtime and version."""
        return self.settings.fuzz_dir / "examples" / write.kind_of(self.facts)

    def over(self) -> bool:
        """Whether the time is over, or the runtime gone."""
        if self._stopped:
            return True
        if self.budget.steps:
            return self.meter.steps >= self.budget.steps
        return self.meter.seconds >= self.budget.seconds

    def begin(self, story: Callable[[], Story] = list) -> None:
        """A sequence begins: what the last one made goes. Raises Halt when time is over.

        ``story`` gives what this one has done so far.
        """
        self._end()
        with suppress(RuntimeGone):  # The sequence that comes will tell.
            self.behind.look()
        self._playing = self._mode, self._seed, story
        self._log.skip()
        self.judge.mark = self.target.client.history.mark()
        if self.over():
            raise Halt
        self._turns.begin()
        self.meter.examples += 1

    def _end(self) -> None:
        """The sequence is over: what it made goes."""
        was_there = self.objects.alive()
        self.runtime.end()
        self._ended(self._playing, self.objects.new() | was_there)
        self.objects.note()

    def _ended(self, played: tuple[str, int, Callable[[], Story]], made: set[str]) -> None:
        marks = self.judge.mark, self.target.client.history.mark()
        self.behind.leftovers.ended(Played(*played, made, marks))

    def step(self) -> None:
        """A step was made, with its oracles. Raises Halt when time is over."""
        if self._trying.busy:
            return
        self.meter.steps += 1
        self.meter.modes[self._mode] += 1
        self.tick()
        if self.over():
            raise Halt

    def alive(self) -> None:
        """The runtime answers Version, at once or with patience. Raises RuntimeGone."""
        if not self.target.client.alive((ALIVE_WITHIN,)):
            self.target.client.call("Version", version="v1")

    def found(
        self, error: BaseException | None, story: Story, about: Sequence[str] = ()
    ) -> Finding | None:
        """Take in what ended a sequence. What is no finding is let through, or raised."""
        if error is None or isinstance(error, Halt | Ended):
            return None
        if isinstance(error, Violation):
            level = error.clause.level
            kind = Kind.CLAUSE if level.binding or self.rules.strict else Kind.OPEN
            finding = self._new(
                kind, error.clause.id, key_of(error)[1], error.permitted, error.actual, story
            )
            self.judge.broken = None
            key = key_of(error)
            finding.about = (*about, *error.about)
        elif isinstance(error, Unspoken):
            key = (str(Kind.OPEN), cause_of(error.actual))
            finding = self._new(Kind.OPEN, "", key[1], error.permitted, error.actual, story)
        elif isinstance(error, RuntimeGone):
            kind = Kind.HANG if self.target.client.wait_ready(ALIVE_WITHIN) else Kind.CRASH
            last = _end_of(story) if kind is Kind.CRASH else f"Version after {_end_of(story)}"
            cause, actual = self._died(kind, last, str(error))
            finding = self._new(kind, "", cause, PERMITTED[Kind.CRASH], actual, story)
            key = (str(kind), cause)
        elif isinstance(error, SetupFailed):
            # The environment gave way: no verdict, and no reason to end a campaign.
            self.say(f"no verdict: {error}")
            return None
        else:
            raise error
        self.add(key, finding)
        return finding

    def misbehaved(
        self,
        error: Misbehaviour,
        story: Story,
        *,
        clause: str = "",
        sent: Sequence[dict[str, str]] = (),
    ) -> None:
        """Take in what no clause need speak of, and what was ``sent`` before it."""
        kind = Kind(error.kind)
        cause, actual = self._died(kind, error.cause, error.actual)
        finding = self._new(kind, clause, cause, PERMITTED[kind], actual, story)
        finding.sent = list(sent)
        if error.lasting:
            finding.untried = _FOR_GOOD
        self.add((clause or str(kind), cause), finding, again=not error.lasting)
        if error.lasting:
            # So does what it keeps on the host.
            self.behind.leftovers.forgive()

    def _died(self, kind: Kind, cause: str, actual: str) -> tuple[str, str]:
        """Cause and words of a finding: of a crash its log may know more than who saw it."""
        if kind is Kind.CRASH and (said := panic_of(self._log.new())):
            return f"{LOG}{said}", f"{actual}; its log says {said}"
        return cause, actual

    def recognise(self, finding: Finding) -> None:
        """Whether it is expected."""
        story: Story = finding.story.get("steps", [])
        finding.given_up = given_up(story) if finding.kind is Kind.LEAK else ()
        kind = "" if finding.clause else str(finding.kind)
        entries = self.expected.forgiving(kind, finding.cause, finding.given_up)
        finding.reason = "; ".join(entry.reason for entry in entries)
        finding.link = next((entry.link for entry in entries if entry.link), "")

    def say(self, line: str) -> None:
        """A line of progress; one of several processes writes it down for the one that leads."""
        self._said(line)
        if self.worker and self._progress:
            with suppress(OSError), self._progress.with_suffix(SAID).open("a") as file:
                file.write(f"{one_line(line, 1000)}\n")

    def add(self, key: Key, finding: Finding, *, again: bool = True) -> None:
        """Keep a finding: one that is there already is only counted.

        ``again``: it may be tried again.
        """
        if key in self.findings:
            self.findings[key].times += 1
        else:
            finding.cause = key[1]
            if not finding.behind:
                self.recognise(finding)
                finding.keep(self.target.client.history, self.judge.mark, about=finding.about)
            self.findings[key] = finding
            known = f", known: {finding.reason}" if finding.reason else ""
            self.say(f"found: {finding.line()}{known}")
            # At once: trying it takes long, and the run may be ended meanwhile.
            self._write(finding)
            if again and finding.steps:
                self.tick(now=True)
                try:
                    # What does not come back would be told once more by whoever tries it.
                    if self._is_there(finding):
                        self.try_again(finding)
                    else:
                        finding.untried = self._gone
                finally:
                    self._write(finding)
        self.judge.mute(key)
        self._is_there(finding)
        self.tick(now=True)

    def _write(self, finding: Finding) -> None:
        """Write its files. Where they can't be it is in the report all the same."""
        try:
            write.finding(finding, self.facts, self.settings)
        except OSError as error:
            finding.folder = ""
            where = self.settings.fuzz_dir
            self.say(f"its files can't be written to {where}: {error.strerror}")

    def _is_there(self, finding: Finding) -> bool:
        """Whether the runtime is there after a finding, or again; if not the campaign is over."""
        gone = finding.kind in (Kind.CRASH, Kind.HANG) and not self._stopped
        if gone and (why := stays_away(self.target)):
            self._gone = self._stopped = why
        return not self._gone

    def _new(
        self, kind: Kind, clause: str, cause: str, permitted: str, actual: str, story: Story
    ) -> Finding:
        return Finding(
            kind,
            self._mode,
            clause,
            cause,
            permitted,
            actual,
            self._seed,
            {"steps": list(story)},
            steps_found=len(story),
        )

    def try_again(self, finding: Finding, *, once: bool = False) -> bool:
        """Try it again; whether it shows."""
        mode = next(mode for mode in self.modes if mode.name == finding.mode)
        self.runtime.end()
        self.judge.mark = self.target.client.history.mark()
        self.objects.note()
        try:
            if once:
                return self._trying.once(mode, finding)
            what = finding.clause or finding.kind
            most = f"{self._trying.longest(finding):.0f} s"
            self.say(f"{what}: tried again and made smaller, for up to {most}")
            finding.untried = ""
            self._trying.again(mode, finding)
            more = "; each time that left it once more" if finding.behind and finding.again else ""
            self.say(f"{tried(**finding.tried)}, {count(finding.steps, 'step')}{more}")
            return finding.again > 0
        except KeyboardInterrupt:
            finding.untried = INTERRUPTED
            raise
        except (RuntimeGone, SetupFailed) as error:
            finding.untried = one_line(str(error))
            raise
        finally:
            made = self.objects.new()
            if finding.behind:
                # Left again, on purpose.
                self.objects.stuck |= made
                self.behind.leftovers.forgive()
            else:
                self._ended((finding.mode, finding.seed, lambda: finding.story["steps"]), made)
            self.objects.note()

    @contextmanager
    def scope(self) -> Iterator[Bench]:
        """A bench to play a story on; what it makes is removed afterwards."""
        with self.target.scope() as runtime:
            judge = CampaignJudge(self.rules, self.target.client.history.mark)
            patience = min(self.patience, TRIED_FOR)
            alone = not self.worker
            yield Bench(
                runtime,
                judge,
                self.target,
                self.tools,
                patience=patience,
                tick=self.tick,
                alone=alone,
            )

    # -- the campaign ----------------------------------------------------------------

    def run(self) -> None:
        """Play until the time is over. Raises CampaignFailed if there are failures."""
        players: list[tuple[Mode, Player]] = []
        try:
            for mode in self.modes:
                try:
                    players.append((mode, mode.open(self)))
                except NotExercised as error:
                    self.say(f"without the mode {mode.name}: {error}")
            self._turns = Turns(players, self.budget)
            self._play()
        except KeyboardInterrupt:
            self.interrupted = True
            self._stopped = self._stopped or "interrupted"
            raise
        finally:
            self._finish([player for _, player in players])
        if self.interrupted:
            # Amid trying what was left: all the rest had to be done first.
            raise KeyboardInterrupt
        counted = [finding for finding in self.findings.values() if finding.counts]
        if counted:
            raise CampaignFailed(counted)

    def _finish(self, players: Sequence[Player]) -> None:
        """Clean up, and tell what is left all the same."""
        try:
            for player in players:
                player.close()
            self._stopped = self._stopped or "over"
            self._end()
            self.behind.look_at_last()
            self.tools.close()
            self.behind.look_for_images()
        except (RuntimeGone, SetupFailed) as error:
            self.say(f"clean-up: {error}")
        finally:
            self.target.client.history.forget(self.judge.mark)
            self.judge.broken = None
            self.tick(now=True)

    def _play(self) -> None:
        while not self.over() and (share := self._turns.next()):
            self._mode = share.mode.name
            self._seed = seed_of(self.settings.seed, self.worker, self._mode, share.turns)
            with self._turns.turn(share):
                try:
                    share.player.turn(self._seed, share.turns)
                except TurnOver:
                    pass
                except Halt:
                    return
                except Over as error:
                    self.say(f"without the mode {self._mode} from now on: {error}")
                    self._turns.ends(share)
                except (RuntimeGone, SetupFailed) as error:
                    self.found(error, [])

    def tick(self, *, now: bool = False) -> None:
        """Tell how far it is, every now and then."""
        self._tell()
        seconds = self.meter.seconds
        if self._progress and (now or seconds >= self._next_save):
            self._next_save = seconds + SAVE_EVERY
            try:
                if now:
                    # Only what is found changes them, and they may be long.
                    told = [finding.told() for finding in self.findings.values()]
                    write_text(self._progress.with_suffix(CALLS), json.dumps(told))
                write_text(self._progress, json.dumps(self.plain()))
            except OSError as error:
                self.say(f"can't write {self._progress}: {error.strerror}")

    def _tell(self) -> None:
        self.meter.calls = self.target.client.history.mark() + self.meter.unrecorded
        if self.meter.seconds >= self._next_line:
            self._next_line = self.meter.seconds + LINE_EVERY
            self.say(self.line() + ", trying one again" * self._trying.busy)

    def line(self) -> str:
        """The state of the campaign in one line."""
        counted = sum(finding.counts for finding in self.findings.values())
        return self.meter.line(len(self.findings), counted)

    def plain(self) -> dict[str, Any]:
        """The state of the campaign as it stands in results.json."""
        for key, finding in self.findings.items():
            finding.times = max(finding.times, self.judge.muted[key])
        return {
            "worker": self.worker,
            "seed": self.settings.seed,
            "budget": str(self.budget),
            "stopped": "" if self._stopped == "over" else self._stopped,
            "unplayed": self._turns.unplayed(self.meter.modes),
            **self.meter.plain(),
            "line": self.line(),
            "clauses": list(self.judge.records.values()),
            "findings": [finding.plain() for finding in self.findings.values()],
        }


def seed_of(seed: int, worker: str, mode: str, number: int) -> int:
    """The seed of one turn."""
    digest = hashlib.sha256(f"{seed} {worker} {mode} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _end_of(story: Story) -> str:
    if not story:
        return ""
    step = story[-1]
    return f"{step['do']} {step['with'].get('call', '')}".strip()


__all__ = ["Bench", "Campaign", "CampaignFailed", "Mode", "Over", "Player", "seed_of"]
