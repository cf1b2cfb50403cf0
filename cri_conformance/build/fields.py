# SPDX-License-Identifier: Apache-2.0
"""What each field of a request may hold, where its type alone does not say it.

A table by field path. What is not in it follows from the type: texts, flags, the values of an
enum, numbers from 0 up. The first value of each strategy is the simplest, boundaries come next.
Nothing here leads to anything that is not ours: ids and images come from ``Ours``, host paths lie
below our folder, and what would change the host for others is left unset (``NEVER``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cri_conformance.api import types
from cri_conformance.build import strategies

#: The reserved range of ids that no account has.
LARGEST_ID = 2**31 - 1
#: Values that 64-bit numbers go wrong at.
_EDGES_64 = (1, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1)
_EDGES_32 = (1, 2**31 - 1)


@dataclass(frozen=True)
class Ours:
    """What generated requests may name: objects and files of the run, and nothing else.

    ``folder`` exists on the runtime's host; ``files`` are regular files in it.
    """

    sandboxes: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    folder: str = ""
    files: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    handler: str = ""
    nobody: str = "f" * 64


Make = Callable[[Ours], SearchStrategy[object]]


def boundaries(low: int, high: int, *special: int) -> SearchStrategy[int]:
    """Numbers from ``low`` to ``high``; what is ``special`` and the ends come often."""
    ends = [*special, low, high, *(one for one in (low + 1, high - 1) if low <= one <= high)]
    return st.one_of(st.sampled_from(list(dict.fromkeys(ends))), st.integers(low, high))


def _choice(*values: object) -> Make:
    return lambda ours: st.sampled_from(values)


def _of(strategy: SearchStrategy[object]) -> Make:
    return lambda ours: strategy


def _ids(kind: str) -> Make:
    return lambda ours: st.sampled_from([*getattr(ours, kind), ours.nobody])


def _path(ours: Ours) -> SearchStrategy[object]:
    return st.sampled_from([ours.folder, *ours.files] if ours.folder else [""])


def _below(ours: Ours) -> SearchStrategy[object]:
    """Paths in a container, none of which a program needs."""
    return st.sampled_from(["/cri-a", "/cri/b/c", "/cri d", "/cri-ü", "/cri-" + "x" * 100])


def _selector(ours: Ours) -> SearchStrategy[object]:
    own = list(ours.labels)
    other = st.tuples(strategies.keys(), strategies.label_values())
    pair = st.one_of(st.sampled_from(own), other) if own else other
    return st.lists(pair, max_size=2).map(dict)


_ID_NUMBER = boundaries(0, LARGEST_ID, 0, 1000, 65534)
_MEBIBYTE = 1024 * 1024
_CAPABILITIES = ("NET_RAW", "CHOWN", "KILL", "SETUID", "NET_BIND_SERVICE", "ALL", "SYS_TIME")

#: By 'Message.field'. Where the message is used in several places, all get the same.
FIELDS: Mapping[str, Make] = {
    # -- who is meant ------------------------------------------------------------------
    **{
        f"{message}.pod_sandbox_id": _ids("sandboxes")
        for message in (
            "StopPodSandboxRequest",
            "RemovePodSandboxRequest",
            "PodSandboxStatusRequest",
            "CreateContainerRequest",
            "ContainerFilter",
            "PortForwardRequest",
            "ContainerStatsFilter",
            "PodSandboxStatsRequest",
            "CheckpointPodRequest",
            "UpdatePodSandboxResourcesRequest",
        )
    },
    **{
        f"{message}.container_id": _ids("containers")
        for message in (
            "StartContainerRequest",
            "StopContainerRequest",
            "RemoveContainerRequest",
            "ContainerStatusRequest",
            "UpdateContainerResourcesRequest",
            "ReopenContainerLogRequest",
            "ExecSyncRequest",
            "ExecRequest",
            "AttachRequest",
            "ContainerStatsRequest",
            "CheckpointContainerRequest",
        )
    },
    "CheckpointPodRequest.container_ids": lambda ours: st.lists(
        st.sampled_from([*ours.containers, ours.nobody]), min_size=1, max_size=3, unique=True
    ),
    "NamespaceOption.target_id": _ids("containers"),
    "PodSandboxFilter.id": _ids("sandboxes"),
    "PodSandboxStatsFilter.id": _ids("sandboxes"),
    "ContainerFilter.id": _ids("containers"),
    "ContainerStatsFilter.id": _ids("containers"),
    **{
        f"{message}.label_selector": _selector
        for message in (
            "PodSandboxFilter",
            "ContainerFilter",
            "ContainerStatsFilter",
            "PodSandboxStatsFilter",
        )
    },
    "RunPodSandboxRequest.runtime_handler": lambda ours: st.just(ours.handler),
    "RestorePodRequest.runtime_handler": lambda ours: st.just(ours.handler),
    # -- names ---------------------------------------------------------------------------
    "PodSandboxMetadata.name": _of(strategies.dns_subdomains()),
    "PodSandboxMetadata.uid": _of(st.uuids().map(str)),
    "PodSandboxMetadata.namespace": _of(strategies.dns_labels()),
    "PodSandboxMetadata.attempt": _of(strategies.attempts()),
    "ContainerMetadata.name": _of(strategies.dns_labels()),
    "ContainerMetadata.attempt": _of(strategies.attempts()),
    "PodSandboxConfig.hostname": _of(strategies.dns_labels()),
    "PodSandboxConfig.labels": _of(strategies.label_maps()),
    "ContainerConfig.labels": _of(strategies.label_maps()),
    "PodSandboxConfig.annotations": _of(strategies.annotation_maps()),
    "ContainerConfig.annotations": _of(strategies.annotation_maps()),
    "UpdateContainerResourcesRequest.annotations": _of(strategies.annotation_maps(3)),
    "VersionRequest.version": _choice("v1", "", "v1alpha2", "0.1.0"),
    # -- the process ---------------------------------------------------------------------
    "ContainerConfig.command": _choice(("/bin/sh", "-c", "exec sleep 3600")),
    "ContainerConfig.args": lambda ours: st.lists(strategies.words(), max_size=4),
    "ContainerConfig.working_dir": _choice("/", "/tmp", "/bin", "/cri-new/folder"),
    "KeyValue.key": _of(strategies.variable_names()),
    "KeyValue.value": _of(strategies.texts().map(str.encode)),
    "ExecSyncRequest.cmd": _choice(
        ("true",), ("echo", "here"), ("sh", "-c", "exit 3"), ("no-such",)
    ),
    "ExecSyncRequest.timeout": _choice(10, 0, 1),
    "ExecRequest.cmd": _choice(("true",), ("cat",)),
    "StopContainerRequest.timeout": _choice(0, 1, 2),
    "CheckpointContainerRequest.timeout": _choice(10, 1),
    "PodSandboxConfig.log_directory": lambda ours: st.just(ours.folder),
    "ContainerConfig.log_path": _choice("0.log", "a/0.log", "a b/ü.log", "x" * 200 + ".log"),
    # -- files ---------------------------------------------------------------------------
    "Mount.container_path": _below,
    "Mount.host_path": _path,
    "Mount.image_sub_path": _choice("", "bin"),
    "Mount.mount_options": _choice((), ("noexec",), ("nosuid", "nodev")),
    "Device.container_path": _choice("/dev/cri-null", "/dev/null"),
    "Device.host_path": _choice("/dev/null"),
    "Device.permissions": _choice("rwm", "r", "rw", ""),
    "CheckpointContainerRequest.location": lambda ours: st.just(f"{ours.folder}/checkpoint.tar"),
    "CheckpointPodRequest.output_path": lambda ours: st.just(ours.folder),
    "RestorePodRequest.checkpoint_path": lambda ours: st.just(ours.folder),
    "CheckpointPodRequest.options": _choice({}),
    "RestorePodRequest.options": _choice({}),
    # -- who it runs as ------------------------------------------------------------------
    "LinuxContainerSecurityContext.run_as_username": _choice("root", "nobody"),
    "LinuxContainerSecurityContext.supplemental_groups": lambda ours: st.lists(
        _ID_NUMBER, max_size=4
    ),
    "LinuxSandboxSecurityContext.supplemental_groups": lambda ours: st.lists(
        _ID_NUMBER, max_size=4
    ),
    "Int64Value.value": _of(_ID_NUMBER),
    "Capability.add_capabilities": lambda ours: st.lists(
        st.sampled_from(_CAPABILITIES), max_size=3, unique=True
    ),
    "Capability.drop_capabilities": lambda ours: st.lists(
        st.sampled_from(_CAPABILITIES), max_size=3, unique=True
    ),
    "Capability.add_ambient_capabilities": _choice((), ("NET_BIND_SERVICE",)),
    "LinuxContainerSecurityContext.masked_paths": _choice(
        (), ("/proc/kcore",), ("/proc/keys", "/no")
    ),
    "LinuxContainerSecurityContext.readonly_paths": _choice(
        (), ("/proc/sys",), ("/proc/bus", "/no")
    ),
    "SecurityProfile.localhost_ref": lambda ours: st.just(f"{ours.folder}/seccomp.json"),
    "NamespaceOption.network": _choice(types.POD, types.NODE),
    "NamespaceOption.pid": _choice(types.CONTAINER, types.POD, types.NODE),
    "NamespaceOption.ipc": _choice(types.POD, types.NODE),
    "UserNamespace.mode": _choice(types.NODE, types.POD),
    "IDMapping.host_id": _choice(100_000, 1_000_000),
    "IDMapping.container_id": _choice(0),
    "IDMapping.length": _choice(65536, 1),
    "LinuxPodSandboxConfig.sysctls": _choice(
        {}, {"net.ipv4.ip_unprivileged_port_start": "1"}, {"kernel.shm_rmid_forced": "1"}
    ),
    # -- how much it may use -------------------------------------------------------------
    "LinuxContainerResources.cpu_period": _of(boundaries(1_000, 1_000_000, 100_000)),
    "LinuxContainerResources.cpu_quota": _choice(0, -1, 100_000, 50_001, 2**40),
    "LinuxContainerResources.cpu_shares": _of(boundaries(2, 262_144, 1024, 2)),
    "LinuxContainerResources.memory_limit_in_bytes": _choice(
        0, 256 * _MEBIBYTE, 64 * _MEBIBYTE, 256 * _MEBIBYTE + 1, 2**40
    ),
    "LinuxContainerResources.memory_swap_limit_in_bytes": _choice(0),
    "LinuxContainerResources.oom_score_adj": _choice(0, 1000, 999, 2),
    "LinuxContainerResources.cpuset_cpus": _choice("", "0"),
    "LinuxContainerResources.cpuset_mems": _choice("", "0"),
    "HugepageLimit.page_size": _choice("2MB"),
    "HugepageLimit.limit": _choice(0, 2 * _MEBIBYTE),
    # -- the network ---------------------------------------------------------------------
    "DNSConfig.servers": _choice((), ("10.96.0.10",), ("10.0.0.1", "10.0.0.2", "fd00::1")),
    "DNSConfig.searches": _choice((), ("a.example",), tuple(f"s{n}.example" for n in range(32))),
    "DNSConfig.options": _choice((), ("ndots:5",), ("timeout:1", "edns0")),
    "PortMapping.container_port": _of(boundaries(1, 65535, 80)),
    # A port of the host may be somebody else's.
    "PortMapping.host_port": _choice(0),
    "PortMapping.host_ip": _choice(""),
    "PortForwardRequest.port": _choice((80,), (1, 65535)),
    # -- images --------------------------------------------------------------------------
    "ImageSpec.image": lambda ours: st.sampled_from(ours.images or ("",)),
}

#: Left unset, and why.
NEVER: Mapping[str, str] = {
    "PodSandboxConfig.windows": "Windows",
    "ContainerConfig.windows": "Windows",
    "UpdateContainerResourcesRequest.windows": "Windows",
    "LinuxPodSandboxConfig.cgroup_parent": "a cgroup of the host's: the run's own stays",
    "LinuxContainerResources.unified": "keys depend on the host's kernel",
    "ContainerConfig.CDI_devices": "devices of the host's",
    "ContainerConfig.stop_signal": "one that the process ignores makes each stop wait",
    "NamespaceOption.target_id": "set with the mode TARGET alone, by its constraint",
    "LinuxContainerSecurityContext.selinux_options": "policies of the host's",
    "LinuxSandboxSecurityContext.selinux_options": "policies of the host's",
    "LinuxContainerSecurityContext.apparmor_profile": "superseded, and a profile of the host's",
    "LinuxContainerSecurityContext.seccomp_profile_path": "superseded",
    "LinuxSandboxSecurityContext.seccomp_profile_path": "superseded",
    "ImageSpec.annotations": "mean something to the runtime alone",
    "ImageSpec.user_specified_image": "set to what the image is asked for by",
    "ImageSpec.runtime_handler": "chosen with the handler under test",
    "ImageSpec.image_ref": "set by the runtime",
    "PullImageRequest.auth": "our registry asks for none here",
    "NetworkConfig.pod_cidr": "the node's network",
    "Mount.selinux_relabel": "changes labels on the host",
    "Mount.uidMappings": "go with those of the sandbox, by their own tests",
    "Mount.gidMappings": "go with those of the sandbox, by their own tests",
    "UserNamespace.uids": "go with the mode POD, by their own tests",
    "UserNamespace.gids": "go with the mode POD, by their own tests",
}

#: Calls that are never sent generated, and why.
NOT_SENT: Mapping[str, str] = {
    "UpdateRuntimeConfig": "changes the node's network",
    "CheckpointContainer": "freezes a container for seconds; its own tests send it",
    "CheckpointPod": "as CheckpointContainer",
    "RestorePod": "needs a checkpoint; its own tests send it",
}
