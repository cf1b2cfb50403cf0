# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for features: advertised and refused, or not advertised and ignored."""

from __future__ import annotations

from cri_conformance.api import types
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Fault, Operator, fault
from cri_conformance.faults.operators import (
    answer_error,
    ignore_request,
    set_value,
    together,
)

_HANDLER, _FEATURES = "RuntimeHandlerFeatures", "RuntimeFeatures"
_USERNS = "config.linux.security_context.namespace_options.userns_options"
_on_host_network = When(
    "on-host-network",
    lambda call, memory: (
        call.request.config.linux.security_context.namespace_options.network == types.NODE
    ),
)


def _advertised(field: str) -> Operator:
    return set_value("Status", f"runtime_handlers.features.{field}", True)


def _refused(rpc: str, condition: When) -> Operator:
    return answer_error(rpc, condition, "UNIMPLEMENTED")


_mapped = when.given(f"{_USERNS}.uids")

FAULTS: list[Fault] = [
    fault(
        f"{_HANDLER}.recursive_read_only_mounts.accepted",
        together(
            _advertised("recursive_read_only_mounts"),
            _refused("CreateContainer", when.given("config.mounts.recursive_read_only")),
        ),
    ),
    fault(
        f"{_HANDLER}.user_namespaces.accepted",
        together(_advertised("user_namespaces"), _refused("RunPodSandbox", _mapped)),
    ),
    fault(
        f"{_HANDLER}.user_namespaces.mapped-mounts-accepted",
        together(
            _advertised("user_namespaces"),
            ignore_request("RunPodSandbox", _USERNS),
            _refused("CreateContainer", when.given("config.mounts.uidMappings")),
        ),
    ),
    fault(f"{_HANDLER}.user_namespaces.unadvertised", ignore_request("RunPodSandbox", _USERNS)),
    fault(
        f"{_FEATURES}.user_namespaces_host_network.honoured",
        together(
            set_value("Status", "features.user_namespaces_host_network", True),
            _refused("RunPodSandbox", _mapped & _on_host_network),
        ),
    ),
    fault(
        f"{_FEATURES}.mount_options.accepted",
        together(
            set_value("Status", "features.mount_options", True),
            _refused("CreateContainer", when.given("config.mounts.mount_options")),
        ),
    ),
    fault(
        f"{_FEATURES}.mount_options.unadvertised",
        ignore_request("CreateContainer", "config.mounts.mount_options"),
    ),
]
