# SPDX-License-Identifier: Apache-2.0
"""Calls on images at the same time, and such that are given up and repeated."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from cri_conformance.fuzz.image_using import ImageUser
from cri_conformance.fuzz.retrying import MOMENTS
from cri_conformance.registry import oci, troubles
from cri_conformance.suite.image_stepper import DIGEST, ID, LIST, PLACES, PULL, REMOVE, TAG, shown
from cri_conformance.suite.images import spec
from cri_conformance.suite.pulls import Served
from cri_conformance.suite.repeating import repeated, succeeded
from cri_conformance.suite.stepper import GIVEN_UP
from cri_conformance.suite.test_image_trouble import PROMPT, SLOW, until_asked
from cri_conformance.wire.outcome import Ok, Outcome, Refused, Unknown
from cri_conformance.wire.together import together

#: Methods of ImageSteps that are steps of a story.
TOLD = ("pull_together", "remove_together", "beside_slow_pull", "pull_given_up", "remove_given_up")
#: Lists that are taken while images are pulled, and removals at the same time.
_LISTS, _REMOVALS = 5, 4
#: Calls that no slow pull may hold up.
BESIDE = ("PullImage", "ListImages", "ImageStatus", "ImageFsInfo")
#: Bytes of what is pulled by calls that are given up.
_LONG = 100_000


@dataclass
class ImageSteps(ImageUser):
    """All steps of the mode."""

    #: The first call that was to be given up and was answered by then; "" for none.
    in_time: str = field(default="", init=False)

    # -- at the same time ------------------------------------------------------------

    def pull_together(self, places: list[int]) -> None:
        """By tag, while the list is asked for: what is there all the time is in it."""
        self.heal(places)
        there = self.node.certain() & self.listed
        *pulled, listed = together(
            *[partial(_outcomes, partial(self.pulls.pull, self.name(place))) for place in places],
            partial(_outcomes, partial(self.pulls.runtime.call, "ListImages"), _LISTS),
        )
        times = Counter(self.served[place].digest for place in places)
        returned: dict[int, set[str]] = {}
        for place, [outcome] in zip(places, pulled, strict=True):
            way = "same" if times[self.served[place].digest] > 1 else "different"
            clause = f"{PULL}.concurrent-{way}"
            if isinstance(outcome, Refused):
                outcome, clause = self._or_plainly(place, outcome, clause)
            self._answer(clause, outcome)
            if isinstance(outcome, Ok):
                self._came(place, TAG)
                returned.setdefault(place, set()).add(outcome.response.image_ref)
            else:
                self._may_have_come(place, TAG)
        for found in returned.values():
            self._that(f"{PULL}.concurrent-same", len(found) == 1, "one image_ref", "several")
        for outcome in listed:
            images = outcome.response.images if isinstance(outcome, Ok) else ()
            self._that(
                f"{LIST}.during-churn",
                isinstance(outcome, Ok)
                and there & self.node.certain() <= {*map(self.which, images)},
                "a list with all images that are there before and after it",
                "some are missing" if isinstance(outcome, Ok) else outcome,
            )
        self.look()

    def remove_together(self, place: int, by: str) -> None:
        """Of an image that is there."""
        name = self.name(place, by)
        if self.has(place, by):
            outcomes = together(*[partial(self.pulls.remove, name)] * _REMOVALS)
            clause, gone = f"{REMOVE}.concurrent", f"{REMOVE}.concurrent-gone"
            if not any(isinstance(outcome, Ok) for outcome in outcomes):
                # As a single one may be refused.
                alone = self.pulls.remove(name)
                if not isinstance(alone, Ok):
                    outcomes, clause = [alone], f"{REMOVE}.by-each-name"
            self._taken_away(name, outcomes, clause, gone)

    def beside_slow_pull(self, place: int, call: str) -> None:
        """A call while another image comes slowly, which must not be held up by that."""
        self.heal([place])
        why = self._why_pulled(place, TAG)
        slow, over, name = self._pass(), threading.Event(), self.name(place)
        trouble = troubles.on("blobs", troubles.slow(SLOW, over=over))
        self.pulls.registry.trouble(slow.repository, trouble)

        def beside() -> Outcome:
            try:
                until_asked(self.pulls, slow)
                if call == "PullImage":
                    return self.pulls.pull(name, 2 * PROMPT)
                named: dict[str, Any] = {"image": spec(name)} if call == "ImageStatus" else {}
                return self.pulls.runtime.call(call, deadline=PROMPT, **named)
            finally:
                # Nobody has to wait for its end: the registry hangs up.
                over.set()

        _, outcome = together(partial(self.pulls.pull, slow.reference, SLOW), beside)
        promise = "not-held-up" if call == "PullImage" else "prompt-during-pull"
        held_up = isinstance(outcome, Unknown)
        self._that(f"ImageService.{call}.{promise}", not held_up, "an answer in time", outcome)
        if call == "PullImage":
            self._pulled(place, TAG, outcome, why)
        else:
            self.look()

    # -- given up --------------------------------------------------------------------

    def _pass(self) -> Served:
        """An image of one step alone: whether a call that is given up comes late nobody knows."""
        made = self.pulls.serve(self.pulls.image(oci.layer([oci.File("a", b"a" * _LONG)])))
        self.passing.append(made)
        return made

    def pull_given_up(self, way: str, seconds: float) -> None:
        """And repeated, as a kubelet does, until it succeeds."""
        name = self._pass().reference
        outcome = self.pulls.pull(name, **{GIVEN_UP[way]: seconds})
        self._in_time(outcome, "PullImage", seconds)
        if not isinstance(outcome, Ok):
            again = partial(self.pulls.pull, name)
            outcome = repeated(again, succeeded, self.patience, self.meanwhile)
            self._answer(f"{PULL}.retry-after-deadline", outcome)
        if isinstance(outcome, Ok):
            there = shown(self._status(name)) is not None
            self._that(f"{PULL}.present-afterwards", there, f"an image by {name}", "no image")
        self.look()

    def remove_given_up(self, way: str, seconds: float) -> None:
        """The same of a removal: by the id, as a kubelet's, where that is ours alone."""
        served = self._pass()
        image = shown(self._status(served.reference)) if self._is_pulled(served) else None
        if image is None:
            return
        name = image.id if image.id == served.image.id else served.reference
        first = self.pulls.remove(name, **{GIVEN_UP[way]: seconds})
        self._in_time(first, "RemoveImage", seconds)
        # That it is not there is no word of a runtime that is still about it.
        outcome = repeated(
            partial(self.pulls.remove, name), _is_final, self.patience, self.meanwhile
        )
        clause = f"{REMOVE}.retry-after-deadline"
        self._answer(clause, outcome)
        if isinstance(outcome, Ok):
            for one in (served.reference, served.by_digest, served.image.id):
                gone = shown(self._status(one)) is None
                self._that(clause, gone, f"no image by {one}", "an image")
        self.look()

    def _in_time(self, outcome: Outcome, call: str, seconds: float) -> None:
        if isinstance(outcome, Ok):
            self.in_time = self.in_time or f"{call}, to be given up after {seconds:.3g} s"

    def _is_pulled(self, served: Served) -> bool:
        return isinstance(self.pulls.pull(served.reference), Ok)


