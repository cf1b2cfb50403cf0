# SPDX-License-Identifier: Apache-2.0
"""Images mounted into containers in the place of host paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, NotExercised, clause
from cri_conformance.suite.images import ODD_FILES, Images
from cri_conformance.suite.mounting import report, reporting, started
from cri_conformance.wire.outcome import Outcome
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

pytestmark = pytest.mark.usefixtures("isolation")

_PLACE = "/cri/image"
#: Files of the image: one in a folder, and one in a folder below that.
_MARKER, _INNER, _SUB = "odd/marker", "odd/sub/inner", "odd/sub"
_LOOK = "; ".join(
    [
        f"v marker {_PLACE}/{_MARKER}",
        f"v inner {_PLACE}/{_INNER}",
        f"v sub {_PLACE}/inner",
        f"echo \"names $(ls -A {_PLACE} | tr '\\n' ' ')\"",
        f"w create {_PLACE}/new",
        f"t change sh -c 'echo more >> {_PLACE}/{_MARKER}'",
        f"t delete rm {_PLACE}/{_MARKER}",
    ]
)


@dataclass(frozen=True, slots=True)
class Tried:
    """A container with an image mounted, and what it found; no container if it was refused."""

    container: Container | None
    outcome: Outcome
    found: Mapping[str, str]


def _try(runtime: Runtime, sandbox: Sandbox, image: str, sub_path: str = "") -> Tried:
    mount = types.Mount(
        container_path=_PLACE,
        image=types.ImageSpec(image=image, user_specified_image=image),
        image_sub_path=sub_path,
        readonly=True,
    )
    container, outcome = started(runtime, sandbox, reporting(runtime, sandbox, [mount], _LOOK))
    found = report(runtime, container) if container else {}
    return Tried(container, outcome, found)


def _since(judge: Judge, *names: str) -> None:
    """End a test of an older runtime before it asks for what that can't know."""
    if all(judge.rules.register[name].since > judge.rules.minor for name in names):
        judge.skip(Reason.YOUNGER, f"holds since {judge.rules.register[names[0]].since}")


@pytest.fixture(scope="module")
def by_id(module_runtime: Runtime, shared_sandbox: Sandbox, images: Images) -> Tried:
    """The image by its id, which is what a kubelet gets from a pull."""
    spec = types.ImageSpec(image=images.plain)
    image = module_runtime.get("ImageStatus", image=spec).image
    return _try(module_runtime, shared_sandbox, image.id)


@clause("Mount.image.content")
def test_an_image_is_mounted(judge: Judge, request: pytest.FixtureRequest) -> None:
    name = "Mount.image.content"
    _since(judge, name)
    tried: Tried = request.getfixturevalue("by_id")
    judge.equal(
        name,
        {path: tried.found.get(path) for path in ("marker", "inner")},
        {"marker": _text(_MARKER), "inner": _text(_INNER)},
        f"({tried.outcome})",
    )


def _text(path: str) -> str:
    return ODD_FILES[path].decode().rstrip("\n")


@clause("ImageSpec.image_ref.reported")
def test_the_status_says_which_image_is_mounted(
    runtime: Runtime, judge: Judge, request: pytest.FixtureRequest
) -> None:
    _since(judge, "ImageSpec.image_ref.reported")
    tried: Tried = request.getfixturevalue("by_id")
    if not tried.container:
        judge.skip(Reason.NOT_ADVERTISED, f"no image is mounted: {tried.outcome}")
    mounts = runtime.container_status(tried.container.id).mounts
    told = [mount.image.image_ref for mount in mounts if mount.container_path == _PLACE]
    judge.record("ImageSpec.image_ref.reported", told)


@clause("Mount.image.read-only")
def test_nobody_writes_to_an_image(judge: Judge, request: pytest.FixtureRequest) -> None:
    name = "Mount.image.read-only"
    _since(judge, name)
    tried: Tried = request.getfixturevalue("by_id")
    if tried.found.get("marker") != _text(_MARKER):
        raise NotExercised(Reason.NOT_ADVERTISED, f"no image is mounted: {tried.outcome}")
    managed = [way for way in ("create", "change", "delete") if tried.found.get(way) != "no"]
    judge.equal(name, managed, [], "ways to write:")


@clause("Mount.image.pull-ref")
def test_what_a_pull_returned_is_mounted(
    runtime: Runtime, shared_sandbox: Sandbox, images: Images, judge: Judge
) -> None:
    name = "Mount.image.pull-ref"
    _since(judge, name)
    # Asked for first: that brings the image.
    if not (images.plain and (pulled := images.pulled("plain"))):
        judge.skip(Reason.NO_REGISTRY, "the image was loaded, not pulled")
    tried = _try(runtime, shared_sandbox, pulled)
    judge.equal(name, tried.found.get("marker"), _text(_MARKER), f"({tried.outcome})")


@clause("Mount.image_sub_path.content")
def test_a_part_of_an_image_is_mounted(
    runtime: Runtime, shared_sandbox: Sandbox, images: Images, judge: Judge
) -> None:
    name = "Mount.image_sub_path.content"
    _since(judge, name)
    tried = _try(runtime, shared_sandbox, images.plain, _SUB)
    if not tried.container:
        judge.skip(Reason.NOT_ADVERTISED, f"no part of an image is mounted: {tried.outcome}")
    seen = (tried.found.get("sub"), tried.found.get("names", "").split())
    judge.equal(name, seen, (_text(_INNER), ["inner"]), about=[tried.container.id])


@clause("Mount.image_sub_path.missing-error")
def test_a_part_that_the_image_has_not(
    runtime: Runtime, shared_sandbox: Sandbox, images: Images, judge: Judge
) -> None:
    name = "Mount.image_sub_path.missing-error"
    _since(judge, name)
    tried = _try(runtime, shared_sandbox, images.plain, "odd/missing")
    judge.refused(name, tried.outcome)
