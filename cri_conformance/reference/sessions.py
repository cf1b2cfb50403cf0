# SPDX-License-Identifier: Apache-2.0
"""Exec and Attach: the calls that prepare a session, and the sessions.

A session of Exec ends when its command does, one of Attach when the container's first
process does; both end when their client goes away. A command whose client has gone is
killed, as nobody could tell any more how it ended; a container stays as it is.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import validate
from cri_conformance.reference.containers import Containers
from cri_conformance.reference.pipes import Tap
from cri_conformance.reference.processes import Process, Processes
from cri_conformance.reference.state import Container, Store, new_id
from cri_conformance.streaming import status
from cri_conformance.streaming.connection import Stream
from cri_conformance.streaming.events import StreamingError
from cri_conformance.streaming.server import FOREVER, CommandSession, Service, command

#: Hands out the address at which a client gets a session.
Offer = Callable[[Service, str], str]
#: For standard output and standard error, where the client wants them.
Taps = tuple[Tap | None, Tap | None]


class Sessions:
    """The calls Exec and Attach."""

    def __init__(
        self, store: Store, processes: Processes, containers: Containers, offer: Offer
    ) -> None:
        self._store = store
        self._processes = processes
        self._containers = containers
        self._offer = offer

    def Exec(self, request: types.ExecRequest) -> types.ExecResponse:
        """Refuses what can't work already here; the command runs when a client comes."""
        container = self._container(request.container_id)
        _check_streams(request)
        argv = tuple(request.cmd)
        if not argv or any("\0" in word for word in argv):
            validate.invalid("there is no command, or one with a NUL byte in it")
        _check_running(container)
        service = _service(request, lambda session: self._exec(container, argv, session))
        return types.ExecResponse(url=self._offer(service, "exec"))

    def Attach(self, request: types.AttachRequest) -> types.AttachResponse:
        """Refuses what can't work already here."""
        container = self._container(request.container_id)
        _check_streams(request)
        if request.tty != container.config.tty:
            validate.invalid(f"tty is {request.tty}, but {container.config.tty} in the container")
        _check_running(container)
        service = _service(request, lambda session: self._attach(container, session))
        return types.AttachResponse(url=self._offer(service, "attach"))

    def _container(self, container_id: str) -> Container:
        return self._store.container(validate.object_id("container_id", container_id))

    # -- sessions ------------------------------------------------------------------

    def _exec(self, container: Container, argv: tuple[str, ...], session: CommandSession) -> None:
        run = _Run(f"{container.id}/{new_id()}")
        taps = _taps(session)
        try:
            process = self._spawn(container, argv, session, run, taps)
        except (StatusError, OSError, ValueError) as error:
            session.finish(status.failed(f"can't execute {argv[0]!r}: {error}"))
            return
        session.on_gone(run.wake.set)
        pumps = _connect(process, session, taps, input_ends=not session.tty)
        run.wake.wait()
        if not run.ended.is_set():
            self._processes.kill_members(run.marker, process)
            run.ended.wait()
        for pump in pumps:
            pump.join()
        self._processes.reap(process)
        session.finish(status.ended(process.code))

    def _spawn(
        self,
        container: Container,
        argv: tuple[str, ...],
        session: CommandSession,
        run: _Run,
        taps: Taps,
    ) -> Process:
        """Raises StatusError, OSError or ValueError."""
        command = dataclasses.replace(
            self._containers.command(container),
            argv=argv,
            marker=run.marker,
            stdin=session.stdin is not None,
            tty=session.tty,
        )
        # With the lock, so that it can't slip in behind the search for the container's processes.
        with container.lock:
            _check_running(container)
            return self._processes.spawn(command, _nowhere, _nowhere, run.on_exit, taps)

    def _attach(self, container: Container, session: CommandSession) -> None:
        with container.lock:
            process = None if container.ending else container.process
        if process is None:
            session.finish(status.failed(f"container {container.id} is not running"))
            return
        taps = _taps(session)
        over = threading.Event()
        process.attach(taps, over.set)
        session.on_gone(over.set)
        once = container.config.stdin_once and not session.tty
        pumps = _connect(process, session, taps, input_ends=once)
        over.wait()
        process.detach(taps, over.set)
        for pump in pumps:
            pump.join()
        if not session.gone.is_set():
            container.exited.wait()
        session.finish(status.ended(0))


@dataclasses.dataclass(slots=True)
class _Run:
    """A command under way."""

    marker: str
    ended: threading.Event = dataclasses.field(default_factory=threading.Event)
    #: There is nothing more to wait for: it has ended, or its client is gone.
    wake: threading.Event = dataclasses.field(default_factory=threading.Event)

    def on_exit(self, process: Process) -> None:
        process.let_go()
        self.ended.set()
        self.wake.set()


def _check_streams(request: types.ExecRequest | types.AttachRequest) -> None:
    """Raises StatusError if the request asks for no stream, or for two that exclude each other."""
    if not (request.stdin or request.stdout or request.stderr):
        validate.invalid("none of stdin, stdout and stderr is asked for")
    if request.tty and request.stderr:
        validate.invalid("a terminal joins both outputs: tty and stderr exclude each other")


def _check_running(container: Container) -> None:
    if not container.running or container.ending:
        raise StatusError("FAILED_PRECONDITION", f"container {container.id} is not running")


def _service(
    request: types.ExecRequest | types.AttachRequest, run: Callable[[CommandSession], None]
) -> Service:
    return command(
        run,
        stdin=request.stdin,
        stdout=request.stdout,
        stderr=request.stderr,
        tty=request.tty,
    )


def _taps(session: CommandSession) -> Taps:
    return (Tap() if session.stdout else None, Tap() if session.stderr else None)


def _connect(
    process: Process, session: CommandSession, taps: Taps, *, input_ends: bool
) -> list[threading.Thread]:
    """Put a client to a process; what is returned ends when all output has gone to the client.

    ``input_ends``: the end of the client's input is that of the process's.
    """
    session.on_resize(lambda width, height: process.resize(height, width))
    if session.stdin:
        _start(_feed, process, session.stdin, input_ends)
    streams = (session.stdout, session.stderr)
    return [
        _start(_pump, tap, stream)
        for tap, stream in zip(taps, streams, strict=True)
        if tap and stream
    ]


def _start(function: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def _pump(tap: Tap, stream: Stream) -> None:
    try:
        while data := tap.take():
            stream.write(data)
    except StreamingError:
        tap.drop()  # the client is gone


def _feed(process: Process, stream: Stream, ends: bool) -> None:
    while data := stream.read(FOREVER):
        # What the process can't take any more is taken all the same: the client may go on.
        if process.input:
            process.input.write(data)
    if ends and process.input:
        process.input.close()


def _nowhere(_: bytes) -> None:
    """A sink for output that goes to nobody but the client."""
