# SPDX-License-Identifier: Apache-2.0
"""Events: what is told of containers and sandboxes, in which order, and with which statuses.

The kubelet with EventedPLEG lists every few minutes only and goes by events meanwhile. An
event that is missing leaves a dead container unnoticed for so long; one with stale statuses
puts the wrong state in place of what was known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite import watching
from cri_conformance.suite.event_life import EventLife, Step
from cri_conformance.suite.watching import CREATED, DELETED, STARTED, STOPPED, WITHIN
from cri_conformance.wire.runtime import Runtime, Sandbox
from cri_conformance.wire.together import together

pytestmark = pytest.mark.xdist_group("events")

_CALL, _EVENT, _TYPE = (
    "RuntimeService.GetContainerEvents",
    "ContainerEventResponse",
    "ContainerEventType",
)
#: By how much the clocks may differ, in nanoseconds: of one host, read in two ways.
_CLOCKS = 1_000_000_000
#: Containers that end as soon as they start.
_SHORT_LIVES = 6
_MIB = 1024 * 1024


_NAMES = {value.number: value.name for value in types.ContainerEventType.DESCRIPTOR.values}
_STATES = {value.number: value.name for value in types.ContainerState.DESCRIPTOR.values}


def _named(kinds: Iterable[int]) -> str:
    """Kinds of events in words."""
    names = (_NAMES.get(kind, str(kind)) for kind in kinds)
    words = [name.removeprefix("CONTAINER_").removesuffix("_EVENT").lower() for name in names]
    return ", ".join(words) or "nothing"


def _judge_told(judge: Judge, life: EventLife, what: str, clause_id: str) -> None:
    step = life.step(what)
    judge.that(
        clause_id,
        step.event is not None,
        permitted=f"an event tells of: {what}",
        actual=f"of this container was told: {_named(life.kinds(step.object_id))}",
        about=[step.object_id],
    )


@clause(f"{_TYPE}.CONTAINER_CREATED_EVENT.told")
@clause(f"{_TYPE}.CONTAINER_STARTED_EVENT.told")
@clause(f"{_TYPE}.CONTAINER_STOPPED_EVENT.told")
@clause(f"{_TYPE}.CONTAINER_DELETED_EVENT.told")
def test_each_call_is_told(event_life: EventLife, judge: Judge) -> None:
    life = event_life.there(judge, f"{_TYPE}.CONTAINER_CREATED_EVENT.told")
    _judge_told(judge, life, "idle: created", f"{_TYPE}.CONTAINER_CREATED_EVENT.told")
    _judge_told(judge, life, "idle: started", f"{_TYPE}.CONTAINER_STARTED_EVENT.told")
    for what in ("idle: stopped", "last: stopped with its sandbox"):
        _judge_told(judge, life, what, f"{_TYPE}.CONTAINER_STOPPED_EVENT.told")
    _judge_told(judge, life, "idle: removed", f"{_TYPE}.CONTAINER_DELETED_EVENT.told")


@clause(f"{_TYPE}.CONTAINER_STOPPED_EVENT.by-itself")
def test_an_end_without_a_call_is_told(event_life: EventLife, judge: Judge) -> None:
    promise = f"{_TYPE}.CONTAINER_STOPPED_EVENT.by-itself"
    life = event_life.there(judge, promise)
    for what in ("well: ended by itself", "badly: ended by itself"):
        _judge_told(judge, life, what, promise)


@clause(f"{_TYPE}.CONTAINER_STARTED_EVENT.not-if-failed")
@clause(f"{_TYPE}.CONTAINER_STOPPED_EVENT.failed-start")
def test_a_failed_start_is_not_told_as_a_start(event_life: EventLife, judge: Judge) -> None:
    life = event_life.there(judge, f"{_TYPE}.CONTAINER_STARTED_EVENT.not-if-failed")
    if not life.failed:
        judge.skip(Reason.NOT_ADVERTISED, "no start failed: the creation was refused already")
    # Those that its removal brings are another matter.
    kinds = [kind for kind in life.kinds(life.failed) if kind != DELETED]
    judge.that(
        f"{_TYPE}.CONTAINER_STARTED_EVENT.not-if-failed",
        STARTED not in kinds,
        permitted="no event of the started kind for a container whose start failed",
        actual=_named(kinds),
        about=[life.failed],
    )
    judge.record(f"{_TYPE}.CONTAINER_STOPPED_EVENT.failed-start", _named(kinds))


@clause(f"{_TYPE}.CONTAINER_DELETED_EVENT.with-sandbox")
@clause(f"{_EVENT}.container_id.sandbox-deleted")
@clause(f"{_EVENT}.container_id.sandbox-others")
@clause(f"{_EVENT}.pod_sandbox_status.after-stop")
def test_the_end_of_a_sandbox_is_told(event_life: EventLife, judge: Judge) -> None:
    life = event_life.there(judge, f"{_EVENT}.container_id.sandbox-deleted")
    last = life.step("last: created").object_id
    judge.that(
        f"{_TYPE}.CONTAINER_DELETED_EVENT.with-sandbox",
        DELETED in life.kinds(last),
        permitted="a container that is removed with its sandbox is told of as deleted",
        actual=_named(life.kinds(last)),
        about=[last],
    )
    own = life.of(life.sandbox)
    deleted = [event for event in own if event.container_event_type == DELETED]
    judge.that(
        f"{_EVENT}.container_id.sandbox-deleted",
        any(event.pod_sandbox_status.id == life.sandbox for event in deleted),
        permitted="an event of the deleted kind with the sandbox's id and status",
        actual=f"{_named(life.kinds(life.sandbox))}; with its status: "
        f"{[event.pod_sandbox_status.id == life.sandbox for event in deleted]}",
        about=[life.sandbox],
    )
    others = [kind for kind in life.kinds(life.sandbox) if kind != DELETED]
    judge.record(f"{_EVENT}.container_id.sandbox-others", _named(others))
    stops = [event for event in own if event.container_event_type == STOPPED]
    for event in stops:
        judge.equal(
            f"{_EVENT}.pod_sandbox_status.after-stop",
            event.pod_sandbox_status.state,
            types.SANDBOX_NOTREADY,
            "the state of a sandbox told of as stopped is",
            about=[life.sandbox],
        )
    if not stops:
        judge.not_exercised(
            f"{_EVENT}.pod_sandbox_status.after-stop",
            Reason.NOT_ADVERTISED,
            "stops of sandboxes are not told",
        )


@clause(f"{_CALL}.each-once")
@clause(f"{_CALL}.in-order")
@clause(f"{_CALL}.stays-open")
@clause(f"{_CALL}.backlog")
@clause(f"{_EVENT}.container_id.names-it")
@clause(f"{_EVENT}.container_event_type.known")
def test_the_stream_as_a_whole(event_life: EventLife, judge: Judge) -> None:
    life = event_life.there(judge, f"{_CALL}.stays-open")
    judge.that(
        f"{_CALL}.stays-open",
        not life.ended,
        permitted="the stream is open until the client leaves it",
        actual=f"ended after {len(life.events)} events: {life.ended}",
    )
    for one in life.made:
        kinds = life.kinds(one)
        judge.that(
            f"{_EVENT}.container_event_type.known",
            set(kinds) <= set(_NAMES),
            permitted=f"kinds among {sorted(_NAMES)}",
            actual=f"{sorted(set(kinds))}",
            about=[one],
        )
        _judge_order(judge, kinds, one)
    ours = {life.sandbox, *life.made}
    strange = sorted(
        {
            event.container_id
            for event in life.events
            if event.pod_sandbox_status.id == life.sandbox and event.container_id not in ours
        }
    )
    judge.that(
        f"{_EVENT}.container_id.names-it",
        not strange,
        permitted="events of a sandbox name it, or one of its containers, by the whole id",
        actual=f"they name {strange[:3]}",
        about=[life.sandbox],
    )
    judge.record(f"{_CALL}.backlog", f"{life.backlog} events from before the stream was opened")


def _judge_order(judge: Judge, kinds: list[int], container: str) -> None:
    judge.that(
        f"{_CALL}.each-once",
        len(kinds) == len(set(kinds)),
        permitted="each event of a container comes once",
        actual=_named(kinds),
        about=[container],
    )
    judge.that(
        f"{_CALL}.in-order",
        kinds == sorted(kinds),
        permitted="the events come in the order of the container's life",
        actual=_named(kinds),
        about=[container],
    )


@clause(f"{_CALL}.in-order", f"{_CALL}.each-once")
def test_short_lives_are_told_in_order(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Callable[[float], float]
) -> None:
    (watch,) = watching.judged(
        judge, f"{_CALL}.in-order", lambda: watching.listen(runtime, shared_sandbox)
    )
    command = ["/bin/sh", "-c", "exit 0"]
    made = [runtime.container(shared_sandbox, command=command).id for _ in range(_SHORT_LIVES)]
    together(*(lambda one=one: runtime.get("StartContainer", container_id=one) for one in made))
    for one in made:
        watch.wait(one, STOPPED, patience(WITHIN))
        watch.wait(one, STARTED, patience(WITHIN))
        _judge_order(judge, watch.kinds(one), one)


@clause(f"{_TYPE}.CONTAINER_STOPPED_EVENT.by-oom")
def test_an_end_for_want_of_memory_is_told(
    runtime: Runtime,
    isolation: None,
    shared_sandbox: Sandbox,
    judge: Judge,
    patience: Callable[[float], float],
) -> None:
    promise = f"{_TYPE}.CONTAINER_STOPPED_EVENT.by-oom"
    (watch,) = watching.judged(judge, promise, lambda: watching.listen(runtime, shared_sandbox))
    # Told to start only when the limit is in force; what it fills is memory of its own.
    config = runtime.container_config(
        shared_sandbox, command=["/bin/sh", "-c", "x=x; while :; do x=$x$x; done"]
    )
    config.linux.resources.memory_limit_in_bytes = 32 * _MIB
    config.linux.resources.memory_swap_limit_in_bytes = 32 * _MIB
    container = runtime.container(shared_sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    event = watch.wait(container.id, STOPPED, patience(4 * WITHIN))
    status = runtime.wait_exited(container.id)
    judge.that(
        promise,
        event is not None,
        permitted="an event tells that the container has stopped",
        actual=f"{_named(watch.kinds(container.id))}; it ended with {status.exit_code} "
        f"({status.reason})",
        about=[container.id],
    )


@clause(f"{_EVENT}.created_at.nanoseconds")
@clause(f"{_EVENT}.created_at.not-falling")
def test_times_are_nanoseconds_and_do_not_fall(event_life: EventLife, judge: Judge) -> None:
    life = event_life.there(judge, f"{_EVENT}.created_at.nanoseconds")
    before = 0
    for step in _told(life):
        at = step.event.created_at
        judge.that(
            f"{_EVENT}.created_at.nanoseconds",
            step.begun - _CLOCKS <= at <= step.seen + _CLOCKS,
            permitted=f"a time between {step.begun} and {step.seen}, give or take a second",
            actual=f"{at} for: {step.what}",
            about=[step.object_id],
        )
        judge.that(
            f"{_EVENT}.created_at.not-falling",
            at >= before,
            permitted=f"a time not before {before}, that of the event before",
            actual=f"{at} for: {step.what}",
            about=[step.object_id],
        )
        before = at


def _told(life: EventLife) -> list[Step]:
    return [step for step in life.steps if step.event is not None]


@clause(f"{_EVENT}.pod_sandbox_status.present")
@clause(f"{_EVENT}.pod_sandbox_status.own-sandbox")
@clause(f"{_EVENT}.pod_sandbox_status.agrees")
def test_the_sandbox_in_an_event_is_the_containers_own(event_life: EventLife, judge: Judge) -> None:
    life = event_life.there(judge, f"{_EVENT}.pod_sandbox_status.present")
    for step in _told(life):
        status = step.event.pod_sandbox_status
        judge.that(
            f"{_EVENT}.pod_sandbox_status.present",
            step.event.HasField("pod_sandbox_status") and status.HasField("metadata"),
            permitted="the sandbox's status, with metadata",
            actual=f"none, or without metadata, for: {step.what}",
            about=[step.object_id],
        )
        judge.equal(
            f"{_EVENT}.pod_sandbox_status.own-sandbox",
            status.id,
            life.sandbox,
            f"{step.what}: the sandbox is",
            about=[step.object_id],
        )
        if step.sandbox_status is not None and step.what != "last: stopped with its sandbox":
            for name in _SANDBOX_FIELDS:
                judge.equal(
                    f"{_EVENT}.pod_sandbox_status.agrees",
                    getattr(status, name),
                    getattr(step.sandbox_status, name),
                    f"{step.what}: {name} is",
                    about=[life.sandbox],
                )


_SANDBOX_FIELDS = ("metadata", "state", "created_at", "labels", "annotations", "runtime_handler")
_CONTAINER_FIELDS = (
    *("metadata", "state", "created_at", "started_at", "finished_at", "exit_code", "reason"),
    *("labels", "annotations", "image_ref"),
)


@clause(f"{_EVENT}.containers_statuses.complete")
@clause(f"{_EVENT}.containers_statuses.own-containers")
@clause(f"{_EVENT}.containers_statuses.after-event")
@clause(f"{_EVENT}.containers_statuses.agrees")
def test_the_containers_in_an_event_are_as_they_are_after_it(
    event_life: EventLife, judge: Judge
) -> None:
    life = event_life.there(judge, f"{_EVENT}.containers_statuses.complete")
    for step in _told(life):
        ids = [status.id for status in step.event.containers_statuses]
        judge.that(
            f"{_EVENT}.containers_statuses.complete",
            step.there <= {*ids},
            permitted=f"{step.what}: the {len(step.there)} containers of the sandbox",
            actual=f"of them {len(step.there - {*ids})} are missing",
            about=sorted(step.there - {*ids})[:3],
        )
        judge.that(
            f"{_EVENT}.containers_statuses.own-containers",
            {*ids} <= {*life.made} and len(ids) == len({*ids}),
            permitted=f"{step.what}: containers of this sandbox, each once",
            actual=f"{len(ids)} entries, of {len({*ids} & {*life.made})} containers of it",
            about=[step.object_id],
        )
        seen = {status.id: status for status in step.event.containers_statuses}
        _judge_after(judge, step, seen.get(step.object_id))
        for one, status in step.statuses.items():
            if one in seen:
                for name in _CONTAINER_FIELDS:
                    judge.equal(
                        f"{_EVENT}.containers_statuses.agrees",
                        getattr(seen[one], name),
                        getattr(status, name),
                        f"{step.what}: {name} is",
                        about=[one],
                    )


def _judge_after(judge: Judge, step: Step, status: Any) -> None:
    state = None if status is None else status.state
    started = (types.CONTAINER_RUNNING, types.CONTAINER_EXITED)
    permitted: dict[int, tuple[int | None, ...]] = {
        CREATED: (types.CONTAINER_CREATED, *started),
        STARTED: started,
        STOPPED: (types.CONTAINER_EXITED,),
        DELETED: (None,),
    }
    judge.that(
        f"{_EVENT}.containers_statuses.after-event",
        state in permitted[step.kind],
        permitted=f"{step.what}: {' or '.join(_state(one) for one in permitted[step.kind])}",
        actual=_state(state),
        about=[step.object_id],
    )


def _state(state: int | None) -> str:
    return "not in the list" if state is None else _STATES.get(state, str(state))
