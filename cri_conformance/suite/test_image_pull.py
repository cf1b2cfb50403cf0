# SPDX-License-Identifier: Apache-2.0
"""PullImage: what is there afterwards, by which names, and that the right thing came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.registry import oci
from cri_conformance.suite.images import PULLED_WITHIN, spec
from cri_conformance.suite.pulls import Pulls, Served, fails
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Runtime
from cri_conformance.wire.together import together

PULL = "ImageService.PullImage"


@dataclass(frozen=True, slots=True)
class First:
    """An image that was pulled by its tag, and all that the runtime said of it at once."""

    served: Served
    outcome: Outcome
    found: types.Image | None
    listed: list[types.Image]


@pytest.fixture
def first(pulls: Pulls) -> First:
    served = pulls.serve()
    outcome = pulls.pull(served.reference)
    return First(served, outcome, pulls.status(served.reference), pulls.listed())


@clause(
    f"{PULL}.present-afterwards",
    "ImageService.ListImages.pulled-is-listed",
    "PullImageResponse.image_ref.not-empty",
    "PullImageResponse.image_ref.finds-image",
    "Image.id.not-empty",
    "Image.id.matches-pull",
    "Image.repo_tags.pulled-tag",
    "Image.repo_digests.pulled-digest",
    "Image.size.positive",
    "Image.spec.reported",
    "Image.pinned.of-a-pull",
)
def test_a_pulled_image_is_there_under_its_names(first: First, pulls: Pulls, judge: Judge) -> None:
    served = first.served
    about = [served.image.id.removeprefix("sha256:")]
    returned = judge.response(f"{PULL}.present-afterwards", first.outcome).image_ref
    found = first.found
    judge.that(
        f"{PULL}.present-afterwards",
        found is not None,
        permitted=f"ImageStatus({served.reference}) shows the image that was just pulled",
        actual="no image",
    )
    assert found is not None
    judge.that(
        "PullImageResponse.image_ref.not-empty", returned, permitted="a reference", actual="''"
    )
    other = pulls.status(returned)
    judge.that(
        "PullImageResponse.image_ref.finds-image",
        other is not None,
        permitted=f"ImageStatus({returned}) shows the image",
        actual="no image",
    )
    judge.that("Image.id.not-empty", found.id, permitted="an id", actual="''", about=about)
    judge.that("Image.size.positive", found.size > 0, permitted="size above 0", actual=found.size)
    judge.equal("Image.id.matches-pull", found.id, returned, "Image.id")
    judge.that(
        "Image.repo_tags.pulled-tag",
        served.reference in found.repo_tags,
        permitted=f"{served.reference} among repo_tags",
        actual=list(found.repo_tags),
    )
    judge.that(
        "Image.repo_digests.pulled-digest",
        served.by_digest in found.repo_digests,
        permitted=f"{served.by_digest} among repo_digests",
        actual=list(found.repo_digests),
    )
    judge.that(
        "ImageService.ListImages.pulled-is-listed",
        any(image.id == found.id for image in first.listed),
        permitted=f"the image {found.id} in the list",
        actual=f"{len(first.listed)} other images",
    )
    judge.record("Image.spec.reported", found.spec)
    judge.record("Image.pinned.of-a-pull", found.pinned)


@clause("ImageService.ImageStatus.by-digest", "ImageService.ImageStatus.by-id")
def test_an_image_is_found_by_digest_and_id(first: First, pulls: Pulls, judge: Judge) -> None:
    found = first.found or types.Image()
    digest = first.served.by_digest
    for name, reference in (("by-digest", digest), ("by-id", found.id)):
        other = pulls.status(reference)
        judge.equal(
            f"ImageService.ImageStatus.{name}",
            other.id if other else "no image",
            found.id,
            f"ImageStatus({reference})",
        )


@clause(f"{PULL}.by-digest", "Image.repo_digests.by-digest-no-tag")
def test_by_digest(pulls: Pulls, judge: Judge) -> None:
    wanted = pulls.serve()
    # The tag leads elsewhere meanwhile.
    pulls.serve(repository=wanted.repository)
    judge.ok(f"{PULL}.by-digest", pulls.pull(wanted.by_digest))
    found = pulls.status(wanted.by_digest)
    judge.that(
        f"{PULL}.by-digest",
        found is not None and wanted.by_digest in found.repo_digests,
        permitted=f"the image with {wanted.by_digest} among its digests",
        actual=list(found.repo_digests) if found else "no image",
    )
    assert found is not None
    judge.equal("Image.repo_digests.by-digest-no-tag", list(found.repo_tags), [], "repo_tags")


@clause(f"{PULL}.without-tag")
def test_without_tag(pulls: Pulls, judge: Judge) -> None:
    served = pulls.serve()
    latest = pulls.serve(repository=served.repository, tag="latest")
    bare = latest.reference.removesuffix(":latest")
    outcome = pulls.pull(bare)
    seen = [one.reference for one in pulls.registry.seen(served.repository)]
    judge.record(f"{PULL}.without-tag", f"{outcome}; asked the registry for {sorted(set(seen))}")


@clause(f"{PULL}.again", "PullImageRequest.sandbox_config.accepted")
def test_again_and_for_a_pod(first: First, runtime: Runtime, pulls: Pulls, judge: Judge) -> None:
    returned = judge.response(f"{PULL}.again", first.outcome).image_ref
    for _ in range(2):
        again = judge.response(f"{PULL}.again", pulls.pull(first.served.reference))
        judge.equal(f"{PULL}.again", again.image_ref, returned, "image_ref of a repeated pull")
    config = runtime.sandbox_config()
    judge.ok(
        "PullImageRequest.sandbox_config.accepted",
        pulls.pull(first.served.reference, sandbox_config=config),
    )


@clause(f"{PULL}.tag-moved", "Image.repo_tags.no-other", "Image.id.stable")
def test_a_tag_that_moved(first: First, pulls: Pulls, judge: Judge) -> None:
    judge.ok(f"{PULL}.tag-moved", first.outcome)
    old, name = first.served, first.served.reference
    new = pulls.serve(repository=old.repository)
    judge.ok(f"{PULL}.tag-moved", pulls.pull(name))
    found = pulls.status(name)
    judge.that(
        f"{PULL}.tag-moved",
        found is not None and new.by_digest in found.repo_digests,
        permitted=f"{name} is the image with {new.by_digest}, to which the tag leads now",
        actual=list(found.repo_digests) if found else "no image",
    )
    before = pulls.status(old.by_digest)
    judge.that(
        f"{PULL}.tag-moved",
        before is None or name not in before.repo_tags,
        permitted=f"the image before no longer has the tag {name}",
        actual=list(before.repo_tags) if before else "",
    )
    tags = [tag for image in pulls.listed() for tag in image.repo_tags]
    judge.equal("Image.repo_tags.no-other", tags.count(name), 1, f"images with the tag {name}:")
    if before is not None and first.found is not None:
        judge.equal("Image.id.stable", before.id, first.found.id, "id after the tag was taken away")
    # By another name that it gets, too.
    assert found is not None
    copy = pulls.serve(new.image)
    judge.ok(f"{PULL}.tag-moved", pulls.pull(copy.reference))
    named = pulls.status(copy.reference)
    judge.equal("Image.id.stable", named.id if named else "", found.id, "id under a further tag")


@clause(
    "Image.repo_tags.every-tag", "Image.repo_tags.no-other", "Image.repo_digests.every-repository"
)
def test_several_tags(pulls: Pulls, judge: Judge) -> None:
    one = pulls.serve()
    two = pulls.serve(one.image)
    other = pulls.serve()
    for served in (one, two, other):
        pulls.pulled(served)
    found = pulls.status(one.by_digest)
    tags = sorted(found.repo_tags) if found else []
    wanted = {one.reference, two.reference}
    digests = sorted(found.repo_digests) if found else []
    judge.that(
        "Image.repo_digests.every-repository",
        {one.by_digest, two.by_digest}.issubset(digests),
        permitted=f"its digest with both repositories: {one.by_digest}, {two.by_digest}",
        actual=digests,
    )
    judge.that(
        "Image.repo_tags.every-tag",
        wanted.issubset(tags),
        permitted=f"both tags by which it was pulled: {sorted(wanted)}",
        actual=tags,
    )
    judge.that(
        "Image.repo_tags.no-other",
        other.reference not in tags and len(tags) == len(set(tags)),
        permitted="no tag of another image, and none twice",
        actual=tags,
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        pytest.param(words, f"{PULL}.{name}", marks=clause(f"{PULL}.{name}"), id=name)
        for words, name in ((oci.OCI, "oci-manifest"), (oci.DOCKER, "docker-manifest"))
    ],
)
@clause(f"{PULL}.this-platform")
def test_manifests_and_lists(pulls: Pulls, judge: Judge, words: oci.Words, name: str) -> None:
    layers = [oci.layer([oci.File("more", b"more")], words)]
    for compressed in (True, False):
        if compressed or words is oci.OCI:
            layers.append(oci.layer([oci.File(f"{compressed}")], words, compressed=compressed))
    plain = pulls.serve(pulls.image(*layers, words=words))
    outcome = pulls.pull(plain.reference)
    judge.ok(name, outcome)
    # The list names one for another machine first.
    another = "s390x" if pulls.architecture != "s390x" else "arm64"
    foreign = pulls.image(words=words, architecture=another)
    ours = pulls.image(words=words)
    repository = pulls.repository("list")
    for image in (foreign, ours):
        pulls.serve(image, repository, tag="")
    listed = oci.index([foreign, ours], words)
    pulls.registry.put(repository, listed, [], pulls.tag)
    reference = pulls.registry.reference(repository, pulls.tag)
    judge.ok(name, pulls.pull(reference))
    fetched = {one.reference for one in pulls.registry.seen(repository) if one.kind == "blobs"}
    judge.that(
        f"{PULL}.this-platform",
        ours.config.digest in fetched and foreign.layers[0].blob.digest not in fetched,
        permitted=f"the image for {pulls.architecture} is fetched, and not the layers of the other",
        actual=f"fetched {sorted(fetched)}",
    )


@clause(f"{PULL}.artefact")
def test_an_artefact(pulls: Pulls, judge: Judge) -> None:
    repository = pulls.repository("artefact")
    manifest, blobs = oci.artefact(b"no image")
    pulls.registry.put(repository, manifest, blobs, pulls.tag)
    outcome = pulls.pull(pulls.registry.reference(repository, pulls.tag))
    judge.record(f"{PULL}.artefact", outcome)


@clause(f"{PULL}.malformed", "ImageSpec.runtime_handler.unknown-rejected")
def test_what_can_not_be_pulled(runtime: Runtime, pulls: Pulls, judge: Judge) -> None:
    for name in ("", "UPPER/case", "a b", f"{pulls.registry.address}/x@sha256:1", "http://x/y"):
        fails(judge, f"{PULL}.malformed", runtime.call("PullImage", image=spec(name)))
    served = pulls.serve()
    wanted = spec(served.reference)
    wanted.runtime_handler = "no-such-handler"
    outcome = runtime.call("PullImage", image=wanted, deadline=PULLED_WITHIN)
    if isinstance(outcome, Ok):
        pulls.pull(served.reference)  # so that it is removed
    fails(judge, "ImageSpec.runtime_handler.unknown-rejected", outcome)


@clause(f"{PULL}.concurrent-same")
def test_one_image_at_the_same_time(pulls: Pulls, judge: Judge) -> None:
    same = pulls.serve()
    outcomes = together(*[lambda: pulls.pull(same.reference)] * 6)
    returned: set[Any] = set()
    for outcome in outcomes:
        returned.add(judge.response(f"{PULL}.concurrent-same", outcome).image_ref)
    judge.equal(f"{PULL}.concurrent-same", len(returned), 1, "different answers to equal pulls:")


@clause(f"{PULL}.concurrent-different")
def test_several_images_at_the_same_time(pulls: Pulls, judge: Judge) -> None:
    several = [pulls.serve() for _ in range(6)]
    calls = [lambda ref=one.reference: pulls.pull(ref) for one in several]
    for outcome in together(*calls):
        judge.ok(f"{PULL}.concurrent-different", outcome)
    for one in several:
        judge.that(
            f"{PULL}.concurrent-different",
            pulls.status(one.reference) is not None,
            permitted=f"{one.reference} is there after the pulls",
            actual="no image",
        )
