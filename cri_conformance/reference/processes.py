# SPDX-License-Identifier: Apache-2.0
"""Starting, watching and ending the processes of containers.

There is no pid namespace, so three things tell which processes belong to a container:

- the marker in the environment that each of its processes inherits;
- the session of its first process, which is in a session of its own;
- descent from either of these.

The runtime is the subreaper of all of them, so that one whose parent has ended becomes
its child and stays in its tree. A process that left the session, cleared its
environment and lost its parent, all three, is no longer known as the container's; it
still ends with the runtime.

A first process that has ended stays a zombie until its owner calls ``reap``: as long
as it is one, neither its pid nor its session number can pass to another process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cri_conformance.api.status import StatusError
from cri_conformance.reference import procfs
from cri_conformance.reference.identity import Identity
from cri_conformance.reference.loop import Loop
from cri_conformance.reference.pipes import Input, Reader, Sink, Tap

_PR_SET_CHILD_SUBREAPER = 36
#: How often members of a container are looked for before those that won't die are given up.
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. ``environment`` is complete but for the marker."""

    argv: tuple[str, ...]
    marker: str
    environment: Mapping[bytes, bytes]
    directory: str
    identity: Identity
    stdin: bool = False
    tty: bool = False


class Process:
    """A started process: what ``Processes.spawn`` returns."""

    def __init__(
        self, popen: subprocess.Popen[bytes], stdin: int, readers: list[Reader], loop: Loop
    ) -> None:
        self.pid = popen.pid
        self.start = started.start if (started := procfs.stat(popen.pid)) else 0
        #: Its exit code, once it has ended.
        self.code = -1
        self.pidfd = os.pidfd_open(popen.pid)
        #: Where its standard input comes from; None if it has none.
        self.input = Input(stdin, self.pidfd) if stdin >= 0 else None
        self._popen = popen
        self._readers = readers
        self._loop = loop
        self._closed = False
        self._at_end: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def signal(self, number: int) -> None:
        """Send a signal to this process alone; nothing happens if it has ended."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, number)

    def note_exit(self) -> None:
        """Take down the exit code; a death by signal N is 128 + N. From the loop only."""
        ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        by_itself = ended.si_code == os.CLD_EXITED
        self.code = ended.si_status if by_itself else 128 + ended.si_status

    def let_go(self) -> None:
        """Read what is in the pipes now, then read on for nobody. From the loop only.

        A child that was left behind may hold the other end for long; it can go on writing.
        """
        for reader in self._readers:
            reader.let_go()

    def close_output(self) -> None:
        """Read what is in the pipes now and close them. From the loop only."""
        for reader in self._readers:
            reader.drain()
            reader.close()
        self._closed = True
        for function in self._at_end:
            function()

    def attach(self, taps: tuple[Tap | None, Tap | None], at_end: Callable[[], None]) -> None:
        """Give a client what comes from now on, of the outputs for which there is a tap.

        All at one moment. A terminal has one output, the first. ``at_end`` is called by the
        loop when the output is closed, at once if it is. Never from the loop.
        """

        def add() -> None:
            for reader, tap in zip(self._readers, taps, strict=False):
                if tap:
                    reader.add(tap)
            self._at_end.append(at_end)
            if self._closed:
                at_end()

        self._loop.call(add)

    def detach(self, taps: tuple[Tap | None, Tap | None], at_end: Callable[[], None]) -> None:
        """The client has gone. What was not taken is dropped while output goes on. Never from
        the loop."""

        def remove() -> None:
            for reader, tap in zip(self._readers, taps, strict=False):
                if tap:
                    reader.remove(tap)
            self._at_end.remove(at_end)

        self._loop.call(remove)

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal, if it has one, a size. Never from the loop."""
        self._loop.call(lambda: self._readers[0].resize(rows, columns))

    def reap(self) -> None:
        """Let the pid go. Only when it has ended; harmless when repeated."""
        with self._lock:
            if self.pidfd < 0:
                return
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            os.close(self.pidfd)
            self.pidfd = -1
            # Else Popen would one day wait for this pid, which may be another's by then.
            self._popen.returncode = self.code
        if self.input:
            self.input.close()


