# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for events: one that is not told, told twice, told wrongly, told to one only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults.fault import Call, Fault, Operator, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    add_messages,
    alter,
    blocked_by_slow_reader,
    drop,
    drop_messages,
    duplicate_item,
    edit,
    ends_after,
    ends_with_another,
    hold_back,
    leave_out_one,
    not_again,
    repeat_messages,
    set_value,
    shared_out,
    silent,
)
from cri_conformance.faults.operators.core import copy_of

_RPC = "GetContainerEvents"
_CALL, _EVENT, _TYPE = (
    "RuntimeService.GetContainerEvents",
    "ContainerEventResponse",
    "ContainerEventType",
)
_CREATED, _STARTED = types.CONTAINER_CREATED_EVENT, types.CONTAINER_STARTED_EVENT
_STOPPED, _DELETED = types.CONTAINER_STOPPED_EVENT, types.CONTAINER_DELETED_EVENT
_KILLED = 137

Picks = Callable[[Any], bool]


# -- which events ------------------------------------------------------------------------


def _own(event: Any) -> Any:
    """The status of the container that an event is about; an empty one if it has none."""
    return next(
        (one for one in event.containers_statuses if one.id == event.container_id),
        types.ContainerStatus(),
    )


def _of_sandbox(event: Any) -> bool:
    return bool(event.container_id == event.pod_sandbox_status.id)


def _kind(kind: int) -> Picks:
    return lambda event: bool(event.container_event_type == kind and not _of_sandbox(event))


def _sandbox_kind(kind: int) -> Picks:
    return lambda event: bool(event.container_event_type == kind and _of_sandbox(event))


def _ready(event: Any) -> bool:
    return bool(event.pod_sandbox_status.state == types.SANDBOX_READY)


def _started(of_failed: bool) -> Callable[[Any, Call], Iterator[Any]]:
    """After an event with a failed start in it: one of the started kind."""

    def more(event: Any, call: Call) -> Iterator[Any]:
        if _kind(_STOPPED)(event) and (_own(event).reason == "StartError") is of_failed:
            extra = copy_of(event)
            extra.container_event_type = _STARTED
            yield extra

    return more


def _falsify(name: str, picks: Picks, change: Callable[[Any], None]) -> Operator:
    """Some events say something else."""

    def work(event: Any, call: Call, memory: Memory) -> None:
        if picks(event):
            change(event)

    return edit(f"falsify-{_RPC}-{name}", _RPC, f"events are wrong: {name}", work)


def _set_own_state(state: types.ContainerState.ValueType) -> Callable[[Any], None]:
    def change(event: Any) -> None:
        for one in event.containers_statuses:
            if one.id == event.container_id:
                one.state = state

    return change


def _keep_deleted(event: Any) -> None:
    event.containers_statuses.add(id=event.container_id, state=types.CONTAINER_EXITED)


def _make_ready(event: Any) -> None:
    event.pod_sandbox_status.state = types.SANDBOX_READY


def _earlier(event: Any) -> None:
    event.created_at -= 500_000_000


def _without_status(event: Any) -> None:
    event.ClearField("pod_sandbox_status")


def _without_metadata(event: Any) -> None:
    event.pod_sandbox_status.ClearField("metadata")


def _shorten(event: Any) -> None:
    event.container_id = event.container_id[:12]


def _make_unknown(event: Any) -> None:
    event.container_event_type = len(types.ContainerEventType.values())


def _drop(name: str, picks: Picks) -> Operator:
    return drop_messages(_RPC, name, picks)


