# SPDX-License-Identifier: Apache-2.0
"""Features that Status advertises: what is advertised is taken; what isn't is not ignored.

A kubelet places pods by them. That a feature has its effect is judged where that effect
is; here, that a request which makes use of it is not refused, and that without the feature
no pod runs with less protection than it asked for.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import folder_on_host
from cri_conformance.target import Target
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

_HANDLER, _FEATURES = "RuntimeHandlerFeatures", "RuntimeFeatures"
_OPTIONS = ("noexec", "nodev", "nosuid")
#: Ids of the host for those of a pod, as a kubelet gives them out.
_MAPPING = types.IDMapping(host_id=65536 * 7, container_id=0, length=65536)
#: What the kernel's refusal of a mount with mapped ids looks like in the words of runtimes.
_NO_SUCH_MOUNTS = re.compile(r"idmap|id-mapped|mount_setattr|MOUNT_ATTR", re.IGNORECASE)
_WHOLE_RANGE = 2**32 - 1


def _handler_features(runtime: Runtime, judge: Judge) -> types.RuntimeHandlerFeatures:
    """Those of the handler under test; ends the test where the runtime lists none."""
    handlers = runtime.get("Status").runtime_handlers
    ours = [handler for handler in handlers if handler.name == runtime.workshop.handler]
    if not ours:
        judge.skip(Reason.NOT_ADVERTISED, "Status does not list the runtime handler")
    features: types.RuntimeHandlerFeatures = ours[0].features
    return features


def _features(runtime: Runtime, judge: Judge, field: str) -> bool:
    """Whether a feature is advertised; ends the test where the runtime tells of none at all."""
    response = runtime.get("Status")
    if not response.HasField("features"):
        judge.skip(Reason.YOUNGER, "Status tells of no features")
    return bool(getattr(response.features, field))


@pytest.fixture
def folder(cri_target: Target, shared_sandbox: Sandbox, runtime: Runtime, judge: Judge) -> Path:
    """A folder of ours on the host, which any user may enter."""
    if not shared_sandbox.config.log_directory:
        judge.skip(Reason.REMOTE, "nothing can be put on the runtime's host")
    made = folder_on_host(shared_sandbox, runtime.name("feature"))
    made.chmod(0o777)
    return made


def _mapped_config(
    runtime: Runtime, network: types.NamespaceMode.ValueType = types.POD
) -> types.PodSandboxConfig:
    config = runtime.sandbox_config(network=network)
    config.linux.security_context.namespace_options.userns_options.CopyFrom(
        types.UserNamespace(mode=types.POD, uids=[_MAPPING], gids=[_MAPPING])
    )
    return config


def _mapped_container(runtime: Runtime, sandbox: Sandbox) -> types.ContainerConfig:
    config = runtime.container_config(sandbox)
    options = sandbox.config.linux.security_context.namespace_options
    config.linux.security_context.namespace_options.CopyFrom(options)
    return config


def _mount(folder: Path, **options: object) -> types.Mount:
    # As it lies on the host, so that it is there in a runtime without isolation, too.
    return types.Mount(container_path=str(folder), host_path=str(folder), **options)  # type: ignore[arg-type]


def _judge_started(
    judge: Judge, name: str, runtime: Runtime, sandbox: Sandbox, config: types.ContainerConfig
) -> None:
    judge.ok(name, runtime.create_and_start(sandbox, config), about=[sandbox.id])


# -- of the handler --------------------------------------------------------------------------


@clause(f"{_HANDLER}.recursive_read_only_mounts.accepted")
def test_recursively_read_only_mounts(
    runtime: Runtime, shared_sandbox: Sandbox, folder: Path, judge: Judge
) -> None:
    if not _handler_features(runtime, judge).recursive_read_only_mounts:
        judge.skip(Reason.NOT_ADVERTISED, "recursive_read_only_mounts")
    config = runtime.container_config(shared_sandbox)
    config.mounts.append(_mount(folder, readonly=True, recursive_read_only=True))
    name = f"{_HANDLER}.recursive_read_only_mounts.accepted"
    _judge_started(judge, name, runtime, shared_sandbox, config)


@clause(f"{_HANDLER}.user_namespaces.accepted")
def test_user_namespaces(runtime: Runtime, judge: Judge) -> None:
    if not _handler_features(runtime, judge).user_namespaces:
        judge.skip(Reason.NOT_ADVERTISED, "user_namespaces")
    name, config = f"{_HANDLER}.user_namespaces.accepted", _mapped_config(runtime)
    sandbox = _sandbox(judge, name, runtime.run_sandbox(config), config)
    _judge_started(judge, name, runtime, sandbox, _mapped_container(runtime, sandbox))


def _sandbox(judge: Judge, name: str, outcome: Outcome, config: types.PodSandboxConfig) -> Sandbox:
    return Sandbox(judge.response(name, outcome).pod_sandbox_id, config)


@clause(f"{_HANDLER}.user_namespaces.mapped-mounts-accepted")
def test_mounts_with_mapped_ids(runtime: Runtime, folder: Path, judge: Judge) -> None:
    if not _handler_features(runtime, judge).user_namespaces:
        judge.skip(Reason.NOT_ADVERTISED, "user_namespaces")
    sandbox = runtime.sandbox(_mapped_config(runtime))
    config = _mapped_container(runtime, sandbox)
    config.mounts.append(_mount(folder, uidMappings=[_MAPPING], gidMappings=[_MAPPING]))
    outcome = runtime.create_and_start(sandbox, config)
    if isinstance(outcome, Refused) and _NO_SUCH_MOUNTS.search(outcome.message):
        # Not every file system can do it, and where this folder lies is not the runtime's doing.
        judge.skip(Reason.NEEDS_HOST, f"a file system with mapped mounts: {outcome}")
    judge.ok(f"{_HANDLER}.user_namespaces.mapped-mounts-accepted", outcome, about=[sandbox.id])


@clause(f"{_HANDLER}.user_namespaces.unadvertised")
def test_no_pod_goes_without_its_mappings(runtime: Runtime, judge: Judge) -> None:
    if _handler_features(runtime, judge).user_namespaces:
        judge.skip(Reason.NOT_ADVERTISED, "the handler has user namespaces")
    name, config = f"{_HANDLER}.user_namespaces.unadvertised", _mapped_config(runtime)
    outcome = runtime.run_sandbox(config)
    if isinstance(outcome, Ok):
        sandbox = Sandbox(outcome.response.pod_sandbox_id, config)
        made = runtime.create(sandbox, _mapped_container(runtime, sandbox))
        outcome = made
        if isinstance(made, Ok):
            container = Container(made.response.container_id, types.ContainerConfig(), sandbox)
            outcome = runtime.call("StartContainer", container_id=container.id)
            if isinstance(outcome, Ok):
                seen = runtime.exec(container, "cat", "/proc/self/uid_map").stdout.split()
                _judge_mapped(judge, name, [int(word) for word in seen])
                return
    judge.refused(name, outcome)


def _judge_mapped(judge: Judge, name: str, seen: list[int]) -> None:
    # A runtime may itself run in a user namespace: only the identity over all ids is none.
    judge.that(
        name,
        seen != [0, 0, _WHOLE_RANGE],
        permitted="a refusal, or ids that are mapped",
        actual=f"a container with the map {seen}",
    )


# -- of the runtime --------------------------------------------------------------------------


@clause(f"{_FEATURES}.user_namespaces_host_network.honoured")
def test_user_namespaces_on_the_hosts_network(runtime: Runtime, judge: Judge) -> None:
    if not _features(runtime, judge, "user_namespaces_host_network"):
        judge.skip(Reason.NOT_ADVERTISED, "user_namespaces_host_network")
    name = f"{_FEATURES}.user_namespaces_host_network.honoured"
    config = _mapped_config(runtime, types.NODE)
    sandbox = _sandbox(judge, name, runtime.run_sandbox(config), config)
    _judge_started(judge, name, runtime, sandbox, _mapped_container(runtime, sandbox))


@pytest.fixture
def with_options(runtime: Runtime, shared_sandbox: Sandbox, folder: Path) -> types.ContainerConfig:
    """A container's config with a mount that asks for options."""
    config = runtime.container_config(shared_sandbox)
    config.mounts.append(_mount(folder, mount_options=_OPTIONS))
    return config


