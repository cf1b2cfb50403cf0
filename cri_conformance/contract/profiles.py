# SPDX-License-Identifier: Apache-2.0
"""Profiles: what a runtime can claim to support, each a set of clauses with a minimum.

Every clause belongs to exactly one. A profile names elements of the contract: a call, a
message with its fields, a single field. The nearest name decides, so ``ContainerConfig.tty``
can be elsewhere than ``ContainerConfig``. tests/contract/test_profiles.py holds that no
element has none or two, and that no name here is one that the contract has not.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cri_conformance.contract.register import Register


@dataclass(frozen=True, slots=True)
class Profile:
    """A feature, in the sense of a kubelet's administrator."""

    name: str
    text: str
    #: Of the clauses that can be asked for, how many a run must have judged.
    minimum: float
    #: Names of elements, or shell patterns of them, with spaces between.
    elements: str
    #: Claimed by every runtime, whatever else it claims.
    core: bool = False


#: A minimum leaves room for what a machine lacks, not for a call that is missing: stats and
#: resources depend on the kernel and its control groups, security on its modules.
PROFILES = (
    Profile(
        "runtime",
        "Version, Status, the runtime's own configuration",
        0.8,
        (
            "RuntimeService.Version RuntimeService.Status RuntimeService.UpdateRuntimeConfig "
            "RuntimeService.RuntimeConfig VersionRequest VersionResponse StatusRequest "
            "StatusResponse RuntimeStatus RuntimeCondition RuntimeHandler RuntimeConfigResponse "
            "LinuxRuntimeConfiguration"
        ),
        core=True,
    ),
    Profile(
        "sandbox",
        "pod sandboxes: run, stop, remove, status, lists and filters",
        0.8,
        (
            "RuntimeService.RunPodSandbox RuntimeService.StopPodSandbox "
            "RuntimeService.RemovePodSandbox RuntimeService.PodSandboxStatus "
            "RuntimeService.ListPodSandbox RunPodSandboxRequest RunPodSandboxResponse "
            "ListPodSandboxRequest PodSandbox PodSandboxConfig PodSandboxFilter "
            "PodSandboxMetadata PodSandboxStateValue PodSandboxStatus PodSandboxStatusRequest "
            "PodSandboxStatusResponse Namespace"
        ),
        core=True,
    ),
    Profile(
        "container",
        "containers: create, start, stop, remove, status, lists and filters",
        0.8,
        (
            "RuntimeService.CreateContainer RuntimeService.StartContainer "
            "RuntimeService.StopContainer RuntimeService.RemoveContainer "
            "RuntimeService.ContainerStatus RuntimeService.ListContainers CreateContainerRequest "
            "CreateContainerResponse StopContainerRequest ListContainersRequest "
            "ListContainersResponse Container ContainerConfig ContainerFilter ContainerMetadata "
            "ContainerState ContainerStateValue ContainerStatus ContainerStatusRequest "
            "ContainerStatusResponse ImageSpec KeyValue Signal"
        ),
        core=True,
    ),
    Profile(
        "exec",
        "ExecSync",
        0.8,
        ("RuntimeService.ExecSync ExecSyncRequest ExecSyncResponse"),
        core=True,
    ),
    Profile(
        "network",
        "addresses, ports on the host, DNS",
        0.7,
        (
            "PodIP PodSandboxNetworkStatus PodSandboxStatus.network NetworkConfig PortMapping "
            "Protocol DNSConfig PodSandboxConfig.dns_config PodSandboxConfig.port_mappings"
        ),
    ),
    Profile(
        "mounts",
        "mounts, images as mounts, devices",
        0.6,
        (
            "Mount MountPropagation Device CDIDevice ContainerConfig.mounts "
            "ContainerStatus.mounts RuntimeHandlerFeatures.recursive_read_only_mounts "
            "RuntimeFeatures.mount_options"
        ),
    ),
    Profile(
        "logs",
        "log files: place, format, reopening",
        0.8,
        (
            "RuntimeService.ReopenContainerLog ContainerConfig.log_path ContainerStatus.log_path "
            "PodSandboxConfig.log_directory"
        ),
    ),
    Profile(
        "streaming",
        "Exec, Attach and PortForward sessions",
        0.8,
        (
            "RuntimeService.Exec RuntimeService.Attach RuntimeService.PortForward ExecRequest "
            "ExecResponse AttachRequest AttachResponse PortForwardRequest PortForwardResponse "
            "ContainerConfig.stdin ContainerConfig.stdin_once ContainerConfig.tty"
        ),
    ),
    Profile(
        "image",
        "images: pull, list, status, remove, their file system",
        0.8,
        (
            "ImageService.PullImage ImageService.ListImages ImageService.ImageStatus "
            "ImageService.RemoveImage ImageService.ImageFsInfo PullImageRequest PullImageResponse "
            "ListImagesRequest ImageStatusRequest ImageStatusResponse ImageFsInfoResponse Image "
            "ImageFilter AuthConfig FilesystemIdentifier"
        ),
    ),
    Profile(
        "stats",
        "figures on pods and containers",
        0.7,
        (
            "RuntimeService.ContainerStats RuntimeService.ListContainerStats "
            "RuntimeService.PodSandboxStats RuntimeService.ListPodSandboxStats ContainerStats "
            "ContainerStatsFilter ContainerStatsRequest ContainerStatsResponse "
            "ContainerAttributes ListContainerStatsRequest ListContainerStatsResponse "
            "PodSandboxStats PodSandboxStatsFilter PodSandboxStatsRequest PodSandboxStatsResponse "
            "PodSandboxAttributes ListPodSandboxStatsRequest ListPodSandboxStatsResponse "
            "LinuxPodSandboxStats CpuUsage MemoryUsage SwapUsage IoUsage PsiStats PsiData "
            "ProcessUsage NetworkUsage NetworkInterfaceUsage FilesystemUsage"
        ),
    ),
    Profile(
        "metrics",
        "metrics in the runtime's own words",
        0.7,
        (
            "RuntimeService.ListMetricDescriptors RuntimeService.ListPodSandboxMetrics "
            "ListMetricDescriptorsResponse ListPodSandboxMetricsResponse MetricDescriptor Metric "
            "ContainerMetrics PodSandboxMetrics"
        ),
    ),
    Profile(
        "events",
        "GetContainerEvents",
        0.8,
        ("RuntimeService.GetContainerEvents ContainerEventResponse ContainerEventType"),
    ),
    Profile(
        "resources",
        "limits of containers and pods, and changing them",
        0.6,
        (
            "RuntimeService.UpdateContainerResources RuntimeService.UpdatePodSandboxResources "
            "UpdateContainerResourcesRequest UpdatePodSandboxResourcesRequest "
            "LinuxContainerResources HugepageLimit ContainerStatus.resources "
            "LinuxPodSandboxConfig.cgroup_parent LinuxPodSandboxConfig.overhead "
            "LinuxPodSandboxConfig.resources"
        ),
    ),
    Profile(
        "security",
        "users, capabilities, profiles, namespaces",
        0.6,
        (
            "LinuxSandboxSecurityContext LinuxContainerSecurityContext SecurityProfile "
            "SELinuxOption Capability NamespaceOption NamespaceMode SupplementalGroupsPolicy "
            "RuntimeFeatures.supplemental_groups_policy ContainerUser LinuxContainerUser "
            "ContainerStatus.user PodSandboxConfig.linux LinuxPodSandboxConfig.sysctls"
        ),
    ),
    Profile(
        "user-namespaces",
        "pods in user namespaces",
        0.5,
        (
            "UserNamespace NamespaceOption.userns_options Mount.uidMappings Mount.gidMappings "
            "RuntimeHandlerFeatures.user_namespaces RuntimeFeatures.user_namespaces_host_network"
        ),
    ),
    Profile(
        "streamed-lists",
        "lists that come in many messages",
        0.8,
        ("RuntimeService.Stream* ImageService.Stream* Stream*"),
    ),
    Profile(
        "checkpoint",
        "checkpoints of containers and pods, and restoring them",
        0.7,
        (
            "RuntimeService.CheckpointContainer RuntimeService.CheckpointPod "
            "RuntimeService.RestorePod CheckpointContainerRequest CheckpointPodRequest "
            "RestorePodRequest RestorePodResponse RestoredContainer"
        ),
    ),
    Profile(
        "windows",
        "what only Windows has",
        0.8,
        ("Windows* ContainerConfig.windows PodSandboxConfig.windows"),
    ),
)

