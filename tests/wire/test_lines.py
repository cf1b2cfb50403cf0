# SPDX-License-Identifier: Apache-2.0
"""Transcripts as lines: what is judged is seen, however long the rest is."""

from __future__ import annotations

from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.wire import brief, history
from cri_conformance.wire.history import History
from cri_conformance.wire.lines import in_lines
from cri_conformance.wire.outcome import Ok, Outcome, Refused

POD = "f" * 64
IMAGE = "localhost/cri-conformance/shell:reference"
STATES = ("CONTAINER_RUNNING", "CONTAINER_EXITED", "CONTAINER_CREATED")


def _id(number: int) -> str:
    return f"{number:012x}" + 52 * "e"


def _container(number: int, state: str) -> types.Container:
    return types.Container(
        id=_id(number),
        pod_sandbox_id=POD,
        metadata=types.ContainerMetadata(name=f"ctr-b0e95020-{number:08x}"),
        image=types.ImageSpec(image=IMAGE, user_specified_image=IMAGE),
        image_ref=IMAGE,
        state=types.ContainerState.Value(state),
        created_at=1795823608849716229,
        labels={f"example.com/label-{n}": 30 * "x" for n in range(4)},
        annotations={"example.com/lives": '{"a": ["b", "ü"]}'},
    )


def _add(record: History, rpc: str, outcome: Outcome, **fields: Any) -> None:
    request = getattr(types, f"{rpc}Request")(**fields)
    record.add(rpc, request, outcome, record.began + 1, 0.0013)


def _list(record: History, *states: str) -> None:
    containers = [_container(number, state) for number, state in enumerate(states)]
    _add(record, "ListContainers", Ok(types.ListContainersResponse(containers=containers)))


@pytest.mark.parametrize("width", [100, 160, 240])
def test_a_list_shows_the_state_of_each_container(width: int) -> None:
    record = History(0.0)
    _list(record, *STATES)
    line, *items = in_lines(record.transcript(0), width)
    assert line.endswith("ListContainers() → OK containers: 3")
    assert len(items) == 3
    for number, (item, state) in enumerate(zip(items, STATES, strict=True)):
        assert item.strip().startswith(f"id={_id(number)[:12]}…, state={state}, ")
        assert len(item) <= width


@pytest.mark.parametrize("width", [100, 160, 240])
def test_a_status_shows_the_state(width: int) -> None:
    record = History(0.0)
    status = types.ContainerStatus(
        id=_id(7),
        metadata=types.ContainerMetadata(name="ctr-b0e95020-6d3f923d", attempt=3),
        state=types.ContainerState.CONTAINER_EXITED,
        created_at=1795823608849716229,
        exit_code=137,
        image=types.ImageSpec(image=IMAGE),
        labels={"example.com/label": 90 * "x"},
    )
    answer = Ok(types.ContainerStatusResponse(status=status))
    _add(record, "ContainerStatus", answer, container_id=_id(7))
    call, line = in_lines(record.transcript(0), width)
    assert call.endswith("ContainerStatus(container_id=000000000007…) → OK")
    assert line.strip().startswith(
        "status: id=000000000007…, exit_code=137, state=CONTAINER_EXITED"
    )
    assert len(line) <= width


def test_what_is_long_is_cut_where_it_is_long() -> None:
    told = brief.text({"labels": {"a": 99 * "x"}, "reason": 99 * "y", "state": "RUNNING"}, 90)
    assert told == (
        "state=RUNNING, reason=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…, labels={a=xxxxxxxxxxxxxxx…}"
    )


def test_the_first_value_of_an_enum_is_told_too() -> None:
    """It is not sent, and tells as much as the others."""
    created = _container(1, "CONTAINER_CREATED")
    assert history.as_dict(created, answered=True)["state"] == "CONTAINER_CREATED"
    asked = types.ContainerFilter(state=types.ContainerStateValue())
    assert history.as_dict(asked) == {"state": {"state": "CONTAINER_CREATED"}}
    assert history.as_dict(types.ContainerFilter()) == {}
    assert history.as_dict(types.ContainerConfig()) == {}


def test_a_list_that_answers_the_same_again_is_told_once() -> None:
    record = History(0.0)
    _list(record, "CONTAINER_RUNNING")
    _list(record, "CONTAINER_RUNNING")
    _list(record, "CONTAINER_EXITED")
    lines = in_lines(record.transcript(0))
    assert [line.partition("→ ")[2] for line in lines if "→" in line] == [
        "OK containers: 1",
        "OK containers: 1, as before",
        "OK containers: 1",
    ]
    assert len(lines) == 5
    assert "CONTAINER_EXITED" in lines[-1]


def test_of_many_items_those_are_shown_that_other_calls_are_about() -> None:
    record = History(0.0)
    _list(record, *["CONTAINER_RUNNING"] * 60)
    _add(record, "StopContainer", Ok(types.StopContainerResponse()), container_id=_id(55))
    lines = in_lines(record.transcript(0))
    assert "containers: 60" in lines[0]
    assert len(lines) == 1 + brief.ITEMS + 1 + 1
    assert any(f"id={_id(55)[:12]}…" in line for line in lines)
    assert lines[-2].strip() == "… and 52 more"


def test_messages_of_a_stream_have_a_line_each() -> None:
    record = History(0.0)
    stream = history.StreamRecord()
    for kind in ("CONTAINER_CREATED_EVENT", "CONTAINER_STOPPED_EVENT"):
        stream.add(
            types.ContainerEventResponse(
                container_id=_id(3),
                container_event_type=types.ContainerEventType.Value(kind),
                containers_statuses=[types.ContainerStatus(id=_id(3), image_ref=IMAGE)] * 2,
            )
        )
    record.add("GetContainerEvents", types.GetEventsRequest(), stream, 1.0, 0.0)
    _, first, second = in_lines(record.transcript(0))
    assert "0: container_id=000000000003…, container_event_type=CONTAINER_CREATED_EVENT" in first
    assert "1: container_id=000000000003…, container_event_type=CONTAINER_STOPPED_EVENT" in second


def test_what_is_said_of_an_id_is_seen() -> None:
    record = History(0.0)
    no = Refused("FAILED_PRECONDITION", f"container {_id(3)}\nis CONTAINER_RUNNING")
    _add(record, "StartContainer", no, container_id=_id(3))
    (line,) = in_lines(record.transcript(0), 160)
    assert line.endswith("FAILED_PRECONDITION container 000000000003… is CONTAINER_RUNNING")


def test_a_long_request_leaves_room_for_a_short_answer() -> None:
    record = History(0.0)
    config = types.ContainerConfig(command=[300 * "x"])
    answer = Ok(types.CreateContainerResponse(container_id=_id(3)))
    _add(record, "CreateContainer", answer, pod_sandbox_id=POD, config=config)
    (line,) = in_lines(record.transcript(0), 160)
    assert line.endswith("…]}) → OK container_id=000000000003…")


def test_a_key_with_a_line_feed_makes_no_line() -> None:
    assert brief.text({"labels": {"a\nb": "c"}}) == "labels={'a\\nb'=c}"
