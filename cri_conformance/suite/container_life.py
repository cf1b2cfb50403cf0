# SPDX-License-Identifier: Apache-2.0
"""One container's life, looked at in every state; and containers that ended in every way.

Both are made once and judged by many tests, which only look at what was seen. What
matters of the config is packed into the one container: every field that a status
reports has a value of its own that nothing else would put there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cri_conformance.api import types
from cri_conformance.build import strategies
from cri_conformance.suite.stepper import MISSING_COMMAND
from cri_conformance.suite.views import ContainerView, container_view
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed, answer
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

#: Ends with this code on the signals that a runtime may stop the container with.
STOP_CODE = 3
#: Its arguments end with a word by which ``look`` finds the process.
WAITING = f"trap 'exit {STOP_CODE}' TERM USR1; : >ready; while :; do sleep 3600 & wait $!; done"
_READY_WITHIN = 10.0

#: None of them is a default, nor too little for a shell.
RESOURCES = {
    "cpu_period": 50_000,
    "cpu_quota": 45_000,
    "cpu_shares": 512,
    "memory_limit_in_bytes": 96 * 1024 * 1024,
}


@dataclass(frozen=True, slots=True)
class Span:
    """Before and after a call, by our clock in nanoseconds."""

    begun: int
    ended: int


@dataclass(frozen=True, slots=True)
class Life:
    """A container's life, which is over."""

    sandbox: Sandbox
    container: Container
    created: ContainerView
    running: ContainerView
    exited: ContainerView
    #: Taken when its sandbox had been stopped.
    left: ContainerView
    #: ContainerStatus with verbose set, by the state it was taken in.
    verbose: Mapping[str, types.ContainerStatusResponse]
    creation: Span
    start: Span
    stop: Span
    sandbox_before: types.PodSandboxStatus
    sandbox_after: types.PodSandboxStatus

    @property
    def views(self) -> dict[str, ContainerView]:
        """What was seen of it, by when."""
        return {
            "created": self.created,
            "running": self.running,
            "exited": self.exited,
            "its sandbox stopped": self.left,
        }


def live(runtime: Runtime) -> Life:
    """Let a container live. Raises SetupFailed."""
    sandbox = runtime.sandbox()
    config = packed_config(runtime, sandbox)
    before = runtime.sandbox_status(sandbox.id)
    begun = time.time_ns()
    container = runtime.container(sandbox, config)
    creation = Span(begun, time.time_ns())
    after = runtime.sandbox_status(sandbox.id)
    verbose = {"created": verbosely(runtime, container)}
    created = container_view(runtime, container)

    begun = time.time_ns()
    runtime.get("StartContainer", container_id=container.id)
    start = Span(begun, time.time_ns())
    wait_ready(runtime, container)
    verbose["running"] = verbosely(runtime, container)
    running = container_view(runtime, container)

    begun = time.time_ns()
    runtime.get("StopContainer", container_id=container.id, timeout=5)
    stop = Span(begun, time.time_ns())
    runtime.wait_exited(container.id)
    verbose["exited"] = verbosely(runtime, container)
    exited = container_view(runtime, container)

    runtime.get("StopPodSandbox", pod_sandbox_id=sandbox.id)
    left = container_view(runtime, container)
    return Life(
        sandbox=sandbox,
        container=container,
        created=created,
        running=running,
        exited=exited,
        left=left,
        verbose=verbose,
        creation=creation,
        start=start,
        stop=stop,
        sandbox_before=before,
        sandbox_after=after,
    )


def packed_config(runtime: Runtime, sandbox: Sandbox) -> types.ContainerConfig:
    """A config with something awkward in every field that a status reports."""
    config = runtime.container_config(
        sandbox,
        # As long as the name of a container gets, and as large as an attempt.
        name=f"{runtime.name('ctr')}-".ljust(62, "a") + "z",
        labels=dict(strategies.AWKWARD_LABELS),
        command=["/bin/sh", "-c", WAITING],
    )
    config.metadata.attempt = 2**32 - 1
    config.annotations.update(strategies.AWKWARD_ANNOTATIONS)
    config.stop_signal = types.SIGNAL_SIGUSR1
    for field, value in RESOURCES.items():
        setattr(config.linux.resources, field, value)
    return config


