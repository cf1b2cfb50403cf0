# SPDX-License-Identifier: Apache-2.0
"""The runtime's ends of what a process reads from and writes to: pipes, or a terminal.

Output is read by the loop and given to the process's own sink (a log, a buffer), and
to taps: each holds what one streaming client has still to get. A tap that its client
does not empty stops the reading, so that a slow client slows the process down and
loses nothing; when the client leaves, its tap goes with it.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
import threading
from collections.abc import Callable

from cri_conformance.reference.loop import Loop

Sink = Callable[[bytes], None]

_CHUNK = 64 * 1024
#: Bytes that may wait for a client before its process has to wait as well.
_ENOUGH = 1024 * 1024


class Tap:
    """What one client has still to get of one output. Filled by the loop, emptied by a thread."""

    def __init__(self) -> None:
        self._waiting: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._ended = False
        self._changed = threading.Condition()
        self._on_room: Callable[[], None] = lambda: None

    @property
    def full(self) -> bool:
        """Enough waits here: read no more."""
        return self._size > _ENOUGH

    def put(self, data: bytes) -> None:
        """Add output; what comes after the end is dropped. From the loop only."""
        with self._changed:
            if not self._ended:
                self._waiting.append(data)
                self._size += len(data)
                self._changed.notify_all()

    def end(self) -> None:
        """There is no more to come. What is in here can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def drop(self) -> None:
        """The client is gone: nothing is kept for it any more."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()
        self._make_room()

    def take(self) -> bytes:
        """The next of what there is; waits for it. ``b""`` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            data = b"".join(self._waiting)
            self._waiting.clear()
        self._make_room()
        return data

    def notify(self, on_room: Callable[[], None]) -> None:
        """Have ``on_room`` called when a full tap has been emptied."""
        self._on_room = on_room

    def _make_room(self) -> None:
        with self._changed:
            was_full, self._size = self.full, sum(map(len, self._waiting))
        if was_full and not self.full:
            self._on_room()


class Reader:
    """The runtime's end of one output. All but ``resume_soon`` from the loop only."""

    def __init__(self, loop: Loop, fd: int, sink: Sink, taps: tuple[Tap, ...] = ()) -> None:
        self.fd = fd
        self.sink = sink
        self._loop = loop
        self._taps: list[Tap] = []
        self._watched = False
        for tap in taps:
            self.add(tap)

    def start(self) -> None:
        """Read from now on."""
        if self.fd >= 0 and not self._watched:
            self._loop.watch(self.fd, self._ready)
            self._watched = True

    def add(self, tap: Tap) -> None:
        """Give a client what comes from now on."""
        if self.fd < 0:
            tap.end()
            return
        tap.notify(lambda: self._loop.call_soon(self._resume))
        self._taps.append(tap)

    def remove(self, tap: Tap) -> None:
        """Forget a client; without effect when the output has ended before."""
        if tap in self._taps:
            self._taps.remove(tap)
            tap.drop()
            self._resume()

    def let_go(self) -> None:
        """Read what is there now, and end the taps; from then on read for nobody.

        A child that was left behind may hold the other end for long; it can go on writing.
        """
        self.drain()
        self.sink = _nowhere
        self._end_taps()
        self._resume()

    def drain(self) -> None:
        """Read what is there now, however slow the clients are."""
        left = _capacity(self.fd) if self.fd >= 0 else 0
        while left > 0 and (taken := self._read()):
            left -= taken

    def close(self) -> None:
        """Read no more. Harmless when repeated."""
        if self.fd >= 0:
            self._pause()
            os.close(self.fd)
            self.fd = -1
        self._end_taps()

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal a size; nothing happens to a pipe."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                size = struct.pack("HHHH", rows, columns, 0, 0)
                fcntl.ioctl(self.fd, termios.TIOCSWINSZ, size)

    def _ready(self) -> None:
        self._read()
        if any(tap.full for tap in self._taps):
            self._pause()

    def _resume(self) -> None:
        if not any(tap.full for tap in self._taps):
            self.start()

    def _pause(self) -> None:
        if self._watched:
            self._loop.unwatch(self.fd)
            self._watched = False

    def _end_taps(self) -> None:
        for tap in self._taps:
            tap.end()
        self._taps.clear()

    def _read(self) -> int:
        """How many bytes were there; at the end of the stream it is closed."""
        if self.fd < 0:
            return 0
        try:
            data = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:  # how the end of a terminal shows
                raise
            data = b""
        if data:
            self.sink(data)
            for tap in self._taps:
                tap.put(data)
        else:
            self.close()
        return len(data)


class Input:
    """The runtime's end of a standard input. Safe to use from several threads."""

    def __init__(self, fd: int, pidfd: int) -> None:
        """``pidfd`` is that of the process: when it has ended, nothing is written any more."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._pidfd = os.dup(pidfd)
        self._lock = threading.Lock()

    def write(self, data: bytes) -> bool:
        """Write all of it, waiting for the process to read; False if that can't be any more."""
        with self._lock:
            while data and self._fd >= 0:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.register(self._pidfd, select.POLLIN)
                if any(fd == self._pidfd for fd, _ in poll.poll()):
                    return False
                try:
                    data = data[os.write(self._fd, data[:_CHUNK]) :]
                except BlockingIOError:
                    continue
                except OSError:  # the process has closed its end
                    return False
            return not data

    def close(self) -> None:
        """The process finds the end of its input. Harmless when repeated."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                os.close(self._pidfd)
                self._fd = self._pidfd = -1


def _nowhere(_: bytes) -> None:
    """A sink for output that nobody wants any more."""


def _capacity(fd: int) -> int:
    """An upper bound of what was written to ``fd`` before this moment and not yet read."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    except OSError:
        return _CHUNK  # a terminal
