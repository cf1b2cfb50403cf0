# SPDX-License-Identifier: Apache-2.0
"""What a story may name of the host: nothing but what is ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cri_conformance.api import types
from cri_conformance.build import generate
from cri_conformance.fuzz.patches import OURS, foreign, patches


@settings(max_examples=300, deadline=None)
@given(st.one_of(*map(patches, ("ContainerConfig", "PodSandboxConfig", "LinuxContainerResources"))))
def test_no_patch_of_a_campaign_does(patch: Any) -> None:
    assert foreign(patch) == ""


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        *(
            generate.message(name, OURS)
            for name in ("RunPodSandboxRequest", "CreateContainerRequest")
        )
    )
)
def test_no_request_of_a_campaign_does(request: Any) -> None:
    assert foreign(request) == ""


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (
            types.ContainerConfig(mounts=[{"host_path": "/etc", "container_path": "/x"}]),
            "Mount.host_path /etc",
        ),
        (
            types.ContainerConfig(mounts=[{"host_path": "@folder/../../etc"}]),
            "Mount.host_path @folder/../../etc",
        ),
        (types.PodSandboxConfig(log_directory="/var"), "PodSandboxConfig.log_directory /var"),
        (types.ContainerConfig(log_path="../0.log"), "ContainerConfig.log_path ../0.log"),
        (
            types.PodSandboxConfig(port_mappings=[{"host_port": 22}]),
            "PortMapping.host_port 22",
        ),
        (
            types.ContainerConfig(devices=[{"host_path": "/dev/sda"}]),
            "Device.host_path /dev/sda",
        ),
        (
            types.CreateContainerRequest(
                sandbox_config={"linux": {"cgroup_parent": "/system.slice"}}
            ),
            "LinuxPodSandboxConfig.cgroup_parent /system.slice",
        ),
        (types.ContainerConfig(mounts=[{"host_path": "@folder/a"}], log_path="a/0.log"), ""),
    ],
)
def test_what_is_the_hosts_is_named(message: Any, what: str) -> None:
    assert foreign(message) == what
