# SPDX-License-Identifier: Apache-2.0
"""RemoveImage: by each name, in every state, repeated, at the same time; and what must stay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from cri_conformance.build.image import is_ours
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.registry import oci
from cri_conformance.suite.images import Images, spec
from cri_conformance.suite.pulls import Pulls, Served
from cri_conformance.wire.outcome import Ok, Refused
from cri_conformance.wire.runtime import Runtime, Sandbox
from cri_conformance.wire.together import together

REMOVE = "ImageService.RemoveImage"
MINUTE = 60.0


def _names(served: Served) -> dict[str, str]:
    return {"tag": served.reference, "digest": served.by_digest, "id": served.image.id}


def _is_of(served: Served, image_id: str) -> bool:
    """Whether an id that a runtime reports can only be this image's."""
    digest = image_id.rpartition(":")[2]
    return bool(digest) and served.image.id == f"sha256:{digest}"


def _gone(pulls: Pulls, judge: Judge, clause_id: str, served: Served) -> None:
    """Neither list nor status may show it. (That status says so without an error is another's.)"""
    for how, name in _names(served).items():
        outcome = pulls.runtime.call("ImageStatus", image=spec(name))
        judge.that(
            clause_id,
            not (isinstance(outcome, Ok) and outcome.response.HasField("image")),
            permitted=f"no image by its {how}",
            actual=f"ImageStatus({name}) still shows it",
        )
    judge.that(
        clause_id,
        all(image.id != served.image.id for image in pulls.listed()),
        permitted="an image that was removed is not listed",
        actual=f"{served.image.id} is listed",
    )


def _absent(judge: Judge, clause_id: str, runtime: Runtime, served: Served) -> None:
    """Status answers with success, and without an image."""
    for how, name in _names(served).items():
        answer = judge.response(clause_id, runtime.call("ImageStatus", image=spec(name)))
        judge.equal(clause_id, answer.HasField("image"), False, f"there is an image by its {how}:")


@pytest.mark.parametrize("how", ["tag", "digest", "id"])
@clause(
    f"{REMOVE}.gone",
    f"{REMOVE}.by-each-name",
    f"{REMOVE}.idempotent",
    f"{REMOVE}.pull-after-removal",
    "ImageService.ImageStatus.removed-no-image",
)
def test_removed_by_each_name(pulls: Pulls, judge: Judge, how: str) -> None:
    served = pulls.serve()
    pulls.pulled(served)
    found = pulls.status(served.reference)
    if how == "id" and not (found and _is_of(served, found.id)):
        judge.skip(Reason.NOT_ADVERTISED, "the id is not the digest of the config: whose is it?")
    name = found.id if how == "id" and found else _names(served)[how]
    judge.ok(f"{REMOVE}.by-each-name", pulls.remove(name))
    _gone(pulls, judge, f"{REMOVE}.gone", served)
    _absent(judge, "ImageService.ImageStatus.removed-no-image", pulls.runtime, served)
    for again in (name, *_names(served).values()):
        judge.ok(f"{REMOVE}.idempotent", pulls.remove(again))
    judge.ok(f"{REMOVE}.pull-after-removal", pulls.pull(served.reference))
    judge.that(
        f"{REMOVE}.pull-after-removal",
        pulls.status(served.reference) is not None,
        permitted="the image is there again",
        actual="no image",
    )


@clause(f"{REMOVE}.unknown", "ImageService.ImageStatus.absent-no-image")
def test_what_was_never_there(pulls: Pulls, judge: Judge, runtime: Runtime) -> None:
    never = pulls.serve()
    _absent(judge, "ImageService.ImageStatus.absent-no-image", runtime, never)
    for name in _names(never).values():
        judge.ok(f"{REMOVE}.unknown", pulls.remove(name))


@clause(f"{REMOVE}.all-tags")
def test_with_one_tag_all_go(pulls: Pulls, judge: Judge) -> None:
    one = pulls.serve()
    two = pulls.serve(one.image)
    for served in (one, two):
        pulls.pulled(served)
    judge.ok(f"{REMOVE}.all-tags", pulls.remove(one.reference))
    _gone(pulls, judge, f"{REMOVE}.all-tags", one)
    _gone(pulls, judge, f"{REMOVE}.all-tags", two)


@clause(f"{REMOVE}.others-untouched")
def test_images_that_share_layers_stay(
    pulls: Pulls, judge: Judge, runtime: Runtime, shared_sandbox: Sandbox, images: Images
) -> None:
    kept = images.plain
    image = images.made_plain("twin")  # the same layers
    twin = pulls.serve(image)
    pulls.pulled(twin)
    before = {image.id for image in pulls.listed()}
    judge.ok(f"{REMOVE}.others-untouched", pulls.remove(twin.reference))
    after = {image.id for image in pulls.listed()}
    # Others may come and go on this node meanwhile; ours may not.
    own = pulls.status(kept)
    judge.that(
        f"{REMOVE}.others-untouched",
        own is not None and own.id in after,
        permitted=f"{kept} is still there",
        actual=f"gone with another image: {sorted(before - after)}",
    )
    config = runtime.container_config(shared_sandbox, image=kept, command=images.program.idle)
    judge.ok(f"{REMOVE}.others-untouched", runtime.create_and_start(shared_sandbox, config))


