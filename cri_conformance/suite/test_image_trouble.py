# SPDX-License-Identifier: Apache-2.0
"""PullImage from a registry that misbehaves, is slow, or asks for what the client has not.

After each failure nothing of the image may be there, and the same pull must succeed once the
registry serves well again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from _pytest.mark import ParameterSet

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.registry import oci, troubles
from cri_conformance.registry.server import Trouble
from cri_conformance.suite.images import spec
from cri_conformance.suite.pulls import Pulls, Served, fails
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime
from cri_conformance.wire.together import together

PULL = "ImageService.PullImage"
#: Seconds within which a pull that leads nowhere must fail.
MINUTE = 60.0
#: Seconds within which a call is answered that has nothing to do with a pull under way.
PROMPT = 5.0
#: Seconds that the slow registry takes.
SLOW = 20.0

REFUSING = {
    "401": troubles.status(401),
    "403": troubles.status(403),
    "404": troubles.status(404),
    "429": troubles.status(429),
    "500": troubles.status(500),
    "cut-off": troubles.cut_off(),
}
LYING = {
    "other-bytes": troubles.wrong_bytes(),
    "truncated": troubles.wrong_length(-7),
}
_ENDLESS = {"circle": troubles.redirects(), "huge": troubles.huge(64 * 1024 * 1024)}


def _cases() -> list[ParameterSet]:
    found: list[ParameterSet] = []
    for promise, ways in (
        (f"{PULL}.refused-error", REFUSING),
        (f"{PULL}.content-checked", LYING),
        (f"{PULL}.bounded", _ENDLESS),
    ):
        for name, trouble in ways.items():
            for kind in ("manifests", "blobs"):
                if (name, kind) == ("huge", "blobs"):
                    continue  # of a blob the size is known
                case = (promise, troubles.on(kind, trouble))
                found.append(pytest.param(*case, marks=clause(promise), id=f"{name}-{kind}"))
    return found


@pytest.mark.parametrize(("promise", "trouble"), _cases())
@clause(f"{PULL}.nothing-half-made", f"{PULL}.good-after-bad")
def test_a_registry_that_misbehaves(
    pulls: Pulls,
    judge: Judge,
    patience: Callable[[float], float],
    promise: str,
    trouble: Trouble,
) -> None:
    served = pulls.serve()
    pulls.registry.trouble(served.repository, trouble)
    # By digest, so that a manifest which is another is not just what the tag leads to now.
    began, within = time.monotonic(), patience(MINUTE)
    outcome = pulls.pull(served.by_digest, deadline=within + 1)
    if promise.endswith("bounded"):
        judge.within(promise, time.monotonic() - began, at_most=within, what="the failing pull")
    fails(judge, promise, outcome)
    _nothing_made(pulls, judge, served)
    pulls.registry.trouble(served.repository, None)
    _comes_to_success(pulls, judge, f"{PULL}.good-after-bad", served.by_digest, patience(MINUTE))
    judge.that(
        f"{PULL}.good-after-bad",
        pulls.status(served.by_digest) is not None,
        permitted="the image is there after the pull that succeeded",
        actual="no image",
    )


def _nothing_made(pulls: Pulls, judge: Judge, served: Served) -> None:
    for name in (served.by_digest, served.reference):
        judge.that(
            f"{PULL}.nothing-half-made",
            pulls.status(name) is None,
            permitted=f"no image at {name} after the pull failed",
            actual="an image",
        )
    known = {served.image.id, served.by_digest, served.reference}
    half = [
        image.id
        for image in pulls.listed()
        if known.intersection((image.id, *image.repo_tags, *image.repo_digests))
    ]
    judge.equal(f"{PULL}.nothing-half-made", half, [], "images listed after the pull failed:")


@clause(f"{PULL}.absent-error", f"{PULL}.nothing-half-made")
def test_what_the_registry_does_not_have(pulls: Pulls, judge: Judge) -> None:
    served = pulls.serve()
    absent = pulls.image()
    for reference in (
        f"{served.reference}-none",
        pulls.registry.reference(served.repository, absent.manifest.digest),
        pulls.registry.reference(pulls.repository("none"), pulls.tag),
    ):
        fails(judge, f"{PULL}.absent-error", pulls.pull(reference))
        judge.that(
            f"{PULL}.nothing-half-made",
            pulls.status(reference) is None,
            permitted=f"no image at {reference}",
            actual="an image",
        )


@clause(
    f"{PULL}.not-held-up",
    "ImageService.ListImages.prompt-during-pull",
    "ImageService.ImageStatus.prompt-during-pull",
    "ImageService.ImageFsInfo.prompt-during-pull",
)
def test_a_slow_registry_holds_up_its_own_pull_alone(
    runtime: Runtime, pulls: Pulls, judge: Judge, patience: Callable[[float], float]
) -> None:
    slow, quick = pulls.serve(), pulls.serve()
    prompt = patience(PROMPT)
    over = threading.Event()
    pulls.registry.trouble(slow.repository, troubles.on("blobs", troubles.slow(SLOW, over=over)))

    def meanwhile() -> None:
        until_asked(pulls, slow)
        began = time.monotonic()
        judge.ok(f"{PULL}.not-held-up", pulls.pull(quick.reference, deadline=prompt))
        named = types.ImageStatusRequest(image=spec(quick.reference))
        for name, rpc, request in (
            ("ImageService.ListImages.prompt-during-pull", "ListImages", None),
            ("ImageService.ImageStatus.prompt-during-pull", "ImageStatus", named),
            ("ImageService.ImageFsInfo.prompt-during-pull", "ImageFsInfo", None),
        ):
            judge.ok(name, runtime.call(rpc, request, deadline=prompt))
        judge.within(
            f"{PULL}.not-held-up",
            time.monotonic() - began,
            at_most=4 * prompt,
            what="four calls beside a slow pull",
        )

    def asked() -> None:
        try:
            meanwhile()
        finally:
            # Nobody has to wait for its end: the registry hangs up.
            over.set()

    together(lambda: pulls.pull(slow.reference, deadline=SLOW), asked)


def until_asked(pulls: Pulls, served: Served) -> None:
    """Wait until the runtime fetches a layer of an image, or for a moment at most."""
    give_up = time.monotonic() + PROMPT
    pause = threading.Event()
    while not any(one.kind == "blobs" for one in pulls.registry.seen(served.repository)):
        if time.monotonic() > give_up:
            return
        pause.wait(0.01)


@clause(f"{PULL}.retry-after-deadline")
@pytest.mark.parametrize(
    "how",
    [{"deadline": 0.005}, {"deadline": 0.05}, {"cancel_after": 0.02}],
    ids=["at-once", "soon", "cancelled"],
)
def test_a_pull_that_was_given_up(
    pulls: Pulls, judge: Judge, patience: Callable[[float], float], how: dict[str, float]
) -> None:
    served = pulls.serve(pulls.image(oci.layer([oci.File("a", b"a" * 100_000)])))
    pulls.pull(served.reference, **how)
    _comes_to_success(
        pulls, judge, f"{PULL}.retry-after-deadline", served.reference, patience(MINUTE)
    )


def _comes_to_success(
    pulls: Pulls, judge: Judge, clause_id: str, reference: str, within: float
) -> None:
    """A kubelet repeats a pull, at ever longer intervals; the first few may fail."""
    give_up = time.monotonic() + within
    pause = threading.Event()
    while not isinstance(outcome := pulls.pull(reference, deadline=within), Ok):
        if time.monotonic() > give_up:
            break
        pause.wait(0.2)
    judge.ok(clause_id, outcome)