def verbosely(runtime: Runtime, container: Container) -> types.ContainerStatusResponse:
    """ContainerStatus with verbose set. Raises SetupFailed."""
    response: types.ContainerStatusResponse = runtime.get(
        "ContainerStatus", container_id=container.id, verbose=True
    )
    return response


def wait_ready(runtime: Runtime, container: Container) -> None:
    """Until its script has made the file ``ready``. Raises SetupFailed."""
    poll(
        lambda: runtime.exec(container, "test", "-e", "ready").exit_code,
        lambda code: bool(code == 0),
        _READY_WITHIN,
        f"the script of container {container.id[:12]} to be ready",
    )


def look(runtime: Runtime, container: Container, marker: str, file: str) -> bytes:
    """A file in /proc of the container's process that has ``marker`` in its arguments.

    It is found by them, as not every runtime has process ids of a container's own.
    Raises SetupFailed if there is none.
    """
    # A pattern that does not match itself, where it stands in the arguments of grep. For a
    # moment after a fork a child has its parent's arguments: so until there is just the one.
    pattern = f"[{marker[0]}]{marker[1:]}"
    script = (
        'n=0; until p=$(grep -l -e "$1" /proc/[0-9]*/cmdline 2>/dev/null);'
        ' [ "$p" ] && [ "$(echo "$p" | wc -l)" = 1 ]; do'
        " [ $((n += 1)) -lt 50 ] || exit 9; sleep 0.1 || sleep 1; done;"
        ' p="${p%/cmdline}";'
        ' if [ "$2" = cwd ]; then readlink "$p/cwd"; else cat "$p/$2"; fi'
    )
    said = runtime.exec(container, "/bin/sh", "-c", script, "sh", pattern, file)
    if said.exit_code:
        raise SetupFailed(f"can't read /proc/…/{file} of the process with {marker}: {said.stderr}")
    seen: bytes = said.stdout
    return seen


def folder_on_host(sandbox: Sandbox, name: str) -> Path:
    """A new folder of ours on the runtime's host, which is removed after the run."""
    folder = Path(sandbox.config.log_directory) / name
    folder.mkdir(parents=True)
    return folder


# -- endings -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endings:
    """Statuses of exited containers, by how they ended; what StartContainer said if it failed.

    ``failed`` is missing where the runtime does not keep a container that did not start.
    """

    statuses: Mapping[str, types.ContainerStatus]
    failed: types.ContainerStatus | None
    refusal: Outcome | None

    @property
    def every(self) -> dict[str, types.ContainerStatus]:
        """All of them, the failed start included."""
        failed = {"whose start failed": self.failed} if self.failed else {}
        return {**self.statuses, **failed}


def endings(runtime: Runtime, sandbox: Sandbox) -> Endings:
    """Containers that ended in each way. Raises SetupFailed."""
    statuses = {}
    for how, script in (("that succeeded", "exit 0"), ("that failed", "exit 7")):
        container = runtime.exited(sandbox, script)
        statuses[how] = runtime.container_status(container.id)
    # A handler might end it first: some runtimes send the stop signal even so.
    killed = runtime.running(sandbox, "trap '' TERM; while :; do sleep 3600 & wait $!; done")
    runtime.get("StopContainer", container_id=killed.id, timeout=0)
    statuses["that was killed"] = runtime.wait_exited(killed.id)
    failed, refusal = _failed_start(runtime, sandbox)
    return Endings(statuses, failed, refusal)


def _failed_start(
    runtime: Runtime, sandbox: Sandbox
) -> tuple[types.ContainerStatus | None, Outcome | None]:
    config = runtime.container_config(sandbox, command=MISSING_COMMAND)
    created = runtime.create(sandbox, config)
    if not isinstance(created, Ok):
        return None, created
    made = answer(created, "CreateContainer").container_id
    started = runtime.call("StartContainer", container_id=made)
    status = runtime.call("ContainerStatus", container_id=made)
    if isinstance(status, Ok) and status.response.status.state == types.CONTAINER_EXITED:
        return status.response.status, started
    return None, started
