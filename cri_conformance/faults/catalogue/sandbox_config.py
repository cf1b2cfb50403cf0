# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what RunPodSandbox accepts and refuses, and for the runtime handler."""

from __future__ import annotations

from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import suffixed
from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import (
    Which,
    alter,
    answer_error,
    does_and_fails,
    drop,
    edit_request,
    gives_same_answer,
    ignore_request,
    leave_out,
    together,
)

_RUN = "RunPodSandbox"
_SECURITY = "config.linux.security_context"


def _add_variable(request: Any, call: Any, memory: Any) -> None:
    request.config.envs.add(key="ANNOTATED", value=b"1")


def _is_later(item: types.PodSandbox, call: Any, memory: Any) -> bool:
    return item.metadata.attempt > 0


FAULTS: list[Fault] = [
    # -- identity
    fault(
        "PodSandboxMetadata.attempt.tells-apart",
        answer_error(_RUN, when.requested("config.metadata.attempt", 1), "ALREADY_EXISTS"),
    ),
    fault(
        "PodSandboxMetadata.attempt.tells-apart",
        leave_out("ListPodSandbox", Which("later-attempts", _is_later)),
    ),
    fault(
        "RunPodSandboxResponse.pod_sandbox_id.non-empty",
        drop(_RUN, "pod_sandbox_id", when=when.requested("config.metadata.attempt", 7)),
    ),
    fault(
        "RunPodSandboxResponse.pod_sandbox_id.unique",
        gives_same_answer(_RUN, when=when.in_company),
    ),
    # -- the runtime handler
    fault(
        "PodSandboxStatus.runtime_handler.reported",
        drop("PodSandboxStatus", "status.runtime_handler"),
    ),
    fault(
        "PodSandbox.runtime_handler.reported",
        drop("ListPodSandbox", "items.runtime_handler"),
    ),
    fault(
        "PodSandboxStatus.runtime_handler.no-other",
        alter("PodSandboxStatus", "status.runtime_handler", suffixed("-v2")),
    ),
    fault(
        "PodSandbox.runtime_handler.no-other",
        alter("ListPodSandbox", "items.runtime_handler", suffixed("-v2")),
    ),
    fault(
        "RunPodSandboxRequest.runtime_handler.unknown-rejected",
        ignore_request(_RUN, "runtime_handler"),
    ),
    fault(
        "RunPodSandboxRequest.runtime_handler.unknown-rejected",
        together(
            ignore_request(_RUN, "runtime_handler"),
            does_and_fails(_RUN, when.given("runtime_handler")),
        ),
        name="fails-and-runs-the-default-handler",
    ),
    fault(
        "RunPodSandboxRequest.runtime_handler.empty-default",
        answer_error(_RUN, when.missing("runtime_handler"), "NOT_FOUND"),
        ordinary=False,
    ),
    # -- what may be left out, and what may not be
    fault(
        "PodSandboxConfig.linux.optional",
        answer_error(_RUN, when.missing("config.linux"), "INVALID_ARGUMENT"),
    ),
    fault(
        "PodSandboxConfig.hostname.empty-on-node-network",
        answer_error(
            _RUN,
            when.missing("config.hostname")
            & when.requested(f"{_SECURITY}.namespace_options.network", types.NODE),
            "INVALID_ARGUMENT",
        ),
        name="fail-RunPodSandbox-without-hostname-on-node-network",
    ),
    fault(
        "PortMapping.host_port.zero-accepted",
        answer_error(_RUN, when.requested("config.port_mappings.host_port", 0)),
    ),
    fault(
        "LinuxSandboxSecurityContext.run_as_group.without-user-refused",
        ignore_request(_RUN, f"{_SECURITY}.run_as_group"),
    ),
    fault(
        "LinuxSandboxSecurityContext.run_as_group.without-user-refused",
        ignore_request(
            _RUN,
            f"{_SECURITY}.run_as_group",
            when=when.requested(f"{_SECURITY}.run_as_group.value", 0),
        ),
        name="ignore-RunPodSandbox-group-zero",
    ),
    fault(
        "PodSandboxConfig.log_directory.holds-the-logs",
        ignore_request("CreateContainer", "config.log_path"),
    ),
    # -- privileges
    fault(
        "LinuxSandboxSecurityContext.privileged.needed-for-privileged",
        ignore_request("CreateContainer", f"{_SECURITY}.privileged"),
    ),
    fault(
        "LinuxSandboxSecurityContext.privileged.allows-privileged",
        answer_error("CreateContainer", when.given(f"{_SECURITY}.privileged")),
    ),
    # -- annotations
    fault(
        "PodSandboxConfig.annotations.no-influence",
        edit_request(
            "annotations-give-a-variable",
            "CreateContainer",
            "containers of an annotated sandbox get one more variable",
            _add_variable,
            when=when.given("sandbox_config.annotations"),
        ),
    ),
]
