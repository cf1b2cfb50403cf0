# SPDX-License-Identifier: Apache-2.0
"""Streaming calls of the reference runtime: events, and lists in parts."""

from __future__ import annotations

from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.reference import events, parts
from cri_conformance.reference.state import Clock, Sandbox
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.stream import Stream
from tests.reference.conftest import Runtime

CREATED, STARTED = types.CONTAINER_CREATED_EVENT, types.CONTAINER_STARTED_EVENT
STOPPED, DELETED = types.CONTAINER_STOPPED_EVENT, types.CONTAINER_DELETED_EVENT


def listening(runtime: Runtime, pod: str, **options: Any) -> Stream:
    """A stream that is known to tell what happens from now on."""
    stream = runtime.client.stream("GetContainerEvents", **options)
    stream.accepted(within=5)
    return stream


def told(stream: Stream, object_id: str) -> list[int]:
    return [e.container_event_type for e in stream.messages if e.container_id == object_id]


def test_each_step_of_a_life_is_told_with_the_state_after_it(runtime: Runtime) -> None:
    pod = runtime.sandbox()
    with listening(runtime, pod) as stream:
        container = runtime.running(pod, "exit 3")
        runtime.exited(container)
        runtime("RemovePodSandbox", pod_sandbox_id=pod)
        last = (pod, DELETED)
        assert stream.wait_until(
            lambda m: m and (m[-1].container_id, m[-1].container_event_type) == last, within=5
        )
        assert told(stream, container) == [CREATED, STARTED, STOPPED, DELETED]
        assert told(stream, pod) == [STOPPED, DELETED]
        times = [event.created_at for event in stream.messages]
        assert times == sorted(set(times))
        seen = {e.container_event_type: e for e in stream.messages if e.container_id == container}
        (status,) = seen[STOPPED].containers_statuses
        assert (status.state, status.exit_code) == (types.CONTAINER_EXITED, 3)
        assert not seen[DELETED].containers_statuses
        assert stream.messages[-1].pod_sandbox_status.id == pod


def test_calls_that_change_nothing_tell_nothing(runtime: Runtime, pod: str) -> None:
    container = runtime.running(pod)
    with listening(runtime, pod) as stream:
        for _ in range(2):
            runtime("StopContainer", container_id=container, timeout=0)
            runtime("StopPodSandbox", pod_sandbox_id=pod)
        for _ in range(2):
            runtime("RemoveContainer", container_id=container)
        stream.wait_until(lambda _: DELETED in told(stream, container), within=5)
        assert told(stream, container) == [STOPPED, DELETED]
        assert told(stream, pod) == [STOPPED]


def test_a_client_that_does_not_read_holds_up_nobody(runtime: Runtime, pod: str) -> None:
    with (
        runtime.client.stream("GetContainerEvents", lazy=True),
        listening(runtime, pod) as stream,
    ):
        made = [runtime.container(pod, labels={"large": "x" * 50_000}) for _ in range(30)]
        assert stream.wait_until(lambda m: {e.container_id for e in m} >= set(made), within=10)


def test_too_slow_a_client_learns_that_it_has_missed_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MOST_WAITING", 2)
    hub = events.Events(Clock())
    stream = hub.GetContainerEvents(types.GetEventsRequest(), lambda _: None)
    sandbox = Sandbox(
        "s", types.PodSandboxConfig(), types.PodSandboxStatus(), types.PodSandbox(), ""
    )
    for _ in range(5):
        hub.publish(CREATED, "c", sandbox)
    assert len([next(stream) for _ in range(3)]) == 3
    with pytest.raises(events.StatusError, match="RESOURCE_EXHAUSTED"):
        next(stream)


def test_a_list_comes_in_parts_that_are_never_empty(runtime: Runtime, pod: str) -> None:
    made = {runtime.container(pod) for _ in range(2 * parts.PART + 1)}
    wanted = types.ContainerFilter(pod_sandbox_id=pod)
    with runtime.client.stream("StreamContainers", filter=wanted) as stream:
        assert isinstance(stream.finish(within=5), Ok)
        assert [len(m.containers) for m in stream.messages] == [parts.PART, parts.PART, 1]
        assert {item.id for m in stream.messages for item in m.containers} == made
    with runtime.client.stream(
        "StreamContainers", filter=types.ContainerFilter(id=64 * "0")
    ) as stream:
        assert isinstance(stream.finish(within=5), Ok)
        assert stream.messages == []


def test_an_event_stream_ends_with_the_runtime() -> None:
    hub = events.Events(Clock())
    before = hub.GetContainerEvents(types.GetEventsRequest(), lambda _: None)
    hub.close()
    for stream in before, hub.GetContainerEvents(types.GetEventsRequest(), lambda _: None):
        with pytest.raises(events.StatusError, match="UNAVAILABLE"):
            next(stream)
