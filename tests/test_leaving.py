# SPDX-License-Identifier: Apache-2.0
"""An interrupt leaves no lock behind that nobody opens any more."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from cri_conformance.leaving import AGAIN_AFTER, Leaving


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    leaving = Leaving(lambda why: None, lambda: None, lambda why: 1)
    leaving.watch(0, "")
    yield
    leaving.end()
    signal.signal(signal.SIGINT, before)


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


def _interrupt_soon(times: int = 1) -> None:
    main = threading.main_thread().ident
    assert main is not None
    for number in range(times):
        threading.Timer(0.05 + number / 100, signal.pthread_kill, (main, signal.SIGINT)).start()


def _run(what: Callable[[], None]) -> float:
    """How long it took until the interrupt came."""
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        (what(), time.sleep(5))
    return time.monotonic() - start


@pytest.mark.parametrize("times", [1, 3])
def test_it_comes_when_the_lock_is_open_again(times: int) -> None:
    condition = threading.Condition(threading.Lock())
    _interrupt_soon(times)
    assert _run(_of_grpc(condition, 0.15)) < 4
    assert condition.acquire(blocking=False)
    # A signal that was put off is not taken for a second one.
    signal.sigtimedwait([], 2 * AGAIN_AFTER)


def test_what_waits_for_long_is_interrupted_all_the_same() -> None:
    _interrupt_soon()
    assert _run(lambda: threading.Event().wait(5) or None) < 4
