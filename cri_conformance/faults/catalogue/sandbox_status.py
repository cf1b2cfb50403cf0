# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what status and list say of a sandbox through its life."""

from __future__ import annotations

from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import (
    add_entry,
    add_item,
    alter,
    copy_field,
    drifts,
    drop,
    edit,
    leave_out_one,
    set_value,
    shift,
    state_as,
)

_STATUS, _LIST = "PodSandboxStatus", "ListPodSandbox"
_AGREES = "RuntimeService.ListPodSandbox.agrees-with-status"
_STOPPED = when.in_state("SANDBOX_NOTREADY")
_WITH_CONTAINERS = when.When(
    "with-containers", lambda call, memory: memory.times("CreateContainer") > 0
)
_STATUSES = "PodSandboxStatusResponse.containers_statuses"
_TIMESTAMP = "PodSandboxStatusResponse.timestamp"
_ID = "f" * 64


def _stopped(item: types.PodSandbox) -> bool:
    return item.state == types.SANDBOX_NOTREADY


def _repeat_address(response: Any, call: Any, memory: Any) -> None:
    network = response.status.network
    if network.ip:
        network.additional_ips.add(ip=network.ip)


FAULTS: list[Fault] = [
    # -- identity
    fault("PodSandboxStatus.id.full-id", alter(_STATUS, "status.id", changes.cut(12))),
    fault("PodSandbox.id.full-id", alter(_LIST, "items.id", changes.cut(12))),
    fault("PodSandboxStatusResponse.status.present", drop(_STATUS, "status", when=_STOPPED)),
    fault(
        "PodSandboxStatus.metadata.present",
        drop(_STATUS, "status.metadata.namespace", when=_STOPPED),
        also=["PodSandboxStatus.metadata.stable"],
    ),
    fault(
        "PodSandbox.metadata.present", drop(_LIST, "items.metadata", where=_stopped), also=[_AGREES]
    ),
    fault(
        "PodSandboxStatus.metadata.stable",
        shift(_STATUS, "status.metadata.attempt", changes.plus(1), when=_STOPPED),
    ),
    fault(
        "PodSandboxStatus.created_at.stable",
        drifts(_STATUS, "status.created_at", changes.plus(1)),
        also=[_AGREES],
    ),
    fault(
        "PodSandboxStatus.labels.stable",
        drop(_STATUS, "status.labels", when=_STOPPED),
        also=[_AGREES],
    ),
    fault(
        "PodSandboxStatus.annotations.unaltered-later",
        add_entry(_STATUS, "status.annotations", when=_STOPPED),
        also=[_AGREES],
    ),
    fault(
        "PodSandboxStatus.annotations.unaltered-later",
        drop(_STATUS, "status.annotations", when=_WITH_CONTAINERS),
        also=[_AGREES],
    ),
    fault(
        "PodSandbox.annotations.unaltered-later",
        drop(_LIST, "items.annotations", where=_stopped),
        also=[_AGREES],
    ),
    # -- times
    fault(
        "PodSandboxStatus.created_at.positive", drop(_STATUS, "status.created_at"), also=[_AGREES]
    ),
    fault("PodSandbox.created_at.positive", drop(_LIST, "items.created_at"), also=[_AGREES]),
    fault(
        "PodSandboxStatus.created_at.nanoseconds",
        alter(_STATUS, "status.created_at", changes.seconds),
        also=[_AGREES],
    ),
    fault(
        "PodSandbox.created_at.later-is-newer",
        shift(
            _LIST,
            "items.created_at",
            changes.plus(-3_600_000_000_000),
            where=lambda item: item.metadata.attempt > 0,
        ),
        also=[_AGREES],
    ),
    # -- containers in the answer
    fault(
        f"{_STATUSES}.own-containers",
        add_item(_STATUS, types.ContainerStatus(id=_ID), path="containers_statuses"),
    ),
    fault(
        f"{_STATUSES}.agrees",
        state_as(
            _STATUS,
            "containers_statuses.state",
            types.CONTAINER_EXITED,
            types.CONTAINER_RUNNING,
        ),
    ),
    fault(
        f"{_TIMESTAMP}.complete-list",
        leave_out_one(_STATUS, path="containers_statuses", when=_WITH_CONTAINERS),
    ),
    # CRI-O before 1.32 gave seconds.
    fault(f"{_TIMESTAMP}.nanoseconds", alter(_STATUS, "timestamp", changes.seconds)),
    # -- verbose
    fault(
        "PodSandboxStatusRequest.verbose.info-given",
        drop(_STATUS, "info", when=when.given("verbose")),
    ),
    fault(
        "PodSandboxStatusRequest.verbose.same-status",
        drop(_STATUS, "status.network", when=when.given("verbose")),
    ),
    fault(
        "PodSandboxStatusResponse.info.json-values",
        add_entry(_STATUS, "info", "pid", "not JSON", when=when.given("verbose")),
    ),
    # containerd 2.3 does so.
    fault(
        "PodSandboxStatusResponse.info.only-when-verbose",
        add_entry(_STATUS, "info", "info", "{}", when=when.missing("verbose")),
    ),
    # -- namespaces and addresses
    fault("Namespace.options.network-echoed", drop(_STATUS, "status.linux")),
    fault(
        "Namespace.options.pid-echoed",
        set_value(_STATUS, "status.linux.namespaces.options.pid", types.POD),
    ),
    fault(
        "Namespace.options.ipc-echoed",
        copy_field(
            _STATUS,
            "status.linux.namespaces.options.pid",
            "status.linux.namespaces.options.ipc",
        ),
    ),
    fault("PodSandboxStatus.network.present-when-ready", drop(_STATUS, "status.network")),
    fault("PodSandboxNetworkStatus.ip.present-when-ready", drop(_STATUS, "status.network.ip")),
    fault(
        "PodSandboxNetworkStatus.ip.parses",
        alter(_STATUS, "status.network.ip", changes.suffixed("/24")),
    ),
    fault(
        "PodIP.ip.parses",
        add_item(_STATUS, types.PodIP(ip="fd00::1/64"), path="status.network.additional_ips"),
    ),
    fault(
        "PodSandboxNetworkStatus.additional_ips.without-primary",
        edit(
            f"repeat-{_STATUS}.status.network.ip",
            _STATUS,
            "the main address stands among the further ones too",
            _repeat_address,
        ),
    ),
]
