# SPDX-License-Identifier: Apache-2.0
"""What must be equal after every step on images: what is shown of one, by whichever name, is what
was pulled, and the list has the same."""

from __future__ import annotations

from collections import Counter

from cri_conformance.api import types
from cri_conformance.model.images import NONE, OPEN, is_tag
from cri_conformance.suite.image_stepper import DIGEST, LIST, PULL, TAG, ImageStepper, shown
from cri_conformance.suite.test_image_fields import USERS, judge_user
from cri_conformance.suite.test_image_list import story_of
from cri_conformance.wire.outcome import Ok, Outcome

_ALL = "ListImagesRequest.filter.absent-all"
_REF = "PullImageResponse.image_ref"
#: By tag and digest at once.
BOTH = "both"
#: USER of an image's config → its clause, and what may be told of it.
_USERS = {user: (promise, permitted) for user, promise, permitted in USERS}


class ImageLooker(ImageStepper):
    """A stepper that also holds the equalities after each look."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._by_digest = {one.digest: one for one in self.variants}
        #: Of images that are there: their ids, what their first pull by each name returned, and
        #: how they were named in pulls.
        self._ids: dict[str, str] = {}
        self._returned: dict[str, dict[str, str]] = {}
        self._named: dict[str, set[str]] = {}
        #: Images that the last list had.
        self.listed: set[str] = set()

    # -- pulls -----------------------------------------------------------------------

    def pull(self, place: int, by: str = TAG, for_pod: bool = False) -> None:
        """As a kubelet does, or without the config of the pod; by tag, digest, or both."""
        how = DIGEST if by == BOTH else by
        clause = self._why_pulled(place, how)
        reference = self.name(place, how)
        if by == BOTH:
            reference = f"{self.name(place)}@{self.served[place].digest}"
        outcome = self._ask(place, reference, for_pod=for_pod)
        if by == BOTH:
            if not isinstance(outcome, Ok):
                # Nobody says that such a name has to be taken.
                self._not_pulled(place, DIGEST, outcome)
                return
            self._came_by_both(place)
        self._pulled(place, how, outcome, clause)

    def _ask(self, place: int, reference: str, *, for_pod: bool = False) -> Outcome:
        """With the config of a pod; without it, if that is refused."""
        if for_pod:
            config = self.pulls.runtime.sandbox_config()
            outcome = self.pulls.pull(reference, sandbox_config=config)
            plain = outcome if isinstance(outcome, Ok) else self.pulls.pull(reference)
            if isinstance(plain, Ok):
                self._answer("PullImageRequest.sandbox_config.accepted", outcome)
            return plain
        return self.pulls.pull(reference)

    def _came_by_both(self, place: int) -> None:
        tag, digest = self.name(place), self.served[place].digest
        self._named.setdefault(digest, set()).add(BOTH)
        if tag in self.node.leads_to and self.node.expected(tag) != digest:
            # Nobody says that it leads there from now on, nor that it does not.
            self.node.leads_to[tag] = OPEN

    def _pulled(self, place: int, by: str, outcome: Outcome, clause: str) -> None:
        super()._pulled(place, by, outcome, clause)
        if isinstance(outcome, Ok):
            self._judge_returned(place, by, outcome.response.image_ref, clause)

    def _came(self, place: int, by: str) -> None:
        super()._came(place, by)
        variant = self.served[place]
        self._named.setdefault(variant.digest, set()).add(by)
        if variant.foreign:
            layer = variant.foreign.layers[0].blob.digest
            seen = self.pulls.registry.seen(self.repositories[place])
            self._that(
                f"{PULL}.this-platform",
                all(one.reference != layer for one in seen),
                f"of a list the image for {self.pulls.architecture} is fetched",
                "a layer of another machine's image",
            )

    def _may_have_come(self, place: int, by: str) -> None:
        super()._may_have_come(place, by)
        self._named.setdefault(self.served[place].digest, set()).add(by)

    def _judge_returned(self, place: int, by: str, returned: str, clause: str) -> None:
        digest = self.served[place].digest
        self._that(f"{_REF}.not-empty", returned, "a reference", "''")
        if not returned:
            return
        image = shown(self._status(returned))
        self._that(
            f"{_REF}.finds-image",
            image is not None and self.which(image) == digest,
            f"ImageStatus({returned}) shows the image",
            "another image" if image else "no image",
        )
        image_id = self._ids.get(digest, returned)
        self._that("Image.id.matches-pull", image_id == returned, returned, image_id)
        of_names = self._returned.setdefault(digest, {})
        before = of_names.setdefault(self.name(place, by), returned)
        if clause == f"{PULL}.again":
            self._that(clause, returned == before, f"image_ref {before}, as before", returned)

    # -- the list --------------------------------------------------------------------

    def _list(self) -> list[types.Image]:
        response = self.judge.response(_ALL, self.pulls.runtime.call("ListImages"))
        times = Counter(image.id for image in response.images)
        twice = [image_id for image_id, number in times.items() if number > 1]
        self._that(f"{LIST}.each-once", not twice, "each id once", f"twice: {twice[:1]}")
        self.listed = {*map(self.which, response.images)}
        return list(response.images)

    def _why_listed(self, name: str) -> str:
        found = self._filtered(name)
        with_filter = isinstance(found, Ok) and any(map(self.which, found.response.images))
        return _ALL if with_filter else super()._why_listed(name)

    def _filtered(self, name: str) -> Outcome:
        chosen = types.ImageFilter(image=types.ImageSpec(image=name))
        return self.pulls.runtime.call("ListImages", filter=chosen)

    def _compare(
        self, found: dict[str, types.Image], listed: list[types.Image], about: str
    ) -> None:
        for image in found.values():
            self._judge_fields(image)
            self._judge_tags(image, about)
            self._judge_digests(image)
        self._judge_sizes(list(found.values()))
        super()._compare(found, listed, about)
        entries = {self.which(image): image for image in listed}
        for image in found.values():
            if entry := entries.get(self.which(image)):
                other = [
                    part
                    for part, told, status in zip(
                        _PARTS, story_of(entry), story_of(image), strict=True
                    )
                    if told != status
                ]
                self._that(
                    f"{LIST}.agrees-with-status",
                    not other,
                    f"{image.id} in the list as in the status",
                    f"other {', '.join(other)}",
                )
        for digest in {*self._ids, *self._named} - self.node.certain():
            # When it comes again all may be otherwise.
            self._ids.pop(digest, None)
            self._returned.pop(digest, None)
            self._named.pop(digest, None)

    # -- an image --------------------------------------------------------------------

    def _judge_fields(self, image: types.Image) -> None:
        digest = self.which(image)
        self._that("Image.id.not-empty", image.id, "an id", "''")
        if image.id:
            first = self._ids.setdefault(digest, image.id)
            self._that("Image.id.stable", image.id == first, first, image.id)
        self._that("Image.size.positive", image.size > 0, "a size above 0", image.size)
        user = self._by_digest[digest].user
        judge_user(self.judge, image, user, *_USERS[user])

    def _judge_tags(self, image: types.Image, about: str) -> None:
        digest, told = self.which(image), set(image.repo_tags)
        pulled = {name for name in self.node.names(digest) if is_tag(name)}
        missing = pulled - told
        last = about in missing or missing == pulled
        self._that(
            f"Image.repo_tags.{'pulled-tag' if last else 'every-tag'}",
            not missing,
            "the tags by which it was pulled",
            "one of them is missing" if told else "no tags",
        )
        of_others = {name for name in told if self.node.expected(name) not in (digest, NONE, OPEN)}
        self._that(
            f"{PULL}.tag-moved" if about in of_others else "Image.repo_tags.no-other",
            not of_others and len(told) == len(image.repo_tags),
            "no tag that leads to another image, and none twice",
            "a tag of another image" if of_others else "a tag twice",
        )
        if self._named.get(digest) == {DIGEST}:
            self._that(
                "Image.repo_digests.by-digest-no-tag",
                not told,
                "no tag, as it was pulled by digest alone",
                "a tag",
            )

    def _judge_digests(self, image: types.Image) -> None:
        told = set(image.repo_digests)
        with_tag = [name for name in told if ":" in name.partition("@")[0].rpartition("/")[2]]
        self._that(
            "Image.repo_digests.tag-and-digest",
            not with_tag,
            "the digest with the name alone",
            "a name with a tag and a digest",
        )
        pulled = {name for name in self.node.names(self.which(image)) if "@" in name}
        missing = pulled - told
        self._that(
            f"Image.repo_digests.{'pulled-digest' if missing == pulled else 'every-repository'}",
            not missing,
            "its digest with each repository that it was pulled from",
            "one of them is missing" if told else "no digests",
        )

    def _judge_sizes(self, images: list[types.Image]) -> None:
        sizes: dict[bool, list[int]] = {True: [], False: []}
        for image in images:
            sizes[self._by_digest[self.which(image)].large].append(image.size)
        if sizes[True] and sizes[False]:
            self._that(
                "Image.size.plausible",
                min(sizes[True]) > max(sizes[False]),
                "a larger size for the image with a megabyte more",
                "no larger one",
            )


#: The parts of what ``story_of`` gives.
_PARTS = ("id", "repo_tags", "repo_digests", "size", "uid", "username")
