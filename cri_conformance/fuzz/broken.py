# SPDX-License-Identifier: Apache-2.0
"""The mode ``wire``: broken messages and frames, below what a client's types can say.

The ends of what fields hold come first, then chance. A message is told as what was broken and
how, so that it can be broken in the same way where ids are others; its bytes stand beside it.
"""

from __future__ import annotations

import base64
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from cri_conformance.fuzz.campaign import Bench, Campaign
from cri_conformance.fuzz.machine import Halt
from cri_conformance.fuzz.mode import Over
from cri_conformance.fuzz.states import BROKEN
from cri_conformance.fuzz.story import Story, play
from cri_conformance.malformed import siege
from cri_conformance.malformed.assay import NOT_SENT, SURVIVES, THESE, Assay, Sent, words
from cri_conformance.malformed.attacks import ATTACKS, MANGLED, attack_of
from cri_conformance.malformed.draws import Draws
from cri_conformance.malformed.mutations import Mutation, apply, by_chance
from cri_conformance.malformed.oracle import Kind, Misbehaviour
from cri_conformance.malformed.safety import incomplete
from cri_conformance.malformed.siege import Siege
from cri_conformance.malformed.yard import Yard
from cri_conformance.target import Target
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed
from cri_conformance.wire.runtime import Runtime

#: Messages and attacks of one turn, and seconds after which it ends before that.
MESSAGES, ATTACKS_EACH, SECONDS = 100, 2, 5.0
#: Attempts at making what messages are about, before the mode gives up.
_ATTEMPTS = 2
#: Messages that a finding keeps, and bytes of one that it keeps: the rest can be made again.
_KEPT, _KEPT_BYTES = 20, 64 * 1024
_GONE = (Kind.CRASH, Kind.HANG)
#: Methods of Broken that are steps of a story.
_TOLD = ("send", "attack")
_NO_MORE = "which is not sent any more"


class Broken:
    """The steps, on a yard of their own. ``close`` removes it."""

    def __init__(self, runtime: Runtime, target: Target, *, complete: bool = False) -> None:
        """Raises SetupFailed, RuntimeGone."""
        self.runtime = runtime
        self.yard = Yard(runtime)
        self.assay = Assay(
            self.yard, target.client, log=target.settings.runtime_log, complete=complete
        )
        self._siege = Siege(target.client)
        #: The last messages as they were sent.
        self.sent: deque[dict[str, str]] = deque(maxlen=_KEPT)

    def begin(self) -> None:
        """Others have used the runtime since."""
        self.assay.begin()
        self._siege.pulse.begin()

    def send(self, base: str, mutations: list[dict[str, Any]]) -> None:
        """A message, broken. Raises Misbehaviour."""
        chosen = self.yard.bases[base]
        how = [Mutation.of(one) for one in mutations]
        self.sent.append(shown(base, how, apply(chosen.tree, how)))
        try:
            self.sent[-1]["outcome"] = self.assay.send(chosen, how)
        except Misbehaviour as error:
            self.sent[-1]["outcome"] = str(error)
            raise

    def attack(self, name: str, seed: int = 0) -> None:
        """Frames, on a connection of their own. Raises Misbehaviour."""
        self._siege.run(name, attack_of(name, seed))

    def settle(self) -> None:
        """Look at what is left of it all. Raises Misbehaviour."""
        self.assay.settle()

    def close(self) -> None:
        try:
            self.runtime.close()
        except (RuntimeGone, SetupFailed):
            pass  # what is left is told, and tried again, at the end of the run
        finally:
            self.yard.close()


def _told(sent: Sent) -> dict[str, Any]:
    """A message as a step of a story."""
    base, mutations = sent
    how = [one.plain() for one in mutations]
    return {"do": "send", "with": {"base": f"{base.rpc}.{base.name}", "mutations": how}}


def shown(base: str, how: Sequence[Mutation], data: bytes) -> dict[str, str]:
    """A message as a finding keeps it."""
    kept = base64.b64encode(data).decode() if len(data) <= _KEPT_BYTES else ""
    return {"rpc": base, "broken": words(how), "size": str(len(data)), "bytes": kept}


