# SPDX-License-Identifier: Apache-2.0
"""Images that are right, and yet other than most: containers of them must run all the same."""

from __future__ import annotations

import dataclasses
import json
import re

from cri_conformance.build import image as builder
from cri_conformance.build.messages import IDLE
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.registry import oci
from cri_conformance.suite.images import Images
from cri_conformance.suite.pulls import Pulls
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime, Sandbox

_IDLE = ["/bin/sh", "-c", IDLE]
_DIGEST = re.compile(r"(?P<name>[^@]+)@sha256:[0-9a-f]{64}")


def _judge_runs(
    judge: Judge, clause_id: str, runtime: Runtime, sandbox: Sandbox, image: str
) -> None:
    config = runtime.container_config(sandbox, image=image, command=_IDLE)
    made = judge.response(clause_id, runtime.create(sandbox, config), about=[sandbox.id])
    started = runtime.call("StartContainer", container_id=made.container_id)
    judge.ok(clause_id, started, about=[made.container_id])


@clause("ContainerConfig.image.moved-tag")
def test_a_tag_moves_to_a_manifest_of_the_same_config(
    runtime: Runtime, shared_sandbox: Sandbox, images: Images, judge: Judge
) -> None:
    first = images.made("same-config")
    reference = images.bring("same-config", first)
    if not images.pulled("same-config"):
        judge.skip(Reason.NO_REGISTRY, "the image was loaded and not pulled")
    manifest = {**json.loads(first.manifest.data), "annotations": {"of": "the second"}}
    data = json.dumps(manifest).encode()
    second = dataclasses.replace(first, manifest=oci.Blob(first.manifest.media_type, data))
    judge.ok("ContainerConfig.image.moved-tag", images.move("same-config", second))
    _judge_runs(judge, "ContainerConfig.image.moved-tag", runtime, shared_sandbox, reference)


@clause("ContainerConfig.image.linked-users")
def test_lists_of_users_may_be_links(
    runtime: Runtime, shared_sandbox: Sandbox, images: Images, judge: Judge
) -> None:
    linked = [
        oci.File("odd/passwd", builder.PASSWD.encode()),
        oci.File("odd/group", builder.GROUP.encode()),
        oci.File("etc/passwd", link="/odd/passwd"),
        oci.File("etc/group", link="/odd/group"),
    ]
    reference = images.bring("linked-users", images.made("linked-users", more=linked))
    _judge_runs(judge, "ContainerConfig.image.linked-users", runtime, shared_sandbox, reference)


@clause("Image.repo_digests.tag-and-digest")
def test_pulled_by_tag_and_digest(pulls: Pulls, judge: Judge) -> None:
    served = pulls.serve()
    digest = served.by_digest.rpartition("@")[2]
    outcome = pulls.pull(f"{served.reference}@{digest}")
    if not isinstance(outcome, Ok):
        judge.skip(Reason.NOT_ADVERTISED, f"such a name is not taken: {outcome}")
    found = pulls.status(served.by_digest)
    digests = list(found.repo_digests) if found else []
    names = [match["name"] for match in map(_DIGEST.fullmatch, digests) if match]
    judge.that(
        "Image.repo_digests.tag-and-digest",
        served.by_digest in digests
        and len(names) == len(digests)
        and not any(":" in name.rpartition("/")[2] for name in names),
        permitted=f"{served.by_digest}, and no name with a tag",
        actual=digests or "no image",
    )
