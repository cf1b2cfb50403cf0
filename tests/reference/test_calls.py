# SPDX-License-Identifier: Apache-2.0
"""What is answered at all: every call of the contract, every refusal of a config."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.reference import parts, process

#: Calls that the reference runtime does not serve.
NOT_OFFERED: set[str] = set()
NOT_OFFERED |= {streamed for streamed, (twin, *_) in parts.TWINS.items() if twin in NOT_OFFERED}


@pytest.mark.parametrize("name", sorted(RPCS))
def test_every_call_of_the_contract(started: process.ReferenceProcess, name: str) -> None:
    rpc = RPCS[name]
    target = started.endpoint.replace("unix://", "unix:")
    with grpc.insecure_channel(target, [("grpc.default_authority", "localhost")]) as channel:
        kind = channel.unary_stream if rpc.server_streaming else channel.unary_unary
        stub = kind(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        code = grpc.StatusCode.OK
        try:
            # Events come when something happens, which is never here.
            answer = stub(rpc.request(), timeout=0.5 if rpc.server_streaming else 5)
            if rpc.server_streaming:
                next(answer, None)
        except grpc.RpcError as error:
            code = error.code()
    assert (code is grpc.StatusCode.UNIMPLEMENTED) == (name in NOT_OFFERED)


def test_status(runtime: Any) -> None:
    status = runtime("Status")
    conditions = {one.type: one.status for one in status.status.conditions}
    assert conditions == {"RuntimeReady": True, "NetworkReady": True}
    assert [one.name for one in status.runtime_handlers] == ["", "reference"]
    assert not status.info
    assert runtime("Status", verbose=True).info
    assert runtime("Version").version == "0.1.0"


def test_sandbox_life(runtime: Any) -> None:
    config = runtime.sandbox_config(labels={"k": "", "l": "v"}, annotations={"a": "b\n"})
    run = {"config": config, "runtime_handler": "reference"}
    sandbox = runtime("RunPodSandbox", **run).pod_sandbox_id
    assert runtime.refused("RunPodSandbox", **run) == "ALREADY_EXISTS"
    container = runtime.running(sandbox)
    response = runtime("PodSandboxStatus", pod_sandbox_id=sandbox)
    status = response.status
    assert (status.metadata, status.labels) == (config.metadata, config.labels)
    assert (status.annotations, status.runtime_handler) == (config.annotations, "reference")
    assert status.state == types.SANDBOX_READY
    assert status.network.ip
    assert list(response.containers_statuses) == [runtime.status(container)]
    assert not response.info
    runtime("StopPodSandbox", pod_sandbox_id=sandbox)
    runtime("StopPodSandbox", pod_sandbox_id=sandbox)
    stopped = runtime("PodSandboxStatus", pod_sandbox_id=sandbox)
    assert stopped.status.state == types.SANDBOX_NOTREADY
    assert stopped.status.created_at == status.created_at
    assert stopped.containers_statuses[0].state == types.CONTAINER_EXITED
    create = {"pod_sandbox_id": sandbox, "config": runtime.config()}
    assert runtime.refused("CreateContainer", **create) == "FAILED_PRECONDITION"
    assert runtime.refused("RunPodSandbox", **run) == "ALREADY_EXISTS"
    for _ in range(2):
        runtime("RemovePodSandbox", pod_sandbox_id=sandbox)
    assert runtime.refused("PodSandboxStatus", pod_sandbox_id=sandbox) == "NOT_FOUND"
    assert runtime.refused("ContainerStatus", container_id=container) == "NOT_FOUND"
    again = runtime("RunPodSandbox", **run).pod_sandbox_id
    runtime("RemovePodSandbox", pod_sandbox_id=again)


def test_never_a_running_container_in_a_stopped_sandbox(runtime: Any) -> None:
    for _ in range(10):
        sandbox = runtime.sandbox()
        containers = [runtime.container(sandbox) for _ in range(4)]
        with ThreadPoolExecutor(6) as pool:
            starts = [
                pool.submit(runtime.client.call, "StartContainer", container_id=one)
                for one in containers
            ]
            stops = [
                pool.submit(runtime, "StopPodSandbox", pod_sandbox_id=sandbox) for _ in range(2)
            ]
            for future in (*stops, *starts):
                future.result(5)
        response = runtime("PodSandboxStatus", pod_sandbox_id=sandbox)
        states = {one.state for one in response.containers_statuses}
        assert types.CONTAINER_RUNNING not in states
        runtime("RemovePodSandbox", pod_sandbox_id=sandbox)


def test_node_network_has_no_address(runtime: Any) -> None:
    options = types.NamespaceOption(network=types.NODE, pid=types.CONTAINER)
    security = types.LinuxSandboxSecurityContext(namespace_options=options)
    linux = types.LinuxPodSandboxConfig(security_context=security)
    sandbox = runtime.sandbox(linux=linux)
    status = runtime("PodSandboxStatus", pod_sandbox_id=sandbox).status
    assert not status.HasField("network")
    assert status.linux.namespaces.options == options
    runtime("RemovePodSandbox", pod_sandbox_id=sandbox)


def test_filters(runtime: Any, pod: str) -> None:
    one = runtime.container(pod, labels={"app": "x", "tier": ""})
    two = runtime.running(pod, labels={"app": "x"})

    def listed(**wanted: Any) -> set[str]:
        wanted.setdefault("pod_sandbox_id", pod)
        response = runtime("ListContainers", filter=types.ContainerFilter(**wanted))
        return {item.id for item in response.containers}

    assert listed() == {one, two}
    assert listed(id=one) == {one}
    assert listed(id=one[:20]) == set()
    assert listed(state=types.ContainerStateValue()) == {one}
    assert listed(state=types.ContainerStateValue(state=types.CONTAINER_RUNNING)) == {two}
    assert listed(label_selector={"app": "x"}) == {one, two}
    assert listed(label_selector={"tier": ""}) == {one}
    assert listed(label_selector={"app": "x", "tier": "y"}) == set()
    assert listed(id=one, pod_sandbox_id="0" * 64) == set()
    ready = types.PodSandboxFilter(id=pod, state=types.PodSandboxStateValue())
    assert [item.id for item in runtime("ListPodSandbox", filter=ready).items] == [pod]


def test_ids_match_whole_and_unknown_ones_are_gone(runtime: Any, pod: str) -> None:
    container = runtime.running(pod)
    for given in (container[:13], "0" * 64):
        runtime("StopContainer", container_id=given)
        runtime("RemoveContainer", container_id=given)
    runtime("StopPodSandbox", pod_sandbox_id=pod[:13])
    runtime("RemovePodSandbox", pod_sandbox_id=pod[:13])
    assert runtime.status(container).state == types.CONTAINER_RUNNING
    for rpc in ("StopContainer", "RemoveContainer", "StartContainer", "ContainerStatus"):
        assert runtime.refused(rpc, container_id="") == "INVALID_ARGUMENT"
    for rpc in ("StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus"):
        assert runtime.refused(rpc, pod_sandbox_id="") == "INVALID_ARGUMENT"


def linux(**security: Any) -> dict[str, Any]:
    context = types.LinuxContainerSecurityContext(**security)
    return {"linux": types.LinuxContainerConfig(security_context=context)}


def mount(**fields: Any) -> dict[str, Any]:
    return {"mounts": [types.Mount(**{"container_path": "/m", **fields})]}


Localhost = types.SecurityProfile.Localhost


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("INVALID_ARGUMENT", {"metadata": None}),
        ("INVALID_ARGUMENT", {"metadata": types.ContainerMetadata(attempt=1)}),
        ("INVALID_ARGUMENT", {"image": None}),
        ("NOT_FOUND", {"image": types.ImageSpec(image="localhost/none:1")}),
        ("INVALID_ARGUMENT", {"log_path": "../out.log"}),
        ("INVALID_ARGUMENT", {"working_dir": "relative"}),
        ("INVALID_ARGUMENT", {"envs": [types.KeyValue(value=b"x")]}),
        ("INVALID_ARGUMENT", {"stop_signal": 99}),
        ("INVALID_ARGUMENT", linux(privileged=True)),
        ("INVALID_ARGUMENT", linux(run_as_group=types.Int64Value(value=5))),
        ("INVALID_ARGUMENT", linux(run_as_username="no-such-user")),
        ("INVALID_ARGUMENT", linux(run_as_user=types.Int64Value(), run_as_username="root")),
        ("INVALID_ARGUMENT", linux(run_as_user=types.Int64Value(value=-1))),
        ("INVALID_ARGUMENT", linux(supplemental_groups_policy=7)),
        ("INVALID_ARGUMENT", linux(seccomp=types.SecurityProfile(profile_type=Localhost))),
        (
            "INVALID_ARGUMENT",
            linux(
                seccomp=types.SecurityProfile(profile_type=Localhost, localhost_ref="etc/passwd")
            ),
        ),
        ("INVALID_ARGUMENT", linux(seccomp=types.SecurityProfile(localhost_ref="/etc/passwd"))),
        ("INVALID_ARGUMENT", linux(namespace_options=types.NamespaceOption(pid=types.TARGET))),
        (
            "INVALID_ARGUMENT",
            linux(namespace_options=types.NamespaceOption(pid=types.TARGET, target_id="0" * 64)),
        ),
        ("INVALID_ARGUMENT", mount(host_path="/none/such")),
        ("INVALID_ARGUMENT", mount(host_path="/", image=types.ImageSpec(image="x"))),
        ("NOT_FOUND", mount(image=types.ImageSpec(image="localhost/none:1"))),
        ("INVALID_ARGUMENT", mount(host_path="/", recursive_read_only=True)),
        (
            "INVALID_ARGUMENT",
            mount(
                host_path="/",
                recursive_read_only=True,
                readonly=True,
                propagation=types.PROPAGATION_BIDIRECTIONAL,
            ),
        ),
        (
            "INVALID_ARGUMENT",
            {
                "devices": [
                    types.Device(container_path="/d", host_path="/dev/null", permissions="x")
                ]
            },
        ),
    ],
)
def test_refused_container_configs(
    runtime: Any, pod: str, code: str, fields: dict[str, Any]
) -> None:
    config = runtime.config(**fields)
    assert runtime.refused("CreateContainer", pod_sandbox_id=pod, config=config) == code
    assert not runtime(
        "ListContainers", filter=types.ContainerFilter(pod_sandbox_id=pod)
    ).containers
    if config.HasField("metadata") and config.metadata.name:
        runtime.container(pod, metadata=config.metadata)


def test_refused_sandbox_configs(runtime: Any, pod: str) -> None:
    def refused(**fields: Any) -> str:
        return runtime.refused("RunPodSandbox", config=runtime.sandbox_config(**fields))

    group = types.LinuxSandboxSecurityContext(run_as_group=types.Int64Value(value=1))
    assert runtime.refused("RunPodSandbox") == "INVALID_ARGUMENT"
    assert refused(metadata=None) == "INVALID_ARGUMENT"
    assert refused(metadata=types.PodSandboxMetadata(name="n", uid="u")) == "INVALID_ARGUMENT"
    assert refused(log_directory="logs") == "INVALID_ARGUMENT"
    assert refused(port_mappings=[types.PortMapping(host_port=70000)]) == "INVALID_ARGUMENT"
    linux = types.LinuxPodSandboxConfig(security_context=group)
    assert refused(linux=linux) == "INVALID_ARGUMENT"
    handler = {"config": runtime.sandbox_config(), "runtime_handler": "unknown"}
    assert runtime.refused("RunPodSandbox", **handler) == "INVALID_ARGUMENT"
    duplicate = runtime.config()
    runtime("CreateContainer", pod_sandbox_id=pod, config=duplicate)
    code = runtime.refused("CreateContainer", pod_sandbox_id=pod, config=duplicate)
    assert code == "ALREADY_EXISTS"
