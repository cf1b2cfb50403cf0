# SPDX-License-Identifier: Apache-2.0
"""What tells containers apart: name and attempt within a sandbox, and nothing beyond it."""

from __future__ import annotations

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.wire.outcome import Ok, SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox

_CREATE = "RuntimeService.CreateContainer"
_METADATA = "ContainerMetadata"


@clause(f"{_METADATA}.unique-in-sandbox")
def test_a_name_belongs_to_one_container(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    first = runtime.container(shared_sandbox)
    runtime.create(shared_sandbox, first.config)
    name = first.config.metadata.name
    there = [
        item.id
        for item in runtime.get("ListContainers").containers
        if item.pod_sandbox_id == shared_sandbox.id and item.metadata.name == name
    ]
    judge.equal(
        f"{_METADATA}.unique-in-sandbox", there, [first.id], "of this name", about=[first.id]
    )


@clause(f"{_METADATA}.next-attempt")
def test_the_next_attempt_of_an_exited_container_is_a_new_one(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    first = runtime.exited(shared_sandbox)
    config = types.ContainerConfig()
    config.CopyFrom(first.config)
    config.metadata.attempt += 1
    outcome = runtime.create(shared_sandbox, config)
    judge.ok(f"{_METADATA}.next-attempt", outcome, about=[first.id])
    judge.that(
        f"{_METADATA}.next-attempt",
        isinstance(outcome, Ok) and outcome.response.container_id != first.id,
        permitted="an id of its own",
        actual="the id of the exited container",
        about=[first.id],
    )


@clause(f"{_METADATA}.other-sandbox")
def test_a_name_means_another_container_in_another_sandbox(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    other = runtime.sandbox()
    first = runtime.container(shared_sandbox)
    config = runtime.container_config(other, name=first.config.metadata.name)
    outcome = runtime.create(other, config)
    judge.ok(f"{_METADATA}.other-sandbox", outcome, about=[first.id, other.id])
    judge.that(
        f"{_METADATA}.other-sandbox",
        isinstance(outcome, Ok) and outcome.response.container_id != first.id,
        permitted="an id of its own",
        actual="the id of the container in the first sandbox",
        about=[first.id, other.id],
    )


def _absent_image(config: types.ContainerConfig) -> None:
    config.image.image = config.image.user_specified_image = "localhost/cri-conformance/absent:none"


def _group_without_user(config: types.ContainerConfig) -> None:
    config.linux.security_context.ClearField("run_as_user")
    config.linux.security_context.run_as_group.value = 1000


def _missing_profile(config: types.ContainerConfig) -> None:
    seccomp = config.linux.security_context.seccomp
    seccomp.profile_type = types.SecurityProfile.Localhost
    seccomp.localhost_ref = "/cri-conformance/none.json"


def _missing_device(config: types.ContainerConfig) -> None:
    config.devices.add(host_path="/dev/cri-conformance-none", container_path="/dev/none")


#: What makes a creation fail: seen at once, or only when much has been set up that has to go.
_WRONG = (_absent_image, _group_without_user, _missing_profile, _missing_device)


@clause(f"{_CREATE}.name-free-after-failure")
def test_a_corrected_create_gets_the_name_of_a_refused_one(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    refused = 0
    for spoil in _WRONG:
        config = runtime.container_config(shared_sandbox)
        wrong = types.ContainerConfig()
        wrong.CopyFrom(config)
        spoil(wrong)
        if isinstance(runtime.create(shared_sandbox, wrong), Ok):
            continue  # that this is not refused is another test's affair
        refused += 1
        judge.ok(f"{_CREATE}.name-free-after-failure", runtime.create(shared_sandbox, config))
    if not refused:
        raise SetupFailed("CreateContainer refuses nothing")


@clause("CreateContainerRequest.sandbox_config.repeat-harmless")
def test_sending_the_sandboxs_config_again_changes_nothing(runtime: Runtime, judge: Judge) -> None:
    harmless = "CreateContainerRequest.sandbox_config.repeat-harmless"
    sandbox = runtime.sandbox()
    before = runtime.sandbox_status(sandbox.id)
    outcome = runtime.create(sandbox, runtime.container_config(sandbox))
    judge.ok(harmless, outcome, about=[sandbox.id])
    judge.equal(
        harmless,
        str(runtime.sandbox_status(sandbox.id)),
        str(before),
        "the sandbox's status",
        about=[sandbox.id],
    )
