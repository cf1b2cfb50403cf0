# SPDX-License-Identifier: Apache-2.0
"""The image of a container: which one it is, by which name, and what remains when it is gone."""

from __future__ import annotations

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.images import ODD_FILES, ODD_HIDDEN, Images, spec
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Container, Runtime, Sandbox


@clause("ContainerConfig.image.used")
def test_the_files_are_those_of_its_image(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    idle: Container,
    images: Images,
    judge: Judge,
    isolation: None,
) -> None:
    runs = images.program
    other = runtime.running(shared_sandbox, image=images.plain, command=runs.idle)
    for path, content in ODD_FILES.items():
        for container, cat, permitted in (
            (other, runs.cat, content),
            (idle, ("/bin/sh", "-c", 'cat "$0" 2>/dev/null; :'), b""),
        ):
            judge.equal(
                "ContainerConfig.image.used",
                runtime.exec(container, *cat, f"/{path}").stdout,
                permitted,
                f"/{path} in a container of {container.config.image.image}",
                about=[container.id],
            )
    # What a layer hides of those below it is not there: both of them are empty.
    for path in ODD_HIDDEN:
        said = runtime.exec(other, *runs.cat, f"/{path}")
        judge.that(
            "ContainerConfig.image.used",
            said.stdout or said.exit_code,
            permitted=f"no file /{path}, which a layer hides",
            actual="an empty file",
            about=[other.id],
        )


@pytest.fixture
def by_id(
    runtime: Runtime, shared_sandbox: Sandbox, images: Images, judge: Judge
) -> tuple[str, types.ContainerConfig]:
    """(what PullImage returned, a config that names its image so), as the kubelet does it."""
    name = images.plain
    pulled = images.pulled("plain")
    if not pulled:
        judge.skip(Reason.NO_REGISTRY, "the image was loaded and not pulled")
    config = runtime.container_config(shared_sandbox, command=images.program.idle)
    config.image.CopyFrom(types.ImageSpec(image=pulled, user_specified_image=name))
    return pulled, config


@clause("ContainerConfig.image.pull-ref")
def test_what_a_pull_returned_names_the_image(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    by_id: tuple[str, types.ContainerConfig],
    judge: Judge,
) -> None:
    _, config = by_id
    judge.ok("ContainerConfig.image.pull-ref", runtime.create(shared_sandbox, config))


@clause("ContainerStatus.image_id.matches-pull", "Container.image_id.matches-pull")
def test_the_image_id_is_what_the_pull_returned(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    by_id: tuple[str, types.ContainerConfig],
    judge: Judge,
) -> None:
    pulled, config = by_id
    container = runtime.container(shared_sandbox, config)
    judge.equal(
        "ContainerStatus.image_id.matches-pull",
        runtime.container_status(container.id).image_id,
        pulled,
        "image_id",
        about=[container.id],
    )
    (item,) = runtime.get(
        "ListContainers", filter=types.ContainerFilter(id=container.id)
    ).containers
    judge.equal(
        "Container.image_id.matches-pull", item.image_id, pulled, "image_id", about=[container.id]
    )


@clause(
    "ContainerStatus.image.after-image-removal", "ContainerStatus.image_ref.after-image-removal"
)
def test_a_container_still_says_what_its_image_was(
    runtime: Runtime, shared_sandbox: Sandbox, images: Images, judge: Judge
) -> None:
    name = images.bring("passing", images.made_plain("passing"))
    container = runtime.running(shared_sandbox, image=name, command=images.program.idle)
    removal = runtime.call("RemoveImage", image=spec(name))
    if not isinstance(removal, Ok) or images.has(name):
        judge.skip(Reason.NOT_ADVERTISED, f"an image in use can't be removed ({removal})")
    status = runtime.container_status(container.id)
    for what, value in (("image", status.image.image), ("image_ref", status.image_ref)):
        judge.that(
            f"ContainerStatus.{what}.after-image-removal",
            value,
            permitted=f"{what} is still set",
            actual=f"{what} is {value!r}",
            about=[container.id],
        )
