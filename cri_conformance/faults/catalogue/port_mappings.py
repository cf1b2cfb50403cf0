# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for ports of a sandbox on its host, where sandboxes have networks of their own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults.fault import Call, Fault, Operator, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import alter_request, edit_request, ignore_request, instead

_RUN = "RunPodSandbox"
_MAPPINGS = "config.port_mappings"


def _each(name: str, says: str, work: Callable[[types.PortMapping], bool]) -> Operator:
    """Every mapping is changed by ``work``, and left out where that says False."""

    def change(request: Any, call: Call, memory: Memory) -> None:
        kept = [mapping for mapping in request.config.port_mappings if work(mapping)]
        del request.config.port_mappings[:]
        request.config.port_mappings.extend(kept)

    return edit_request(name, _RUN, says, change)


def _without(protocol: int) -> Callable[[types.PortMapping], bool]:
    return lambda mapping: mapping.protocol != protocol


def _loopback(mapping: types.PortMapping) -> bool:
    mapping.host_ip = mapping.host_ip or "127.0.0.1"
    return True


def _same_number(mapping: types.PortMapping) -> bool:
    mapping.container_port = mapping.host_port or mapping.container_port
    return True


def _own_number(mapping: types.PortMapping) -> bool:
    mapping.host_port = mapping.host_port or mapping.container_port
    return True


def _some_number(mapping: types.PortMapping) -> bool:
    if not mapping.host_port:
        with socket.socket() as probe:
            probe.bind(("0.0.0.0", 0))
            mapping.host_port = probe.getsockname()[1]
    return True


def _both_protocols(request: Any, call: Call, memory: Memory) -> None:
    for mapping in list(request.config.port_mappings):
        if mapping.protocol == types.TCP and mapping.host_port:
            twin = request.config.port_mappings.add()
            twin.CopyFrom(mapping)
            twin.protocol = types.UDP


def _once(request: Any, call: Call, memory: Memory) -> None:
    """A port that any sandbox ever had is not given to another."""
    mappings = request.config.port_mappings
    fresh = [one for one in mappings if not memory.count(("port", one.protocol, one.host_port))]
    del mappings[:]
    mappings.extend(fresh)


def _isolated(clause: str, operator: Operator) -> Fault:
    return fault(clause, operator, isolated=True)


FAULTS: list[Fault] = [
    _isolated(
        "PortMapping.host_port.forwards",
        _each("ports-at-the-loopback", "ports are open to the host itself only", _loopback),
    ),
    _isolated(
        "PortMapping.container_port.reached",
        _each("ports-keep-their-number", "the sandbox's port is the host's", _same_number),
    ),
    _isolated(
        "Protocol.TCP.mapped", _each("no-tcp-ports", "TCP is not mapped", _without(types.TCP))
    ),
    _isolated(
        "Protocol.UDP.mapped", _each("no-udp-ports", "UDP is not mapped", _without(types.UDP))
    ),
    _isolated(
        "Protocol.SCTP.mapped", _each("no-sctp-ports", "SCTP is not mapped", _without(types.SCTP))
    ),
    _isolated(
        "PortMapping.protocol.only-this-protocol",
        edit_request("ports-of-both-protocols", _RUN, "TCP ports take UDP too", _both_protocols),
    ),
    _isolated(
        "PodSandboxConfig.port_mappings.all-of-them",
        alter_request(_RUN, _MAPPINGS, changes.cut(1)),
    ),
    _isolated("PortMapping.host_ip.only-there", ignore_request(_RUN, f"{_MAPPINGS}.host_ip")),
    _isolated(
        "PortMapping.host_port.zero-not-exposed",
        _each("port-zero-is-its-own", "without a host port the number is used", _own_number),
    ),
    _isolated(
        "PortMapping.host_port.zero-not-dynamic",
        _each("port-zero-is-any", "without a host port some free one is used", _some_number),
    ),
    _isolated(
        "RuntimeService.StopPodSandbox.host-port-freed",
        edit_request("ports-are-never-freed", _RUN, "a port is mapped only once", _once),
    ),
    _isolated(
        "RuntimeService.StopPodSandbox.network-reclaimed",
        instead("StopPodSandbox", "StopContainer"),
    ),
]
