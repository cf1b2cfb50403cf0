# SPDX-License-Identifier: Apache-2.0
"""What is not sent, whatever it is hidden in."""

from __future__ import annotations

import pytest

from cri_conformance.api import types
from cri_conformance.malformed.fields import Field, Wire, serialize, tag, varint
from cri_conformance.malformed.safety import Guard, Refuse, incomplete

OURS = "0123456789abcdef" * 4
FOREIGN = "fedcba9876543210" * 4
ROOT = "/tmp/ours"
GUARD = Guard({OURS}, "n0nce", ROOT, frozenset(), lambda: [FOREIGN])


def refused(rpc: str, data: bytes) -> bool:
    try:
        GUARD.check(rpc, data)
    except Refuse:
        return True
    return False


def text(number: int, value: str) -> bytes:
    return serialize((Field(number, Wire.BYTES, value.encode()),))


@pytest.mark.parametrize("given", ["", "f", FOREIGN, FOREIGN[:30], "f\0x", " fe"])
def test_what_may_mean_a_foreign_object_is_not_sent(given: str) -> None:
    assert refused("StopContainer", text(1, given))
    assert refused("ExecSync", text(1, OURS) + text(1, given))
    assert refused("RemovePodSandbox", text(1, given) + text(1, OURS))
    assert not refused("ContainerStatus", text(1, given))


def test_an_id_of_another_type_is_none() -> None:
    assert refused("StopContainer", tag(1, Wire.VARINT) + varint(5))
    assert refused("StopContainer", b"")


@pytest.mark.parametrize("given", [OURS, OURS[:20], OURS + "x", "../x", "Z" * 64])
def test_what_can_only_be_ours_or_nothing_is_sent(given: str) -> None:
    assert not refused("StopContainer", text(1, given))


def test_bytes_that_are_no_fields_are_sent() -> None:
    assert not refused("StopContainer", b"\x0a\x05f")


def test_without_foreign_objects_an_empty_id_is_sent() -> None:
    Guard({OURS}, "n0nce", ROOT, frozenset(), list).check("StopContainer", b"")


@pytest.mark.parametrize(
    ("log_path", "sent"),
    [
        ("a/0.log", True),
        ("../../canary", True),
        ("../../../x", False),
        ("a/../../../../x", False),
        ("/etc/x", False),
        ("/../x", False),
        ("/", True),
        ("../../../x\0y", False),
        ("a\0/../../../../x", False),
    ],
)
def test_log_paths_stay_in_our_folder(log_path: str, sent: bool) -> None:
    request = types.CreateContainerRequest(
        pod_sandbox_id=OURS, config=types.ContainerConfig(log_path=log_path)
    )
    assert refused("CreateContainer", request.SerializeToString()) is not sent


@pytest.mark.parametrize(
    ("directory", "sent"),
    [
        (f"{ROOT}/a/b/c", True),
        (f"{ROOT}/a/b", False),
        (f"{ROOT}/a/b/c/../../../../x", False),
        ("/etc", False),
        ("", True),
        ("etc", False),
    ],
)
def test_log_directories_stay_in_our_folder(directory: str, sent: bool) -> None:
    request = types.RunPodSandboxRequest(config=types.PodSandboxConfig(log_directory=directory))
    assert refused("RunPodSandbox", request.SerializeToString()) is not sent


def test_what_reaches_beyond_a_sandbox_is_not_sent() -> None:
    for config in (
        types.ContainerConfig(mounts=[types.Mount(host_path="/")]),
        types.ContainerConfig(devices=[types.Device(host_path="/dev/null")]),
        types.ContainerConfig(
            linux=types.LinuxContainerConfig(
                security_context=types.LinuxContainerSecurityContext(privileged=True)
            )
        ),
    ):
        request = types.CreateContainerRequest(pod_sandbox_id=OURS, config=config)
        assert refused("CreateContainer", request.SerializeToString())
    network = types.RuntimeConfig(network_config=types.NetworkConfig(pod_cidr="10.0.0.0/8"))
    update = types.UpdateRuntimeConfigRequest(runtime_config=network)
    assert refused("UpdateRuntimeConfig", update.SerializeToString())


@pytest.mark.parametrize(
    ("name", "removed", "pulled"),
    [
        ("127.0.0.1:1/n0nce/x:1", True, True),
        ("127.0.0.1:1/other", False, True),
        ("busybox", False, False),
        ("", False, True),
    ],
)
def test_images_are_ours_or_nowhere(name: str, removed: bool, pulled: bool) -> None:
    image = types.ImageSpec(image=name)
    remove = types.RemoveImageRequest(image=image).SerializeToString()
    pull = types.PullImageRequest(image=image).SerializeToString()
    assert (not refused("RemoveImage", remove), not refused("PullImage", pull)) == (removed, pulled)


def test_a_request_that_lacks_a_part_is_told_from_a_whole_one() -> None:
    whole = types.CreateContainerRequest(
        config=types.ContainerConfig(
            metadata=types.ContainerMetadata(name="n"),
            image=types.ImageSpec(image="i"),
            linux=types.LinuxContainerConfig(),
        ),
        sandbox_config=types.PodSandboxConfig(
            metadata=types.PodSandboxMetadata(name="n"), linux=types.LinuxPodSandboxConfig()
        ),
    )
    assert not incomplete("CreateContainer", whole.SerializeToString())
    assert not incomplete("StopContainer", b"")
    without = types.CreateContainerRequest()
    without.CopyFrom(whole)
    without.sandbox_config.ClearField("metadata")
    assert incomplete("CreateContainer", without.SerializeToString())
    # With another type than it has it is not there, for some decoders.
    number = types.CreateContainerRequest.DESCRIPTOR.fields_by_name["sandbox_config"].number
    whole.ClearField("sandbox_config")
    assert incomplete("CreateContainer", whole.SerializeToString() + bytes([number << 3, 1]))
