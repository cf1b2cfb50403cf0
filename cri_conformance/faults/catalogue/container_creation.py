# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for CreateContainer: ids, names, images, and annotations with an influence."""

from __future__ import annotations

import itertools
from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    add_entry,
    alter,
    alter_request,
    answer_error,
    drop,
    edit_request,
    gives_same_answer,
    set_request,
)
from cri_conformance.faults.operators.images import image_of

_CREATE = "CreateContainer"
_SHELL = "localhost/cri-conformance/shell:reference"
_number = itertools.count(1)
_numbered = Change("numbered", lambda name: f"{name}-{next(_number)}")


def _image(name: str, test: Any) -> When:
    return When(name, lambda call, memory: test(call.request.config.image.image))


def _elsewhere(call: Call, memory: Memory) -> bool:
    """The name was first used in another sandbox."""
    sandbox = call.request.pod_sandbox_id
    name = call.request.config.metadata.name
    return bool(memory.kept(("sandbox of", name), lambda: sandbox) != sandbox)


def _obey(request: types.CreateContainerRequest, call: Call, memory: Memory) -> None:
    if request.config.annotations:
        request.config.envs.add(key="ANNOTATED", value=b"1")


def _believe(request: types.CreateContainerRequest, call: Call, memory: Memory) -> None:
    image = request.config.image
    spelt = image.user_specified_image
    if spelt != image.image and image_of(call, spelt) is not None:
        image.image = spelt


FAULTS: list[Fault] = [
    # -- ids
    fault(
        "CreateContainerResponse.container_id.non-empty",
        drop(_CREATE, "container_id", when=when.requested("config.metadata.attempt", 7)),
    ),
    fault(
        "CreateContainerResponse.container_id.names-container",
        alter(
            _CREATE,
            "container_id",
            changes.reverse,
            when=when.requested("config.metadata.attempt", 7),
        ),
    ),
    fault(
        "CreateContainerResponse.container_id.unique",
        gives_same_answer(_CREATE, when=when.in_company),
    ),
    # -- names
    fault(
        "ContainerMetadata.unique-in-sandbox",
        alter_request(_CREATE, "config.metadata.name", _numbered, when=when.overlapping),
    ),
    fault(
        "ContainerMetadata.unique-in-sandbox",
        alter_request(_CREATE, "config.metadata.name", _numbered, when=when.again),
    ),
    fault(
        "ContainerMetadata.next-attempt",
        answer_error(_CREATE, when.requested("config.metadata.attempt", 1), "ALREADY_EXISTS"),
    ),
    fault(
        "ContainerMetadata.other-sandbox",
        answer_error(_CREATE, When("name-in-other-sandbox", _elsewhere), "ALREADY_EXISTS"),
    ),
    # -- the sandbox's config
    fault(
        "CreateContainerRequest.sandbox_config.repeat-harmless",
        add_entry(
            "PodSandboxStatus",
            "status.labels",
            when=When("with-containers", lambda call, memory: memory.times(_CREATE) > 0),
        ),
    ),
    # -- the image
    fault(
        "ImageSpec.image.by-id",
        answer_error(_CREATE, _image("image-id", lambda name: name.startswith("sha256:"))),
    ),
    fault(
        "ImageSpec.image.by-tag",
        answer_error(_CREATE, _image("tag", lambda name: name.endswith(":reference"))),
        ordinary=False,
    ),
    fault(
        "ImageSpec.image.by-digest",
        answer_error(_CREATE, _image("digest", lambda name: "@" in name)),
    ),
    fault(
        "ImageSpec.image.empty",
        set_request(_CREATE, "config.image.image", _SHELL, when=when.missing("config.image.image")),
    ),
    fault(
        "ImageSpec.user_specified_image.image-decides",
        edit_request("user-s-spelling-decides", _CREATE, "user_specified_image decides", _believe),
    ),
    # -- annotations
    # CRI-O gave annotations a meaning, up to a hole (CVE-2024-3154).
    fault(
        "ContainerConfig.annotations.no-influence",
        edit_request("annotations-matter", _CREATE, "annotations change the process", _obey),
    ),
]
