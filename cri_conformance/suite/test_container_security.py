# SPDX-License-Identifier: Apache-2.0
"""Containers that must not come to run: namespaces to join, and profiles, that are not there.

A container that runs without the confinement it asked for, or among processes of
another pod, is worse than one that does not run. CreateContainer or StartContainer may
refuse it; what counts is that one of them does. That what is asked for is in force is
looked at from inside of containers, elsewhere.
"""

from __future__ import annotations

import secrets

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.wire.runtime import Container, Runtime, Sandbox


def _joining(runtime: Runtime, sandbox: Sandbox, target_id: str) -> types.ContainerConfig:
    """A container that asks for the process ids of another."""
    config = runtime.container_config(sandbox)
    options = config.linux.security_context.namespace_options
    options.pid, options.target_id = types.TARGET, target_id
    return config


@clause("NamespaceMode.TARGET.id-needed")
def test_target_needs_an_id(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    config = _joining(runtime, shared_sandbox, "")
    judge.refused(
        "NamespaceMode.TARGET.id-needed", runtime.create_and_start(shared_sandbox, config)
    )


@clause("NamespaceOption.target_id.unknown-refused")
def test_target_must_exist(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    known = runtime.container(shared_sandbox).id
    config = _joining(runtime, shared_sandbox, secrets.token_hex(len(known) // 2))
    judge.refused(
        "NamespaceOption.target_id.unknown-refused",
        runtime.create_and_start(shared_sandbox, config),
    )


@clause("NamespaceOption.target_id.other-pod-refused")
def test_target_must_be_in_the_sandbox(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    target = _target(runtime, runtime.sandbox(), types.CONTAINER)
    config = _joining(runtime, shared_sandbox, target.id)
    judge.refused(
        "NamespaceOption.target_id.other-pod-refused",
        runtime.create_and_start(shared_sandbox, config),
        about=[target.id],
    )


@clause("NamespaceMode.TARGET.shared-target")
def test_target_in_the_pods_namespace(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    target = _target(runtime, shared_sandbox, types.POD)
    config = _joining(runtime, shared_sandbox, target.id)
    outcome = runtime.create_and_start(shared_sandbox, config)
    judge.record("NamespaceMode.TARGET.shared-target", f"target with POD: {outcome}")


def _target(runtime: Runtime, sandbox: Sandbox, pid: types.NamespaceMode.ValueType) -> Container:
    config = runtime.container_config(sandbox)
    config.linux.security_context.namespace_options.pid = pid
    container = runtime.container(sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    return container


# -- seccomp profiles of the node ---------------------------------------------------------


@pytest.mark.parametrize(
    ("clause_id", "path"),
    [
        pytest.param(name, path, marks=clause(name), id=name)
        for name, path in {
            "SecurityProfile.ProfileType.Localhost.seccomp-missing-refused": "/nonexistent/{}.json",
            "SecurityProfile.ProfileType.Localhost.absolute-path": "profiles/{}.json",
        }.items()
    ],
)
def test_profile_that_is_not_there(
    clause_id: str, path: str, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    config = runtime.container_config(shared_sandbox)
    config.linux.security_context.seccomp.CopyFrom(
        types.SecurityProfile(
            profile_type=types.SecurityProfile.Localhost,
            localhost_ref=path.format(secrets.token_hex(8)),
        )
    )
    judge.refused(clause_id, runtime.create_and_start(shared_sandbox, config))


@clause("SecurityProfile.localhost_ref.without-localhost")
def test_profile_path_with_another_type(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    config = runtime.container_config(shared_sandbox)
    config.linux.security_context.seccomp.CopyFrom(
        types.SecurityProfile(
            profile_type=types.SecurityProfile.Unconfined,
            localhost_ref=f"/nonexistent/{secrets.token_hex(8)}.json",
        )
    )
    outcome = runtime.create_and_start(shared_sandbox, config)
    judge.record("SecurityProfile.localhost_ref.without-localhost", f"Unconfined: {outcome}")
