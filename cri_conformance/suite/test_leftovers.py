# SPDX-License-Identifier: Apache-2.0
"""The host after calls that failed, or that found something gone: nothing more, and nothing less.

What is looked at is told by names and namespaces of the test's own: nothing of others counts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.marked import marked, process_of
from cri_conformance.suite.mounting import mounting, own_folder
from cri_conformance.suite.stepper import MISSING_COMMAND
from cri_conformance.wire import cgroups, host_mounts
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import Ok, Refused, SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox, poll

_RUN = "RuntimeService.RunPodSandbox"
_GONE, _CGROUP = "RuntimeService.StopPodSandbox.namespace-gone", "RuntimeService.RemoveContainer"
_OTHERS = "PodSandboxConfig.log_directory.others-untouched"
#: How many sandboxes fail, and seconds until what is left of them must be gone.
_FAILURES, _GONE_WITHIN = 4, 5.0


def _own_cgroup(runtime: Runtime) -> types.PodSandboxConfig:
    """The config of a sandbox below a cgroup that only it has."""
    config = runtime.sandbox_config()
    parent = config.linux.cgroup_parent or cgroups.parent(runtime.workshop.run.nonce)
    config.linux.cgroup_parent = f"{parent}/{config.metadata.name}"
    return config


# -- sandboxes that can't be run ---------------------------------------------------------------


def _network_namespaces(host: Host) -> dict[str, str]:
    """Network namespaces that are kept by a mount → where that is."""
    lines = (line.split(" ") for line in host.read(1, "mountinfo").splitlines())
    return {fields[3]: fields[4] for fields in lines if fields[3].startswith("net:[")}


@clause(f"{_RUN}.failed-processes", f"{_RUN}.failed-network")
def test_a_sandbox_that_fails_leaves_nothing(
    isolation: None, runtime: Runtime, host: Host, judge: Judge
) -> None:
    before = _deserted(host)
    names = []
    for _ in range(_FAILURES):
        config = _own_cgroup(runtime)
        # Nobody sees that it is wrong before the network is there and the first process starts.
        config.linux.sysctls["kernel.cri_conformance_none"] = "1"
        if not isinstance(runtime.run_sandbox(config), Refused):
            judge.skip(Reason.NOT_ADVERTISED, "a kernel setting that there is not is not refused")
        names.append(config.metadata.name)

    def processes() -> list[int]:
        return [
            pid for pid in host.pids() if any(name in host.read(pid, "cgroup") for name in names)
        ]

    with contextlib.suppress(SetupFailed):
        poll(processes, lambda left: not left, _GONE_WITHIN, "processes to be gone")
    left = [f"{host.status(pid).get('Name')} ({pid})" for pid in processes()]
    judge.equal(f"{_RUN}.failed-processes", left, [], "processes left:")
    with contextlib.suppress(SetupFailed):
        poll(
            lambda: _deserted(host) - before,
            lambda found: len(found) < _FAILURES,
            _GONE_WITHIN,
            "network namespaces to be gone",
        )
    number = len(_deserted(host) - before)
    judge.that(
        f"{_RUN}.failed-network",
        number < _FAILURES,
        permitted="no network namespaces that nothing is in",
        actual=f"{number} more of them after {_FAILURES} failures",
    )


def _deserted(host: Host) -> set[str]:
    """Network namespaces that are mounted, and that no process is in."""
    kept = set(_network_namespaces(host))
    return kept - {host.namespace(pid, "net") for pid in host.pids()}


# -- containers that can't be started ----------------------------------------------------------


@clause(f"{_CGROUP}.cgroup-gone")
def test_a_removed_container_leaves_no_cgroup(
    isolation: None, runtime: Runtime, host: Host, judge: Judge
) -> None:
    config = _own_cgroup(runtime)
    outcome = runtime.run_sandbox(config)
    if not isinstance(outcome, Ok):
        judge.skip(Reason.NEEDS_HOST, f"a cgroup by the name of {config.linux.cgroup_parent}")
    sandbox = Sandbox(outcome.response.pod_sandbox_id, config, runtime.workshop.handler)
    before = set(_cgroups(host, config.linux.cgroup_parent))
    if not before:
        judge.skip(Reason.NEEDS_HOST, "the sandbox's cgroup is not seen")
    failed = runtime.container(sandbox, command=MISSING_COMMAND)
    runtime.call("StartContainer", container_id=failed.id)
    made = [failed, runtime.exited(sandbox), runtime.running(sandbox)]
    for container in made:
        runtime.get("RemoveContainer", container_id=container.id)
    left = sorted(set(_cgroups(host, config.linux.cgroup_parent)) - before)
    about = [container.id for container in made]
    judge.equal(f"{_CGROUP}.cgroup-gone", left, [], "cgroups left:", about=about)


def _cgroups(host: Host, parent: str) -> Iterator[str]:
    """Every cgroup below a parent, in every hierarchy."""
    base, below = host.path(cgroups.HIERARCHIES), parent.lstrip("/")
    for root in (base / below, *base.glob(f"*/{below}")):
        for folder, _, _ in os.walk(root):
            if Path(folder) != root:
                yield str(Path(folder).relative_to(base))


# -- what is gone already ----------------------------------------------------------------------


@clause(_GONE)
def test_a_network_that_is_gone_does_not_keep_a_sandbox_from_ending(
    isolation: None, runtime: Runtime, host: Host, judge: Judge
) -> None:
    if host.root != Path("/"):
        judge.skip(Reason.NEEDS_HOST, "namespaces there can't be unmounted from here")
    sandbox = runtime.sandbox()
    container, mark = marked(runtime, sandbox)
    pid = process_of(host, mark)
    network = host.namespace(pid, "net")
    place = _network_namespaces(host).get(network, "")
    if not place or network == host.namespace(1, "net"):
        judge.skip(Reason.NEEDS_HOST, "no network namespace of the sandbox's own is mounted there")
    runtime.get("StopContainer", container_id=container.id, timeout=1)
    with mounting():
        host_mounts.unmount_below(Path(place))
        Path(place).unlink()
    for _ in range(2):
        outcome = runtime.call("StopPodSandbox", pod_sandbox_id=sandbox.id)
        judge.ok(_GONE, outcome, about=[sandbox.id])


# -- what is the host's ------------------------------------------------------------------------


@clause(_OTHERS)
def test_what_is_mounted_where_the_logs_are_stays(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    with own_folder(runtime, shared_sandbox) as folder:
        there = folder / "mounted"
        there.mkdir()
        (folder / "logs").mkdir()
        with mounting():
            host_mounts.tmpfs(there)
        (there / "word").write_text("of the host", encoding="utf-8")
        config = runtime.sandbox_config()
        config.log_directory = f"{folder}/logs/../mounted"
        outcome = runtime.run_sandbox(config)
        if isinstance(outcome, Ok):
            sandbox = Sandbox(outcome.response.pod_sandbox_id, config, runtime.workshop.handler)
            runtime.create_and_start(sandbox, runtime.container_config(sandbox))
            runtime.get("RemovePodSandbox", pod_sandbox_id=sandbox.id)
        judge.that(
            _OTHERS,
            (there / "word").exists(),
            permitted="a file system of the host is mounted as before",
            actual=f"it is not ({outcome})",
        )
