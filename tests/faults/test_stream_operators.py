# SPDX-License-Identifier: Apache-2.0
"""Operators on streams: each breaks its promise, and leaves the rest alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import operators
from cri_conformance.faults.fault import Call, Middleware, Operator

EVENTS, LIST = "GetContainerEvents", "StreamContainers"


def _events(*numbers: int) -> Iterator[Any]:
    return (types.ContainerEventResponse(created_at=n) for n in numbers)


def _run(
    middleware: Middleware, *numbers: int, ended: threading.Event | None = None
) -> Iterator[Any]:
    call = Call(EVENTS, types.GetEventsRequest(), lambda *_: None, ended or threading.Event())
    return iter(middleware(call, lambda _: _events(*numbers)))


def sent(operator: Operator, *numbers: int) -> list[int]:
    return [event.created_at for event in _run(operator.make(), *numbers)]


def test_messages_are_left_out_repeated_held_back_and_added() -> None:
    second = operators.drop_messages(EVENTS, "second", lambda e: e.created_at == 2)
    assert sent(second, 1, 2, 3) == [1, 3]
    twice = operators.repeat_messages(EVENTS, "second", lambda e: e.created_at == 2)
    assert sent(twice, 1, 2, 3) == [1, 2, 2, 3]
    late = operators.hold_back(
        EVENTS, "first", lambda e: e.created_at == 1, lambda _, one: one.created_at == 3
    )
    assert sent(late, 1, 2, 3, 4) == [2, 3, 1, 4]
    more = operators.add_messages(EVENTS, "more", lambda e, call: _events(e.created_at * 10))
    assert sent(more, 1, 2) == [1, 10, 2, 20]


def test_an_operator_on_fields_changes_each_message_and_none_upstream() -> None:
    upstream = [types.ContainerEventResponse(container_id="c") for _ in range(2)]
    middleware = operators.set_value(EVENTS, "container_id", "other").make()
    call = Call(EVENTS, types.GetEventsRequest(), lambda *_: None)
    assert [e.container_id for e in middleware(call, lambda _: iter(upstream))] == ["other"] * 2
    assert [e.container_id for e in upstream] == ["c", "c"]


def test_streams_end_early_badly_or_not_at_all() -> None:
    assert sent(operators.ends_after(EVENTS, 2), 1, 2, 3) == [1, 2]
    failing = _run(operators.fails_at_end(EVENTS).make(), 1)
    assert next(failing).created_at == 1
    with pytest.raises(StatusError):
        next(failing)
    for operator, expected in ((operators.never_ends(EVENTS), [1]), (operators.silent(EVENTS), [])):
        ended = threading.Event()
        seen: list[int] = []

        def read(stream: Iterator[Any], seen: list[int] = seen) -> None:
            seen.extend(event.created_at for event in stream)

        reader = threading.Thread(target=read, args=(_run(operator.make(), 1, ended=ended),))
        reader.start()
        reader.join(0.1)
        assert reader.is_alive()
        ended.set()
        reader.join(5)
        assert seen == expected


def test_clients_share_what_each_should_get() -> None:
    middleware = operators.shared_out(EVENTS).make()
    first, second = _run(middleware, 1, 2, 3), _run(middleware, 1, 2, 3)
    assert next(first).created_at == 1
    assert [e.created_at for e in second] == [2, 3]
    assert list(first) == []


def test_once_a_client_has_left_new_streams_end_at_once() -> None:
    middleware = operators.not_again(EVENTS).make()
    ended = threading.Event()
    assert len(list(_run(middleware, 1, 2, ended=ended))) == 2
    assert len(list(_run(middleware, 1, 2))) == 2
    ended.set()
    waited = threading.Event()
    while _run_once(middleware) and not waited.wait(0.01):
        pass
    assert _run_once(middleware) == []


def _run_once(middleware: Middleware) -> list[Any]:
    return list(_run(middleware, 1))


def test_one_that_leaves_takes_the_others_along_but_none_that_comes_later() -> None:
    middleware = operators.ends_with_another(EVENTS).make()
    ended = threading.Event()
    stays, _leaves = _run(middleware, *range(10**6)), _run(middleware, 1, ended=ended)
    assert next(stays).created_at == 0
    ended.set()
    assert len(list(stays)) < 10**6
    assert [e.created_at for e in _run(middleware, 1, 2)] == [1, 2]


def test_others_wait_for_a_slow_reader_and_no_longer_once_it_is_gone() -> None:
    operator = operators.blocked_by_slow_reader(EVENTS, ["StopContainer"], room=2)
    middleware = operator.make()
    ended = threading.Event()
    slow = _run(middleware, 1, 2, 3, 4, 5, ended=ended)
    call = Call("StopContainer", types.StopContainerRequest(), lambda *_: None)
    other = threading.Thread(target=lambda: middleware(call, lambda _: None))
    other.start()
    other.join(0.1)
    assert other.is_alive()
    assert next(slow).created_at == 1
    ended.set()
    other.join(5)
    assert not other.is_alive()


def test_a_list_comes_in_other_parts() -> None:
    parts = [["a", "b"], ["c"]]
    operator = operators.lists_in_parts(
        LIST, "containers", "first-twice", lambda items: [[items[0]], items]
    )
    call = Call(LIST, types.StreamContainersRequest(), lambda *_: None)

    def proceed(_: Any) -> Iterator[Any]:
        for part in parts:
            containers = [types.Container(id=name) for name in part]
            yield types.StreamContainersResponse(containers=containers)

    came = [[item.id for item in part.containers] for part in operator.make()(call, proceed)]
    assert came == [["a"], ["a", "b", "c"]]


def test_only_streams_are_taken() -> None:
    with pytest.raises(ValueError, match="one message"):
        operators.ends_after("Version", 1)