class BrokenPlayer:
    """The mode in a campaign: its yard stays, until it was part of a finding."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._complete = SURVIVES in campaign.rules.known
        self._steps: Broken | None = None
        self._draws: Draws | None = None
        self._attacks: list[str] = []
        #: Calls and attacks of which the runtime has died already.
        self._deadly: set[str] = set()
        self._failed = 0
        if self._complete:
            campaign.say(f"wire: no incomplete requests, as {SURVIVES} is known to break")
        if not siege.possible():
            campaign.say("wire: no frames: install cri-conformance[fuzz]")

    # -- a turn ----------------------------------------------------------------------

    def turn(self, seed: int, number: int) -> None:
        campaign = self._campaign
        sent: list[Sent] = []
        attacks: Story = []
        campaign.begin(lambda: [*map(_told, sent), *attacks])
        steps = self._ready()
        steps.begin()
        over: Halt | None = None
        try:
            self._send(steps, seed, sent)
        except Halt as halt:
            # What the last messages left is looked at all the same.
            over = halt
        if self._steps is None:
            return
        try:
            steps.settle()
        except Misbehaviour as error:
            gone = error.kind in _GONE
            culprit = None if gone else steps.assay.culprit(sent, error)
            self._found(error, [culprit] if culprit else sent)
            return
        if over:
            raise over
        self._besiege(steps, seed, attacks)

    def _send(self, steps: Broken, seed: int, sent: list[Sent]) -> None:
        """Messages, until there is no yard any more. Raises Halt."""
        campaign = self._campaign
        choose = by_chance(seed)
        until = time.monotonic() + SECONDS
        while len(sent) < MESSAGES and time.monotonic() < until:
            self._draws = self._draws or Draws(steps.yard.bases, seed)
            base, mutations = self._draws.one(steps.yard.bases, choose)
            if base.partition(".")[0] in self._deadly:
                campaign.step()
                continue
            chosen = steps.yard.bases[base]
            sent.append((chosen, mutations))
            code = ""
            try:
                code = steps.assay.send(chosen, mutations)
            except Misbehaviour as error:
                self._found(error, [(chosen, mutations)] if error.kind not in _GONE else sent)
                if self._steps is None:
                    return
            campaign.meter.unrecorded += code != NOT_SENT
            if code not in ("", NOT_SENT):
                campaign.meter.meet(chosen.rpc, BROKEN, code)
            campaign.step()

    def _ready(self) -> Broken:
        """A yard to play on. Raises Over if there is none to be had."""
        campaign = self._campaign
        if self._steps is None:
            runtime = Runtime(campaign.target.client, campaign.target.workshop)
            try:
                self._steps = Broken(runtime, campaign.target, complete=self._complete)
            except SetupFailed as error:
                runtime.close()
                self._failed += 1
                if self._failed >= _ATTEMPTS:
                    raise Over(f"nothing to send messages about: {error}") from None
                raise
            campaign.objects.keep(runtime, self._steps.yard.root)
        self._failed = 0
        return self._steps

    def _besiege(self, steps: Broken, seed: int, attacks: Story) -> None:
        campaign = self._campaign
        for number in range(ATTACKS_EACH if siege.possible() else 0):
            if not self._attacks:
                # What opens many streams at a time first.
                names = [*ATTACKS, MANGLED]
                random.Random(seed).shuffle(names)
                self._attacks = sorted(names, key=lambda one: not one.startswith("streams"))[::-1]
            name = self._attacks.pop()
            if name in self._deadly:
                continue
            step = {"name": name, "seed": seed + number} if name == MANGLED else {"name": name}
            attacks.append({"do": "attack", "with": step})
            try:
                steps.attack(**step)
            except Misbehaviour as error:
                self._take(error, attacks[-1:], [])
                return
            campaign.step()

    # -- what was found --------------------------------------------------------------

    def _found(self, error: Misbehaviour, sent: Sequence[Sent]) -> None:
        story = [_told(one) for one in sent]
        kept = [
            shown(f"{base.rpc}.{base.name}", how, apply(base.tree, how))
            for base, how in sent[-_KEPT:]
        ]
        clause = ""
        if error.kind in _GONE and (last := sent[-1:]):
            base, how = last[0]
            if incomplete(base.rpc, apply(base.tree, how)):
                clause = SURVIVES
        self._take(error, story, kept, clause)

    def _take(
        self, error: Misbehaviour, story: Story, kept: list[dict[str, str]], clause: str = ""
    ) -> None:
        """Hand it to the campaign; what the runtime died of is not sent again."""
        campaign, steps = self._campaign, self._steps
        assert steps
        if error.kind in _GONE:
            self._steps = None
        if clause:
            self._complete = True
            campaign.say(f"wire: {error.kind} after a request that lacks a part, {_NO_MORE}")
        elif error.kind in _GONE:
            if error.cause.endswith(THESE):
                campaign.say(f"wire: {error.kind} after some of these calls")
            else:
                last = story[-1]["with"]
                deadly = last.get("name") or str(last["base"]).partition(".")[0]
                self._deadly.add(deadly)
                campaign.say(f"wire: {error.kind} after {deadly}, {_NO_MORE}")
        elif error.lasting:
            rpc = str(story[-1]["with"]["base"]).partition(".")[0]
            self._deadly.add(rpc)
            campaign.objects.stuck |= steps.yard.stuck
            campaign.say(f"wire: after {rpc}, {_NO_MORE}, something is there for good")
        campaign.misbehaved(error, story, clause=clause, sent=kept)
        if self._steps is None:
            steps.close()

    def close(self) -> None:
        """Remove the yard."""
        if self._steps:
            self._steps.close()


class BrokenMode:
    """Broken messages and frames."""

    name = "wire"
    says = "broken messages and HTTP/2 frames: the runtime lives, answers, tells and leaves nothing"
    weight = 1
    steps, told = Broken, _TOLD

    def open(self, campaign: Campaign) -> BrokenPlayer:
        return BrokenPlayer(campaign)

    def play(self, bench: Bench, story: Story) -> str:
        steps = Broken(bench.runtime, bench.target)
        try:
            left_out = play(steps, story)
            steps.settle()
            return left_out
        finally:
            bench.sent = list(steps.sent)
            steps.yard.close()