FAULTS: list[Fault] = [
    # -- what is told
    fault(f"{_TYPE}.CONTAINER_CREATED_EVENT.told", _drop("created", _kind(_CREATED))),
    fault(f"{_TYPE}.CONTAINER_CREATED_EVENT.told", silent(_RPC)),
    fault(f"{_TYPE}.CONTAINER_STARTED_EVENT.told", _drop("started", _kind(_STARTED))),
    fault(
        f"{_TYPE}.CONTAINER_STARTED_EVENT.not-if-failed",
        add_messages(_RPC, "started-if-failed", _started(of_failed=True)),
    ),
    fault(
        f"{_TYPE}.CONTAINER_STOPPED_EVENT.told",
        _drop("killed", lambda e: _kind(_STOPPED)(e) and _own(e).exit_code == _KILLED),
    ),
    fault(
        f"{_TYPE}.CONTAINER_STOPPED_EVENT.by-itself",
        _drop("ended-by-itself", lambda e: _kind(_STOPPED)(e) and _own(e).exit_code != _KILLED),
    ),
    fault(
        f"{_TYPE}.CONTAINER_STOPPED_EVENT.by-oom",
        _drop("stopped", _kind(_STOPPED)),
        isolated=True,
    ),
    fault(
        f"{_TYPE}.CONTAINER_DELETED_EVENT.told",
        _drop("deleted", lambda e: _kind(_DELETED)(e) and _ready(e)),
    ),
    fault(
        f"{_TYPE}.CONTAINER_DELETED_EVENT.with-sandbox",
        _drop("deleted-with-sandbox", lambda e: _kind(_DELETED)(e) and not _ready(e)),
    ),
    # -- how often, in which order, how long
    # cri-o/cri-o#6625: a stop told as a removal, too.
    fault(f"{_CALL}.each-once", repeat_messages(_RPC, "deleted", _kind(_DELETED))),
    fault(f"{_CALL}.each-once", repeat_messages(_RPC, "stopped", _kind(_STOPPED))),
    # cri-o/cri-o#9738: the start of a short life is told after its end.
    fault(
        f"{_CALL}.in-order",
        hold_back(
            _RPC,
            "started-behind-stopped",
            _kind(_STARTED),
            lambda held, one: (
                held.container_id == one.container_id and one.container_event_type == _STOPPED
            ),
        ),
    ),
    fault(f"{_CALL}.matches-life", repeat_messages(_RPC, "created", _kind(_CREATED))),
    fault(
        f"{_CALL}.matches-life",
        add_messages(_RPC, "started-after-stopped", _started(of_failed=False)),
    ),
    fault(f"{_CALL}.stays-open", ends_after(_RPC, 21)),
    # -- several clients
    # containerd/containerd#7318: clients share what each should get.
    fault(f"{_CALL}.every-client", shared_out(_RPC)),
    fault(f"{_CALL}.client-gone", ends_with_another(_RPC)),
    fault(f"{_CALL}.reconnect", not_again(_RPC)),
    fault(
        f"{_CALL}.slow-reader",
        blocked_by_slow_reader(_RPC, ["CreateContainer", "RemoveContainer"], room=40),
    ),
    # -- what an event says
    fault(f"{_EVENT}.container_id.names-it", _falsify("short-id", _kind(_CREATED), _shorten)),
    fault(
        f"{_EVENT}.container_id.sandbox-deleted",
        _drop("sandbox-deleted", _sandbox_kind(_DELETED)),
    ),
    fault(
        f"{_EVENT}.container_id.sandbox-deleted",
        _falsify("sandbox-deleted-without-status", _sandbox_kind(_DELETED), _without_status),
    ),
    fault(
        f"{_EVENT}.container_event_type.known",
        _falsify("unknown-kind", _kind(_STARTED), _make_unknown),
    ),
    # As in cri-o/cri-o#8580: seconds for nanoseconds.
    fault(f"{_EVENT}.created_at.nanoseconds", alter(_RPC, "created_at", changes.seconds)),
    fault(f"{_EVENT}.created_at.not-falling", _falsify("earlier", _kind(_STARTED), _earlier)),
    fault(
        f"{_EVENT}.pod_sandbox_status.present",
        _falsify("started-without-sandbox", _kind(_STARTED), _without_status),
    ),
    fault(
        f"{_EVENT}.pod_sandbox_status.present",
        _falsify("started-without-metadata", _kind(_STARTED), _without_metadata),
    ),
    fault(
        f"{_EVENT}.pod_sandbox_status.own-sandbox",
        alter(_RPC, "pod_sandbox_status.id", changes.reverse),
    ),
    fault(
        f"{_EVENT}.pod_sandbox_status.agrees",
        drop(_RPC, "pod_sandbox_status.annotations[events.example/note]"),
    ),
    fault(
        f"{_EVENT}.pod_sandbox_status.agrees",
        set_value(_RPC, "pod_sandbox_status.state", types.SANDBOX_NOTREADY),
    ),
    fault(
        f"{_EVENT}.pod_sandbox_status.after-stop",
        _falsify("ready-after-stop", _sandbox_kind(_STOPPED), _make_ready),
    ),
    fault(
        f"{_EVENT}.containers_statuses.complete", leave_out_one(_RPC, path="containers_statuses")
    ),
    fault(
        f"{_EVENT}.containers_statuses.own-containers",
        duplicate_item(_RPC, "containers_statuses"),
    ),
    # The statuses are those from before the event.
    fault(
        f"{_EVENT}.containers_statuses.after-event",
        _falsify("created-when-started", _kind(_STARTED), _set_own_state(types.CONTAINER_CREATED)),
    ),
    fault(
        f"{_EVENT}.containers_statuses.after-event",
        _falsify("running-when-stopped", _kind(_STOPPED), _set_own_state(types.CONTAINER_RUNNING)),
    ),
    fault(
        f"{_EVENT}.containers_statuses.after-event",
        _falsify("there-when-deleted", _kind(_DELETED), _keep_deleted),
    ),
    fault(
        f"{_EVENT}.containers_statuses.agrees",
        alter(_RPC, "containers_statuses.exit_code", changes.plus(1)),
    ),
    fault(
        f"{_EVENT}.containers_statuses.agrees",
        alter(_RPC, "containers_statuses.started_at", changes.seconds),
    ),
]
