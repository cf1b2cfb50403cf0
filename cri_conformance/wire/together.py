# SPDX-License-Identifier: Apache-2.0
"""Calls at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

#: Seconds within which every thread must have come to the start.
START_WITHIN = 30.0


def together(*calls: Callable[[], T], spread: float = 0.0) -> list[T]:
    """Run each in a thread of its own, released together; what they return, in order.

    With ``spread`` each sets off so many seconds after the one before: then some begin just
    when others end. Raises what the first that failed raises, once all have ended.
    """
    start = threading.Barrier(len(calls), timeout=START_WITHIN)
    never = threading.Event()

    def run(place: int, call: Callable[[], T]) -> T:
        start.wait()
        never.wait(place * spread)
        return call()

    with ThreadPoolExecutor(len(calls), thread_name_prefix="together") as pool:
        futures = [pool.submit(run, place, call) for place, call in enumerate(calls)]
    return [future.result() for future in futures]
