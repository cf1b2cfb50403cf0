# SPDX-License-Identifier: Apache-2.0
"""When a container was created, started and ended, and how.

The kubelet takes the container that was created last for the current one, shows these
times to users, and counts its back-off from the end. So they must be set just when
they have a meaning, be in order, be in nanoseconds, and agree with what passed on a
clock beside; that clock may be another host's, so only distances are held against it
closely.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import Endings, Life, Span
from cri_conformance.wire.outcome import Refused
from cri_conformance.wire.runtime import Runtime, Sandbox

_SECOND = 1_000_000_000
#: Nanoseconds that the clock of another host may differ from ours. A wrong unit differs by more.
CLOCKS = 5 * 60 * _SECOND
#: What a distance may be off: a slow machine, or a runtime that counts whole seconds.
_SLACK = 5 * _SECOND
_FINISHED_LATER = "ContainerStatus.finished_at.not-before-started"
_ROUNDS, _AT_ONCE = 6, 4


# -- set, or not -------------------------------------------------------------------------


@clause("ContainerStatus.created_at.positive")
def test_created_at_is_always_set(container_life: Life, judge: Judge) -> None:
    for when, view in container_life.views.items():
        judge.that(
            "ContainerStatus.created_at.positive",
            view.status.created_at > 0,
            permitted="created_at above zero",
            actual=f"when {when}: {view.status.created_at}",
            about=[container_life.container.id],
        )


ZERO = [
    ("ContainerStatus.started_at.zero-before-start", "started_at", ("created",)),
    ("ContainerStatus.finished_at.zero-before-exit", "finished_at", ("created", "running")),
    ("ContainerStatus.exit_code.zero-before-exit", "exit_code", ("created", "running")),
]


@pytest.mark.parametrize(
    ("clause_id", "field", "states"),
    [pytest.param(*row, marks=clause(row[0]), id=row[0]) for row in ZERO],
)
def test_zero_until_it_has_a_meaning(
    clause_id: str, field: str, states: tuple[str, ...], container_life: Life, judge: Judge
) -> None:
    for when in states:
        judge.equal(
            clause_id,
            getattr(container_life.views[when].status, field),
            0,
            f"{field} when {when}:",
            about=[container_life.container.id],
        )


@clause("ContainerStatus.started_at.set-when-running")
def test_started_at_is_set(container_life: Life, ended: Endings, judge: Judge) -> None:
    # Not in a failed start: that one never ran.
    seen = {when: container_life.views[when].status for when in ("running", "exited")}
    for when, status in {**seen, **ended.statuses}.items():
        judge.that(
            "ContainerStatus.started_at.set-when-running",
            status.started_at > 0,
            permitted="started_at above zero",
            actual=f"of a container {when}: {status.started_at}",
            about=[status.id],
        )


@clause("ContainerStatus.finished_at.set-when-exited")
def test_finished_at_is_set(container_life: Life, ended: Endings, judge: Judge) -> None:
    for when, status in {"stopped": container_life.exited.status, **ended.every}.items():
        judge.that(
            "ContainerStatus.finished_at.set-when-exited",
            status.finished_at > 0,
            permitted="finished_at above zero",
            actual=f"of a container {when}: {status.finished_at}",
            about=[status.id],
        )


# -- in order ----------------------------------------------------------------------------


def _all(life: Life, ended: Endings) -> dict[str, types.ContainerStatus]:
    return {**{when: view.status for when, view in life.views.items()}, **ended.every}


@clause("ContainerStatus.started_at.not-before-created")
def test_started_after_creation(container_life: Life, ended: Endings, judge: Judge) -> None:
    for when, status in _all(container_life, ended).items():
        judge.that(
            "ContainerStatus.started_at.not-before-created",
            not status.started_at or status.started_at >= status.created_at,
            permitted=f"started_at no earlier than created_at, {status.created_at}",
            actual=f"of a container {when}: {status.started_at}",
            about=[status.id],
        )


@clause(_FINISHED_LATER)
def test_finished_after_start(container_life: Life, ended: Endings, judge: Judge) -> None:
    # Of those that ended at once the next test speaks: there it is a race.
    lasting = {when: view.status for when, view in container_life.views.items()}
    lasting["that was killed"] = ended.statuses["that was killed"]
    if ended.failed:
        lasting["whose start failed"] = ended.failed
    for when, status in lasting.items():
        _judge_end(judge, status, when)


@clause(_FINISHED_LATER)
def test_one_that_ends_at_once_finishes_after_its_start(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    # A runtime that looks at the clock when the process runs already may be overtaken by its
    # end. Not always: so many are tried that it does not depend on luck whether this is seen.
    def end(_: int) -> types.ContainerStatus:
        container = runtime.running(shared_sandbox, "exit 0")
        status = runtime.wait_exited(container.id)
        runtime.call("RemoveContainer", container_id=container.id)
        return status

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in range(_ROUNDS):
            for status in pool.map(end, range(_AT_ONCE)):
                _judge_end(judge, status, "that ended at once")


def _judge_end(judge: Judge, status: types.ContainerStatus, when: str) -> None:
    earliest = max(status.started_at, status.created_at)
    judge.that(
        _FINISHED_LATER,
        not status.finished_at or status.finished_at >= earliest,
        permitted=f"finished_at no earlier than {earliest}, its start or creation",
        actual=f"of a container {when}: {status.finished_at}",
        about=[status.id],
    )


@clause("ContainerStatus.created_at.increases")
def test_later_creations_have_later_times(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    before = 0
    for attempt in range(4):
        made = runtime.container(shared_sandbox)
        created = runtime.container_status(made.id).created_at
        judge.that(
            "ContainerStatus.created_at.increases",
            created > before,
            permitted=f"later than {before}, when the one before it was created",
            actual=f"{created} of number {attempt + 1}",
            about=[made.id],
        )
        before = created


# -- nanoseconds ---------------------------------------------------------------------------


def _between(
    judge: Judge, clause_id: str, what: str, distance: int, first: Span, then: Span, about: str
) -> None:
    """Judge the distance of two times by when we saw what they are the times of."""
    least, most = then.begun - first.ended, then.ended - first.begun
    judge.that(
        clause_id,
        least - _SLACK <= distance <= most + _SLACK,
        permitted=f"{what}: between {least} and {most}, give or take {_SLACK}",
        actual=distance,
        about=[about],
    )


@clause("ContainerStatus.created_at.nanoseconds")
def test_created_at_is_in_nanoseconds(
    container_life: Life, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    name = "ContainerStatus.created_at.nanoseconds"
    status, creation = container_life.created.status, container_life.creation
    judge.that(
        name,
        creation.begun - CLOCKS <= status.created_at <= creation.ended + CLOCKS,
        permitted=f"between {creation.begun} and {creation.ended}, give or take five minutes",
        actual=status.created_at,
        about=[status.id],
    )
    begun = time.time_ns()
    later = runtime.container(shared_sandbox)
    span = Span(begun, time.time_ns())
    distance = runtime.container_status(later.id).created_at - status.created_at
    _between(judge, name, "from one creation to another", distance, creation, span, later.id)


@clause("ContainerStatus.started_at.nanoseconds")
def test_started_at_is_in_nanoseconds(container_life: Life, judge: Judge) -> None:
    status = container_life.running.status
    _between(
        judge,
        "ContainerStatus.started_at.nanoseconds",
        "from creation to start",
        status.started_at - status.created_at,
        container_life.creation,
        container_life.start,
        status.id,
    )


@clause("ContainerStatus.finished_at.nanoseconds")
def test_finished_at_is_in_nanoseconds(container_life: Life, judge: Judge) -> None:
    status = container_life.exited.status
    _between(
        judge,
        "ContainerStatus.finished_at.nanoseconds",
        "from start to end",
        status.finished_at - status.started_at,
        container_life.start,
        container_life.stop,
        status.id,
    )


# -- how it ended --------------------------------------------------------------------------


@clause("ContainerStatus.exit_code.killed-nonzero", "ContainerStatus.exit_code.signal-code")
def test_a_killed_container_has_not_succeeded(ended: Endings, judge: Judge) -> None:
    status = ended.statuses["that was killed"]
    judge.record("ContainerStatus.exit_code.signal-code", f"{status.exit_code} for SIGKILL")
    judge.that(
        "ContainerStatus.exit_code.killed-nonzero",
        status.exit_code != 0,
        permitted="an exit code other than 0",
        actual=status.exit_code,
        about=[status.id],
    )


@clause("ContainerStatus.exit_code.failed-start-nonzero")
def test_a_failed_start_has_not_succeeded(ended: Endings, judge: Judge) -> None:
    status = ended.failed
    judge.that(
        "ContainerStatus.exit_code.failed-start-nonzero",
        status is None or status.exit_code != 0,
        permitted="an exit code other than 0, or no container",
        actual=status.exit_code if status else "no container",
        about=[status.id] if status else (),
    )


@clause("ContainerStatus.reason.not-oom")
def test_other_ends_are_not_called_out_of_memory(ended: Endings, judge: Judge) -> None:
    for how, status in ended.every.items():
        judge.that(
            "ContainerStatus.reason.not-oom",
            status.reason != "OOMKilled",
            permitted="any reason but OOMKilled",
            actual=f"OOMKilled of a container {how}",
            about=[status.id],
        )


@clause("ContainerStatus.reason.camel-case")
def test_reasons_are_words(container_life: Life, ended: Endings, judge: Judge) -> None:
    for how, status in _all(container_life, ended).items():
        reason = status.reason
        judge.that(
            "ContainerStatus.reason.camel-case",
            not reason or (reason.isascii() and reason.isalnum() and reason[0].isupper()),
            permitted="one word of letters and digits that begins with a capital, or none",
            actual=f"{reason!r} of a container {how}",
            about=[status.id],
        )


@clause("ContainerStatus.reason.words", "ContainerStatus.message.failed-start")
def test_the_words_for_an_end(ended: Endings, judge: Judge) -> None:
    words = (f"{status.reason or 'none'} {how}" for how, status in ended.every.items())
    judge.record("ContainerStatus.reason.words", ", ".join(words))
    answer = ended.refusal.message if isinstance(ended.refusal, Refused) else ended.refusal
    said = ended.failed.message if ended.failed else f"no container is left; the call: {answer}"
    judge.record("ContainerStatus.message.failed-start", said or "no message")
