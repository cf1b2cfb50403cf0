# SPDX-License-Identifier: Apache-2.0
"""RuntimeConfig and UpdateRuntimeConfig: settings that kubelet and runtime have to agree on.

What is handed over here stays harmless on a node in use: the range is the one that our own
sandbox has its address from, and it is sent only while the network is ready. A runtime
that makes its network from the range does so before that.
"""

from __future__ import annotations

import ipaddress

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.marked import cgroup_paths, marked
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.runtime import Runtime, Sandbox

_CONFIG, _UPDATE = "RuntimeService.RuntimeConfig", "RuntimeService.UpdateRuntimeConfig"
_DRIVER = "LinuxRuntimeConfiguration.cgroup_driver"
#: Ranges for documentation, by family: nobody's pods have an address from them.
_NOBODYS = {4: "192.0.2.0/24", 6: "2001:db8:c0de::/64"}
_NO_RANGES = ("not a range", "10.0.0.0/99", "300.1.1.0/24")


# -- what the kubelet has to match -----------------------------------------------------------


def _runtime_config(runtime: Runtime, judge: Judge) -> types.RuntimeConfigResponse:
    outcome = runtime.call("RuntimeConfig")
    if isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
        judge.skip(Reason.YOUNGER, "no RuntimeConfig")
    if not isinstance(outcome, Ok):
        judge.skip(Reason.NOT_ADVERTISED, f"RuntimeConfig answers {outcome}")
    response: types.RuntimeConfigResponse = outcome.response
    return response


@clause(f"{_CONFIG}.answered")
def test_runtime_config_is_answered(runtime: Runtime, judge: Judge) -> None:
    outcome = runtime.call("RuntimeConfig")
    unimplemented = isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED"
    judge.that(
        f"{_CONFIG}.answered",
        isinstance(outcome, Ok) or unimplemented,
        permitted="OK, or UNIMPLEMENTED",
        actual=outcome,
    )


@clause(f"{_CONFIG}.static", "RuntimeConfigResponse.linux.given", f"{_DRIVER}.known")
def test_runtime_config_stays(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    before = _runtime_config(runtime, judge)
    runtime.running(shared_sandbox)
    judge.equal(f"{_CONFIG}.static", _runtime_config(runtime, judge), before)
    given = before.HasField("linux")
    judge.record("RuntimeConfigResponse.linux.given", "given" if given else "not given")
    if not given:
        judge.not_exercised(f"{_DRIVER}.known", Reason.NOT_ADVERTISED, "no settings for Linux")
        return
    known = [value.number for value in types.CgroupDriver.DESCRIPTOR.values]
    judge.that(
        f"{_DRIVER}.known",
        before.linux.cgroup_driver in known,
        permitted=f"one of {known}",
        actual=before.linux.cgroup_driver,
    )


@clause(f"{_DRIVER}.as-laid-out")
def test_cgroups_are_as_the_driver_lays_them_out(
    isolation: None, host: Host, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    config = _runtime_config(runtime, judge)
    if not config.HasField("linux"):
        judge.skip(Reason.NOT_ADVERTISED, "no settings for Linux")
    driver = types.CgroupDriver.Name(config.linux.cgroup_driver)
    # The last part of the path: what lies above may be somebody else's, on a host with systemd.
    names = {
        path.rpartition("/")[2] for path in cgroup_paths(host, *marked(runtime, shared_sandbox))
    }
    by_systemd = {name for name in names if name.endswith((".scope", ".service"))}
    judge.that(
        f"{_DRIVER}.as-laid-out",
        by_systemd if driver == "SYSTEMD" else not by_systemd,
        permitted=f"cgroups as {driver} makes them",
        actual=sorted(names),
    )


# -- what the kubelet hands over --------------------------------------------------------------


def _update(runtime: Runtime, cidr: str) -> Outcome:
    network = types.NetworkConfig(pod_cidr=cidr)
    return runtime.call(
        "UpdateRuntimeConfig", runtime_config=types.RuntimeConfig(network_config=network)
    )


def _network_ready(runtime: Runtime) -> bool:
    conditions = runtime.get("Status").status.conditions
    return any(one.type == "NetworkReady" and one.status for one in conditions)


@clause(
    f"{_UPDATE}.cidr-accepted",
    f"{_UPDATE}.repeated",
    f"{_UPDATE}.dual-stack-accepted",
    f"{_UPDATE}.network-stays",
    "NetworkConfig.pod_cidr.empty",
    "NetworkConfig.pod_cidr.malformed",
)
def test_pod_addresses_are_taken_over(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    if not _network_ready(runtime):
        # Then a runtime may begin to make one, from whatever range we say.
        judge.skip(Reason.NOT_ADVERTISED, "the network is not ready, and would be made anew")
    empty = "NetworkConfig.pod_cidr.empty"
    judge.ok(empty, _update(runtime, ""))
    judge.that(
        empty, _network_ready(runtime), permitted="NetworkReady as before", actual="not ready"
    )
    address = runtime.sandbox_status(shared_sandbox.id).network.ip
    if not address:
        for name in ("cidr-accepted", "repeated", "dual-stack-accepted", "network-stays"):
            judge.not_exercised(f"{_UPDATE}.{name}", Reason.NOT_ADVERTISED, "pods have no address")
    else:
        family = ipaddress.ip_address(address).version
        length, other = (24, _NOBODYS[6]) if family == 4 else (64, _NOBODYS[4])
        ours = str(ipaddress.ip_network(f"{address}/{length}", strict=False))
        judge.ok(f"{_UPDATE}.cidr-accepted", _update(runtime, ours))
        judge.ok(f"{_UPDATE}.repeated", _update(runtime, ours))
        judge.ok(f"{_UPDATE}.dual-stack-accepted", _update(runtime, f"{ours},{other}"))
        # As it was: with one range.
        _update(runtime, ours)
        judge.that(
            f"{_UPDATE}.network-stays",
            _network_ready(runtime),
            permitted="NetworkReady as before",
            actual="not ready",
        )
    answers = {text: str(_update(runtime, text)) for text in _NO_RANGES}
    judge.record("NetworkConfig.pod_cidr.malformed", answers)
