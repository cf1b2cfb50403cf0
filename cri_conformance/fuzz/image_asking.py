# SPDX-License-Identifier: Apache-2.0
"""Calls that change no image: lists by a filter, what is told on request, file systems, streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from cri_conformance.api import types
from cri_conformance.fuzz.image_equalities import ImageLooker
from cri_conformance.model.images import NONE, OPEN
from cri_conformance.suite.image_stepper import DIGEST, ID, PLACES, STATUS, TAG, shown
from cri_conformance.suite.images import spec
from cri_conformance.suite.repeating import MINUTE
from cri_conformance.suite.streamed import IMAGES
from cri_conformance.suite.test_image_fields import judge_verbose
from cri_conformance.suite.test_image_fs import judge_file_systems
from cri_conformance.wire.outcome import Ok, Refused

#: Methods of ImageAsker that are steps of a story.
TOLD = ("filtered", "unfiltered", "nameless", "verbose", "file_systems", "streamed")
_FILTER = "ImageFilter.image"
#: Seconds within which a stream must come to its end.
_STREAMED_WITHIN = 10.0


@dataclass
class ImageAsker(ImageLooker):
    """Asks in more ways."""

    #: Where the files of the runtime's host are; "" for nowhere.
    host_root: str = ""
    #: Seconds within which what is repeated must come to its aim; called now and then meanwhile.
    patience: float = MINUTE
    meanwhile: Callable[[], None] = lambda: None
    _no_stream: bool = field(default=False, init=False)

    def filtered(self, place: int, by: str) -> None:
        """A list by a name of what the tag of a place leads to."""
        name = self.name(place, by)
        expected = self._expected(place, name)
        outcome = self._filtered(name)
        if expected == OPEN:
            return
        if expected == NONE:
            listed = len(outcome.response.images) if isinstance(outcome, Ok) else outcome
            self._that(f"{_FILTER}.no-match-empty", listed == 0, "success, and no image", listed)
            return
        images = outcome.response.images if isinstance(outcome, Ok) else []
        found = [image for image in images if self.which(image) == expected]
        self._that(
            f"{_FILTER}.match-listed",
            found,
            f"the image with {name}",
            "a list without it" if isinstance(outcome, Ok) else outcome,
        )
        self._that(
            f"{_FILTER}.others-left-out", len(found) == len(images), "no other image", "others"
        )

    def _expected(self, place: int, name: str) -> str:
        """What a name leads to. A runtime may find an image by names that it never had."""
        if name in self.node.leads_to:
            return self.node.expected(name)
        there = self.served[place].digest in self.node.leads_to.values()
        return OPEN if there else NONE

    def unfiltered(self) -> None:
        """A list by a filter that names nothing."""
        clause = "ListImagesRequest.filter.absent-all"
        outcome = self.pulls.runtime.call("ListImages", filter=types.ImageFilter())
        self._answer(clause, outcome)
        if isinstance(outcome, Ok):
            missing = self.node.certain() - {*map(self.which, outcome.response.images)}
            self._that(clause, not missing, "all images that are there", "some are missing")

    def nameless(self) -> None:
        """A status of nothing. A removal of nothing could be taken for one of a foreign image."""
        outcome = self._status("")
        kept = shown(outcome) is None
        self._that(f"{STATUS}.empty", kept, "an error, or no image", "an image")

    def verbose(self, place: int, by: str) -> None:
        """A status with debugging information."""
        name = spec(self.name(place, by))
        plain, more = (
            self.pulls.runtime.call("ImageStatus", image=name, verbose=verbose)
            for verbose in (False, True)
        )
        if isinstance(plain, Ok) and shown(plain):
            if isinstance(more, Ok):
                judge_verbose(self.judge, plain.response, more.response)
            else:
                self._answer("ImageStatusRequest.verbose.same-image", more)

    def file_systems(self) -> None:
        """ImageFsInfo."""
        outcome = self.pulls.runtime.call("ImageFsInfo")
        judge_file_systems(self.judge, outcome, self.host_root)

    def streamed(self, place: int = -1, by: str = TAG) -> None:
        """The stream of images, of all or by a name of what the tag of a place leads to."""
        runtime, judge = self.pulls.runtime, self.judge
        if not self._has_stream():
            return
        wanted = None
        if place >= 0:
            wanted = types.ImageFilter(image=types.ImageSpec(image=self.name(place, by)))
        before, stream, after = IMAGES.looks(runtime, judge, _STREAMED_WITHIN, wanted)
        if not isinstance(stream.outcome, Ok):
            return
        came = {IMAGES.key(item): item for item in IMAGES.items(stream)}
        clause = IMAGES.clause("same-as-list") if wanted is None else IMAGES.filter_clause
        IMAGES.compare(judge, clause, came, [before, after])
        IMAGES.whole(judge, stream)
        for image_id, item in came.items():
            if image_id in self._by_id and before.get(image_id) == after.get(image_id):
                kept = item == after.get(image_id)
                self._that(IMAGES.item_clause, kept, f"{image_id} as in the list", "otherwise")

    def close(self) -> None:
        # Streams, and containers, whose images may not be removable before.
        self.pulls.runtime.end()
        super().close()

    def _has_stream(self) -> bool:
        if self._no_stream:
            return False
        with self.pulls.runtime.stream(IMAGES.rpc, deadline=_STREAMED_WITHIN) as stream:
            stream.next(within=_STREAMED_WITHIN)
            outcome = None if stream.messages else stream.outcome
        self._no_stream = isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED"
        return not self._no_stream


_PLACE, _BY = st.integers(0, PLACES - 1), st.sampled_from((TAG, DIGEST, ID))


class AskRules:
    """The same as rules of a state machine."""

    steps: Any

    @rule(place=_PLACE, by=_BY)
    def filtered(self, place: int, by: str) -> None:
        self.steps.filtered(place, by)

    @rule()
    def unfiltered(self) -> None:
        self.steps.unfiltered()

    @rule()
    def nameless(self) -> None:
        self.steps.nameless()

    @rule(place=_PLACE, by=_BY)
    def verbose(self, place: int, by: str) -> None:
        self.steps.verbose(place, by)

    @rule()
    def file_systems(self) -> None:
        self.steps.file_systems()

    @rule(place=st.integers(-1, PLACES - 1), by=_BY)
    def streamed(self, place: int, by: str) -> None:
        self.steps.streamed(place, by)
