# SPDX-License-Identifier: Apache-2.0
"""Rounds of a scenario, serial and parallel, and what they come to.

A round is: every worker gets ready and warms up, all are released together, and the clock runs
until the last is done. Rounds of all scenarios take turns, so that what else the machine does
meets them all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cri_conformance.benchmark.document import Latency, Throughput
from cri_conformance.benchmark.figures import interval, quantile
from cri_conformance.benchmark.scenarios import SCENARIOS, Bench, Lap, Scenario
from cri_conformance.wire.outcome import SetupFailed

#: Seconds that workers wait for each other before a round.
READY_WITHIN = 300.0


@dataclass
class Found:
    """All rounds of one scenario with so many workers."""

    scenario: str
    workers: int
    steps: dict[str, list[float]] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    failed: int = 0
    message: str = ""


def rounds(
    bench: Bench,
    scenarios: Iterable[str],
    workers: Iterable[int],
    *,
    iterations: int,
    warmup: int,
    times: int,
    say: Callable[[str], None],
) -> list[Found]:
    """Every scenario with each number of workers, so many times."""
    found = [Found(name, number) for name in scenarios for number in workers]
    for turn in range(times):
        for one in found:
            at_once = "one at a time" if one.workers == 1 else f"{one.workers} at a time"
            say(f"round {turn + 1} of {times}: {one.scenario}, {at_once}")
            _round(bench, SCENARIOS[one.scenario], one, max(1, iterations // one.workers), warmup)
    return found


def _round(bench: Bench, scenario: Scenario, into: Found, each: int, warmup: int) -> None:
    ready = threading.Barrier(into.workers + 1, timeout=READY_WITHIN)
    lock = threading.Lock()

    def work() -> float:
        try:
            with scenario(bench, warmup + each) as made:
                for one in made[:warmup]:
                    _once(one, Found(into.scenario, into.workers), lock)
                ready.wait()
                for one in made[warmup:]:
                    _once(one, into, lock)
                return time.perf_counter()
        except BaseException:
            ready.abort()
            raise

    failed = into.failed
    with ThreadPoolExecutor(into.workers, thread_name_prefix=into.scenario) as pool:
        futures = [pool.submit(work) for _ in range(into.workers)]
        start = time.perf_counter()
        try:
            ready.wait()
            start = time.perf_counter()
        except threading.BrokenBarrierError:
            pass  # whoever broke it says why
        errors = [error for future in futures if (error := future.exception())]
        own = [e for e in errors if not isinstance(e, threading.BrokenBarrierError)]
        if own or errors:
            raise (own or errors)[0]
        end = max(future.result() for future in futures)
    done = into.workers * each - (into.failed - failed)
    into.rates.append(done / max(end - start, 1e-9))


def _once(one: Callable[[Lap], None], into: Found, lock: threading.Lock) -> None:
    lap = Lap()
    start = time.perf_counter()
    try:
        one(lap)
    except SetupFailed as error:
        with lock:
            into.failed += 1
            into.message = into.message or str(error)
        return
    whole = time.perf_counter() - start
    with lock:
        for step, seconds in {**lap.steps, "": whole}.items():
            into.steps.setdefault(step, []).append(seconds)


def latencies(found: Iterable[Found], confidence: float) -> list[Latency]:
    """Every step of every scenario; the whole comes last."""
    made = []
    for one in found:
        for step, samples in one.steps.items():
            low, high = interval(samples, 0.5, confidence)
            p99_low, p99_high = interval(samples, 0.99, confidence)
            made.append(
                Latency(
                    scenario=one.scenario,
                    step=step,
                    workers=one.workers,
                    count=len(samples),
                    median=quantile(samples, 0.5),
                    median_low=low,
                    median_high=high,
                    p90=quantile(samples, 0.9),
                    p99=quantile(samples, 0.99),
                    p99_low=p99_low,
                    p99_high=p99_high,
                    longest=max(samples),
                    samples=[round(value, 7) for value in samples],
                )
            )
    return made


def throughputs(found: Iterable[Found], confidence: float) -> list[Throughput]:
    """Lifecycles a second."""
    made = []
    for one in found:
        low, high = interval(one.rates, 0.5, confidence)
        made.append(
            Throughput(
                scenario=one.scenario,
                workers=one.workers,
                per_second=quantile(one.rates, 0.5),
                low=low,
                high=high,
                samples=[round(value, 4) for value in one.rates],
                failed=one.failed,
                message=one.message,
            )
        )
    return made
