# SPDX-License-Identifier: Apache-2.0
"""One thread that waits for all pipes and all ends of processes.

Nothing in the runtime polls or sleeps: what happens on a file descriptor happens
here, and whoever has to wait longer does so in a thread of its own.
"""

from __future__ import annotations

import collections
import contextlib
import selectors
import signal
import socket
import threading
import traceback
from collections.abc import Callable

_MANY = 4096


class Loop:
    """Calls functions when descriptors become readable; ``start`` it once, ``stop`` it once."""

    def __init__(self, on_child: Callable[[], None]) -> None:
        """``on_child`` is called when some child process has ended."""
        self._on_child = on_child
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._wake)
        self._queue: collections.deque[Callable[[], None]] = collections.deque()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)

    def start(self) -> None:
        """Start the thread, and have signals wake it. Call from the main thread."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        # The C library's handler, which writes to the descriptor, is there only with one of ours.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.siginterrupt(signal.SIGCHLD, False)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Call from the main thread."""

        def end() -> None:
            self._running = False

        self.call_soon(end)
        self._thread.join()
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Have the loop call ``function``, in the order of these calls."""
        self._queue.append(function)
        # If it blocks, so many wake-ups are under way that one more changes nothing.
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"\0")

    def call(self, function: Callable[[], None]) -> None:
        """Have the loop call ``function`` and wait for it. Never from the loop itself."""
        done = threading.Event()

        def run() -> None:
            try:
                function()
            finally:
                done.set()

        self.call_soon(run)
        done.wait()

    def watch(self, fd: int, function: Callable[[], None]) -> None:
        """Call ``function`` whenever ``fd`` is readable. From the loop itself only."""
        self._selector.register(fd, selectors.EVENT_READ, function)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``. From the loop itself only, before ``fd`` is closed."""
        self._selector.unregister(fd)

    def _wake(self) -> None:
        woken = self._woken.recv(_MANY)
        if signal.SIGCHLD in woken or len(woken) == _MANY:
            self._on_child()

    def _run(self) -> None:
        while self._running:
            for key, _ in self._selector.select():
                # One event may have made the next one's descriptor go away.
                if key.fd in self._selector.get_map():
                    self._guarded(key.data)
            while self._queue:
                self._guarded(self._queue.popleft())

    def _guarded(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:  # a mistake in one container's handling must not stop all others
            traceback.print_exc()
