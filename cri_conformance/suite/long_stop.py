# SPDX-License-Identifier: Apache-2.0
"""A container that takes its time to end, and calls that are made meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from cri_conformance.suite.scripts import WAITING, go, listening, wait_for_file
from cri_conformance.wire.outcome import Outcome, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: Seconds within which an answer is prompt. The stop behind which it must not wait takes longer.
PROMPT_WITHIN, LONG_STOP = 5.0, 60


@contextlib.contextmanager
def long_stop(runtime: Runtime, sandbox: Sandbox) -> Iterator[Container]:
    """A container that was told to stop and takes its time, for as long as the block lasts.

    Raises SetupFailed.
    """
    container = listening(runtime, sandbox, WAITING)
    with ThreadPoolExecutor(1) as pool:
        stop: Future[Outcome] = pool.submit(
            runtime.call,
            "StopContainer",
            container_id=container.id,
            timeout=LONG_STOP,
            deadline=LONG_STOP + 10.0,
        )
        try:
            wait_for_file(runtime, container, "told1")
            yield container
        finally:
            with contextlib.suppress(SetupFailed):
                go(runtime, container)
            # If it was not let go, this ends it, and the stop with it.
            runtime.call("RemoveContainer", container_id=container.id, deadline=30.0)
            stop.result()


@dataclass(frozen=True, slots=True)
class Look:
    """One call while a long stop went on, and how long it took."""

    outcome: Outcome
    seconds: float

    @classmethod
    def taken(cls, call: Callable[[], Outcome]) -> Look:
        """What comes of a call."""
        began = time.monotonic()
        outcome = call()
        return cls(outcome, time.monotonic() - began)
