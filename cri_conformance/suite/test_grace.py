# SPDX-License-Identifier: Apache-2.0
"""Grace periods: how long a container may take to end, and what happens when it does not.

Lower bounds are exact: who was promised a second is not killed before it is over. Upper
bounds are wide, as a machine may be slow: they tell a grace period that is kept from one
that is sat out, read in another unit, or never over.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.scripts import (
    STUBBORN,
    TIDY,
    WAITING,
    go,
    listening,
    wait_for_file,
)
from cri_conformance.wire.outcome import Ok, Outcome, Refused, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

_STOP, _TIMEOUT = "RuntimeService.StopContainer", "StopContainerRequest.timeout"
#: Seconds that a machine may be slow.
SLACK = 5.0
#: The grace period of those who use it up, and of those who need not.
SHORT, LONG = 1, 60
#: More seconds than 32 bits hold, and fewer than nanoseconds in 64 bits do.
YEARS = 5_000_000_000
#: TIDY takes 0.3 s; then it ends with this code.
_TIDY_CODE = 7

Patience = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop: the call, how long it took (seconds), and the status just after."""

    container: Container
    outcome: Outcome
    seconds: float
    status: types.ContainerStatus

    @property
    def state(self) -> str:
        """By its name in the contract."""
        return types.ContainerState.Name(self.status.state)


def _stopped(runtime: Runtime, container: Container, timeout: int, deadline: float) -> Stop:
    began = time.monotonic()
    outcome = runtime.call(
        "StopContainer", container_id=container.id, timeout=timeout, deadline=deadline
    )
    seconds = time.monotonic() - began
    return Stop(container, outcome, seconds, runtime.container_status(container.id))


@pytest.fixture(scope="module")
def tidy_stop(module_runtime: Runtime, shared_sandbox: Sandbox, patience: Patience) -> Stop:
    """The stop of a container that ends well within its time."""
    container = listening(module_runtime, shared_sandbox, TIDY)
    return _stopped(module_runtime, container, LONG, patience(SLACK) + 2)


@pytest.fixture(scope="module")
def stubborn_stop(module_runtime: Runtime, shared_sandbox: Sandbox, patience: Patience) -> Stop:
    """The stop of a container that ignores its signal."""
    container = listening(module_runtime, shared_sandbox, STUBBORN)
    return _stopped(module_runtime, container, SHORT, SHORT + 2 * patience(SLACK))


# -- who ends in time ----------------------------------------------------------------------------


@pytest.mark.xdist_group("grace")
@clause(f"{_TIMEOUT}.grace-period")
def test_who_ends_in_time_is_not_killed(tidy_stop: Stop, judge: Judge) -> None:
    judge.equal(
        f"{_TIMEOUT}.grace-period",
        (tidy_stop.state, tidy_stop.status.exit_code),
        ("CONTAINER_EXITED", _TIDY_CODE),
        "state and exit code of a container that tidied up",
        about=[tidy_stop.container.id],
    )


@pytest.mark.xdist_group("grace")
@clause(f"{_TIMEOUT}.early-return")
def test_stop_returns_when_the_container_has_ended(
    tidy_stop: Stop, judge: Judge, patience: Patience
) -> None:
    judge.within(
        f"{_TIMEOUT}.early-return",
        tidy_stop.seconds,
        at_most=patience(SLACK) + 1,
        what=f"a stop with {LONG} s of grace, of a container that needs 0.3 s,",
    )


# -- who does not --------------------------------------------------------------------------------


@pytest.mark.xdist_group("grace")
@clause(f"{_STOP}.killed-after-grace")
def test_who_does_not_end_is_killed(stubborn_stop: Stop, judge: Judge) -> None:
    about = [stubborn_stop.container.id]
    judge.ok(f"{_STOP}.killed-after-grace", stubborn_stop.outcome, about=about)
    judge.equal(
        f"{_STOP}.killed-after-grace",
        stubborn_stop.state,
        "CONTAINER_EXITED",
        "state when the stop has returned",
        about=about,
    )


@pytest.mark.xdist_group("grace")
@clause(f"{_TIMEOUT}.seconds")
def test_who_does_not_end_gets_its_seconds(stubborn_stop: Stop, judge: Judge) -> None:
    # It was started before its stop was called, and had ended before that returned; so if it
    # lived for less than the grace period, it was killed early, however late the answer was.
    status = stubborn_stop.status
    lived = (status.finished_at - status.started_at) / 1e9
    judge.within(
        f"{_TIMEOUT}.seconds",
        min(stubborn_stop.seconds, lived),
        at_least=SHORT,
        what=f"the end of a stubborn container with {SHORT} s of grace",
    )


