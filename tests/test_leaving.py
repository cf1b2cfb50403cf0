# SPDX-License-Identifier: Apache-2.0
"""An interrupt leaves no lock behind that nobody opens any more, and breaks off no end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import grpc
import pluggy
import pytest

from cri_conformance import leaving as module
from cri_conformance.leaving import (
    Leaving,
    _better_later,
    _never_here,
    starting_others,
)


@pytest.fixture
def stopped() -> list[str]:
    """Why the run was asked to stop."""
    return []


@pytest.fixture(autouse=True)
def leaving(stopped: list[str]) -> Iterator[Leaving]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    made = Leaving(stopped.append, lambda: None, lambda why: 1)
    made.watch(0, "")
    yield made
    made.end()
    signal.signal(signal.SIGINT, before)


#: Seconds for which a lock is held while an interrupt comes, and until one comes again: more than
#: what a busy machine is late with.
HELD, AGAIN = 0.7, 1.0


def _of_grpc(condition: threading.Condition, for_seconds: float) -> Callable[[], None]:
    """A function that holds a condition's lock, as if it were grpcio's own."""
    names = {"condition": condition, "seconds": for_seconds, "time": time}
    text = (
        "def hold():\n"
        "    condition.acquire()\n"
        "    until = time.monotonic() + seconds\n"
        "    while time.monotonic() < until: pass\n"
        "    condition.release()\n"
    )
    exec(compile(text, grpc.__file__, "exec"), names)
    made: Callable[[], None] = names["hold"]  # type: ignore[assignment]
    return made


def _interrupt_soon(times: int = 1, after: float = 0.05) -> None:
    main = threading.main_thread().ident
    assert main is not None
    for number in range(times):
        threading.Timer(after + number / 100, signal.pthread_kill, (main, signal.SIGINT)).start()


def _interrupt_while_held(condition: threading.Condition, times: int = 1) -> None:
    """Interrupts, the first once the lock is taken: a busy machine may be late with either."""

    def waiting() -> None:
        while condition.acquire(blocking=False):
            condition.release()
            time.sleep(0.001)
        _interrupt_soon(times, after=0)

    threading.Thread(target=waiting).start()


def _run(what: Callable[[], None]) -> float:
    """How long it took until the interrupt came."""
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        (what(), time.sleep(5))
    return time.monotonic() - start


@pytest.mark.parametrize("times", [1, 3])
def test_it_comes_when_the_lock_is_open_again(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    monkeypatch.setattr(module, "AGAIN_AFTER", AGAIN)
    monkeypatch.setattr(module, "_LOOKS", 1000)
    condition = threading.Condition(threading.Lock())
    _interrupt_while_held(condition, times)
    assert _run(_of_grpc(condition, HELD)) < 4
    assert condition.acquire(blocking=False)
    # A signal that was put off is not taken for a second one.
    signal.sigtimedwait([], 2 * AGAIN)


def test_one_that_came_right_before_a_wait_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, send = [], module._to_main_thread

    def missing(number: int) -> None:
        sent.append(number)
        if len(sent) > 1:
            send(number)

    monkeypatch.setattr(module, "_to_main_thread", missing)
    monkeypatch.setattr(module, "AGAIN_AFTER", AGAIN)
    monkeypatch.setattr(module, "_LOOKS", 1000)
    condition = threading.Condition()
    _interrupt_while_held(condition)
    assert _run(_of_grpc(condition, HELD)) < 4
    assert len(sent) > 1


def test_what_waits_for_long_is_interrupted_all_the_same() -> None:
    _interrupt_soon()
    assert _run(lambda: threading.Event().wait(5) or None) < 4


class _Watched:
    """A lock that notes from where it is taken and given back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seen: list[FrameType] = []

    def __enter__(self) -> bool:
        self.seen.append(sys._getframe(1))
        return self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self.seen.append(sys._getframe(1))
        self._lock.release()

    def acquire(self, *how: object) -> bool:
        self.seen.append(sys._getframe(1))
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


def test_it_never_comes_where_a_lock_was_just_taken() -> None:
    lock = _Watched()
    with threading.Condition(lock) as _:  # type: ignore[arg-type]
        pass
    assert [frame.f_code.co_name for frame in lock.seen] == ["__enter__", "__exit__"]
    assert all(map(_never_here, lock.seen))


def test_it_comes_at_once_where_a_call_waits() -> None:
    names: dict[str, object] = {"look": sys._getframe}
    exec(compile("def _blocking(): return look(0)", grpc.__file__, "exec"), names)
    frame = names["_blocking"]()  # type: ignore[operator]
    assert not _never_here(frame)
    assert not _better_later(frame)
    exec(compile("def _other(): return look(0)", grpc.__file__, "exec"), names)
    assert _better_later(names["_other"]())  # type: ignore[operator]


def test_it_comes_later_where_it_would_be_taken_for_an_error_of_a_plugin() -> None:
    class Specs:
        @pytest.hookspec
        def look(self) -> None: ...

    class Old:
        @pytest.hookimpl(hookwrapper=True)
        def look(self) -> Iterator[None]:
            seen.append(_better_later(sys._getframe()))
            yield
            seen.append(_better_later(sys._getframe()))

    class Plain:
        @pytest.hookimpl
        def look(self) -> None:
            seen.append(_better_later(sys._getframe()))

    seen: list[bool] = []
    manager = pluggy.PluginManager("pytest")
    manager.add_hookspecs(Specs)
    for plugin in (Plain(), Old()):
        manager.register(plugin)
    manager.hook.look()
    assert seen == [True, False, True]


def test_what_has_begun_to_end_is_not_broken_off(leaving: Leaving, stopped: list[str]) -> None:
    leaving.ending()
    signal.raise_signal(signal.SIGINT)
    assert stopped == [""]


def test_one_that_was_put_off_does_not_come_later(leaving: Leaving, stopped: list[str]) -> None:
    _interrupt_soon()
    _of_grpc(threading.Condition(threading.Lock()), 0.1)()
    leaving.ending()
    assert stopped == [""]
    signal.sigtimedwait([], 0.1)


def test_what_may_be_broken_off_is(leaving: Leaving, stopped: list[str]) -> None:
    leaving.ending()
    with pytest.raises(KeyboardInterrupt), leaving.breakable():
        signal.raise_signal(signal.SIGINT)
    assert stopped == [""]
    # Once: what comes then is no longer the first.
    with leaving.breakable():
        signal.raise_signal(signal.SIGINT)


def test_while_others_are_started_it_waits_though_another_thread_takes_it(
    stopped: list[str],
) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    seen: list[list[str]] = []

    def start() -> None:
        with starting_others():
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 0.1)
            seen.append(stopped.copy())

    with pytest.raises(KeyboardInterrupt):
        start()
    done.set()
    thread.join()
    assert seen == [[]]
    assert stopped == [""]
