# SPDX-License-Identifier: Apache-2.0
"""Operators on how long calls take, and on calls that overlap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import operators

from .upstream import Session, Upstream


def together(*calls: Callable[[], object]) -> list[BaseException | None]:
    """Run calls in threads released together; what each raised."""
    gate = threading.Barrier(len(calls))
    raised: list[BaseException | None] = [None] * len(calls)

    def run(number: int) -> None:
        gate.wait()
        try:
            calls[number]()
        except StatusError as error:
            raised[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_overlap_fails_only_for_overlapping_calls_on_one_object() -> None:
    session = Session(operators.overlap_fails("StopContainer"))
    made, other = session.container("one"), session.container("two")
    session.stop(made)
    assert together(lambda: session.stop(made), lambda: session.stop(other)) == [None, None]
    assert any(together(lambda: session.stop(made), lambda: session.stop(made)))


class Slow(Upstream):
    """Stops take their time."""

    def StopContainer(self, request: Any) -> Any:
        time.sleep(0.2)
        return super().StopContainer(request)


def seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_waiting_behind_another_call() -> None:
    session = Session(operators.waits_for("ContainerStatus", "StopContainer"), Slow())
    made = session.container()
    stopping = threading.Thread(target=session.stop, args=(made,))
    stopping.start()
    while not session.upstream.asked("StopContainer"):
        time.sleep(0.001)
    assert seconds(lambda: session.status(made)) > 0.1
    stopping.join()
    assert seconds(lambda: session.status(made)) < 0.1


def test_one_at_a_time() -> None:
    session = Session(operators.one_at_a_time("StopContainer"), Slow())
    first, other = session.container("one"), session.container("two")
    took = seconds(lambda: together(lambda: session.stop(first), lambda: session.stop(other)))
    assert took > 0.35


def test_delay_and_early_return() -> None:
    session = Session(operators.delay("StopContainer", 0.1))
    made = session.container()
    assert seconds(lambda: session.stop(made)) >= 0.1
    session = Session(operators.returns_early("StopContainer", late=0.1), Slow())
    made = session.container()
    assert seconds(lambda: session.stop(made)) < 0.1
    assert session.status(made).state == types.CONTAINER_CREATED
    for _ in range(200):
        if session.status(made).state == types.CONTAINER_EXITED:
            break
        time.sleep(0.01)
    assert session.status(made).state == types.CONTAINER_EXITED
