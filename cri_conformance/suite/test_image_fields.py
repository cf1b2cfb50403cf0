# SPDX-License-Identifier: Apache-2.0
"""What is told of an image: its user in every form, its size, debugging information."""

from __future__ import annotations

import json

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.registry import oci
from cri_conformance.suite.images import spec
from cri_conformance.suite.pulls import Pulls, noise
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Runtime

MEGABYTE = 1024 * 1024
#: USER of the config → (number, name) that may be reported; None stands for unset.
USERS: tuple[tuple[str, str, tuple[tuple[int | None, str], ...]], ...] = (
    ("1234", "Image.uid.of-number", ((1234, ""),)),
    ("1234:2345", "Image.uid.of-number", ((1234, ""),)),
    ("1234:group", "Image.uid.of-number", ((1234, ""),)),
    ("0", "Image.uid.root-stays-root", ((0, ""), (None, ""))),
    ("0:0", "Image.uid.root-stays-root", ((0, ""), (None, ""))),
    ("root", "Image.username.of-name", ((None, "root"),)),
    ("someone", "Image.username.of-name", ((None, "someone"),)),
    ("someone:group", "Image.username.of-name", ((None, "someone"),)),
    ("someone:2345", "Image.username.of-name", ((None, "someone"),)),
    ("", "Image.username.none", ((None, ""), (0, ""))),
)


def _told(pulls: Pulls, image: oci.Image) -> types.Image:
    served = pulls.serve(image)
    pulls.pulled(served)
    found = pulls.status(served.reference)
    if found is None:
        raise SetupFailed(f"ImageStatus({served.reference}) shows no image after its pull")
    return found


@pytest.mark.parametrize(
    ("user", "promise", "permitted"),
    [pytest.param(*case, marks=clause(case[1]), id=case[0] or "none") for case in USERS],
)
@clause("Image.uid.not-with-username")
def test_user(
    runtime: Runtime,
    pulls: Pulls,
    judge: Judge,
    user: str,
    promise: str,
    permitted: tuple[tuple[int | None, str], ...],
) -> None:
    served = pulls.serve(pulls.image(User=user))
    pulls.pulled(served)
    told = judge.response(promise, runtime.call("ImageStatus", image=spec(served.reference)))
    judge_user(judge, told.image, user, promise, permitted)


def judge_user(
    judge: Judge,
    found: types.Image,
    user: str,
    promise: str,
    permitted: tuple[tuple[int | None, str], ...],
) -> None:
    """Judge what is told of the user of an image by a line of USERS."""
    number = found.uid.value if found.HasField("uid") else None
    shown = f"uid {'unset' if number is None else number}, username {found.username!r}"
    judge.that(
        "Image.uid.not-with-username",
        number is None or not found.username,
        permitted="a user id or a user name",
        actual=shown,
    )
    judge.that(
        promise,
        (number, found.username) in permitted,
        permitted=f"for USER {user!r} (uid, username) as in {permitted}",
        actual=shown,
    )


@clause("Image.size.plausible")
def test_a_larger_image_is_larger(pulls: Pulls, judge: Judge) -> None:
    small = _told(pulls, pulls.image())
    large = _told(pulls, pulls.image(oci.layer([oci.File("noise", noise(MEGABYTE))])))
    judge.that(
        "Image.size.plausible",
        large.size > small.size,
        permitted=f"more than {small.size} bytes for an image with a megabyte more",
        actual=f"{large.size} bytes",
    )


@clause(
    "ImageStatusRequest.verbose.same-image",
    "ImageStatusResponse.info.only-verbose",
    "ImageStatusResponse.info.json",
)
def test_verbose(runtime: Runtime, pulls: Pulls, judge: Judge) -> None:
    served = pulls.serve()
    pulls.pulled(served)
    judge_verbose(
        judge,
        *(
            runtime.get("ImageStatus", image=spec(served.reference), verbose=verbose)
            for verbose in (False, True)
        ),
    )


def judge_verbose(
    judge: Judge, plain: types.ImageStatusResponse, verbose: types.ImageStatusResponse
) -> None:
    """Judge what a status says when it is asked for more."""
    judge.equal("ImageStatusRequest.verbose.same-image", verbose.image, plain.image, "image")
    judge.equal("ImageStatusResponse.info.only-verbose", dict(plain.info), {}, "info")
    broken = [key for key, value in verbose.info.items() if not is_json(value)]
    judge.equal("ImageStatusResponse.info.json", broken, [], "values that are no JSON:")


def is_json(text: str) -> bool:
    """Whether it is a JSON document."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
