# SPDX-License-Identifier: Apache-2.0
"""ListImages: every image once, as in its status; filters; while images come and go."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.pulls import Pulls, Served
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Runtime

LIST = "ImageService.ListImages"
#: Images that come and go while lists are taken.
ROUNDS = 5


@pytest.fixture
def three(pulls: Pulls) -> list[Served]:
    """Three images of this test's own, the first two under two tags each."""
    found = [pulls.serve() for _ in range(3)]
    for served in (*found, *(pulls.serve(served.image) for served in found[:2])):
        pulls.pulled(served)
    return found


def _listed(runtime: Runtime, wanted: str | None = None) -> Outcome:
    if wanted is None:
        return runtime.call("ListImages")
    chosen = types.ImageFilter(image=types.ImageSpec(image=wanted))
    return runtime.call("ListImages", filter=chosen)


@clause(f"{LIST}.each-once", f"{LIST}.agrees-with-status", "ListImagesRequest.filter.absent-all")
def test_all(runtime: Runtime, pulls: Pulls, judge: Judge, three: list[Served]) -> None:
    listed = judge.response("ListImagesRequest.filter.absent-all", _listed(runtime)).images
    bare = runtime.call("ListImages", filter=types.ImageFilter())
    same = judge.response("ListImagesRequest.filter.absent-all", bare).images
    own = {served.reference for served in three}
    for images in (listed, same):
        missing = own - {tag for image in images for tag in image.repo_tags}
        judge.equal("ListImagesRequest.filter.absent-all", sorted(missing), [], "not listed:")
    twice = [image for image, times in Counter(i.id for i in listed).items() if times > 1]
    judge.equal(f"{LIST}.each-once", twice, [], "ids that are listed more than once:")
    for image in listed:
        if own.intersection(image.repo_tags):
            judge.equal(
                f"{LIST}.agrees-with-status",
                story_of(image),
                story_of(pulls.status(image.id) or types.Image()),
                f"in the list and in the status, of {image.id}:",
            )


def story_of(image: types.Image) -> tuple[object, ...]:
    """What list and status tell alike."""
    names = sorted(image.repo_tags), sorted(image.repo_digests)
    return (image.id, *names, image.size, image.uid.value, image.username)


@clause(
    "ImageFilter.image.match-listed",
    "ImageFilter.image.others-left-out",
    "ImageFilter.image.no-match-empty",
)
def test_filter(runtime: Runtime, pulls: Pulls, judge: Judge, three: list[Served]) -> None:
    for served in three:
        status = pulls.status(served.reference)
        image_id = status.id if status else ""
        for name in (served.reference, served.by_digest, image_id):
            answer = judge.response("ImageFilter.image.match-listed", _listed(runtime, name))
            ids = [image.id for image in answer.images]
            judge.that(
                "ImageFilter.image.match-listed",
                image_id in ids,
                permitted=f"the image {image_id} for the filter {name}",
                actual=f"{len(ids)} images without it",
            )
            judge.equal(
                "ImageFilter.image.others-left-out", ids.count(image_id), len(ids), "images listed:"
            )
    absent = pulls.serve()
    answer = judge.response("ImageFilter.image.no-match-empty", _listed(runtime, absent.reference))
    judge.equal("ImageFilter.image.no-match-empty", len(answer.images), 0, "images listed:")


@clause(f"{LIST}.during-churn")
def test_while_images_come_and_go(
    runtime: Runtime, pulls: Pulls, judge: Judge, three: list[Served]
) -> None:
    own = {served.reference for served in three}
    over = threading.Event()

    def churn() -> None:
        try:
            for _ in range(ROUNDS):
                passing = pulls.serve()
                pulls.pull(passing.reference)
                pulls.remove(passing.reference)
        finally:
            over.set()

    churning = threading.Thread(target=churn, daemon=True)
    churning.start()
    try:
        while True:
            last = over.is_set()
            outcome = _listed(runtime)
            images = judge.response(f"{LIST}.during-churn", outcome).images
            missing = own - {tag for image in images for tag in image.repo_tags}
            judge.equal(f"{LIST}.during-churn", sorted(missing), [], "not listed:")
            if last or not isinstance(outcome, Ok):
                break
            over.wait(0.02)
    finally:
        churning.join()
