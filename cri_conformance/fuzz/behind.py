# SPDX-License-Identifier: Apache-2.0
"""What sequences of a campaign left behind, as findings: of the sequence that leaves it again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cri_conformance.fuzz.finding import Finding, Kind
from cri_conformance.fuzz.judging import Key, cause_of
from cri_conformance.fuzz.leftovers import Left, Leftovers, Played, in_short, is_nameless
from cri_conformance.fuzz.retrying import given_up
from cri_conformance.fuzz.trying import ENOUGH
from cri_conformance.wire.outcome import Ok

if TYPE_CHECKING:
    from cri_conformance.fuzz.campaign import Campaign

#: Seconds after which no further sequence is tried of those that may have left something.
SUSPECTS_SECONDS = 60.0
#: Who left what nobody is known to have left.
_NOBODY = Played("leaks", 0, list, frozenset(), (0, 0))
#: Why something was not tried again.
INTERRUPTED = "the campaign was interrupted"
_NO_SUSPECT = "no sequence is known that may have left it"
_NONE_DID = "none of the sequences that may have left it was seen to do so once more"


class Behind:
    """Looks for what sequences leave, and tells the campaign."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._target = campaign.target
        workshop = campaign.target.workshop
        self._shared_images = set(workshop.images) | {workshop.image}
        self.leftovers = Leftovers(campaign.target, alone=not campaign.worker)

    def look(self) -> None:
        """What was left by sequences that are over, if a look is due."""
        objects = self._campaign.objects
        for left in self.leftovers.look(objects.alive() | objects.folders()):
            self.tell(left)

    def look_at_last(self) -> None:
        """What is still there of objects that were removed."""
        for left in self.leftovers.at_last(self._campaign.objects.gone()):
            self._tell_at_last(left)

    def look_for_images(self) -> None:
        """Images are shared by sequences: they are looked for when all is over."""
        if left := self._images_left():
            self._tell_at_last(Left(left, []))

    def _images_left(self) -> list[str]:
        """Names and ids of images that only this campaign had, and that are still listed."""
        ours = self._target.workshop.images - self._shared_images
        outcome = self._target.client.call("ListImages")
        images = outcome.response.images if isinstance(outcome, Ok) else ()
        listed = {name for one in images for name in (one.id, *one.repo_tags, *one.repo_digests)}
        return [f"ListImages has {name}" for name in sorted(listed & ours)]

    def _tell_at_last(self, left: Left) -> None:
        try:
            self.tell(left)
        except KeyboardInterrupt:
            # It is told, and so is what comes after it.
            self._campaign.interrupted = True

    def tell(self, left: Left) -> None:
        """What sequences left: what is known of it, what is not, and what may be anybody's."""
        calls = given_up(left.suspects[0].story()) if left.suspects else ()
        apart: dict[tuple[bool, bool], list[str]] = {}
        for line in left.lines:
            expected = self._campaign.expected.forgiving(str(Kind.LEAK), cause_of(line), calls)
            apart.setdefault((bool(expected), is_nameless(line)), []).append(line)
        for lines in apart.values():
            self._tell_one(Left(lines, left.suspects))

    def _tell_one(self, left: Left) -> None:
        campaign = self._campaign
        suspects = left.suspects or [_NOBODY]
        until = time.monotonic() + SUSPECTS_SECONDS
        findings = (self._finding(left, one) for one in suspects)
        finding = next(findings)
        if _key(finding) not in campaign.findings:
            campaign.say(f"left behind: {finding.actual}")
        try:
            while _key(finding) not in campaign.findings and not campaign.interrupted:
                if finding.steps and (len(suspects) == 1 or campaign.try_again(finding, once=True)):
                    campaign.try_again(finding)
                    break
                if time.monotonic() > until or not (another := next(findings, None)):
                    break
                finding = another
        finally:
            # Also if the run is ended meanwhile: it was seen. Its story may be smaller now.
            campaign.recognise(finding)
            key = _key(finding)
            if left.nameless and finding.again < ENOUGH:
                # It may be of whoever else uses the node.
                finding.kind = Kind.OPEN
            campaign.add(key, finding, again=False)

    def _finding(self, left: Left, one: Played) -> Finding:
        """What was left, as a finding of one that may have left it."""
        story = list(one.story())
        finding = Finding(
            Kind.LEAK,
            one.mode,
            "",
            left.cause,
            "nothing is left of what was removed",
            in_short(left.lines),
            one.seed,
            {"steps": story},
            steps_found=len(story),
            behind=True,
        )
        if self._campaign.interrupted:
            finding.untried = INTERRUPTED
        elif len(left.suspects) != 1:
            finding.untried = _NONE_DID if left.suspects else _NO_SUSPECT
        finding.keep(self._target.client.history, *one.calls)
        self._campaign.recognise(finding)
        return finding


def _key(finding: Finding) -> Key:
    """What is known, as its story has all that it takes, does not hide what is left otherwise."""
    return (f"{'known ' * bool(finding.reason)}{Kind.LEAK}", finding.cause)
