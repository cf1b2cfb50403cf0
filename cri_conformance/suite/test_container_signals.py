# SPDX-License-Identifier: Apache-2.0
"""The signal that a container is stopped with, by what its process says it got.

The process has a handler for every signal that can have one, and exits with a code that
names the first that came. So one stop of one container tells which signal was sent, and
every value of the contract's list can be tried.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import wait_ready
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: The numbers that Linux gives them on most machines: those of x86 and ARM.
NUMBERS = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
    "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16,
    "CHLD": 17, "CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24,
    "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28, "IO": 29, "PWR": 30, "SYS": 31,
}  # fmt: skip
ALIASES = {"CLD": "CHLD", "IOT": "ABRT", "POLL": "IO"}
#: No process can handle these.
DEAF_TO = (9, 19)
FIRST_REAL_TIME, LAST_REAL_TIME = 34, 64
_CODE = 100
_HANDLERS = (
    f"for s in {' '.join(str(n) for n in range(1, 65) if n not in (*DEAF_TO, 32, 33))};"
    f' do trap "exit $(({_CODE}+$s))" $s; done; : >ready;'
    " while :; do sleep 3600 & wait $!; done"
)
_PREFIX = "SIGNAL_SIG"
_GRACE = 5
#: Grace period of a container that should end long before, and what it may take.
_LONG_GRACE, _AT_ONCE_WITHIN = 7, 5.0
_WORKERS = 6


@dataclass(frozen=True, slots=True)
class Stopped:
    """A container that was stopped: ``got`` is the number of the signal it says it got."""

    id: str
    got: int
    reported: int


def _named() -> list[str]:
    return [name.removeprefix(_PREFIX) for name, _ in types.Signal.items() if _PREFIX in name]


def number(name: str) -> int:
    """The number of a signal of the contract, by its name after ``SIGNAL_SIG``."""
    if name.startswith("RTMIN"):
        return FIRST_REAL_TIME + int(name.removeprefix("RTMIN").removeprefix("PLUS") or 0)
    if name.startswith("RTMAX"):
        return LAST_REAL_TIME - int(name.removeprefix("RTMAX").removeprefix("MINUS") or 0)
    return NUMBERS[ALIASES.get(name, name)]


def stop(runtime: Runtime, sandbox: Sandbox, asked: int, **options: Any) -> Stopped:
    """Stop a container with handlers that was made with a stop signal (0 for none)."""
    config = runtime.container_config(sandbox, command=["/bin/sh", "-c", _HANDLERS], **options)
    config.stop_signal = asked  # type: ignore[assignment]
    container = runtime.container(sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    wait_ready(runtime, container)
    reported = runtime.container_status(container.id).stop_signal
    runtime.get("StopContainer", container_id=container.id, timeout=_GRACE, deadline=_GRACE + 20)
    code = runtime.wait_exited(container.id).exit_code
    runtime.call("RemoveContainer", container_id=container.id)
    return Stopped(container.id, code - _CODE, reported)


def _since(judge: Judge, clause_id: str) -> None:
    if judge.rules.register[clause_id].since > judge.rules.minor:
        judge.skip(Reason.YOUNGER, "stop signals came with 1.33")


@pytest.fixture(scope="module")
def stops(module_runtime: Runtime, shared_sandbox: Sandbox) -> dict[str, Stopped]:
    """What became of a container for each signal that can have a handler, by its name."""
    names = [name for name in _named() if number(name) not in DEAF_TO]

    def stop_by(name: str) -> Stopped:
        return stop(module_runtime, shared_sandbox, types.Signal.Value(_PREFIX + name))

    with ThreadPoolExecutor(_WORKERS) as pool:
        return dict(zip(names, pool.map(stop_by, names), strict=True))


def _kind(name: str) -> str:
    if name.startswith("RT"):
        return "Signal.real-time"
    return "Signal.aliases" if name in ALIASES else "Signal.named-signal"


@pytest.mark.xdist_group("stop signals")
@pytest.mark.parametrize(
    "clause_id",
    [
        pytest.param(name, marks=clause(name), id=name)
        for name in ("Signal.named-signal", "Signal.aliases", "Signal.real-time")
    ],
)
def test_every_signal_is_the_one_of_its_name(
    clause_id: str, judge: Judge, request: pytest.FixtureRequest
) -> None:
    _since(judge, clause_id)
    # Asked for late: a runtime without stop signals is spared the stops.
    stops: dict[str, Stopped] = request.getfixturevalue("stops")
    for name, stopped in stops.items():
        if _kind(name) == clause_id:
            judge.equal(
                clause_id,
                stopped.got,
                number(name),
                f"signal that the process got for SIG{name}:",
                about=[stopped.id],
            )


@clause("ContainerConfig.stop_signal.used")
def test_the_stop_signal_is_sent_first(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    _since(judge, "ContainerConfig.stop_signal.used")
    stopped = stop(runtime, shared_sandbox, types.SIGNAL_SIGUSR2)
    judge.equal(
        "ContainerConfig.stop_signal.used",
        stopped.got,
        NUMBERS["USR2"],
        "first signal that the process got:",
        about=[stopped.id],
    )


@pytest.fixture(scope="module")
def default(module_runtime: Runtime, shared_sandbox: Sandbox) -> Stopped:
    """A stopped container that asked for no signal."""
    return stop(module_runtime, shared_sandbox, types.SIGNAL_RUNTIME_DEFAULT)


@pytest.mark.xdist_group("default signal")
@clause("Signal.SIGNAL_RUNTIME_DEFAULT.choice")
def test_the_default_signal(default: Stopped, judge: Judge) -> None:
    names = {number: f"SIG{name}" for name, number in NUMBERS.items()}
    judge.record("Signal.SIGNAL_RUNTIME_DEFAULT.choice", names.get(default.got, default.got))


@pytest.mark.xdist_group("default signal")
@clause("ContainerStatus.stop_signal.effective")
def test_the_signal_that_is_reported_is_the_one_in_force(default: Stopped, judge: Judge) -> None:
    name = types.Signal.Name(default.reported)  # type: ignore[arg-type]
    judge.that(
        "ContainerStatus.stop_signal.effective",
        default.reported == types.SIGNAL_RUNTIME_DEFAULT
        or number(name.removeprefix(_PREFIX)) == default.got,
        permitted=f"{name} is sent, as it is reported",
        actual=f"signal {default.got}",
        about=[default.id],
    )


@clause("Signal.SIGNAL_SIGKILL.immediate")
def test_sigkill_needs_no_grace(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    _since(judge, "ContainerConfig.stop_signal.used")
    container = _killed_by_signal(runtime, shared_sandbox)
    began = time.monotonic()
    outcome = runtime.call(
        "StopContainer",
        container_id=container.id,
        timeout=_LONG_GRACE,
        deadline=_LONG_GRACE + 20,
    )
    judge.within(
        "Signal.SIGNAL_SIGKILL.immediate",
        time.monotonic() - began,
        at_most=_AT_ONCE_WITHIN,
        what=f"a stop by SIGKILL with a grace period of {_LONG_GRACE} s ({outcome})",
    )


def _killed_by_signal(runtime: Runtime, sandbox: Sandbox) -> Container:
    """A container that ends by SIGKILL only, and has it for its stop signal."""
    script = "trap '' TERM INT HUP; : >ready; while :; do sleep 3600 & wait $!; done"
    config = runtime.container_config(sandbox, command=["/bin/sh", "-c", script])
    config.stop_signal = types.SIGNAL_SIGKILL
    container = runtime.container(sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    wait_ready(runtime, container)
    return container