@clause(f"{REMOVE}.in-use-unharmed", f"{REMOVE}.in-use-answer")
def test_in_use(
    pulls: Pulls, judge: Judge, runtime: Runtime, shared_sandbox: Sandbox, images: Images
) -> None:
    runs = images.program
    served = pulls.serve(images.made_plain("in-use"))
    pulls.pulled(served)
    container = runtime.running(shared_sandbox, image=served.reference, command=runs.idle)
    outcome = pulls.remove(served.reference)
    judge.record(f"{REMOVE}.in-use-answer", outcome)
    status = runtime.container_status(container.id)
    judge.equal(f"{REMOVE}.in-use-unharmed", status.state, 1, "state after the removal")
    said = runtime.exec(container, *runs.echo, "alive")
    judge.equal(f"{REMOVE}.in-use-unharmed", said.stdout, b"alive\n", "a command in it says")
    runtime.get("RemoveContainer", container_id=container.id)


@clause(f"{REMOVE}.concurrent", f"{REMOVE}.concurrent-gone")
def test_at_the_same_time(pulls: Pulls, judge: Judge) -> None:
    for _ in range(3):
        served = pulls.serve()
        pulls.pulled(served)
        outcomes = together(*[lambda name=served.reference: pulls.remove(name)] * 6)
        if any(isinstance(outcome, Ok) for outcome in outcomes):
            _gone(pulls, judge, f"{REMOVE}.concurrent-gone", served)
        for outcome in outcomes:
            judge.ok(f"{REMOVE}.concurrent", outcome)


@clause(f"{REMOVE}.empty", "ImageService.ImageStatus.empty")
def test_an_empty_name(pulls: Pulls, judge: Judge, runtime: Runtime) -> None:
    pulls.pulled(pulls.serve())
    outcome = runtime.call("ImageStatus", image=spec(""))
    judge.that(
        "ImageService.ImageStatus.empty",
        not (isinstance(outcome, Ok) and outcome.response.HasField("image")),
        permitted="an error, or no image",
        actual=outcome,
    )
    before = pulls.listed()
    # Some runtimes take the empty name for the beginning of an id: it could hit a foreign image.
    foreign = [i.id for i in before if not any(map(is_ours, (*i.repo_tags, *i.repo_digests)))]
    if foreign:
        judge.not_exercised(f"{REMOVE}.empty", Reason.OTHERS, "there are images of others")
        return
    runtime.client.call("RemoveImage", image=spec(""))
    after = {image.id for image in pulls.listed()}
    judge.equal(
        f"{REMOVE}.empty", sorted({i.id for i in before} - after), [], "images that are gone:"
    )


@clause(f"{REMOVE}.retry-after-deadline")
def test_a_removal_that_was_given_up(
    pulls: Pulls, judge: Judge, patience: Callable[[float], float]
) -> None:
    for seconds in (0.001, 0.01):
        served = pulls.serve(pulls.image(oci.layer([oci.File("a", b"a" * 100_000)])))
        pulls.pulled(served)
        # As the kubelet does when it collects garbage; by the tag where the id may be another's.
        found = pulls.status(served.reference)
        name = found.id if found and _is_of(served, found.id) else served.reference
        pulls.remove(name, deadline=seconds)
        give_up, pause = time.monotonic() + patience(MINUTE), threading.Event()
        while not isinstance(outcome := pulls.remove(name), Ok):
            # That it is not there is no word of a runtime that is still about it.
            final = isinstance(outcome, Refused) and outcome.code == "NOT_FOUND"
            if final or time.monotonic() > give_up:
                break
            pause.wait(0.2)
        judge.ok(f"{REMOVE}.retry-after-deadline", outcome)
        _gone(pulls, judge, f"{REMOVE}.retry-after-deadline", served)


@clause("ImageService.ImageStatus.malformed", "ImageService.ImageStatus.short-id")
def test_odd_names(pulls: Pulls, judge: Judge, runtime: Runtime) -> None:
    served = pulls.serve()
    pulls.pulled(served)
    outcome = runtime.call("ImageStatus", image=spec("UPPER/case image"))
    judge.record("ImageService.ImageStatus.malformed", _in_a_word(outcome))
    short = served.image.id.removeprefix("sha256:")[:16]
    outcome = runtime.call("ImageStatus", image=spec(short))
    judge.record("ImageService.ImageStatus.short-id", _in_a_word(outcome))


def _in_a_word(outcome: object) -> str:
    if isinstance(outcome, Ok):
        return "an image" if outcome.response.HasField("image") else "no image"
    return str(outcome)
