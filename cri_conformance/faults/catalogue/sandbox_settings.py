# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what a sandbox's settings do in its containers, where these are isolated."""

from __future__ import annotations

from typing import Any

from cri_conformance.faults import changes
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter_request,
    edit,
    edit_request,
    ignore_request,
    set_request,
    set_value,
)

_RUN, _CREATE, _STATUS = "RunPodSandbox", "CreateContainer", "PodSandboxStatus"
_DNS, _SYSCTLS = "config.dns_config", "config.linux.sysctls"

_not_first = When(
    "not-first-container",
    lambda call, memory: memory.count(("container", call.request.pod_sandbox_id)) > 0,
)


def _other_resolver(request: Any, call: Call, memory: Memory) -> None:
    request.config.mounts.add(container_path="/etc/resolv.conf", host_path="/etc/hostname")


def _leak(request: Any, call: Call, memory: Memory) -> None:
    """A sandbox without settings gets those that another was given."""
    sysctls = request.config.linux.sysctls
    if sysctls:
        memory.keep("sysctls", dict(sysctls))
    else:
        sysctls.update(memory.kept("sysctls", dict))


def _unpack(request: Any, call: Call, memory: Memory) -> None:
    """Name and value are put into one word, which is taken apart at each +."""
    sysctls = request.config.linux.sysctls
    pairs = "+".join(f"{name}={value}" for name, value in sysctls.items()).split("+")
    sysctls.clear()
    sysctls.update(pair.split("=", 1) for pair in pairs if "=" in pair)


def _one_more_address(response: Any, call: Call, memory: Memory) -> None:
    response.status.network.additional_ips.add(ip="2001:db8::77")


def _elsewhere(request: Any, call: Call, memory: Memory) -> None:
    """Every container comes into the sandbox before the one that was asked for, if it is there."""
    before = memory.keep("asked for", request.pod_sandbox_id)
    if before and not memory.removed(before):
        request.pod_sandbox_id = before


FAULTS: list[Fault] = [
    fault(
        "PodSandboxConfig.hostname.in-force",
        set_request(_RUN, "config.hostname", "elsewhere"),
        isolated=True,
    ),
    # -- resolver
    *(
        fault(clause, alter_request(_RUN, f"{_DNS}.{field}", change), isolated=True)
        for clause, field, change in (
            ("DNSConfig.servers.in-resolv-conf", "servers", changes.cut(2)),
            ("DNSConfig.servers.in-resolv-conf", "servers", changes.suffixed(["192.0.2.53"])),
            ("DNSConfig.servers.in-order", "servers", changes.reverse),
            ("DNSConfig.searches.in-resolv-conf", "searches", changes.drop_first),
            ("DNSConfig.searches.in-order", "searches", changes.Change("sorted", sorted)),
            ("DNSConfig.options.in-resolv-conf", "options", changes.drop_last),
        )
    ),
    fault(
        "PodSandboxConfig.dns_config.every-container",
        edit_request(
            "resolver-of-its-own",
            _CREATE,
            "the containers of a sandbox but for the first have another resolv.conf",
            _other_resolver,
            when=_not_first,
        ),
        isolated=True,
    ),
    # -- kernel settings
    fault(
        "LinuxPodSandboxConfig.sysctls.in-force",
        ignore_request(_RUN, f"{_SYSCTLS}[kernel.shm_rmid_forced]"),
        isolated=True,
    ),
    fault(
        "LinuxPodSandboxConfig.sysctls.this-sandbox-only",
        edit_request("sysctls-leak", _RUN, "later sandboxes have another's sysctls", _leak),
        isolated=True,
    ),
    # CRI-O did so once (CVE-2022-0811).
    fault(
        "LinuxPodSandboxConfig.sysctls.no-other",
        edit_request("sysctls-in-one-word", _RUN, "a + in a sysctl begins another", _unpack),
        isolated=True,
    ),
    # -- network
    fault(
        "PodSandboxNetworkStatus.ip.is-the-pods-address",
        set_value(_STATUS, "status.network.ip", "192.0.2.77"),
        isolated=True,
    ),
    fault(
        "PodSandboxNetworkStatus.ip.reached-from-node",
        set_value(_STATUS, "status.network.ip", "127.0.0.77"),
        isolated=True,
    ),
    fault(
        "PodIP.ip.is-the-pods-address",
        edit("one-address-too-many", _STATUS, "an address that no pod has", _one_more_address),
        isolated=True,
    ),
    fault(
        "CreateContainerRequest.pod_sandbox_id.shares-sandbox",
        edit_request(
            "into-the-sandbox-before", _CREATE, "containers come into another sandbox", _elsewhere
        ),
        isolated=True,
    ),
]
