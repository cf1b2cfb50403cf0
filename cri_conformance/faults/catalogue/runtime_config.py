# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for RuntimeConfig and UpdateRuntimeConfig."""

from __future__ import annotations

from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import answer_error, edit, set_value

_CONFIG, _UPDATE = "RuntimeService.RuntimeConfig", "RuntimeService.UpdateRuntimeConfig"
_DRIVER = "LinuxRuntimeConfiguration.cgroup_driver"
_CIDR = "runtime_config.network_config.pod_cidr"
_pair = When(
    "pair-of-ranges",
    lambda call, memory: "," in call.request.runtime_config.network_config.pod_cidr,
)


def _network_down(response: Any, call: Call, memory: Memory) -> None:
    for condition in response.status.conditions:
        if condition.type == "NetworkReady":
            condition.status = False


def _other_driver(response: Any, call: Call, memory: Memory) -> None:
    response.linux.cgroup_driver = memory.count("driver") % 2


FAULTS = [
    fault(
        f"{_CONFIG}.answered",
        answer_error("RuntimeConfig", when.always, "INTERNAL"),
        ordinary=False,
    ),
    fault(
        f"{_CONFIG}.static",
        edit("other-driver", "RuntimeConfig", "the driver is another at each call", _other_driver),
    ),
    fault(f"{_DRIVER}.known", set_value("RuntimeConfig", "linux.cgroup_driver", 7)),
    fault(
        f"{_DRIVER}.as-laid-out",
        set_value("RuntimeConfig", "linux.cgroup_driver", types.SYSTEMD),
        isolated=True,
    ),
    fault(
        f"{_UPDATE}.cidr-accepted",
        answer_error("UpdateRuntimeConfig", when.given(_CIDR)),
        ordinary=False,
    ),
    fault(f"{_UPDATE}.dual-stack-accepted", answer_error("UpdateRuntimeConfig", _pair)),
    fault(
        f"{_UPDATE}.repeated",
        answer_error("UpdateRuntimeConfig", when.given(_CIDR) & when.from_time(3)),
    ),
    fault(
        f"{_UPDATE}.network-stays",
        edit(
            "network-down",
            "Status",
            "the network is not ready once ranges of both families were handed over",
            _network_down,
            when=When(
                "after-update", lambda call, memory: memory.times("UpdateRuntimeConfig") >= 4
            ),
        ),
    ),
    fault(
        "NetworkConfig.pod_cidr.empty",
        answer_error("UpdateRuntimeConfig", when.missing(_CIDR)),
    ),
]
