# SPDX-License-Identifier: Apache-2.0
"""Operators on lists in answers, and on the filters that choose them.

``path`` names the list in the response (``items`` of ListPodSandbox, ``containers`` of
ListContainers). Which items: a test ``which(item, call, memory)``, or one of the named
ones below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api.rpcs import RPCS
from cri_conformance.faults.changes import reverse
from cri_conformance.faults.conditions import When, always
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import copy_of, named, operator
from cri_conformance.faults.operators.requests import ignore_request
from cri_conformance.faults.operators.responses import alter, edit
from cri_conformance.faults.paths import Path, Place

#: The list in the answer of each list call.
LISTS = {
    "ListPodSandbox": "items",
    "ListContainers": "containers",
    "ListImages": "images",
    "StreamPodSandboxes": "pod_sandboxes",
    "StreamContainers": "containers",
    "StreamContainerStats": "container_stats",
    "StreamPodSandboxStats": "pod_sandbox_stats",
    "StreamPodSandboxMetrics": "pod_sandbox_metrics",
    "StreamImages": "images",
    "ListContainerStats": "stats",
    "ListPodSandboxStats": "stats",
}


@dataclass(frozen=True, slots=True)
class Which:
    """A named choice of items."""

    name: str
    test: Callable[[Any, Call, Memory], bool]

    def __invert__(self) -> Which:
        return Which(f"not-{self.name}", lambda i, c, m: not self.test(i, c, m))


every_item = Which("every", lambda item, call, memory: True)


def in_list_state(state: int, name: str) -> Which:
    """Items in one state, as in ``in_list_state(types.CONTAINER_EXITED, "exited")``."""
    return Which(name, lambda item, call, memory: item.state == state)


def item_after(rpc: str) -> Which:
    """Items on which (or on whose sandbox) ``rpc`` has succeeded in this session."""
    return Which(f"after-{rpc}", lambda item, call, memory: memory.happened(rpc, item.id))


def _list_in(rpc: str) -> str:
    if rpc not in LISTS:
        raise ValueError(f"{rpc} answers more than a list: say which by path=")
    return LISTS[rpc]


def _edit_list(
    verb: str,
    rpc: str,
    path: str,
    change: Callable[[list[Any], Call, Memory], list[Any]],
    when: When,
    detail: str = "",
) -> Operator:
    path = path or _list_in(rpc)
    parsed = Path.parse(RPCS[rpc].response, path)

    def work(response: Any, call: Call, memory: Memory) -> None:
        for place in parsed.places(response):
            # Copies: emptying the list in place would take the items with it.
            items = [copy_of(i) if isinstance(i, Message) else i for i in place.value]
            place.set(change(items, call, memory))

    name = named(verb, rpc, path, detail, when=when)
    return edit(name, rpc, f"{verb} {detail} {path} in what {rpc} answers", work, when=when)


def leave_out(
    rpc: str, which: Which = every_item, *, path: str = "", when: When = always
) -> Operator:
    """Breaks "all that match are listed": some items are missing."""
    return _edit_list(
        "leave-out",
        rpc,
        path,
        lambda items, c, m: [item for item in items if not which.test(item, c, m)],
        when,
        which.name,
    )


def leave_out_one(rpc: str, position: int = 0, *, path: str = "", when: When = always) -> Operator:
    """Breaks "all are listed": the item at one position is missing (-1: the last)."""

    def change(items: list[Any], call: Call, memory: Memory) -> list[Any]:
        return [item for n, item in enumerate(items) if n != position % len(items)]

    return _edit_list("leave-out-one", rpc, path, change, when, f"at-{position}")


def duplicate_item(
    rpc: str, path: str = "", which: Which = every_item, *, when: When = always
) -> Operator:
    """Breaks "each once": items come twice."""
    return _edit_list(
        "duplicate",
        rpc,
        path,
        lambda items, c, m: items + [item for item in items if which.test(item, c, m)],
        when,
        which.name if which is not every_item else "",
    )


def add_item(
    rpc: str,
    item: Any,
    *,
    path: str = "",
    when: When = always,
    name: str = "",
) -> Operator:
    """Breaks "nothing else": an item more. ``item`` is one, or makes one of (items, call)."""

    def change(items: list[Any], call: Call, memory: Memory) -> list[Any]:
        made = item(items, call) if callable(item) and not isinstance(item, Message) else item
        return items if made is None else [*items, made]

    return _edit_list("add-item", rpc, path, change, when, name)


def reverse_items(rpc: str, *, path: str = "", when: When = always) -> Operator:
    """Breaks a promise of order: the list comes backwards."""
    return alter(rpc, path or _list_in(rpc), reverse, when=when)


# -- filters ------------------------------------------------------------------------------


def ignore_filter(rpc: str, field: str = "", *, when: When = always) -> Operator:
    """Breaks "only those that match": one field of the filter, or all of it, does nothing."""
    return ignore_request(rpc, f"filter.{field}" if field else "filter", when=when)


def or_filters(rpc: str, *fields: str, when: When = always) -> Operator:
    """Breaks "all fields together": what matches any one field of the filter is listed."""
    path = LISTS[rpc]

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        chosen = [
            field.name
            for field, _ in call.request.filter.ListFields()
            if not fields or field.name in fields
        ]
        if len(chosen) < 2 or not when(call, memory):
            return proceed(call.request)
        others = []
        for name in chosen:
            single = copy_of(call.request)
            for other in chosen:
                if other != name:
                    single.filter.ClearField(other)
            others.append(proceed(single))
        return _union(rpc, path, others)

    name = named("or-fields", rpc, "filter", *fields, when=when)
    return operator(name, rpc, f"{rpc} lists what matches any field of the filter", step)


def or_labels(rpc: str, *, when: When = always) -> Operator:
    """Breaks "all labels of the selector": what matches any one of them is listed."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        selector = call.request.filter.label_selector
        if len(selector) < 2 or not when(call, memory):
            return proceed(call.request)
        answers = []
        for key, value in selector.items():
            single = copy_of(call.request)
            single.filter.label_selector.clear()
            single.filter.label_selector[key] = value
            answers.append(proceed(single))
        return _union(rpc, LISTS[rpc], answers)

    name = named("or-labels", rpc, "filter.label_selector", when=when)
    return operator(name, rpc, f"{rpc} lists what matches any label of the selector", step)


