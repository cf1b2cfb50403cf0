# SPDX-License-Identifier: Apache-2.0
"""Pulls, tags that move, and removals in orders that nobody planned, held against the model.

After each step every name that was ever used is asked for, and the list is compared with the
answers. What the contract leaves open the model takes over from the first answer.
"""

from __future__ import annotations

from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from cri_conformance.contract.clause import Minor
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.model.images import NONE, OPEN, Node
from cri_conformance.registry import oci
from cri_conformance.suite.pulls import Pulls

_PULL, _REMOVE = "ImageService.PullImage", "ImageService.RemoveImage"
_LIST = "ImageService.ListImages"
#: All names of an image go with one of them since this minor.
_ALL_GO = Minor(1, 36)

#: Places in the registry, each a repository with one tag; images that its tag may lead to.
_PLACES, _IMAGES = st.integers(0, 2), st.integers(0, 3)

_JUDGED = (
    f"{_PULL}.present-afterwards",
    f"{_PULL}.tag-moved",
    f"{_REMOVE}.gone",
    f"{_REMOVE}.idempotent",
    f"{_REMOVE}.others-untouched",
    f"{_REMOVE}.pull-after-removal",
    f"{_LIST}.pulled-is-listed",
)


class Lives(RuleBasedStateMachine):
    """Its attributes are set by ``Explorer.machine``."""

    pulls: ClassVar[Pulls]
    judge: ClassVar[Judge]
    images: ClassVar[list[oci.Image]]

    @initialize()
    def begin(self) -> None:
        self.node = Node(self.judge.rules.minor >= _ALL_GO)
        self.repositories = [self.pulls.repository("life") for _ in range(3)]
        #: What the tag of each place leads to in the registry.
        self.served: dict[int, oci.Image] = {}
        for place in range(3):
            self._serve(place, place)

    def _serve(self, place: int, number: int) -> None:
        self.served[place] = self.images[number]
        self.pulls.serve(self.images[number], self.repositories[place])

    def _tag(self, place: int) -> str:
        return self.pulls.registry.reference(self.repositories[place], self.pulls.tag)

    def _by_digest(self, place: int, image: oci.Image) -> str:
        return self.pulls.registry.reference(self.repositories[place], image.manifest.digest)

    @rule(place=_PLACES, number=_IMAGES)
    def move(self, place: int, number: int) -> None:
        """In the registry alone: the node must not notice."""
        self._serve(place, number)
        self._look(f"{_PULL}.tag-moved")

    @rule(place=_PLACES)
    def pull(self, place: int) -> None:
        image, name = self.served[place], self._tag(place)
        moved = self.node.expected(name) not in (NONE, OPEN, image.manifest.digest)
        removed = name in self.node.leads_to and self.node.expected(name) == NONE
        promise = "tag-moved" if moved else "present-afterwards"
        if removed:
            self.judge.ok(f"{_REMOVE}.pull-after-removal", self.pulls.pull(name))
        else:
            self.judge.ok(f"{_PULL}.{promise}", self.pulls.pull(name))
        self.node.pull(name, self._by_digest(place, image), image.manifest.digest)
        self._look(f"{_PULL}.{promise}")

    @rule(place=_PLACES, by_digest=st.booleans())
    def remove(self, place: int, by_digest: bool) -> None:
        image = self.served[place]
        name = self._by_digest(place, image) if by_digest else self._tag(place)
        if name not in self.node.leads_to:
            return  # of what was never there another clause speaks
        self.judge.ok(f"{_REMOVE}.idempotent", self.pulls.remove(name))
        self.node.remove(name)
        self._look(f"{_REMOVE}.gone", name)

    def _look(self, about_change: str, changed: str = "") -> None:
        """Ask for every name; ``about_change`` is judged where the step itself is to blame."""
        images = self.pulls.listed()
        listed = {name for image in images for name in (*image.repo_tags, *image.repo_digests)}
        for name in list(self.node.leads_to):
            found = self.pulls.status(name)
            digests = {one.partition("@")[2] for one in found.repo_digests} if found else set()
            expected = self.node.expected(name)
            if expected == OPEN:
                self.node.shown(name, next(iter(digests), NONE))
                continue
            kept = expected in digests if expected else found is None
            removed = about_change.startswith(_REMOVE)
            promise = about_change
            if expected and removed and name != changed:
                promise = f"{_REMOVE}.others-untouched"
            self.judge.that(
                promise,
                kept,
                permitted=f"{name} leads to {expected or 'no image'}",
                actual=f"it leads to {sorted(digests) or 'no image'}",
            )
            if expected:
                self.judge.that(
                    f"{_LIST}.pulled-is-listed",
                    name in listed,
                    permitted=f"{name} in the list, as in the status",
                    actual="not listed",
                )

    def teardown(self) -> None:
        if hasattr(self, "node"):
            for name in self.node.leads_to:
                self.pulls.remove(name)


@clause(*_JUDGED)
def test_lives_of_images(explore: Explorer, pulls: Pulls, judge: Judge) -> None:
    images = [pulls.image() for _ in range(4)]
    # Chance may not reach every clause: one life that does goes first.
    Lives.pulls, Lives.judge, Lives.images = pulls, judge, images
    tour = Lives()
    tour.begin()
    tour.pull(0)
    tour.pull(1)
    tour.move(0, 3)
    tour.pull(0)
    tour.remove(1, by_digest=True)
    tour.remove(1, by_digest=False)
    tour.pull(1)
    tour.remove(0, by_digest=False)
    for place in range(3):
        tour.remove(place, by_digest=True)
    tour.teardown()
    explore.machine(Lives, examples=6, steps=12, pulls=pulls, judge=judge, images=images)
