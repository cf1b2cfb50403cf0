# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for the image of a container."""

from __future__ import annotations

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import changes
from cri_conformance.faults.conditions import When, status_of
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import alter, answer_error, drop


def _is_gone(call: Call, memory: Memory) -> bool:
    status = status_of(call)
    if status is None:
        return False
    asked = types.ImageStatusRequest(image=types.ImageSpec(image=status.image_ref))
    try:
        return not call.upstream("ImageStatus", asked).HasField("image")
    except StatusError:
        return False


_image_gone = When("image-gone", _is_gone)
_by_id = When("image-by-id", lambda call, memory: "sha256:" in call.request.config.image.image)
_reads_odd = When("reads-odd", lambda call, memory: "/odd/" in call.request.cmd[-1])
_reversed = changes.reverse

FAULTS: list[Fault] = [
    fault(
        "ContainerConfig.image.used",
        # As if the root were another image's, which has no such file.
        drop("ExecSync", "stdout", when=_reads_odd),
        isolated=True,
    ),
    fault(
        "ContainerConfig.image.pull-ref",
        answer_error("CreateContainer", _by_id, "NOT_FOUND"),
    ),
    fault(
        "ContainerStatus.image_id.matches-pull",
        alter("ContainerStatus", "status.image_id", _reversed),
        also=["Container.image_id.agrees-with-status"],
    ),
    fault(
        "Container.image_id.matches-pull",
        alter("ListContainers", "containers.image_id", _reversed),
        also=["Container.image_id.agrees-with-status"],
    ),
    fault(
        "ContainerStatus.image.after-image-removal",
        drop("ContainerStatus", "status.image", when=_image_gone),
    ),
    fault(
        "ContainerStatus.image_ref.after-image-removal",
        drop("ContainerStatus", "status.image_ref", when=_image_gone),
    ),
]