def _outcomes(call: partial[Outcome], times: int = 1) -> list[Outcome]:
    return [call() for _ in range(times)]


def _is_final(outcome: Outcome) -> bool:
    return isinstance(outcome, Ok) or (isinstance(outcome, Refused) and outcome.code == "NOT_FOUND")


_PLACE = st.integers(0, PLACES - 1)
_WAYS, _MOMENTS = st.sampled_from(sorted(GIVEN_UP)), st.sampled_from(MOMENTS)


class CrowdedRules:
    """The same as rules of a state machine."""

    steps: Any

    @rule(places=st.lists(_PLACE, min_size=2, max_size=4))
    def pull_together(self, places: list[int]) -> None:
        self.steps.pull_together(places)

    @rule(place=_PLACE, by=st.sampled_from((TAG, DIGEST, ID)))
    def remove_together(self, place: int, by: str) -> None:
        if not self.steps.has(place, by):
            self.steps.pull(place, DIGEST if by == DIGEST else TAG)
        self.steps.remove_together(place, by)

    @rule(place=_PLACE, call=st.sampled_from(BESIDE))
    def beside_slow_pull(self, place: int, call: str) -> None:
        self.steps.beside_slow_pull(place, call)

    @rule(way=_WAYS, seconds=_MOMENTS)
    def pull_given_up(self, way: str, seconds: float) -> None:
        self.steps.pull_given_up(way, seconds)

    @rule(way=_WAYS, seconds=_MOMENTS)
    def remove_given_up(self, way: str, seconds: float) -> None:
        self.steps.remove_given_up(way, seconds)