class Processes:
    """All processes of this runtime."""

    def __init__(self) -> None:
        self.loop = Loop(self._reap_strays)
        # Held while a process is started and not yet registered: nobody may reap it then.
        self._spawning = threading.Lock()
        self._known: set[int] = set()
        self._closed = False

    def start(self) -> None:
        """Become the reaper of all descendants. Call from the main thread."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.loop.start()

    def spawn(
        self,
        command: Command,
        stdout: Sink,
        stderr: Sink,
        on_exit: Callable[[Process], None],
        taps: tuple[Tap | None, Tap | None] = (None, None),
    ) -> Process:
        """Start a process in a session of its own. It runs when this returns.

        The sinks and ``on_exit`` are called by the loop and must not block; ``on_exit``
        comes once, maybe before this returns. ``taps`` get the outputs from their beginning.
        Raises OSError if it can't be started.
        """
        with self._spawning, contextlib.ExitStack() as child_ends:
            if self._closed:
                raise StatusError("UNAVAILABLE", "the runtime is ending")
            with contextlib.ExitStack() as on_error:
                stdin, ours, theirs = _streams(command, child_ends, on_error)
                popen = _popen(command, theirs)
                on_error.pop_all()
            readers = [
                Reader(self.loop, fd, sink, (tap,) if tap else ())
                for fd, sink, tap in zip(ours, (stdout, stderr), taps, strict=False)
            ]
            process = Process(popen, stdin, readers, self.loop)
            self._known.add(process.pid)

            def ended() -> None:
                self.loop.unwatch(process.pidfd)
                process.note_exit()
                on_exit(process)

            def watch() -> None:
                for reader in readers:
                    reader.start()
                self.loop.watch(process.pidfd, ended)

            self.loop.call_soon(watch)
        return process

    def reap(self, process: Process) -> None:
        """Give up a process that has exited."""
        process.reap()
        with self._spawning:
            self._known.discard(process.pid)
        self._reap_strays()

    def kill_members(self, marker: str, leader: Process) -> None:
        """Kill what belongs to the marker or to the leader, and wait until it is gone.

        The leader must not have been reaped. New ones that are forked meanwhile are found
        in the next round.
        """
        for _ in range(_ROUNDS):
            members = [one for one in self._members(marker, leader) if not one.dead]
            if not members:
                return
            procfs.kill(members)
        print(f"could not kill all of {marker}: {members}", file=sys.stderr)

    def _members(self, marker: str, leader: Process) -> list[procfs.Stat]:
        ours = procfs.below(procfs.table(), {os.getpid()})
        del ours[os.getpid()]
        roots = {
            pid
            for pid, one in ours.items()
            if one.session == leader.pid or _belongs(procfs.marker(pid), marker)
        }
        return list(procfs.below(ours, roots).values())

    def members(self, leaders: Mapping[str, int]) -> dict[str, list[procfs.Stat]]:
        """What belongs to each of several markers, given the pids of their first processes."""
        ours = procfs.descendants(os.getpid())
        sessions = {pid: marker for marker, pid in leaders.items()}
        roots: dict[str, set[int]] = {marker: set() for marker in leaders}
        for pid, one in ours.items():
            marker = sessions.get(one.session) or procfs.marker(pid).partition("/")[0]
            if marker in roots:
                roots[marker].add(pid)
        return {marker: list(procfs.below(ours, roots[marker]).values()) for marker in roots}

    def close(self) -> None:
        """Start nothing more, and kill every descendant of this runtime."""
        with self._spawning:
            self._closed = True
        own = os.getpid()
        for _ in range(_ROUNDS):
            ours = procfs.below(procfs.table(), {own})
            alive = [one for one in ours.values() if one.pid != own and not one.dead]
            if not alive:
                return
            procfs.kill(alive)

    def _reap_strays(self) -> None:
        """Bury those that became our children when their parents ended."""
        with self._spawning, contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid in self._known:
                    return  # its owner is not through with it, and calls again afterwards
                os.waitid(os.P_PID, ended.si_pid, os.WEXITED | os.WNOHANG)


def _belongs(found: str, marker: str) -> bool:
    return found == marker or found.startswith(f"{marker}/")


def _streams(
    command: Command, child_ends: contextlib.ExitStack, on_error: contextlib.ExitStack
) -> tuple[int, list[int], tuple[int, int, int]]:
    """(our end of its input or -1, our ends of its output, its three descriptors)."""
    if command.tty:
        # A terminal joins both outputs; so does the log.
        ours, theirs = os.openpty()
        on_error.callback(os.close, ours)
        child_ends.callback(os.close, theirs)
        os.set_blocking(ours, False)
        stdin = -1
        if command.stdin:
            stdin = os.dup(ours)
            on_error.callback(os.close, stdin)
        return stdin, [ours], (theirs, theirs, theirs)
    stdin = -1
    if command.stdin:
        read_end, stdin = os.pipe()
        on_error.callback(os.close, stdin)
    else:
        read_end = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    child_ends.callback(os.close, read_end)
    ours_and_theirs = [os.pipe(), os.pipe()]
    for ours, theirs in ours_and_theirs:
        on_error.callback(os.close, ours)
        child_ends.callback(os.close, theirs)
        os.set_blocking(ours, False)
    out, err = ours_and_theirs
    return stdin, [out[0], err[0]], (read_end, out[1], err[1])


def _popen(command: Command, streams: tuple[int, int, int]) -> subprocess.Popen[bytes]:
    """Raises OSError if the program can't be executed: Popen waits for that."""
    # Left out where nothing changes: starting a process then costs a fraction.
    who = command.identity
    return subprocess.Popen(
        [word.encode() for word in command.argv],
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        env={**command.environment, procfs.MARKER.encode(): command.marker.encode()},
        cwd=command.directory,
        start_new_session=True,
        # Without this the size of the terminal would change and nobody be told.
        preexec_fn=_take_terminal if command.tty else None,
        user=who.uid if who.switch else None,
        group=who.gid if who.switch else None,
        extra_groups=who.groups if who.switch else None,
    )


def _take_terminal() -> None:
    """In the child, which leads a session: its standard input becomes its terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
