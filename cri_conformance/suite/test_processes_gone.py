# SPDX-License-Identifier: Apache-2.0
"""What is left on the runtime's host after a stop or a removal: nothing.

The containers do what makes that hard: children in sessions of their own, orphans, and
processes that ignore whatever can be ignored. All of them carry a mark in their
environment by which the host shows them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import partial

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.target import Target
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll
from cri_conformance.wire.together import together

_MARK = "CRI_CONFORMANCE_LEFT"
_DEAF = "trap '' HUP INT QUIT TERM USR1 USR2"
_WAIT = "while :; do sleep 3600 & wait $!; done"
#: A child, one in a session of its own, and an orphan. What a shell ignores its children do too.
_CROWD = f"({_DEAF}; sleep 3600 & setsid sleep 3600 & (setsid sleep 3600 &); wait) &"
#: The first process can be stopped, the others can't; and the same with one that can't either.
_SOFT = f"trap 'exit 0' TERM; {_CROWD} {_WAIT}"
_HARD = f"{_DEAF}; {_CROWD} {_WAIT}"
#: With the two shells and the sleep that the first one waits for.
_PROCESSES = 6
_STARTED_WITHIN = 10.0
_GRACE = 5
#: In one of these the end of the first process takes the others with it, in the other it doesn't.
_PID_MODES = {"container": types.CONTAINER, "pod": types.POD}


class Crowd:
    """A container with many processes, as the host shows it."""

    def __init__(
        self, host: Host, runtime: Runtime, sandbox: Sandbox, script: str, *, isolates: bool
    ) -> None:
        """Raises SetupFailed."""
        self._host = host
        value = runtime.name("left")
        config = runtime.container_config(
            sandbox, command=["/bin/sh", "-c", script], envs={_MARK: value}
        )
        options = config.linux.security_context.namespace_options
        options.pid = sandbox.config.linux.security_context.namespace_options.pid
        self.container = runtime.container(sandbox, config)
        self._mark = f"{_MARK}={value}"
        runtime.get("StartContainer", container_id=self.container.id)
        found = poll(
            self.processes,
            lambda seen: len(seen) >= _PROCESSES,
            _STARTED_WITHIN,
            f"{_PROCESSES} processes with {self._mark} on the host",
        )
        # Nothing but the sandbox is in its network namespace: its own processes are told by it.
        self._network = host.namespace(found[0], "net") if isolates else ""
        if isolates and self._network == host.namespace(1, "net"):
            raise SetupFailed("the sandbox is on the node's network")

    def processes(self) -> list[int]:
        """Of the container."""
        return self._host.processes(self._mark)

    def all(self) -> list[int]:
        """Of the container and of its sandbox."""
        pids = self._host.pids() if self._network else []
        own = [pid for pid in pids if self._host.namespace(pid, "net") == self._network]
        return sorted({*self.processes(), *own})

    def describe(self, pids: list[int]) -> str:
        """The processes by their names."""
        names = [self._host.status(pid).get("Name", "?") for pid in pids]
        return ", ".join(f"{name} ({pid})" for name, pid in zip(names, pids, strict=True))


@pytest.fixture(params=sorted(_PID_MODES))
def sandbox(request: pytest.FixtureRequest, runtime: Runtime) -> Sandbox:
    """A sandbox for each way in which its containers get their process ids."""
    config = runtime.sandbox_config()
    config.linux.security_context.namespace_options.pid = _PID_MODES[request.param]
    return runtime.sandbox(config)


def _judge_gone(judge: Judge, clause_id: str, crowd: Crowd, left: list[int]) -> None:
    judge.that(
        clause_id,
        not left,
        permitted="no process is left",
        actual=crowd.describe(left),
        about=[crowd.container.id, crowd.container.sandbox.id],
    )


@clause("RuntimeService.StopContainer.whole-container")
def test_a_stop_ends_every_process(
    runtime: Runtime, sandbox: Sandbox, host: Host, judge: Judge
) -> None:
    crowd = Crowd(host, runtime, sandbox, _SOFT, isolates=False)
    runtime.get(
        "StopContainer", container_id=crowd.container.id, timeout=_GRACE, deadline=_GRACE + 20
    )
    _judge_gone(judge, "RuntimeService.StopContainer.whole-container", crowd, crowd.processes())


@clause("RuntimeService.RemoveContainer.processes-gone")
def test_a_removal_ends_every_process(
    runtime: Runtime, sandbox: Sandbox, host: Host, judge: Judge
) -> None:
    crowd = Crowd(host, runtime, sandbox, _HARD, isolates=False)
    runtime.get("RemoveContainer", container_id=crowd.container.id, deadline=30)
    _judge_gone(judge, "RuntimeService.RemoveContainer.processes-gone", crowd, crowd.processes())


@pytest.mark.parametrize(
    "rpc",
    [
        pytest.param(rpc, marks=clause(f"RuntimeService.{rpc}.processes-gone"), id=rpc)
        for rpc in ("StopPodSandbox", "RemovePodSandbox")
    ],
)
def test_the_end_of_a_sandbox_ends_every_process(
    rpc: str, runtime: Runtime, sandbox: Sandbox, host: Host, cri_target: Target, judge: Judge
) -> None:
    crowd = Crowd(host, runtime, sandbox, _HARD, isolates=cri_target.facts.isolates)
    runtime.get(rpc, pod_sandbox_id=sandbox.id, deadline=30)
    _judge_gone(judge, f"RuntimeService.{rpc}.processes-gone", crowd, crowd.all())


# -- commands --------------------------------------------------------------------------------

#: How many commands are run, and seconds until what is left of them must be gone.
_COMMANDS, _REAPED_WITHIN = 16, 5.0


@clause("RuntimeService.ExecSync.helpers-reaped")
def test_commands_leave_no_zombies_on_the_host(
    runtime: Runtime, idle: Container, host: Host, judge: Judge
) -> None:
    before = set(_zombies(host))

    def most() -> int:
        """The most new zombies of one parent: others come and go, and are of several."""
        new = [parent for pid, parent in _zombies(host).items() if pid not in before]
        return max(Counter(new).values(), default=0)

    run = partial(runtime.call, "ExecSync", container_id=idle.id)
    slow = partial(run, cmd=["sleep", "3600"], timeout=1)
    together(*[partial(run, cmd=["true"], timeout=10)] * (_COMMANDS // 2), *[slow] * _COMMANDS)
    with contextlib.suppress(SetupFailed):
        poll(most, lambda left: left < _COMMANDS // 2, _REAPED_WITHIN, "zombies to be reaped")
    left = most()
    judge.that(
        "RuntimeService.ExecSync.helpers-reaped",
        left < _COMMANDS // 2,
        permitted="no zombies that stay",
        actual=f"{left} new zombies of one parent",
        about=[idle.id],
    )


def _zombies(host: Host) -> dict[int, str]:
    """Process id → parent's, of all zombies there are."""
    seen = {pid: host.status(pid) for pid in host.pids()}
    return {
        pid: status.get("PPid", "")
        for pid, status in seen.items()
        if status.get("State", "").startswith("Z")
    }
