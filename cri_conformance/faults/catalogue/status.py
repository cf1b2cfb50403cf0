# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for Status."""

from google.protobuf.message import Message

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.fault import fault
from cri_conformance.faults.operators import (
    alter,
    answer_error,
    drop,
    duplicate_item,
    edit,
    leave_out,
    set_value,
)
from cri_conformance.faults.operators.lists import Which


def _of_type(name: str) -> Which:
    return Which(f"type-{name}", lambda item, call, memory: item.type == name)


def _add_info(response: Message, *_: object) -> None:
    assert isinstance(response, types.StatusResponse)
    response.info["debug"] = "{}"


FAULTS = [
    fault(
        "RuntimeService.Status.succeeds",
        answer_error("Status", ~when.given("verbose"), "UNAVAILABLE"),
        ordinary=False,
    ),
    fault("StatusResponse.status.set", drop("Status", "status")),
    fault(
        "RuntimeStatus.conditions.runtime-ready",
        alter("Status", "status.conditions.type", changes.replaced("RuntimeReady", "Ready")),
    ),
    fault(
        "RuntimeStatus.conditions.network-ready",
        alter("Status", "status.conditions.type", changes.replaced("NetworkReady", "CNIReady")),
    ),
    fault("RuntimeCondition.type-once", duplicate_item("Status", path="status.conditions")),
    fault(
        "RuntimeCondition.reason.one-word",
        set_value("Status", "status.conditions.reason", "cni plugin not initialized"),
    ),
    fault(
        "StatusRequest.verbose.same-status",
        drop("Status", "runtime_handlers", when=when.given("verbose")),
    ),
    fault(
        "StatusResponse.info.only-verbose",
        edit("adds-info", "Status", "info is there whether asked for or not", _add_info),
    ),
    fault("StatusResponse.info.json", set_value("Status", "info[*]", "not json")),
    fault("RuntimeHandler.name.unique", duplicate_item("Status", path="runtime_handlers")),
    fault(
        "RuntimeHandler.name.default-listed",
        leave_out(
            "Status", Which("default", lambda item, *_: not item.name), path="runtime_handlers"
        ),
    ),
    fault(
        "RuntimeFeatures.supplemental_groups_policy.policy-accepted",
        answer_error(
            "CreateContainer",
            when.requested(
                "config.linux.security_context.supplemental_groups_policy", types.Strict
            ),
            "UNIMPLEMENTED",
        ),
    ),
    fault(
        "RuntimeFeatures.supplemental_groups_policy.user-reported",
        drop("ContainerStatus", "status.user"),
    ),
]
