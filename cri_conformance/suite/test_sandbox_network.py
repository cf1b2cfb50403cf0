# SPDX-License-Identifier: Apache-2.0
"""What the status says of a sandbox's namespaces and addresses.

The kubelet compares it with what the pod asks for and replaces a sandbox that differs,
so a wrong echo here is a pod that restarts for ever. Whether the namespaces are in
force is looked at from inside of containers, elsewhere.
"""

from __future__ import annotations

import ipaddress

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime, Sandbox

#: What pods ask for: (network, pid, ipc). The middle one is hostNetwork, hostPID and hostIPC.
MODES = {
    "pod": (types.POD, types.CONTAINER, types.POD),
    "node": (types.NODE, types.NODE, types.NODE),
    "shared-pid": (types.POD, types.POD, types.POD),
}


@pytest.fixture(scope="module")
def modes(module_runtime: Runtime) -> dict[str, tuple[Sandbox, types.PodSandboxStatus]]:
    """A sandbox in each of the modes, and its status."""
    made = {}
    for name, (network, pid, ipc) in MODES.items():
        config = module_runtime.sandbox_config(network=network)
        options = config.linux.security_context.namespace_options
        options.pid, options.ipc = pid, ipc
        sandbox = module_runtime.sandbox(config)
        made[name] = (sandbox, module_runtime.sandbox_status(sandbox.id))
    return made


Modes = dict[str, tuple[Sandbox, types.PodSandboxStatus]]


@clause("Namespace.options.network-echoed")
def test_network_mode_is_reported(modes: Modes, judge: Judge) -> None:
    for name, (sandbox, status) in modes.items():
        judge.equal(
            "Namespace.options.network-echoed",
            types.NamespaceMode.Name(status.linux.namespaces.options.network),
            types.NamespaceMode.Name(MODES[name][0]),
            about=[sandbox.id],
        )


@pytest.mark.parametrize(
    ("clause_id", "field"),
    [
        pytest.param(name, field, marks=clause(name), id=name)
        for name, field in {
            "Namespace.options.pid-echoed": "pid",
            "Namespace.options.ipc-echoed": "ipc",
        }.items()
    ],
)
def test_other_modes_are_reported(clause_id: str, field: str, modes: Modes, judge: Judge) -> None:
    reported = 0
    for sandbox, status in modes.values():
        if not status.linux.namespaces.HasField("options"):
            continue
        reported += 1
        asked = sandbox.config.linux.security_context.namespace_options
        judge.equal(
            clause_id,
            types.NamespaceMode.Name(getattr(status.linux.namespaces.options, field)),
            types.NamespaceMode.Name(getattr(asked, field)),
            about=[sandbox.id],
        )
    if not reported:
        judge.not_exercised(clause_id, Reason.NOT_ADVERTISED, "no namespace options are reported")


@clause("Namespace.options.userns-echoed")
def test_user_namespace_is_reported(runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    asked = config.linux.security_context.namespace_options.userns_options
    mapping = types.IDMapping(host_id=65536, container_id=0, length=65536)
    asked.CopyFrom(types.UserNamespace(mode=types.POD, uids=[mapping], gids=[mapping]))
    outcome = runtime.run_sandbox(config)
    if not isinstance(outcome, Ok):
        judge.record("Namespace.options.userns-echoed", outcome)
        return
    status = runtime.sandbox_status(outcome.response.pod_sandbox_id)
    shown = status.linux.namespaces.options.userns_options
    judge.record(
        "Namespace.options.userns-echoed",
        "the same" if shown == asked else f"{shown}" or "accepted, and not reported",
    )


# -- addresses ---------------------------------------------------------------------------


@clause("PodSandboxStatus.network.present-when-ready")
def test_ready_sandbox_has_a_network_part(modes: Modes, judge: Judge) -> None:
    sandbox, status = modes["pod"]
    judge.that(
        "PodSandboxStatus.network.present-when-ready",
        status.HasField("network"),
        permitted="a network part",
        actual="none",
        about=[sandbox.id],
    )


@clause("PodSandboxNetworkStatus.ip.present-when-ready")
def test_ready_sandbox_has_an_address(modes: Modes, judge: Judge) -> None:
    name = "PodSandboxNetworkStatus.ip.present-when-ready"
    sandbox, status = modes["pod"]
    if not status.HasField("network"):
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "the status has no network part")
        return
    judge.that(name, status.network.ip, permitted="an address", actual="none", about=[sandbox.id])


@clause("PodSandboxNetworkStatus.ip.parses")
def test_addresses_can_be_read(modes: Modes, judge: Judge) -> None:
    name = "PodSandboxNetworkStatus.ip.parses"
    given = [(sandbox, s.network.ip) for sandbox, s in modes.values() if s.network.ip]
    if not given:
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "no address is reported")
    for sandbox, ip in given:
        _readable(judge, name, ip, sandbox)


@clause("PodIP.ip.parses")
def test_further_addresses_can_be_read(modes: Modes, judge: Judge) -> None:
    given = [
        (sandbox, further.ip)
        for sandbox, status in modes.values()
        for further in status.network.additional_ips
    ]
    if not given:
        judge.not_exercised("PodIP.ip.parses", Reason.NOT_ADVERTISED, "no further address")
    for sandbox, ip in given:
        _readable(judge, "PodIP.ip.parses", ip, sandbox)


@clause("PodSandboxNetworkStatus.additional_ips.without-primary")
def test_main_address_is_not_repeated(modes: Modes, judge: Judge) -> None:
    name = "PodSandboxNetworkStatus.additional_ips.without-primary"
    several = [(sandbox, s) for sandbox, s in modes.values() if s.network.additional_ips]
    if not several:
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "no further address")
    for sandbox, status in several:
        further = [one.ip for one in status.network.additional_ips]
        judge.that(
            name,
            status.network.ip not in further,
            permitted=f"further addresses without {status.network.ip}",
            actual=", ".join(further),
            about=[sandbox.id],
        )


def _readable(judge: Judge, clause_id: str, ip: str, sandbox: Sandbox) -> None:
    try:
        ipaddress.ip_address(ip)
    except ValueError:
        readable = False
    else:
        readable = True
    judge.that(
        clause_id,
        readable,
        permitted="an IPv4 or IPv6 address",
        actual=repr(ip),
        about=[sandbox.id],
    )


@clause("PodSandboxNetworkStatus.ip.node-network")
def test_address_on_the_nodes_network(modes: Modes, judge: Judge) -> None:
    _, status = modes["node"]
    judge.record("PodSandboxNetworkStatus.ip.node-network", status.network.ip or "no address")


@clause("PodSandboxNetworkStatus.ip.after-stop")
def test_address_after_the_stop(runtime: Runtime, judge: Judge) -> None:
    sandbox = runtime.sandbox()
    runtime.get("StopPodSandbox", pod_sandbox_id=sandbox.id)
    shown = runtime.sandbox_status(sandbox.id).network.ip
    judge.record("PodSandboxNetworkStatus.ip.after-stop", "kept" if shown else "gone")
