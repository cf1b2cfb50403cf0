# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what status and list say of a container, beside what was sent for it."""

from __future__ import annotations

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import (
    add_entry,
    alter,
    drop,
    freezes,
    set_value,
    swap,
)

_STATUS, _LIST = "ContainerStatus", "ListContainers"
_ANOTHER = "localhost/cri-conformance/pause:reference"
_NOBODYS = "sha256:" + "f" * 64
_relative = Change("relative", lambda path: path.lstrip("/"))


def _exited(item: types.Container) -> bool:
    return item.state == types.CONTAINER_EXITED


FAULTS: list[Fault] = [
    # -- identity
    fault("ContainerStatus.id.as-created", alter(_STATUS, "status.id", changes.cut(12))),
    fault("Container.id.as-created", alter(_LIST, "containers.id", changes.cut(12))),
    fault(
        "Container.pod_sandbox_id.owner",
        alter(_LIST, "containers.pod_sandbox_id", changes.cut(12)),
    ),
    fault(
        "Container.pod_sandbox_id.owner",
        drop(_LIST, "containers.pod_sandbox_id", where=_exited),
    ),
    fault(
        "ContainerStatusResponse.status.present",
        drop(_STATUS, "status", when=when.after("StopPodSandbox")),
    ),
    # -- the image
    fault("ContainerStatus.image.present", drop(_STATUS, "status.image.image")),
    fault("ContainerStatus.image.present", drop(_STATUS, "status.image", where=_exited)),
    fault("ContainerStatus.image.same-image", set_value(_STATUS, "status.image.image", _ANOTHER)),
    fault("Container.image.same-image", set_value(_LIST, "containers.image.image", _ANOTHER)),
    fault("ContainerStatus.image_ref.non-empty", drop(_STATUS, "status.image_ref", where=_exited)),
    fault(
        "ContainerStatus.image_ref.digested",
        set_value(_STATUS, "status.image_ref", "localhost/cri-conformance/shell:reference"),
    ),
    fault(
        "ContainerStatus.image_ref.names-image",
        set_value(_STATUS, "status.image_ref", f"localhost/cri-conformance/shell@{_NOBODYS}"),
        name="image-ref-of-no-image",
    ),
    fault("ContainerStatus.image_id.names-image", set_value(_STATUS, "status.image_id", _NOBODYS)),
    fault(
        "Container.image_id.image-in-use",
        alter(_LIST, "containers.image_id", changes.replaced("sha256:", "")),
    ),
    # A digest of the registry where ids were meant: CRI-O before 1.36 mixed them up.
    fault(
        "Container.image_id.image-in-use",
        swap(_LIST, "containers.image_id", "containers.image_ref"),
    ),
    # -- list and status
    fault(
        "Container.image_ref.agrees-with-status", drop(_LIST, "containers.image_ref", where=_exited)
    ),
    fault("Container.image_id.agrees-with-status", drop(_LIST, "containers.image_id")),
    fault(
        "Container.created_at.agrees-with-status",
        alter(_LIST, "containers.created_at", changes.seconds),
    ),
    # CRI-O's list could be staler than its status (its issue 4695).
    fault("Container.state.agrees-with-status", freezes(_LIST, "containers.state")),
    # -- verbose
    fault(
        "ContainerStatusRequest.verbose.status-unaffected",
        drop(_STATUS, "status.image_id", when=when.given("verbose")),
    ),
    fault(
        "ContainerStatusResponse.info.empty-without-verbose",
        add_entry(_STATUS, "info", "info", "{}", when=when.missing("verbose")),
    ),
    fault(
        "ContainerStatusResponse.info.json-values",
        add_entry(_STATUS, "info", "pid", "not JSON", when=when.given("verbose")),
    ),
    # -- what was asked for
    fault(
        "ContainerStatus.resources.as-created",
        alter(_STATUS, "status.resources.linux.cpu_quota", changes.times(2)),
    ),
    fault(
        "ContainerStatus.resources.as-created",
        swap(
            _STATUS,
            "status.resources.linux.cpu_period",
            "status.resources.linux.cpu_quota",
            where=lambda resources: resources.cpu_quota > 0,
        ),
    ),
    fault(
        "ContainerStatus.stop_signal.matches-config",
        set_value(_STATUS, "status.stop_signal", types.SIGNAL_SIGTERM),
        also=["ContainerStatus.stop_signal.reported"],
    ),
    fault("ContainerStatus.stop_signal.reported", drop(_STATUS, "status.stop_signal")),
    fault("ContainerUser.linux.set-on-linux", drop(_STATUS, "status.user.linux")),
    fault(
        "ContainerStatus.log_path.joined",
        alter(
            _STATUS, "status.log_path", Change("flat", lambda path: path.replace("/0.log", ".log"))
        ),
    ),
    fault("ContainerStatus.log_path.absolute", alter(_STATUS, "status.log_path", _relative)),
]
