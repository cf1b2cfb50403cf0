# SPDX-License-Identifier: Apache-2.0
"""Containers until they run: created where that can be, started once, and not before.

The lifecycle table judges each call by itself. Here is what a table does not show: that
a command ran just once and not before its time, that a refused start changed nothing, and
what a failed create leaves behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.build.messages import IDLE
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, NotExercised, clause
from cri_conformance.suite.stepper import MISSING_COMMAND, unknown_id
from cri_conformance.suite.views import container_states
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

_CREATE = "RuntimeService.CreateContainer"
_START = "RuntimeService.StartContainer"
_STATE = "ContainerState.CONTAINER"

#: Writes a line each time that it runs. Relative, as the folder is the container's own.
_COUNTING = "echo ran >> runs; " + IDLE
_ABSENT_IMAGE = "localhost/cri-conformance/absent:none"


def _runs(runtime: Runtime, container: Container) -> list[str]:
    """What its counting command wrote so far, once it wrote anything."""
    return poll(
        lambda: runtime.exec(container, "/bin/sh", "-c", "cat runs || :").stdout.decode().split(),
        bool,
        10.0,
        "the container's command to run",
    )


# -- create -------------------------------------------------------------------------------


@clause(f"{_STATE}_CREATED.before-start")
def test_a_container_is_created_until_it_is_started(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.container(shared_sandbox)
    judge.equal(
        f"{_STATE}_CREATED.before-start",
        container_states(runtime, container),
        ["CONTAINER_CREATED"] * 2,
        "in list and status",
        about=[container.id],
    )


@clause(f"{_STATE}_CREATED.nothing-runs")
def test_the_command_does_not_run_before_the_start(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    # All containers of a sandbox share one kernel, and its clock counts from boot.
    watch = runtime.running(shared_sandbox)
    container = runtime.container(
        shared_sandbox, command=["/bin/sh", "-c", f"cat /proc/uptime > began; {IDLE}"]
    )
    created = _uptime(runtime.exec(watch, "cat", "/proc/uptime").stdout)
    now = poll(
        lambda: _uptime(runtime.exec(watch, "cat", "/proc/uptime").stdout),
        # Its steps are of 10 ms: two apart can't be confused.
        lambda seen: seen > created + 0.05,
        10.0,
        "the clock of the container's kernel to move",
    )
    runtime.get("StartContainer", container_id=container.id)
    began = poll(
        lambda: _uptime(runtime.exec(container, "/bin/sh", "-c", "cat began || :").stdout),
        bool,
        10.0,
        "the container's command to run",
    )
    judge.that(
        f"{_STATE}_CREATED.nothing-runs",
        began >= now,
        permitted=f"the command begins after the start, {now:.2f} s or later",
        actual=f"it began at {began:.2f} s, and {created:.2f} s was just after the creation",
        about=[container.id],
    )


def _uptime(text: bytes) -> float:
    """Seconds since boot; 0 for a text that is not complete."""
    return float(text.split()[0]) if text.endswith(b"\n") else 0.0


@dataclass(frozen=True)
class Absences:
    """The answers of CreateContainer where what it needs is not there, by what that is."""

    outcomes: dict[str, Outcome]
    configs: dict[str, types.ContainerConfig]


@pytest.fixture(scope="module")
def absences(module_runtime: Runtime, shared_sandbox: Sandbox) -> Absences:
    runtime = module_runtime
    stopped, removed = runtime.sandbox(), runtime.sandbox()
    runtime.get("StopPodSandbox", pod_sandbox_id=stopped.id)
    runtime.get("StopPodSandbox", pod_sandbox_id=removed.id)
    runtime.get("RemovePodSandbox", pod_sandbox_id=removed.id)
    places = {
        "unknown sandbox": Sandbox(unknown_id(), shared_sandbox.config),
        "removed sandbox": removed,
        "stopped sandbox": stopped,
        "absent image": shared_sandbox,
    }
    configs = {what: runtime.container_config(place) for what, place in places.items()}
    image = configs["absent image"].image
    image.image = image.user_specified_image = _ABSENT_IMAGE
    outcomes = {what: runtime.create(place, configs[what]) for what, place in places.items()}
    return Absences(outcomes, configs)


@pytest.mark.parametrize(
    ("what", "bound"),
    [
        pytest.param(what, name, marks=clause(name), id=what.replace(" ", "-"))
        for what, name in (
            ("unknown sandbox", f"{_CREATE}.unknown-sandbox"),
            ("removed sandbox", f"{_CREATE}.removed-sandbox"),
            ("stopped sandbox", f"{_CREATE}.stopped-sandbox"),
            ("absent image", f"{_CREATE}.absent-image"),
        )
    ],
)
@pytest.mark.xdist_group("absences")
def test_a_container_is_refused_where_something_is_absent(
    what: str, bound: str, judge: Judge, absences: Absences
) -> None:
    judge.refused(bound, absences.outcomes[what])


@clause(f"{_CREATE}.absence-codes")
@pytest.mark.xdist_group("absences")
def test_the_codes_for_what_is_absent(judge: Judge, absences: Absences) -> None:
    codes = (
        f"{what}: {outcome.code if isinstance(outcome, Refused) else outcome}"
        for what, outcome in absences.outcomes.items()
    )
    judge.record(f"{_CREATE}.absence-codes", ", ".join(codes))


@clause(f"{_CREATE}.stopped-sandbox-code")
@pytest.mark.xdist_group("absences")
def test_a_stopped_sandbox_is_not_called_absent(judge: Judge, absences: Absences) -> None:
    outcome = absences.outcomes["stopped sandbox"]
    if not isinstance(outcome, Refused):
        raise NotExercised(
            Reason.NO_OCCASION, "CreateContainer in a stopped sandbox is not refused"
        )
    judge.that(
        f"{_CREATE}.stopped-sandbox-code",
        outcome.code != "NOT_FOUND",
        permitted="a code other than NOT_FOUND",
        actual=outcome,
    )


@clause(f"{_CREATE}.failed-not-listed")
@pytest.mark.xdist_group("absences")
def test_a_refused_create_leaves_no_container(
    runtime: Runtime, judge: Judge, absences: Absences
) -> None:
    refused = {
        absences.configs[what].metadata.name: what
        for what, outcome in absences.outcomes.items()
        if isinstance(outcome, Refused)
    }
    there = [
        f"{item.id} ({refused[item.metadata.name]})"
        for item in runtime.get("ListContainers").containers
        if item.metadata.name in refused
    ]
    judge.equal(f"{_CREATE}.failed-not-listed", there, [], "listed")


# -- start --------------------------------------------------------------------------------


@clause(f"{_STATE}_RUNNING.after-start")
def test_a_started_container_is_running_and_stays_so(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.running(shared_sandbox)
    for _ in range(2):
        judge.equal(
            f"{_STATE}_RUNNING.after-start",
            container_states(runtime, container),
            ["CONTAINER_RUNNING"] * 2,
            "in list and status",
            about=[container.id],
        )
        # Some time and life between the two looks.
        runtime.exec(container, "true")


@clause(f"{_START}.left-created")
def test_a_container_that_ended_at_once_is_not_created_any_more(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.running(shared_sandbox, "exit 0")
    views = container_states(runtime, container)
    judge.that(
        f"{_START}.left-created",
        "CONTAINER_CREATED" not in views,
        permitted="CONTAINER_RUNNING or CONTAINER_EXITED in list and status",
        actual=" and ".join(views),
        about=[container.id],
    )


@clause(f"{_START}.runs-once")
def test_the_command_runs_once(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    container = runtime.container(shared_sandbox, command=["/bin/sh", "-c", _COUNTING])
    started = runtime.call("StartContainer", container_id=container.id)
    judge.ok(f"{_START}.runs-once", started, about=[container.id])
    judge.equal(f"{_START}.runs-once", _runs(runtime, container), ["ran"], "the command wrote")


@clause(f"{_START}.running-again-harmless", f"{_START}.running-again-error")
def test_a_second_start_of_a_running_container(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    container = runtime.running(shared_sandbox, _COUNTING)
    _runs(runtime, container)
    before = runtime.container_status(container.id)
    again = runtime.call("StartContainer", container_id=container.id)
    after = runtime.container_status(container.id)
    judge.equal(
        f"{_START}.running-again-harmless",
        (after.state, after.started_at, _runs(runtime, container)),
        (before.state, before.started_at, ["ran"]),
        "state, started_at and what the command wrote",
        about=[container.id],
    )
    judge.refused(f"{_START}.running-again-error", again, about=[container.id])


@clause(f"{_START}.exited-not-revived", f"{_START}.exited-error")
@pytest.mark.parametrize("ended", ["by-itself", "by-a-stop"])
def test_a_start_of_a_container_that_has_exited(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, ended: str
) -> None:
    if ended == "by-itself":
        container = runtime.exited(shared_sandbox, "exit 3")
    else:
        container = runtime.running(shared_sandbox)
        runtime.get("StopContainer", container_id=container.id, timeout=1)
    before = _end_of(runtime, container)
    again = runtime.call("StartContainer", container_id=container.id)
    judge.equal(
        f"{_START}.exited-not-revived",
        _end_of(runtime, container),
        before,
        "state, exit code, started_at and finished_at",
        about=[container.id],
    )
    judge.refused(f"{_START}.exited-error", again, about=[container.id])


def _end_of(runtime: Runtime, container: Container) -> tuple[str, int, int, int]:
    status = runtime.container_status(container.id)
    state = types.ContainerState.Name(status.state)
    return state, status.exit_code, status.started_at, status.finished_at


@clause(f"{_START}.stopped-sandbox")
def test_nothing_starts_in_a_stopped_sandbox(runtime: Runtime, judge: Judge) -> None:
    sandbox = runtime.sandbox()
    before = runtime.container(sandbox)
    runtime.get("StopPodSandbox", pod_sandbox_id=sandbox.id)
    later = runtime.create(sandbox, runtime.container_config(sandbox))
    ids = [before.id, *([later.response.container_id] if isinstance(later, Ok) else [])]
    for container_id in ids:
        outcome = runtime.call("StartContainer", container_id=container_id)
        shown = runtime.call("ContainerStatus", container_id=container_id)
        state = shown.response.status.state if isinstance(shown, Ok) else None
        judge.that(
            f"{_START}.stopped-sandbox",
            state != types.CONTAINER_RUNNING,
            permitted="the container does not run",
            actual=f"CONTAINER_RUNNING after StartContainer ({outcome})",
            about=[sandbox.id, container_id],
        )


@dataclass(frozen=True)
class FailedStart:
    """A container whose command is missing; ``id`` is "" if not even its creation succeeded."""

    id: str
    create: Outcome
    start: Outcome | None


@pytest.fixture
def failed_start(runtime: Runtime, shared_sandbox: Sandbox) -> FailedStart:
    config = runtime.container_config(shared_sandbox, command=MISSING_COMMAND)
    created = runtime.create(shared_sandbox, config)
    if not isinstance(created, Ok):
        return FailedStart("", created, None)
    made = created.response.container_id
    return FailedStart(made, created, runtime.call("StartContainer", container_id=made))


@clause(f"{_START}.bad-command")
def test_a_missing_command_gets_an_error(judge: Judge, failed_start: FailedStart) -> None:
    judge.refused(f"{_START}.bad-command", failed_start.start or failed_start.create)


@clause(f"{_START}.failed-not-running", f"{_START}.failed-leftover")
def test_what_failed_to_start_does_not_run(
    runtime: Runtime, judge: Judge, failed_start: FailedStart
) -> None:
    seen = "the call to create it failed"
    running = False
    if failed_start.id:
        status = runtime.call("ContainerStatus", container_id=failed_start.id)
        if isinstance(status, Ok):
            shown = status.response.status
            seen = f"{types.ContainerState.Name(shown.state)}, exit code {shown.exit_code}"
            seen += f", reason {shown.reason!r}"
            running = shown.state == types.CONTAINER_RUNNING
        else:
            seen = f"not there: {status}"
    judge.record(f"{_START}.failed-leftover", seen)
    judge.that(
        f"{_START}.failed-not-running",
        not running,
        permitted="anything but CONTAINER_RUNNING",
        actual=seen,
        about=[failed_start.id],
    )