def _union(rpc: str, path: str, responses: list[Any]) -> Any:
    found: dict[str, Any] = {}
    for response in responses:
        found.update((_named(item).id, item) for item in getattr(response, path))
    union = RPCS[rpc].response()
    getattr(union, path).extend(found.values())
    return union


def filter_by(
    rpc: str,
    field: str,
    how: str,
    matches: Callable[[Any, Any], bool],
    *,
    when: When = always,
) -> Operator:
    """Breaks the meaning of one filter field: ``matches(item, filter value)`` decides instead.

    ``how`` names it in the id. A field that is not set filters nothing, as ever.
    """
    asked = Path.parse(RPCS[rpc].request, f"filter.{field}")

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        places = [place for place in asked.places(call.request) if place.present]
        if not places or not when(call, memory):
            return proceed(call.request)
        value = _wanted(places[0])
        open_request = copy_of(call.request)
        for place in asked.places(open_request):
            place.set(None)
        response = copy_of(proceed(open_request))
        items = getattr(response, LISTS[rpc])
        kept = [copy_of(item) for item in items if matches(_named(item), value)]
        response.ClearField(LISTS[rpc])
        getattr(response, LISTS[rpc]).extend(kept)
        return response

    name = named("filter", rpc, f"filter.{field}", how, when=when)
    return operator(name, rpc, f"{rpc} takes filter.{field} {how}", step)


def _named(item: Any) -> Any:
    """What has the id and the labels of an item: of figures, it is their attributes."""
    return getattr(item, "attributes", item)


def _wanted(place: Place) -> Any:
    value = place.value
    return copy_of(value) if isinstance(value, Message) else value