@clause(f"{_FEATURES}.mount_options.accepted")
def test_options_of_mounts(
    runtime: Runtime, shared_sandbox: Sandbox, with_options: types.ContainerConfig, judge: Judge
) -> None:
    if not _features(runtime, judge, "mount_options"):
        judge.skip(Reason.NOT_ADVERTISED, "mount_options")
    name = f"{_FEATURES}.mount_options.accepted"
    _judge_started(judge, name, runtime, shared_sandbox, with_options)


@clause(f"{_FEATURES}.mount_options.unadvertised")
def test_no_mount_goes_without_its_options(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    with_options: types.ContainerConfig,
    folder: Path,
    judge: Judge,
) -> None:
    name = f"{_FEATURES}.mount_options.unadvertised"
    if judge.rules.register[name].since > judge.rules.minor:
        # It can't even read such a request: the field is not there for it.
        judge.skip(Reason.YOUNGER, "mount options came with 1.37")
    if _features(runtime, judge, "mount_options"):
        judge.skip(Reason.NOT_ADVERTISED, "the runtime has mount options")
    made = runtime.create(shared_sandbox, with_options)
    outcome: Outcome = made
    if isinstance(made, Ok):
        container = Container(made.response.container_id, with_options, shared_sandbox)
        outcome = runtime.call("StartContainer", container_id=container.id)
        if isinstance(outcome, Ok):
            lines = runtime.exec(container, "cat", "/proc/self/mounts").stdout.decode().splitlines()
            options = [line.split()[3].split(",") for line in lines if f" {folder} " in line]
            missing = sorted(set(_OPTIONS) - set(options[0] if options else []))
            judge.equal(name, missing, [], "missing options:", about=[container.id])
            return
    judge.refused(name, outcome)