@clause(f"{_TIMEOUT}.zero-immediate")
def test_no_grace_at_all(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    clause_id, within = f"{_TIMEOUT}.zero-immediate", patience(SLACK)
    container = listening(runtime, shared_sandbox, STUBBORN)
    began = time.monotonic()
    outcome = runtime.call(
        "StopContainer", container_id=container.id, timeout=0, deadline=within + 1
    )
    judge.ok(clause_id, outcome, about=[container.id])
    judge.that(
        clause_id,
        _exits(runtime, container, began + within - time.monotonic()),
        permitted=f"CONTAINER_EXITED within {SLACK:g} s",
        actual=types.ContainerState.Name(runtime.container_status(container.id).state),
        about=[container.id],
    )


@clause(f"{_TIMEOUT}.zero-signal")
def test_whether_no_grace_is_a_moment(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = listening(runtime, shared_sandbox, "trap 'exit 7' TERM; : > ready; " + _BUSY)
    runtime.get("StopContainer", container_id=container.id, timeout=0)
    code = runtime.wait_exited(container.id).exit_code
    handled = "the handler ran" if code == _TIDY_CODE else "killed without a word"
    judge.record(f"{_TIMEOUT}.zero-signal", handled)


#: Takes a signal at once: no child has to end first.
_BUSY = "while :; do sleep 3600 & wait $!; done"


@clause(f"{_TIMEOUT}.negative", f"{_TIMEOUT}.negative-bounded")
def test_negative_grace(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Patience
) -> None:
    # Whoever takes it for "the default" waits ten seconds or so.
    container = listening(runtime, shared_sandbox, STUBBORN)
    within = patience(20.0)
    outcome = runtime.call("StopContainer", container_id=container.id, timeout=-1, deadline=within)
    answer = outcome.code if isinstance(outcome, Refused) else outcome
    judge.record(f"{_TIMEOUT}.negative", answer)
    judge.that(
        f"{_TIMEOUT}.negative-bounded",
        isinstance(outcome, Ok | Refused),
        permitted="an answer in bounded time",
        actual=outcome,
        about=[container.id],
    )


# -- several stops, and abandoned ones -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "grace"),
    [
        pytest.param(name, grace, marks=clause(f"{_TIMEOUT}.{name}"), id=name)
        for name, grace in (("shortened", SHORT), ("zero-during-stop", 0))
    ],
)
def test_second_stop_shortens_the_first(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    patience: Patience,
    name: str,
    grace: int,
) -> None:
    container = listening(runtime, shared_sandbox, WAITING)
    with ThreadPoolExecutor(1) as pool:
        first = _in_background(pool, runtime, container, LONG)
        try:
            wait_for_file(runtime, container, "told1")
            began, within = time.monotonic(), grace + patience(SLACK)
            runtime.call("StopContainer", container_id=container.id, timeout=grace, deadline=within)
            judge.that(
                f"{_TIMEOUT}.{name}",
                _exits(runtime, container, began + within - time.monotonic()),
                permitted=f"{grace} s after a stop with {grace} s of grace it has ended",
                actual=f"it runs on after {time.monotonic() - began:.1f} s, as a stop with {LONG} s"
                " of grace was before",
                about=[container.id],
            )
        finally:
            runtime.call("RemoveContainer", container_id=container.id, deadline=30.0)
            first.result()


@clause(f"{_TIMEOUT}.very-long")
def test_many_years_are_not_short(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    container = listening(runtime, shared_sandbox, WAITING)
    with ThreadPoolExecutor(1) as pool:
        stop = _in_background(pool, runtime, container, YEARS, deadline=60.0)
        try:
            # Told, or dead already: both are seen by its file, and by its end.
            with contextlib.suppress(SetupFailed):
                wait_for_file(runtime, container, "told1", seconds=SLACK)
            with contextlib.suppress(SetupFailed):
                go(runtime, container)
            status = runtime.wait_exited(container.id)
        finally:
            runtime.call("RemoveContainer", container_id=container.id, deadline=30.0)
            outcome = stop.result()
    judge.equal(
        f"{_TIMEOUT}.very-long",
        status.exit_code,
        1,
        f"exit code of a container that was given {YEARS} s and needed less than one",
        about=[container.id],
    )
    judge.ok(f"{_TIMEOUT}.very-long", outcome, about=[container.id])


@clause(f"{_STOP}.signal-repeat")
def test_a_second_stop_does_not_signal_again(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = listening(runtime, shared_sandbox, WAITING)
    with ThreadPoolExecutor(2) as pool:
        stops = [_in_background(pool, runtime, container, LONG)]
        try:
            wait_for_file(runtime, container, "told1")
            stops.append(_in_background(pool, runtime, container, LONG - 1))
            # Not told again, as far as one can wait for what does not come.
            with contextlib.suppress(SetupFailed):
                wait_for_file(runtime, container, "told2", seconds=0.5)
            go(runtime, container)
            signals = runtime.wait_exited(container.id).exit_code
        finally:
            runtime.call("RemoveContainer", container_id=container.id, deadline=30.0)
            for stop in stops:
                stop.result()
    judge.equal(
        f"{_STOP}.signal-repeat",
        signals,
        1,
        "stop signals of two stops:",
        about=[container.id],
    )


@clause(f"{_STOP}.abandoned")
def test_whether_an_abandoned_stop_goes_on(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = listening(runtime, shared_sandbox, STUBBORN)
    outcome = runtime.call("StopContainer", container_id=container.id, timeout=SHORT, deadline=0.2)
    ended = _exits(runtime, container, SHORT + 1.5)
    became = "ends by its timeout all the same" if ended else "runs on"
    given_up = "abandoned" if not isinstance(outcome, Ok | Refused) else str(outcome)
    judge.record(f"{_STOP}.abandoned", f"stop {given_up}: the container {became}")


def _in_background(
    pool: ThreadPoolExecutor,
    runtime: Runtime,
    container: Container,
    timeout: int,
    deadline: float = 0.0,
) -> Future[Outcome]:
    return pool.submit(
        runtime.call,
        "StopContainer",
        container_id=container.id,
        timeout=timeout,
        deadline=deadline or timeout + 10.0,
    )


def _exits(runtime: Runtime, container: Container, seconds: float) -> bool:
    """Whether it has ended within so many seconds from now."""
    try:
        runtime.wait_exited(container.id, seconds)
    except SetupFailed:
        return False
    return True
