# SPDX-License-Identifier: Apache-2.0
"""CreateContainer: the id it gives, what makes a container unique, and how an image is named.

A kubelet that lost an answer asks again with the same name and attempt; only if the
runtime keeps the two apart from all others is the pod not run twice.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from cri_conformance.api import types
from cri_conformance.build import messages
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import Life, look
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

_ID = "CreateContainerResponse.container_id"
_META = "ContainerMetadata"
_ROUNDS, _AT_ONCE = 3, 4


def _at_once(*calls: Callable[[], Outcome]) -> list[Outcome]:
    """The outcomes of calls that are released together."""
    barrier = Barrier(len(calls))

    def call(one: Callable[[], Outcome]) -> Outcome:
        barrier.wait(10)
        return one()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def _ids(outcomes: list[Outcome]) -> list[str]:
    return [one.response.container_id for one in outcomes if isinstance(one, Ok)]


# -- ids -------------------------------------------------------------------------------------


def _seventh(runtime: Runtime, sandbox: Sandbox) -> types.ContainerConfig:
    """One that was restarted a few times: any attempt is as good as the first."""
    config = runtime.container_config(sandbox)
    config.metadata.attempt = 7
    return config


@clause(f"{_ID}.non-empty")
def test_an_id_is_given(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    made = runtime.get(
        "CreateContainer",
        pod_sandbox_id=shared_sandbox.id,
        config=_seventh(runtime, shared_sandbox),
        sandbox_config=shared_sandbox.config,
    )
    judge.that(
        f"{_ID}.non-empty",
        made.container_id,
        permitted="an id that is not empty",
        actual=repr(made.container_id),
    )


@clause(f"{_ID}.names-container")
def test_the_id_is_known_from_then_on(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.container(shared_sandbox, _seventh(runtime, shared_sandbox))
    status = runtime.call("ContainerStatus", container_id=container.id)
    judge.ok(f"{_ID}.names-container", status, about=[container.id])
    names = [
        item.metadata.name
        for item in runtime.get("ListContainers").containers
        if item.id == container.id
    ]
    judge.equal(
        f"{_ID}.names-container",
        names,
        [container.config.metadata.name],
        "names of the items with this id in the list:",
        about=[container.id],
    )


@clause(f"{_ID}.unique")
def test_ids_are_unique(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    other = runtime.sandbox()
    made: list[str] = []
    for _ in range(_ROUNDS):
        configs = [(place, runtime.container_config(place)) for place in (shared_sandbox, other)]
        configs += [(place, runtime.container_config(place)) for place in (shared_sandbox, other)]
        made += _ids(_at_once(*[lambda c=config: runtime.create(*c) for config in configs]))
        twice = sorted({one for one in made if made.count(one) > 1})
        judge.equal(f"{_ID}.unique", twice, [], "ids given twice:", about=twice)


# -- name and attempt ------------------------------------------------------------------------


@clause(f"{_META}.unique-in-sandbox", f"{_META}.duplicate-answer")
def test_duplicates_in_turn(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    first = runtime.container(shared_sandbox)
    second = runtime.create(shared_sandbox, first.config)
    given = second.response.container_id if isinstance(second, Ok) else ""
    judge.record(
        f"{_META}.duplicate-answer",
        second if not given else "the id of the first" if given == first.id else "another id",
    )
    _judge_one(judge, runtime, first.config, [first.id, given] if given else [first.id])


@clause(f"{_META}.unique-in-sandbox")
def test_duplicates_at_once(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    for _ in range(_ROUNDS):
        config = runtime.container_config(shared_sandbox)
        calls = [lambda c=config: runtime.create(shared_sandbox, c)] * _AT_ONCE
        _judge_one(judge, runtime, config, _ids(_at_once(*calls)))


def _judge_one(
    judge: Judge, runtime: Runtime, config: types.ContainerConfig, given: list[str]
) -> None:
    """Judge that of a config there is at most one container, by answers and by the list."""
    listed = [
        item.id
        for item in runtime.get("ListContainers").containers
        if item.metadata == config.metadata
    ]
    made = sorted({*given, *listed})
    judge.that(
        f"{_META}.unique-in-sandbox",
        len(made) <= 1,
        permitted=f"one container {config.metadata.name}, attempt {config.metadata.attempt}",
        actual=f"{len(made)}: {', '.join(made)}",
        about=made,
    )


@clause(f"{_META}.reuse-after-removal")
def test_a_name_after_a_removal(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    first = runtime.container(shared_sandbox)
    runtime.get("RemoveContainer", container_id=first.id)
    again = runtime.create(shared_sandbox, first.config)
    judge.record(
        f"{_META}.reuse-after-removal", "can be used again" if isinstance(again, Ok) else again
    )


@clause(f"{_META}.next-attempt")
def test_the_next_attempt(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    first = runtime.exited(shared_sandbox)
    config = types.ContainerConfig()
    config.CopyFrom(first.config)
    config.metadata.attempt = 1
    config.log_path = f"{config.metadata.name}/1.log" if config.log_path else ""
    second = judge.response(f"{_META}.next-attempt", runtime.create(shared_sandbox, config))
    judge.that(
        f"{_META}.next-attempt",
        second.container_id != first.id,
        permitted=f"another container than {first.id}",
        actual=second.container_id,
        about=[first.id],
    )


@clause(f"{_META}.other-sandbox")
def test_the_same_name_in_another_sandbox(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    other = runtime.sandbox()
    name = runtime.name("ctr")
    made = {}
    for place in (shared_sandbox, other):
        outcome = runtime.create(place, runtime.container_config(place, name=name))
        made[place.id] = judge.response(f"{_META}.other-sandbox", outcome).container_id
    listed = {
        item.pod_sandbox_id: item.id
        for item in runtime.get("ListContainers").containers
        if item.metadata.name == name
    }
    judge.equal(
        f"{_META}.other-sandbox", listed, made, "containers by their sandbox:", about=made.values()
    )


# -- the sandbox's config ---------------------------------------------------------------------


@clause("CreateContainerRequest.sandbox_config.repeat-harmless")
def test_the_config_sent_again_changes_nothing(container_life: Life, judge: Judge) -> None:
    judge.equal(
        "CreateContainerRequest.sandbox_config.repeat-harmless",
        container_life.sandbox_after,
        container_life.sandbox_before,
        "status of the sandbox after CreateContainer:",
        about=[container_life.sandbox.id],
    )


@clause("CreateContainerRequest.sandbox_config.differing")
def test_another_config(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    other = types.PodSandboxConfig()
    other.CopyFrom(shared_sandbox.config)
    other.annotations["differs"] = "yes"
    if other.log_directory:
        other.log_directory = str(Path(other.log_directory) / "elsewhere")
    outcome = runtime.call(
        "CreateContainer",
        pod_sandbox_id=shared_sandbox.id,
        config=runtime.container_config(shared_sandbox),
        sandbox_config=other,
    )
    found: object = outcome
    if isinstance(outcome, Ok):
        status = runtime.container_status(outcome.response.container_id)
        followed = other.log_directory and status.log_path.startswith(other.log_directory)
        found = "followed for the log" if followed else "accepted, and not followed for the log"
    judge.record("CreateContainerRequest.sandbox_config.differing", found)


# -- the image --------------------------------------------------------------------------------


def _image(runtime: Runtime) -> types.Image:
    """The test image as ListImages shows it."""
    wanted = types.ImageSpec(image=runtime.workshop.image)
    found: str = runtime.get("ImageStatus", image=wanted).image.id
    images: list[types.Image] = list(runtime.get("ListImages").images)
    return next(image for image in images if image.id == found)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        pytest.param(kind, names, marks=clause(f"ImageSpec.image.{kind}"), id=kind)
        for kind, names in {
            "by-id": lambda image: [image.id],
            "by-tag": lambda image: list(image.repo_tags),
            "by-digest": lambda image: list(image.repo_digests),
        }.items()
    ],
)
def test_an_image_can_be_named(
    kind: str,
    names: Callable[[types.Image], list[str]],
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
) -> None:
    known = names(_image(runtime))
    if not known:
        judge.skip(Reason.NOT_ADVERTISED, f"ListImages names the test image not {kind}")
    for name in known:
        config = runtime.container_config(shared_sandbox)
        config.image.image = name
        judge.ok(f"ImageSpec.image.{kind}", runtime.create(shared_sandbox, config))


@clause("ImageSpec.image.empty")
def test_an_empty_image_is_refused(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    config = runtime.container_config(shared_sandbox)
    config.image.Clear()
    judge.refused("ImageSpec.image.empty", runtime.create(shared_sandbox, config))


@clause("ImageSpec.user_specified_image.image-decides", "ImageSpec.user_specified_image.absent")
def test_the_user_s_spelling_decides_nothing(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    image = _image(runtime)
    wanted = runtime.container_status(runtime.container(shared_sandbox).id).image_ref
    absent = runtime.container_config(shared_sandbox)
    absent.image.user_specified_image = ""
    judge.record("ImageSpec.user_specified_image.absent", runtime.create(shared_sandbox, absent))
    others = sorted(
        name
        for other in runtime.get("ListImages").images
        for name in (other.id, *other.repo_tags)
        if other.id != image.id
    )[:2]
    for spelt in (*others, "registry.example/no-such-image:1"):
        config = runtime.container_config(shared_sandbox)
        config.image.image = image.id
        config.image.user_specified_image = spelt
        outcome = runtime.create(shared_sandbox, config)
        judge.ok("ImageSpec.user_specified_image.image-decides", outcome)
        if isinstance(outcome, Ok):
            status = runtime.container_status(outcome.response.container_id)
            judge.equal(
                "ImageSpec.user_specified_image.image-decides",
                status.image_ref,
                wanted,
                f"image_ref with user_specified_image {spelt}:",
                about=[status.id],
            )


@clause("ImageSpec.annotations.unknown-keys")
def test_annotations_of_the_image(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    config = runtime.container_config(shared_sandbox)
    config.image.annotations["nobodys.example/key"] = "value"
    judge.record("ImageSpec.annotations.unknown-keys", runtime.create(shared_sandbox, config))


# -- annotations that mean something to somebody ------------------------------------------------

#: What some runtime gave, or gives, a meaning. A kubelet passes on whatever a user wrote.
_FOREIGN = {
    "org.systemd.property.OOMScoreAdjust": "'i' 500",
    "io.kubernetes.cri-o.umask": "0777",
    "io.kubernetes.cri.container-type": "sandbox",
    "io.kubernetes.cri.sandbox-id": "0" * 64,
    "io.kubernetes.cri.image-name": "registry.example/no-such-image:1",
    "io.katacontainers.config.hypervisor.kernel_params": "debug",
    "run.oci.keep_original_groups": "1",
    "security.alpha.kubernetes.io/unsafe-sysctls": "kernel.shm_rmid_forced=1",
    "nobodys.example/anything": "goes",
}
_SAME = ("cmdline", "environ", "cwd", "limits", "oom_score_adj")
_IN_STATUS = ("Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp")


@clause("ContainerConfig.annotations.no-influence")
def test_foreign_annotations_change_nothing(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    plain = _profile(runtime, shared_sandbox, {})
    foreign = _profile(runtime, shared_sandbox, _FOREIGN)
    differing = {
        what: (plain[what], foreign[what]) for what in plain if plain[what] != foreign[what]
    }
    judge.equal(
        "ContainerConfig.annotations.no-influence",
        differing,
        {},
        "what differs, without and with foreign annotations:",
    )


def _profile(runtime: Runtime, sandbox: Sandbox, annotations: dict[str, str]) -> dict[str, bytes]:
    """What the first process of a container is like, without what is its own."""
    marker = secrets.token_hex(8)
    command = ["/bin/sh", "-c", messages.IDLE, marker]
    config = runtime.container_config(sandbox, command=command)
    config.annotations.update(annotations)
    container = Container(runtime.container(sandbox, config).id, config, sandbox)
    runtime.get("StartContainer", container_id=container.id)
    own = re.compile(f"{container.id}|{marker}".encode())
    profile = {file: own.sub(b"ITS OWN", look(runtime, container, marker, file)) for file in _SAME}
    lines = look(runtime, container, marker, "status").splitlines()
    parts = (line.partition(b":") for line in lines)
    return profile | {
        name.decode(): value
        for name, _, value in parts
        if name.decode() in _IN_STATUS or name.startswith(b"Cap")
    }