#: Signs in Status that a runtime has a feature (path of fields; a list stands for its entry of
#: the handler under test), and the clauses in which it must then show.
ADVERTISED: Mapping[str, tuple[str, ...]] = {
    "runtime_handlers.features.recursive_read_only_mounts": ("Mount.recursive_read_only.*",),
    "runtime_handlers.features.user_namespaces": (
        "UserNamespace.mode.pod",
        "UserNamespace.?ids.*",
        "RuntimeHandlerFeatures.user_namespaces.accepted",
    ),
    "features.supplemental_groups_policy": (
        "SupplementalGroupsPolicy.*",
        "RuntimeFeatures.supplemental_groups_policy.*",
    ),
    "features.user_namespaces_host_network": (
        "RuntimeFeatures.user_namespaces_host_network.honoured",
    ),
    "features.mount_options": ("Mount.mount_options.*", "RuntimeFeatures.mount_options.accepted"),
}

NAMES = tuple(profile.name for profile in PROFILES)
CORE = frozenset(profile.name for profile in PROFILES if profile.core)


class ProfilesError(ValueError):
    """A profile that is not there; one line."""


def claimed(text: str) -> frozenset[str]:
    """The profiles of ``a,b``, with the core's, which every runtime claims; "" for none named.

    Raises ProfilesError.
    """
    names = [word.strip() for word in text.split(",") if word.strip()]
    if strange := [name for name in names if name not in NAMES]:
        raise ProfilesError(f"there is no profile {strange[0]!r}, only {', '.join(NAMES)}")
    return CORE.union(names) if names else frozenset()


def candidates(element: str) -> list[str]:
    """The profiles that name an element, or else what it is a part of: one, if all is well."""
    name = element
    while name:
        found = [
            profile.name
            for profile in PROFILES
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in profile.elements.split())
        ]
        if found:
            return found
        name = name.rpartition(".")[0]
    return []


@cache
def profile_of(element: str) -> str:
    """The profile of an element of the contract; "" where there is none."""
    return next(iter(candidates(element)), "")


def clauses_of(names: Iterable[str], register: Register) -> frozenset[str]:
    """Ids of all clauses of some profiles."""
    wanted = frozenset(names)
    return frozenset(
        clause.id for clause in register.clauses.values() if profile_of(clause.element) in wanted
    )


def advertised(status: Mapping[str, Any], handler: str) -> list[str]:
    """The signs, of those in ADVERTISED, that a Status answer shows."""
    return [sign for sign in ADVERTISED if _shows(status, sign.split("."), handler)]


def _shows(value: Any, path: list[str], handler: str) -> bool:
    for name in path:
        if isinstance(value, list):
            value = next((one for one in value if one.get("name", "") == handler), None)
        value = value.get(name) if isinstance(value, Mapping) else None
    return value is True
