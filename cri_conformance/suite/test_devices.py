# SPDX-License-Identifier: Apache-2.0
"""Devices of the host in a container: that they are there, and what may be done with them.

The device is one that containers don't have anyway, so that it is the request that lets
them in. Each container tries all that the permissions are about and tells by its exit code.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, NotExercised, clause
from cri_conformance.suite.host_cdi import cdi_device
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox

pytestmark = pytest.mark.usefixtures("isolation")

#: To be opened and closed again does nothing to any of them.
_CANDIDATES = ("/dev/fuse", "/dev/kmsg", "/dev/loop-control", "/dev/hwrng")
_PLACE = "/dev/cri-conformance"
_READ, _WRITE, _MAKE, _SAME = 1, 2, 4, 8
_PERMISSIONS = ("r", "w", "rw", "rwm", "m")


def _script(kind: str, major: int, minor: int) -> str:
    """Adds up what it can do; the subshells keep a refusal from being the shell's end."""
    tries = {
        _READ: f"(: < {_PLACE})",
        _WRITE: f"(: >> {_PLACE})",
        _MAKE: f"mknod /cri-made {kind} {major} {minor}",
        _SAME: f"[ -{kind} {_PLACE} ] && [ $(stat -c %t:%T {_PLACE}) = {major:x}:{minor:x} ]",
    }
    lines = (f"if {command}; then n=$((n + {bit})); fi" for bit, command in tries.items())
    return f"n=0; exec 2>/dev/null; {'; '.join(lines)}; exit $n"


@pytest.fixture(scope="module")
def tried(module_runtime: Runtime, shared_sandbox: Sandbox, host: Host) -> dict[str, int]:
    """What containers could do with a device, by its permissions; "" is without a device."""
    device = _device(host)
    number = host.path(device).stat().st_rdev
    script = _script("c", os.major(number), os.minor(number))

    def attempt(permissions: str) -> int:
        config = module_runtime.container_config(shared_sandbox, command=["/bin/sh", "-c", script])
        config.linux.security_context.capabilities.add_capabilities.append("MKNOD")
        config.devices.add(host_path=device, container_path=_PLACE, permissions=permissions)
        container = module_runtime.container(shared_sandbox, config)
        module_runtime.get("StartContainer", container_id=container.id)
        return module_runtime.wait_exited(container.id).exit_code

    with ThreadPoolExecutor(len(_PERMISSIONS)) as pool:
        return dict(zip(_PERMISSIONS, pool.map(attempt, _PERMISSIONS), strict=True))


def _device(host: Host) -> str:
    """A device that can be opened here both ways. Raises NotExercised."""
    for device in _CANDIDATES:
        if not host.is_device(device):
            continue
        try:
            for mode in (os.O_RDONLY, os.O_WRONLY):
                os.close(os.open(host.path(device), mode | os.O_NONBLOCK))
        except OSError:
            continue
        return device
    raise NotExercised(Reason.NEEDS_HARDWARE, f"none of {', '.join(_CANDIDATES)} can be opened")


@clause("Device.container_path.node")
def test_the_device_is_there(tried: dict[str, int], judge: Judge) -> None:
    for permissions, done in tried.items():
        judge.equal(
            "Device.container_path.node",
            bool(done & _SAME),
            True,
            f"with {permissions}, the device itself is at {_PLACE}:",
        )


@pytest.mark.parametrize(
    ("letter", "bit"),
    [
        pytest.param(letter, bit, marks=clause(f"Device.permissions.{name}"), id=name)
        for letter, bit, name in (("r", _READ, "read"), ("w", _WRITE, "write"))
    ],
)
def test_opening_needs_permission(
    letter: str, bit: int, tried: dict[str, int], judge: Judge
) -> None:
    name = "Device.permissions.read" if letter == "r" else "Device.permissions.write"
    for permissions, done in tried.items():
        judge.equal(
            name,
            bool(done & bit),
            letter in permissions,
            f"with {permissions}, the device can be opened:",
        )


@clause("Device.permissions.mknod")
def test_a_node_can_be_made(tried: dict[str, int], judge: Judge) -> None:
    for permissions in ("rwm", "m"):
        judge.equal(
            "Device.permissions.mknod",
            bool(tried[permissions] & _MAKE),
            True,
            f"with {permissions}, a node can be made:",
        )


@clause("Device.permissions.mknod-withheld")
def test_making_a_node_without_permission(tried: dict[str, int], judge: Judge) -> None:
    judge.record("Device.permissions.mknod-withheld", "made" if tried["rw"] & _MAKE else "refused")


@clause("CDIDevice.name.injected")
def test_what_a_cdi_device_brings(
    runtime: Runtime, shared_sandbox: Sandbox, host: Host, judge: Judge
) -> None:
    device = cdi_device(host, runtime.get("Status", verbose=True).info)
    config = runtime.container_config(shared_sandbox)
    config.CDI_devices.add(name=device.name)
    container = runtime.container(shared_sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    paths = runtime.exec(
        container, "/bin/sh", "-c", 'for p in "$@"; do [ -e "$p" ] && echo "$p"; done; :', "sh",
        *device.paths,
    ).stdout.decode().splitlines()  # fmt: skip
    variables = runtime.exec(container, "cat", "/proc/1/environ").stdout.decode().split("\0")
    if not variables:
        raise SetupFailed("the first process has no environment")
    missing = [one for one in device.paths if one not in paths]
    missing += [one for one in device.variables if one not in variables]
    judge.equal("CDIDevice.name.injected", missing, [], "missing:", about=[container.id])
