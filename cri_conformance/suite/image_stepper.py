# SPDX-License-Identifier: Apache-2.0
"""Pulls, tags that move and removals, each held against the model of names.

After a step every name that was ever used is asked for, and the list is compared with what that
shows. Only clauses that the test is bound to are judged; the model goes on by what is seen, not by
what was hoped for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cri_conformance.api import types
from cri_conformance.contract.clause import Minor
from cri_conformance.expect import Judge
from cri_conformance.model.images import NONE, OPEN, Node, is_id, is_tag
from cri_conformance.registry import oci
from cri_conformance.suite.image_variants import Variant
from cri_conformance.suite.images import spec
from cri_conformance.suite.pulls import Pulls, Served
from cri_conformance.wire.outcome import Ok, Outcome, Refused, Unknown

PULL, REMOVE = "ImageService.PullImage", "ImageService.RemoveImage"
LIST, STATUS = "ImageService.ListImages", "ImageService.ImageStatus"
_PRESENT, _MOVED = f"{PULL}.present-afterwards", f"{PULL}.tag-moved"
_GONE = f"{REMOVE}.gone"
#: All names of an image go with one of them since this minor.
_ALL_GO = Minor(1, 36)
#: Repositories in the registry, each with one tag.
PLACES = 3
#: How an image is named.
TAG, DIGEST, ID = "tag", "digest", "id"


def shown(outcome: Outcome) -> types.Image | None:
    """The image in an answer of ImageStatus."""
    if isinstance(outcome, Ok) and outcome.response.HasField("image"):
        found: types.Image = outcome.response.image
        return found
    return None


@dataclass
class ImageStepper:
    """A model beside a runtime, and a registry of which all is known."""

    pulls: Pulls
    judge: Judge
    #: What tags may lead to.
    variants: Sequence[Variant]
    #: What the tag of each place leads to in the registry.
    served: dict[int, Variant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.node = Node(self.judge.rules.minor >= _ALL_GO)
        self.repositories = [self.pulls.repository() for _ in range(PLACES)]
        #: Images of one step each, of which the model does not know.
        self.passing: list[Served] = []
        self._by_id = {one.image.id: one.digest for one in self.variants}
        #: What was removed and did not come back: names, and digests of images.
        self._removed: set[str] = set()
        #: Names of what the last removal was about.
        self._went: set[str] = set()
        for place in range(PLACES):
            self._serve(place, place)

    def _serve(self, place: int, number: int) -> None:
        self.served[place] = self.variants[number]
        self.served[place].serve(self.pulls, self.repositories[place])

    def name(self, place: int, by: str = TAG) -> str:
        """A name of what the tag of a place leads to now."""
        variant = self.served[place]
        if by == ID:
            return variant.image.id
        which = variant.digest if by == DIGEST else self.pulls.tag
        return self.pulls.registry.reference(self.repositories[place], which)

    def has(self, place: int, by: str = TAG) -> bool:
        """Whether what the tag of a place leads to is there by a name."""
        return self.node.expected(self.name(place, by)) == self.served[place].digest

    def which(self, image: types.Image) -> str:
        """The digest of the image that is shown; "" for none of ours."""
        digests = {one.partition("@")[2] for one in image.repo_digests}
        known = (one.digest for one in self.variants if one.digest in digests)
        return self._by_id.get(image.id) or next(known, "")

    # -- steps: pulls ----------------------------------------------------------------

    def move(self, place: int, number: int) -> None:
        """In the registry alone: the node must not notice."""
        self._serve(place, number)
        self.look()

    def pull(self, place: int, by: str = TAG) -> None:
        """By the tag of a place, or by the digest to which that leads."""
        clause = self._why_pulled(place, by)
        self._pulled(place, by, self.pulls.pull(self.name(place, by)), clause)

    def _why_pulled(self, place: int, by: str) -> str:
        """The clause by which a pull has to succeed."""
        name, variant = self.name(place, by), self.served[place]
        expected = self.node.expected(name)
        if expected == variant.digest:
            return f"{PULL}.again"
        if expected == NONE and name in self._removed:
            return f"{REMOVE}.pull-after-removal"
        if expected not in (NONE, OPEN):
            return _MOVED
        return f"{PULL}.{'oci' if variant.words is oci.OCI else 'docker'}-manifest"

    def _pulled(self, place: int, by: str, outcome: Outcome, clause: str) -> None:
        """Judge what came of a pull, and look."""
        self._answer(clause, outcome)
        if not isinstance(outcome, Ok):
            self._not_pulled(place, by, outcome)
            return
        self._came(place, by)
        there = f"{PULL}.by-digest" if by == DIGEST else _PRESENT
        self.look(clause if clause == _MOVED else there, self.name(place, by))

    def _not_pulled(self, place: int, by: str, outcome: Outcome) -> None:
        """A pull has failed: what is there is what was."""
        name = self.name(place, by)
        if isinstance(outcome, Refused):
            self.node.leads_to.setdefault(name, NONE)
        else:
            self._may_have_come(place, by)
        self.look(f"{PULL}.nothing-half-made", name)

    def _came(self, place: int, by: str) -> None:
        variant = self.served[place]
        names = self.name(place, by), self.name(place, DIGEST)
        self.node.pull(*names, variant.digest)
        self._removed.difference_update((*names, variant.image.id, variant.digest))

    def _may_have_come(self, place: int, by: str) -> None:
        """Nobody knows whether a pull has succeeded."""
        digest, name = self.served[place].digest, self.name(place, by)
        if self.node.expected(name) != digest:
            self.node.doubt(self.node.expected(name))
        for one in (name, self.name(place, DIGEST), self.name(place, ID)):
            if self.node.expected(one) != digest:
                self.node.leads_to[one] = OPEN

    # -- steps: removals -------------------------------------------------------------

    def remove(self, place: int, by: str = TAG) -> None:
        """By a name of what the tag of a place leads to, whether that is there or not."""
        name = self.name(place, by)
        if name not in self.node.leads_to:
            self._never_there(place, by)
            return
        if self.node.expected(name) != NONE:
            clause = f"{REMOVE}.by-each-name"
        else:
            clause = f"{REMOVE}.{'idempotent' if name in self._removed else 'unknown'}"
        self._taken_away(name, [self.pulls.remove(name)], clause)

    def _never_there(self, place: int, by: str) -> None:
        """By a name that was never used; only if its image is not there by another one."""
        there = self.served[place].digest in self.node.certain()
        if there or by == ID or OPEN in self.node.leads_to.values():
            return
        name = self.name(place, by)
        self._answer(f"{REMOVE}.unknown", self.pulls.remove(name))
        self._nothing(name, self._status(name), "")

    def _taken_away(
        self, name: str, outcomes: Sequence[Outcome], clause: str, gone: str = _GONE
    ) -> None:
        """Judge what came of removals by one name, and look."""
        for outcome in outcomes:
            self._answer(clause, outcome)
        image = self.node.expected(name)
        if any(isinstance(outcome, Ok) for outcome in outcomes):
            self._went = set() if image in (NONE, OPEN) else {*self.node.names(image)}
            self._removed |= self._went | ({image} if self._went else set())
            self.node.remove(name)
        else:
            self._went = set()
            self.node.doubt(image)
        self.look(gone, name)

    # -- looking ---------------------------------------------------------------------

    def look(self, blame: str = "", about: str = "") -> None:
        """Ask for every name, and for the list. ``blame``: the clause that is broken if ``about``,
        the name of the last step, does not show what it must."""
        listed = self._list()
        outcomes = {name: self._status(name) for name in self.node.leads_to if not is_id(name)}
        # The id is the one that the runtime reports; whose it is, is certain only of some.
        for name, outcome in outcomes.items():
            image = shown(outcome)
            if image and image.id in self._by_id and self.which(image) == self.node.expected(name):
                self.node.leads_to[image.id] = self.which(image)
        for name in [*self.node.leads_to]:
            if name not in outcomes:
                outcomes[name] = self._status(name)
        found = {
            name: image
            for name, outcome in outcomes.items()
            if (image := shown(outcome)) and self.which(image) == self.node.expected(name) != NONE
        }
        for name, outcome in outcomes.items():
            self._judge_name(name, outcome, found, blame, about)
        self._compare(found, listed, about)
        self._went = set()

    def _judge_name(
        self,
        name: str,
        outcome: Outcome,
        found: dict[str, types.Image],
        blame: str,
        about: str,
    ) -> None:
        expected, image = self.node.expected(name), shown(outcome)
        if expected == OPEN:
            if isinstance(outcome, Ok):
                self.node.shown(name, self.which(image) if image else NONE)
            return
        if expected == NONE:
            self._nothing(name, outcome, blame if name == about else "")
        else:
            there = any(self.which(one) == expected for one in found.values())
            clause = self._why_there(name, image, blame, about, elsewhere=there)
            self._that(
                clause,
                name in found,
                f"{name} leads to {expected}",
                "another image" if image else "no image" if isinstance(outcome, Ok) else outcome,
            )
        # What is wrong is told once.
        if isinstance(outcome, Ok):
            self.node.leads_to[name] = self.which(image) if image else NONE

    def _why_there(
        self, name: str, image: types.Image | None, blame: str, about: str, *, elsewhere: bool
    ) -> str:
        """The clause by which a name has to show its image; ``elsewhere``: another one does."""
        if name == about and not blame.startswith(REMOVE):
            return _PRESENT if blame == _MOVED and image is None else blame
        if elsewhere and not is_tag(name):
            return f"{STATUS}.{'by-digest' if '@' in name else 'by-id'}"
        return f"{REMOVE}.others-untouched" if blame.startswith(REMOVE) else _PRESENT

    def _nothing(self, name: str, outcome: Outcome, blame: str) -> None:
        """There is no image of this name."""
        if isinstance(outcome, Unknown):
            return
        known, answered = name in self._removed, isinstance(outcome, Ok)
        clause = f"{STATUS}.{'removed' if known else 'absent'}-no-image"
        self._that(clause, answered, "success, and no image", outcome)
        beside = f"{REMOVE}.all-tags" if name in self._went and is_tag(name) else _GONE
        self._that(blame or beside, shown(outcome) is None, f"no image by {name}", "an image")

    def _compare(
        self, found: dict[str, types.Image], listed: list[types.Image], about: str
    ) -> None:
        """The list against what names have shown."""
        entries = {self.which(image): image for image in listed}
        for digest, name in {self.which(image): name for name, image in found.items()}.items():
            self._that(
                f"{LIST}.pulled-is-listed" if digest in entries else self._why_listed(name),
                digest in entries,
                f"{digest} in the list, as in the status",
                "not listed",
            )
        for digest in self._removed & entries.keys():
            if digest not in self.node.leads_to.values():
                self._that(_GONE, False, f"{digest} is not listed", "it is listed")

    def _why_listed(self, name: str) -> str:
        """The clause by which the list has to have an image that is not there."""
        return f"{LIST}.pulled-is-listed"

    def _status(self, name: str) -> Outcome:
        return self.pulls.runtime.call("ImageStatus", image=spec(name))

    def _list(self) -> list[types.Image]:
        return self.pulls.listed()

    # -- judging ---------------------------------------------------------------------

    def _answer(self, clause: str, outcome: Outcome) -> None:
        """The call must succeed."""
        self._that(clause, isinstance(outcome, Ok), "the call succeeds", outcome)

    def _that(self, clause: str, kept: object, permitted: object, actual: object) -> None:
        if clause in self.judge.bound:
            self.judge.that(clause, kept, permitted=permitted, actual=actual)

    def close(self) -> None:
        """Remove what may still be there."""
        there = [name for name, image in self.node.leads_to.items() if image != NONE]
        for name in (*there, *(one.reference for one in self.passing)):
            self.pulls.remove(name)
        self.pulls.forget(
            [*self.repositories, *(one.repository for one in self.passing)],
            [one.image for one in self.passing],
        )
