# SPDX-License-Identifier: Apache-2.0
"""How a run ends that does not come to its end by itself.

The first signal ends it in good order: what was made is removed, the report written. So does
the watchdog, when the run's time is over. A second signal ends it at once. And what does not
end in good order within ``GRACE`` seconds (a runtime may answer each removal very slowly) is
ended by force, from a thread of its own.

An exception that comes out of nowhere may leave a lock behind that nobody opens any more, and
then the end in good order waits for it. So it comes a little later where one may be held. Nor does
it come where pytest would take it for a plugin's error, and not at all when the run has begun to
end, which it would only break off.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc

#: Seconds for an end in good order.
GRACE = 120.0
#: Seconds after which another signal is a second one. ``timeout`` and others send theirs to the
#: process and to its group: that is one.
AGAIN_AFTER = 0.4
#: Where locks are held for a moment, how many calls deep that is looked for, how many seconds later
#: it is looked again, and how often at most: what waits for long, also there, holds none.
_LOCKED = (threading.__file__, str(Path(grpc.__file__).parent))
_DEEP, _LOOKS_AGAIN, _LOOKS = 8, 0.01, 25
#: Pluggy's, in which an exception is made a warning, and where warnings are errors an internal one.
_OLD_HOOK = "run_old_style_hookwrapper"
#: Where a unary call waits for its answer, and holds nothing: the place to break off.
_CALLS = "_blocking"
#: What may last, of the functions that else take or give a lock in a moment.
_LASTING = ("wait", "_wait_for_tstate_lock")
#: What is called in the midst of anything, and whose exceptions nobody sees: of Hypothesis.
_UNHEARD = "gc_callback"

#: Ctrl-C, by which CI systems cancel a job, and a terminal that was closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Leaving:
    """Signals and the watchdog of one process. Each function is called once at most.

    ``stop(why)`` asks for an end in good order, with "" for a signal; KeyboardInterrupt follows
    while tests run, and in what is ``breakable``.
    ``at_once()`` is what to say before the process is gone. ``by_force(why)``, in another thread,
    does what can still be done, and returns the exit status.
    """

    def __init__(
        self,
        stop: Callable[[str], None],
        at_once: Callable[[], None],
        by_force: Callable[[str], int],
    ) -> None:
        self._stop = stop
        self._at_once = at_once
        self._by_force = by_force
        self._why = ""
        self._asked: float | None = None
        #: How often the interrupt was about to come.
        self._looks = 0
        #: Whether the interrupt has come, or will not come any more.
        self._raised = False
        #: When that was.
        self._settled = 0.0
        self._over = threading.Event()
        self._before: dict[int, Any] = {}

    def watch(self, seconds: float, why: str) -> None:
        """From now on signals are ours. The run ends after ``seconds`` because of ``why``."""
        if threading.current_thread() is not threading.main_thread():
            return
        ours_to_take = (signal.SIG_DFL, signal.default_int_handler)
        for number in _SIGNALS:
            if (before := signal.getsignal(number)) in ours_to_take:
                self._before[number] = before
                signal.signal(number, self._on_signal)
        if seconds and signal.SIGINT in self._before:
            threading.Thread(target=self._wait, args=(seconds, why), daemon=True).start()

    def ending(self) -> None:
        """The run has begun to end: what it is asked for from now on it does already."""
        if self._asked is not None and not self._raised:
            self._stop(self._why)
        self._settle()

    def _settle(self) -> None:
        self._raised, self._settled = True, time.monotonic()

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Of a run that has begun to end: what the first signal breaks off all the same."""
        self._raised = self._asked is not None
        try:
            yield
        finally:
            self.ending()

    def end(self) -> None:
        """The run is over: signals mean again what they did before.

        After one the process is about to end: another Ctrl-C is to end it at once, and not to
        strike wherever others clean up, which shows as a traceback.
        """
        self._over.set()
        for number, before in self._before.items():
            signal.signal(number, before if self._asked is None else signal.SIG_DFL)
        self._before.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            if not self._why:
                threading.Thread(target=self._force, daemon=True).start()
            if self._raised:
                self._stop(self._why)
        if not self._raised:
            self._looks += 1
            early = self._looks < _LOOKS
            if _never_here(frame) or (early and _better_later(frame)):
                if self._looks == 1:
                    threading.Thread(target=self._insist, args=(number,), daemon=True).start()
                return
            self._settle()
            self._stop(self._why)
            raise KeyboardInterrupt
        # Also the last of our own comes so soon.
        if now - max(self._asked, self._settled) >= AGAIN_AFTER:
            self._at_once()
            os._exit(128 + number)

    def _insist(self, number: int) -> None:
        """Again and again: one that comes right before a wait is only seen when that is over."""
        while not self._over.wait(_LOOKS_AGAIN) and not self._raised:
            _to_main_thread(number)

    def _wait(self, seconds: float, why: str) -> None:
        if not self._over.wait(seconds) and self._asked is None:
            self._why = why
            _to_main_thread(signal.SIGINT)
            # A main thread that does not come back from what it does takes no signal.
            self._force()

    def _force(self) -> None:
        if not self._over.wait(GRACE):
            self._over.set()
            os._exit(self._by_force(self._why or "it did not end in good order"))


@contextmanager
def starting_others() -> Iterator[None]:
    """Signals wait, here until the end; Ctrl-C also in the processes started, until they heed it.

    A terminal sends it to all of them: one that is still loading would end with a traceback, and
    so would one whose first lines are never sent.
    """
    came: list[int] = []
    handlers = _put_off(came)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _put_off(came: list[int]) -> dict[int, Any]:
    """From now on our signals only come into ``came``; what they meant.

    A mask holds for its thread alone: another one takes the signal, and Python has the main thread
    heed it.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    meant = {number: signal.getsignal(number) for number in _SIGNALS}
    called: dict[int, Any] = {
        number: handler for number, handler in meant.items() if callable(handler)
    }
    for number in called:
        signal.signal(number, lambda number, _: came.append(number))
    return called


def heed() -> None:
    """Of a process that was started so: from now on Ctrl-C ends it in good order."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _never_here(frame: FrameType | None) -> bool:
    """Whether a lock may just have been taken, and who took it does not yet know of it."""
    if frame is None:
        return False
    code = frame.f_code
    locking = code.co_filename == threading.__file__ and code.co_name not in _LASTING
    return locking or code.co_name == _UNHEARD


def _better_later(frame: FrameType | None) -> bool:
    """Whether a lock may be held, or an exception be mistaken."""
    if frame and frame.f_code.co_name == _CALLS and frame.f_code.co_filename.startswith(_LOCKED):
        return False
    for _ in range(_DEEP):
        if frame is None:
            return False
        code = frame.f_code
        if code.co_filename.startswith(_LOCKED) or code.co_name == _OLD_HOOK:
            return True
        frame = frame.f_back
    return False


def _to_main_thread(number: int) -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, number)
