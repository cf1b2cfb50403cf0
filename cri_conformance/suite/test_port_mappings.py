# SPDX-License-Identifier: Apache-2.0
"""Ports of a sandbox on its host: which are there, where they lead, and for whom.

One sandbox has mappings of all kinds; behind each is a server that answers with a word of
its own, so that what answers on the host can be told.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, NotExercised, clause
from cri_conformance.suite.marked import marked, process_of
from cri_conformance.suite.others import foreign_sandboxes
from cri_conformance.suite.pod_servers import (
    ask,
    free_ports,
    host_address,
    pod_servers,
)
from cri_conformance.wire.host import Host
from cri_conformance.wire.runtime import Runtime, Sandbox

pytestmark = [pytest.mark.usefixtures("isolation"), pytest.mark.disturbs("host ports")]

_LOOPBACK = "127.0.0.1"
_PROTOCOLS = {"tcp": types.TCP, "udp": types.UDP, "sctp": types.SCTP}


@dataclass(frozen=True, slots=True)
class Mapped:
    """A sandbox whose servers say what they are; ports by name, all of the host."""

    sandbox: str
    address: str
    ports: dict[str, int]
    #: Ports that programs of the host listened on before.
    listened_on: frozenset[int]

    def ask(self, kind: str, name: str, address: str = "") -> str:
        """What answers at a port of the host; "" for nobody."""
        return ask(kind, address or self.address, self.ports[name])


#: (name of the host port, protocol, port in the sandbox, whether only at one address).
_MAPPINGS = (
    ("one", "tcp", 8080, False),
    ("two", "tcp", 8081, False),
    ("one", "udp", 9053, False),
    ("there", "tcp", 8082, True),
)


def _word(kind: str, port: int) -> str:
    return f"{kind} {port} of the sandbox"


@pytest.fixture(scope="module")
def mapped(module_runtime: Runtime, host: Host) -> Iterator[Mapped]:
    """See above."""
    runtime, address = module_runtime, host_address()
    ports = dict(zip(("one", "two", "there", "none"), free_ports(4), strict=True))
    config = runtime.sandbox_config()
    for name, kind, port, one_address in _MAPPINGS:
        config.port_mappings.add(
            protocol=_PROTOCOLS[kind],
            container_port=port,
            host_port=ports[name],
            host_ip=address if one_address else "",
        )
    config.port_mappings.add(protocol=types.TCP, container_port=ports["none"], host_port=0)
    listened_on = _listened_on(host)
    sandbox = runtime.sandbox(config)
    _, mark = marked(runtime, sandbox)
    with pod_servers(host, process_of(host, mark)) as servers:
        for _, kind, port, _ in _MAPPINGS:
            servers.serve(kind, port, _word(kind, port))
        # Behind mapped ports of the other protocol nobody should be found.
        servers.serve("udp", 8081, _word("udp", 8081))
        servers.serve("tcp", ports["none"], _word("tcp", ports["none"]))
        yield Mapped(sandbox.id, address, ports, listened_on)


def _judge(judge: Judge, clause_id: str, mapped: Mapped, kind: str, name: str, port: int) -> None:
    judge.equal(
        clause_id,
        mapped.ask(kind, name),
        _word(kind, port),
        f"{kind} port {mapped.ports[name]} of {mapped.address} leads to",
        about=[mapped.sandbox],
    )


@clause("PortMapping.host_port.forwards")
def test_a_port_of_the_host_leads_into_the_sandbox(mapped: Mapped, judge: Judge) -> None:
    _judge(judge, "PortMapping.host_port.forwards", mapped, "tcp", "one", 8080)


@clause("Protocol.TCP.mapped")
def test_connections_are_mapped(mapped: Mapped, judge: Judge) -> None:
    _judge(judge, "Protocol.TCP.mapped", mapped, "tcp", "two", 8081)


@clause("PortMapping.container_port.reached")
def test_a_port_leads_to_its_own(mapped: Mapped, judge: Judge) -> None:
    _judge(judge, "PortMapping.container_port.reached", mapped, "tcp", "two", 8081)


@clause("Protocol.UDP.mapped")
def test_datagrams_go_both_ways(mapped: Mapped, judge: Judge) -> None:
    _judge(judge, "Protocol.UDP.mapped", mapped, "udp", "one", 9053)


@clause("PortMapping.protocol.only-this-protocol")
def test_a_mapping_is_for_one_protocol(mapped: Mapped, judge: Judge) -> None:
    name = "PortMapping.protocol.only-this-protocol"
    _judge(judge, name, mapped, "tcp", "one", 8080)
    _judge(judge, name, mapped, "udp", "one", 9053)
    seen = mapped.ask("udp", "two")
    judge.equal(name, seen, "", "udp port of a tcp mapping leads to", about=[mapped.sandbox])


@clause("PodSandboxConfig.port_mappings.all-of-them")
def test_every_mapping_counts(mapped: Mapped, judge: Judge) -> None:
    for name, kind, port, _ in _MAPPINGS:
        _judge(judge, "PodSandboxConfig.port_mappings.all-of-them", mapped, kind, name, port)


@clause("PortMapping.host_ip.only-there")
def test_a_port_at_one_address(mapped: Mapped, judge: Judge) -> None:
    name = "PortMapping.host_ip.only-there"
    _judge(judge, name, mapped, "tcp", "there", 8082)
    seen = mapped.ask("tcp", "there", _LOOPBACK)
    judge.equal(name, seen, "", f"the port at {_LOOPBACK} leads to", about=[mapped.sandbox])


# -- port zero -------------------------------------------------------------------------------


@clause("PortMapping.host_port.zero-not-exposed")
def test_no_port_under_its_own_number(mapped: Mapped, judge: Judge) -> None:
    name = "PortMapping.host_port.zero-not-exposed"
    for address in (mapped.address, _LOOPBACK):
        seen = mapped.ask("tcp", "none", address)
        judge.equal(name, seen, "", f"the port at {address} leads to", about=[mapped.sandbox])


@clause("PortMapping.host_port.zero-not-dynamic")
def test_no_port_of_the_runtimes_choice(
    runtime: Runtime, host: Host, judge: Judge, request: pytest.FixtureRequest
) -> None:
    name = "PortMapping.host_port.zero-not-dynamic"
    if judge.rules.register[name].since > judge.rules.minor:
        # A look at thousands of ports: not for nothing.
        judge.skip(Reason.YOUNGER, "told of port zero since 1.33")
    mapped: Mapped = request.getfixturevalue("mapped")
    if foreign_sandboxes(runtime):
        judge.skip(Reason.OTHERS, "ports of other pods are left alone")
    wanted = _word("tcp", mapped.ports["none"])
    first, last = map(int, _read(host, "/proc/sys/net/ipv4/ip_local_port_range").split())
    # Programs that listened before the sandbox was there are left alone.
    taken = mapped.listened_on
    open_ports = [
        port for port in range(first, last + 1) if port not in taken and _opens(mapped, port)
    ]
    with ThreadPoolExecutor(8) as pool:
        words = pool.map(lambda port: ask("tcp", mapped.address, port), open_ports)
        found = [port for port, word in zip(open_ports, words, strict=True) if word == wanted]
    judge.equal(
        name,
        found,
        [],
        "ports of the host that lead to the one without a host port:",
        about=[mapped.sandbox],
    )


def _opens(mapped: Mapped, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((mapped.address, port)) == 0


def _read(host: Host, path: str) -> str:
    return host.path(path).read_text(encoding="utf-8")


def _listened_on(host: Host) -> frozenset[int]:
    """TCP ports that programs of the host listen on."""
    found: set[int] = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            lines = _read(host, f"/proc/1/net/{name}").splitlines()[1:]
            rows = [line.split() for line in lines]
            found |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
    return frozenset(found)


# -- what is recorded, and what this host may not have -----------------------------------------


@clause("PortMapping.host_port.out-of-range")
def test_a_port_that_there_is_not(runtime: Runtime, judge: Judge) -> None:
    said = []
    for port in (65536, -1):
        config = runtime.sandbox_config()
        config.port_mappings.add(protocol=types.TCP, container_port=8080, host_port=port)
        said.append(f"{port}: {runtime.run_sandbox(config)}")
    judge.record("PortMapping.host_port.out-of-range", "; ".join(said))


@clause("PortMapping.host_port.taken")
def test_a_port_that_another_sandbox_has(mapped: Mapped, runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    config.port_mappings.add(protocol=types.TCP, container_port=8080, host_port=mapped.ports["two"])
    judge.record("PortMapping.host_port.taken", runtime.run_sandbox(config))


@clause("Protocol.SCTP.mapped")
def test_associations_are_mapped(runtime: Runtime, host: Host, judge: Judge) -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    except OSError as error:
        judge.skip(Reason.NEEDS_HARDWARE, f"SCTP in the kernel: {error.strerror}")
    (port,) = free_ports(1)
    config = runtime.sandbox_config()
    config.port_mappings.add(protocol=types.SCTP, container_port=7070, host_port=port)
    sandbox = runtime.sandbox(config)
    _, mark = marked(runtime, sandbox)
    with pod_servers(host, process_of(host, mark)) as servers:
        servers.serve("sctp", 7070, "sctp")
        seen = ask("sctp", host_address(), port)
    judge.equal("Protocol.SCTP.mapped", seen, "sctp", f"port {port} leads to", about=[sandbox.id])


# -- the end of a sandbox --------------------------------------------------------------------


@clause("RuntimeService.StopPodSandbox.host-port-freed")
def test_a_port_is_free_again(runtime: Runtime, host: Host, judge: Judge) -> None:
    name = "RuntimeService.StopPodSandbox.host-port-freed"
    (port,) = free_ports(1)
    address = host_address()

    def run(word: str) -> tuple[Sandbox, str]:
        config = runtime.sandbox_config()
        config.port_mappings.add(protocol=types.TCP, container_port=8080, host_port=port)
        sandbox = Sandbox(judge.response(name, runtime.run_sandbox(config)).pod_sandbox_id, config)
        _, mark = marked(runtime, sandbox)
        with pod_servers(host, process_of(host, mark)) as servers:
            servers.serve("tcp", 8080, word)
            return sandbox, ask("tcp", address, port)

    before, seen = run("first")
    if seen != "first":
        raise NotExercised(Reason.NEEDS_HOST, "no port of the host leads to a sandbox")
    runtime.get("StopPodSandbox", pod_sandbox_id=before.id)
    after, seen = run("second")
    judge.equal(name, seen, "second", f"port {port} leads to", about=[before.id, after.id])


@clause("RuntimeService.StopPodSandbox.network-reclaimed")
def test_the_network_is_given_back(runtime: Runtime, host: Host, judge: Judge) -> None:
    before = _interfaces(host)
    sandbox = runtime.sandbox()
    container, _ = marked(runtime, sandbox)
    said = runtime.exec(container, "/bin/sh", "-c", "cat /sys/class/net/*/iflink").stdout
    ends = {int(word) for word in said.split()}
    # The host's ends of the sandbox's interfaces that came with it: not what they are built on.
    came = {name for index, name in _interfaces(host).items() if index in ends - before.keys()}
    if not came:
        judge.skip(Reason.NEEDS_HOST, "the sandbox has no interface of its own on the host")
    runtime.get("StopPodSandbox", pod_sandbox_id=sandbox.id)
    left = came & set(_interfaces(host).values())
    judge.equal(
        "RuntimeService.StopPodSandbox.network-reclaimed",
        sorted(left),
        [],
        "interfaces of the sandbox on the host:",
        about=[sandbox.id],
    )


def _interfaces(host: Host) -> dict[int, str]:
    """The host's network interfaces by their numbers."""
    found = {}
    for path in Path(host.path("/sys/class/net")).iterdir():
        with contextlib.suppress(OSError, ValueError):
            found[int((path / "ifindex").read_text(encoding="utf-8"))] = path.name
    return found
