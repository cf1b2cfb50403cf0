# SPDX-License-Identifier: Apache-2.0
"""The smallest requests that a kubelet could have sent.

Every builder gives what a kubelet always sets (labels, hostname, log directory, the
image as the user wrote it, the sandbox config again on create), because a runtime
may rely on it. Tests change what they are about, and nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from cri_conformance.api import types

POD_NAME, POD_NAMESPACE, POD_UID = (
    f"io.kubernetes.pod.{key}" for key in ("name", "namespace", "uid")
)
CONTAINER_NAME = "io.kubernetes.container.name"
NAMESPACE = "cri-conformance"

#: Sleeps until told to stop, and then stops at once with exit code 0.
IDLE = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"


def sandbox_config(
    name: str,
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
    namespace: str = NAMESPACE,
    uid: str = "",
    attempt: int = 0,
    log_directory: str = "",
    cgroup_parent: str = "",
    network: types.NamespaceMode.ValueType = types.POD,
) -> types.PodSandboxConfig:
    """A pod sandbox named ``name`` in our namespace, with a uid of its own unless one is given.

    ``labels`` are added to those that the kubelet sets.
    """
    uid = uid or str(uuid.uuid4())
    return types.PodSandboxConfig(
        metadata=types.PodSandboxMetadata(name=name, uid=uid, namespace=namespace, attempt=attempt),
        hostname="" if network == types.NODE else name[:63].rstrip("-."),
        log_directory=log_directory,
        labels={POD_NAME: name, POD_NAMESPACE: namespace, POD_UID: uid, **labels},
        annotations=annotations or {},
        linux=types.LinuxPodSandboxConfig(
            cgroup_parent=cgroup_parent,
            security_context=types.LinuxSandboxSecurityContext(
                # The kubelet asks for the pid namespace of v1 pods in so many words.
                namespace_options=types.NamespaceOption(network=network, pid=types.CONTAINER)
            ),
        ),
    )


def container_config(
    name: str,
    image: str,
    sandbox: types.PodSandboxConfig,
    *,
    labels: Mapping[str, str],
    command: Sequence[str] = ("/bin/sh", "-c", IDLE),
    envs: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> types.ContainerConfig:
    """A container of ``image`` in a sandbox, idle unless ``command`` says otherwise."""
    own = {key: sandbox.labels[key] for key in (POD_NAME, POD_NAMESPACE, POD_UID)}
    shared = sandbox.linux.security_context.namespace_options
    # A kubelet tells both the same of user namespaces; a runtime may insist on it.
    users = shared.userns_options if shared.HasField("userns_options") else None
    return types.ContainerConfig(
        metadata=types.ContainerMetadata(name=name, attempt=0),
        image=types.ImageSpec(image=image, user_specified_image=image),
        command=list(command),
        envs=[types.KeyValue(key=key, value=value.encode()) for key, value in (envs or {}).items()],
        labels={**own, CONTAINER_NAME: name, **labels},
        annotations=annotations or {},
        log_path=f"{name}/0.log" if sandbox.log_directory else "",
        linux=types.LinuxContainerConfig(
            security_context=types.LinuxContainerSecurityContext(
                namespace_options=types.NamespaceOption(
                    network=shared.network, pid=types.CONTAINER, userns_options=users
                )
            )
        ),
    )
