# SPDX-License-Identifier: Apache-2.0
"""Settings of a sandbox as its containers see them: host name, resolver, kernel settings, address.

One sandbox has them all, and two containers look; sandboxes made before and after it tell
whether a setting stays where it belongs.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.network_files import Resolver, ipv4_addresses, ipv6_addresses
from cri_conformance.wire.outcome import Ok, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

pytestmark = pytest.mark.usefixtures("isolation")

_DNS = types.DNSConfig(
    # Addresses for documentation: nobody answers there.
    servers=["203.0.113.9", "198.51.100.7", "2001:db8::53"],
    searches=["z.example.test", "svc.cluster.example", "a.example"],
    options=["ndots:5", "timeout:3", "edns0"],
)
#: Of those that a kubelet lets every pod set; none is the kernel's default.
_SYSCTLS = {
    "kernel.shm_rmid_forced": "1",
    "net.ipv4.ip_local_port_range": "20000 21000",
    "net.ipv4.ping_group_range": "7 4242",
}
#: What must not be changed beside, and by which pairs it was once.
_BESIDE, _SMUGGLED = "kernel.msgmnb", "4242"
_SMUGGLERS = (
    {"kernel.shm_rmid_forced": f"1+{_BESIDE}={_SMUGGLED}"},
    {f"kernel.shm_rmid_forced=1+{_BESIDE}": _SMUGGLED},
)

_SEE = (
    "cat /proc/sys/kernel/hostname; echo ==; cat /etc/resolv.conf; echo ==;"
    ' for f in "$@"; do cat "$f"; done; echo ==; cat /proc/net/fib_trie; echo ==;'
    " cat /proc/net/if_inet6 2>/dev/null; :"
)


@dataclass(frozen=True, slots=True)
class View:
    """A sandbox from the inside of a container of it."""

    container: str
    hostname: str
    resolver: Resolver
    sysctls: Mapping[str, str]
    addresses: frozenset[str]


def _view(runtime: Runtime, container: Container) -> View:
    files = [f"/proc/sys/{name.replace('.', '/')}" for name in _SYSCTLS]
    said = runtime.exec(container, "/bin/sh", "-c", _SEE, "sh", *files)
    parts = said.stdout.decode(errors="replace").split("==\n")
    if said.exit_code or len(parts) != 5:
        raise SetupFailed(f"can't look into a container: {said.stderr[:200]!r}")
    hostname, resolv_conf, values, ipv4, ipv6 = parts
    return View(
        container.id,
        hostname.strip(),
        Resolver.parse(resolv_conf),
        {
            name: " ".join(value.split())
            for name, value in zip(_SYSCTLS, values.splitlines(), strict=True)
        },
        frozenset(ipv4_addresses(ipv4) | ipv6_addresses(ipv6)),
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """A sandbox with all settings, seen by two containers, and others without them."""

    sandbox: Sandbox
    status: types.PodSandboxStatus
    first: View
    second: View
    #: Of a sandbox that was there before: before and after this one was made.
    before: View
    after: View
    #: Of a sandbox that was made later.
    later: View
    later_status: types.PodSandboxStatus


@pytest.fixture(scope="module")
def settings(module_runtime: Runtime, idle: Container) -> Settings:
    """See above."""
    runtime = module_runtime
    before = _view(runtime, idle)
    config = runtime.sandbox_config()
    config.hostname = f"a-host.{secrets.token_hex(4)}.test"
    config.dns_config.CopyFrom(_DNS)
    config.linux.sysctls.update(_SYSCTLS)
    sandbox = runtime.sandbox(config)
    status = runtime.sandbox_status(sandbox.id)
    first, second = (_view(runtime, runtime.running(sandbox)) for _ in range(2))
    other = runtime.sandbox()
    later = _view(runtime, runtime.running(other))
    return Settings(
        sandbox,
        status,
        first,
        second,
        before,
        _view(runtime, idle),
        later,
        runtime.sandbox_status(other.id),
    )


@clause("PodSandboxConfig.hostname.in-force")
def test_the_host_name(settings: Settings, judge: Judge) -> None:
    for view in (settings.first, settings.second):
        judge.equal(
            "PodSandboxConfig.hostname.in-force",
            view.hostname,
            settings.sandbox.config.hostname,
            about=[view.container, settings.sandbox.id],
        )


@pytest.mark.parametrize(
    ("field", "order"),
    [
        pytest.param(field, order, marks=clause(f"DNSConfig.{field}.{name}"), id=f"{field}-{name}")
        for field in ("servers", "searches", "options")
        for name, order in (("in-resolv-conf", False), ("in-order", True))
        if (field, order) != ("options", True)
    ],
)
def test_resolv_conf(field: str, order: bool, settings: Settings, judge: Judge) -> None:
    sent = list(getattr(_DNS, field))
    seen = list(getattr(settings.first.resolver, field))
    if order:
        kept = [one for one in seen if one in sent]
        wanted = [one for one in sent if one in seen]
        judge.equal(f"DNSConfig.{field}.in-order", kept, wanted, about=[settings.sandbox.id])
        return
    missing = [one for one in sent if one not in seen]
    # Options may come from the runtime as well; servers and domains may not.
    added = [one for one in seen if one not in sent and field != "options"]
    judge.that(
        f"DNSConfig.{field}.in-resolv-conf",
        not missing and not added,
        permitted=sent,
        actual=seen,
        about=[settings.sandbox.id],
    )


@clause("PodSandboxConfig.dns_config.every-container")
def test_all_containers_resolve_alike(settings: Settings, judge: Judge) -> None:
    judge.equal(
        "PodSandboxConfig.dns_config.every-container",
        settings.second.resolver,
        settings.first.resolver,
        about=[settings.second.container, settings.first.container],
    )


@clause("PodSandboxConfig.dns_config.absent")
def test_without_a_dns_config(settings: Settings, judge: Judge) -> None:
    resolver = settings.before.resolver
    counts = (len(resolver.servers), len(resolver.searches), len(resolver.options))
    judge.record(
        "PodSandboxConfig.dns_config.absent",
        "{} name servers, {} domains, {} options".format(*counts),
    )


@clause("LinuxPodSandboxConfig.sysctls.in-force")
def test_kernel_settings(settings: Settings, judge: Judge) -> None:
    for view in (settings.first, settings.second):
        judge.equal(
            "LinuxPodSandboxConfig.sysctls.in-force",
            dict(view.sysctls),
            _SYSCTLS,
            about=[view.container, settings.sandbox.id],
        )


@clause("LinuxPodSandboxConfig.sysctls.this-sandbox-only")
def test_kernel_settings_stay_in_their_sandbox(settings: Settings, judge: Judge) -> None:
    for what, view in (("made before", settings.after), ("made later", settings.later)):
        judge.equal(
            "LinuxPodSandboxConfig.sysctls.this-sandbox-only",
            dict(view.sysctls),
            dict(settings.before.sysctls),
            f"in a sandbox that was {what}",
            about=[view.container, settings.sandbox.id],
        )


@clause("LinuxPodSandboxConfig.sysctls.no-other")
@pytest.mark.parametrize("sysctls", _SMUGGLERS, ids=["in-the-value", "in-the-name"])
def test_a_kernel_setting_is_one(sysctls: dict[str, str], runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    config.linux.sysctls.update(sysctls)
    made = runtime.run_sandbox(config)
    seen = "refused"
    if isinstance(made, Ok):
        container = runtime.running(Sandbox(made.response.pod_sandbox_id, config))
        said = runtime.exec(container, "cat", f"/proc/sys/{_BESIDE.replace('.', '/')}")
        seen = said.stdout.decode(errors="replace").strip()
    judge.that(
        "LinuxPodSandboxConfig.sysctls.no-other",
        seen != _SMUGGLED,
        permitted=f"{_BESIDE} stays as it is, or the sandbox is refused",
        actual=f"{_BESIDE} is {seen}",
    )


# -- the network -----------------------------------------------------------------------------


@clause("PodSandboxNetworkStatus.ip.is-the-pods-address")
def test_the_address_is_the_pods(settings: Settings, judge: Judge) -> None:
    for status, view in (
        (settings.status, settings.first),
        (settings.later_status, settings.later),
    ):
        judge.that(
            "PodSandboxNetworkStatus.ip.is-the-pods-address",
            str(ipaddress.ip_address(status.network.ip)) in view.addresses,
            permitted=f"{status.network.ip} on an interface in the pod",
            actual=", ".join(sorted(view.addresses)),
            about=[status.id, view.container],
        )


@clause("PodIP.ip.is-the-pods-address")
def test_further_addresses_are_the_pods(settings: Settings, judge: Judge) -> None:
    further = [one.ip for one in settings.status.network.additional_ips]
    if not further:
        judge.skip(Reason.NOT_ADVERTISED, "no further address")
    for ip in further:
        judge.that(
            "PodIP.ip.is-the-pods-address",
            str(ipaddress.ip_address(ip)) in settings.first.addresses,
            permitted=f"{ip} on an interface in the pod",
            actual=", ".join(sorted(settings.first.addresses)),
            about=[settings.sandbox.id],
        )


@clause("CreateContainerRequest.pod_sandbox_id.shares-sandbox")
def test_a_container_joins_its_sandbox(settings: Settings, judge: Judge) -> None:
    mine, other = settings.later_status.network.ip, settings.status.network.ip
    seen = [ip for ip in (mine, other) if ip in settings.later.addresses]
    judge.equal(
        "CreateContainerRequest.pod_sandbox_id.shares-sandbox",
        seen,
        [mine],
        "addresses of the two sandboxes that the container sees:",
        about=[settings.later_status.id, settings.later.container],
    )
