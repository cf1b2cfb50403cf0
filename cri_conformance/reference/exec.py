# SPDX-License-Identifier: Apache-2.0
"""ExecSync: a command beside a container's first process, with the same settings.

It ends when the command does, not when its output is closed: a child that the command
leaves behind belongs to the container from then on.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import validate
from cri_conformance.reference.containers import Containers
from cri_conformance.reference.processes import Process, Processes
from cri_conformance.reference.state import Container, Store, new_id

#: Bytes kept of each output.
MOST_OUTPUT = 16 * 1024 * 1024
#: Bytes of both together: a client that takes 16 MiB a message gets the answer in any case.
MOST_TOGETHER = MOST_OUTPUT - 64

#: Takes a function to be called when the client has gone away.
WhenGone = Callable[[Callable[[], None]], object]


class Exec:
    """The call ExecSync."""

    def __init__(self, store: Store, processes: Processes, containers: Containers) -> None:
        self._store = store
        self._processes = processes
        self._containers = containers

    def ExecSync(
        self, request: types.ExecSyncRequest, when_gone: WhenGone
    ) -> types.ExecSyncResponse:
        """Raises StatusError: DEADLINE_EXCEEDED when the command, now killed, took too long;
        FAILED_PRECONDITION if the container does not run or there is no such command."""
        container_id = validate.object_id("container_id", request.container_id)
        if not request.cmd or any("\0" in word for word in request.cmd):
            validate.invalid("there is no command, or one with a NUL byte in it")
        if request.timeout < 0:
            validate.invalid(f"a timeout of {request.timeout} seconds")
        container = self._store.container(container_id)
        run = _Run(marker=f"{container_id}/{new_id()}")
        process = self._spawn(container, tuple(request.cmd), run)
        when_gone(run.wake.set)
        try:
            run.wake.wait(min(request.timeout, threading.TIMEOUT_MAX) if request.timeout else None)
            if not run.ended.is_set():
                self._processes.kill_members(run.marker, process)
                run.ended.wait()
                raise StatusError(
                    "DEADLINE_EXCEEDED",
                    f"the command was killed: it ran longer than {request.timeout} s, or its "
                    "client went away",
                )
        finally:
            self._processes.reap(process)
        out, err = _deliverable(run.stdout, run.stderr)
        return types.ExecSyncResponse(stdout=out, stderr=err, exit_code=process.code)

    def _spawn(self, container: Container, argv: tuple[str, ...], run: _Run) -> Process:
        command = dataclasses.replace(
            self._containers.command(container),
            argv=argv,
            marker=run.marker,
            stdin=False,
            tty=False,
        )
        # With the lock, so that it can't slip in behind the search for the container's processes.
        with container.lock:
            if not container.running or container.ending:
                raise StatusError("FAILED_PRECONDITION", f"container {container.id} is not running")
            try:
                return self._processes.spawn(
                    command,
                    lambda data: _keep(run.stdout, data),
                    lambda data: _keep(run.stderr, data),
                    on_exit=run.on_exit,
                )
            except (OSError, ValueError) as error:
                raise StatusError(
                    "FAILED_PRECONDITION", f"can't execute {argv[0]!r}: {error}"
                ) from None


@dataclasses.dataclass(slots=True)
class _Run:
    """One command under way."""

    marker: str
    stdout: bytearray = dataclasses.field(default_factory=bytearray)
    stderr: bytearray = dataclasses.field(default_factory=bytearray)
    #: The command has ended and its output is complete.
    ended: threading.Event = dataclasses.field(default_factory=threading.Event)
    #: There is no more to wait for: it has ended, or its client is gone.
    wake: threading.Event = dataclasses.field(default_factory=threading.Event)

    def on_exit(self, process: Process) -> None:
        process.let_go()
        self.ended.set()
        self.wake.set()


def _keep(kept: bytearray, data: bytes) -> None:
    kept += data[: MOST_OUTPUT - len(kept)]


def _deliverable(stdout: bytearray, stderr: bytearray) -> tuple[bytes, bytes]:
    """The beginnings of both that fit into one answer; what one does not need, the other has."""
    half = MOST_TOGETHER // 2
    out = max(half, MOST_TOGETHER - len(stderr))
    err = MOST_TOGETHER - min(out, len(stdout))
    return bytes(stdout[:out]), bytes(stderr[:err])
