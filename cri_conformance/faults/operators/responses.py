# SPDX-License-Identifier: Apache-2.0
"""Operators that falsify what an answer says: promises on fields.

``path`` leads from the response message, as in ``status.metadata.uid``; through a
list it means every item, and ``where`` (a test of the message that holds the field)
picks some of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api.rpcs import RPCS
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When, always
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators.core import copy_of, named, operator
from cri_conformance.faults.paths import Path, Place, is_map

#: Picks among the messages that hold a field.
Where = Callable[[Any], bool]


def edit(
    name: str,
    rpc: str,
    says: str,
    work: Callable[[Any, Call, Memory], None],
    *,
    when: When = always,
) -> Operator:
    """Breaks any promise on an answer: ``work`` changes the response in place.

    Of a streaming call it changes each message.
    """

    def changed(response: Any, call: Call, memory: Memory) -> Any:
        response = copy_of(response)
        work(response, call, memory)
        return response

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        # Asked first: what it looks up upstream should be as the client found it.
        strikes = when(call, memory)
        response = proceed(call.request)
        if not strikes:
            return response
        if RPCS[rpc].server_streaming:
            return (changed(message, call, memory) for message in response)
        return changed(response, call, memory)

    return operator(name, rpc, says, step)


def _at(
    verb: str,
    rpc: str,
    path: str,
    change: Callable[[Place, Call, Memory], None],
    *,
    when: When,
    where: Where | None,
    create: bool = False,
    detail: object = "",
) -> Operator:
    parsed = Path.parse(RPCS[rpc].response, path)

    def work(response: Any, call: Call, memory: Memory) -> None:
        for place in list(parsed.places(response, create=create)):
            if where is None or where(place.parent):
                change(place, call, memory)

    name = named(verb, rpc, path, detail, when=when)
    return edit(name, rpc, f"{verb} {path} in what {rpc} answers", work, when=when)


def drop(rpc: str, path: str, *, when: When = always, where: Where | None = None) -> Operator:
    """Breaks "this is reported": the field, or the entry of a map, is not there."""
    return _at("drop", rpc, path, lambda p, c, m: p.set(None), when=when, where=where)


def zero(rpc: str, path: str, *, when: When = always, where: Where | None = None) -> Operator:
    """Breaks "this has a value": zero, or an empty message that is there."""
    return _at("zero", rpc, path, lambda p, c, m: p.set(_nothing(p)), when=when, where=where)


def _nothing(place: Place) -> Any:
    field = place.field
    if place.key is not None:
        return type(place.value)()
    if field.message_type is not None and not field.is_repeated:
        return type(place.value)()
    return None


def set_value(
    rpc: str, path: str, value: Any, *, when: When = always, where: Where | None = None
) -> Operator:
    """Breaks "this is what was asked for": another value, whatever the truth is."""
    shown = "other" if isinstance(value, Message | dict | list) else repr(value)[:32]
    return _at(
        "set",
        rpc,
        path,
        lambda p, c, m: p.set(value),
        when=when,
        where=where,
        create=True,
        detail=shown.strip("'") or "empty",
    )


def alter(
    rpc: str, path: str, change: Change, *, when: When = always, where: Where | None = None
) -> Operator:
    """Breaks "unaltered": the value comes changed (see ``changes``), where there is one."""

    def work(place: Place, call: Call, memory: Memory) -> None:
        if place.present:
            place.set(change(place.value))

    return _at("alter", rpc, path, work, when=when, where=where, detail=change.name)


def shift(
    rpc: str, path: str, change: Change, *, when: When = always, where: Where | None = None
) -> Operator:
    """As ``alter``, for a value that may be zero: changes it present or not."""

    def work(place: Place, call: Call, memory: Memory) -> None:
        place.set(change(place.value))

    return _at("shift", rpc, path, work, when=when, where=where, detail=change.name)


def alter_keys(
    rpc: str, path: str, change: Change, *, when: When = always, where: Where | None = None
) -> Operator:
    """Breaks "the same keys": the keys of a map come changed."""
    _must_be_map(rpc, path)

    def work(place: Place, call: Call, memory: Memory) -> None:
        place.set({change(key): value for key, value in place.value.items()})

    return _at("alter-keys", rpc, path, work, when=when, where=where, detail=change.name)


def add_entry(
    rpc: str,
    path: str,
    key: str = "example.com/added",
    value: Any = "added",
    *,
    when: When = always,
    where: Where | None = None,
) -> Operator:
    """Breaks "nothing but what was sent": a map has an entry more."""
    _must_be_map(rpc, path)

    def work(place: Place, call: Call, memory: Memory) -> None:
        place.set({**place.value, key: value})

    return _at("add-to", rpc, path, work, when=when, where=where, create=True)


def _must_be_map(rpc: str, path: str) -> None:
    if not is_map(Path.parse(RPCS[rpc].response, path).fields[-1]):
        raise ValueError(f"{path} in what {rpc} answers is no map")


def swap(
    rpc: str, path_a: str, path_b: str, *, when: When = always, where: Where | None = None
) -> Operator:
    """Breaks "each in its place": two fields of the same kind change places, item by item."""
    a, b = (Path.parse(RPCS[rpc].response, path) for path in (path_a, path_b))

    def work(response: Any, call: Call, memory: Memory) -> None:
        both = zip(a.places(response, create=True), b.places(response, create=True), strict=True)
        for left, right in list(both):
            if where is None or where(left.parent):
                first, second = _detached(left), _detached(right)
                left.set(second)
                right.set(first)

    name = named("swap", rpc, path_a, path_b, when=when)
    return edit(name, rpc, f"swap {path_a} and {path_b} in what {rpc} answers", work, when=when)


def _detached(place: Place) -> Any:
    value = place.value
    return copy_of(value) if isinstance(value, Message) else value


def copy_field(
    rpc: str, source: str, target: str, *, when: When = always, where: Where | None = None
) -> Operator:
    """Breaks "this means something of its own": one field only repeats another."""
    a, b = (Path.parse(RPCS[rpc].response, path) for path in (source, target))

    def work(response: Any, call: Call, memory: Memory) -> None:
        both = zip(a.places(response, create=True), b.places(response, create=True), strict=True)
        for left, right in list(both):
            if where is None or where(right.parent):
                right.set(_detached(left))

    name = named("copy", rpc, source, "to", target, when=when)
    return edit(name, rpc, f"{target} repeats {source} in what {rpc} answers", work, when=when)


def state_as(
    rpc: str, path: str, seen: int, told: int, *, when: When = always, where: Where | None = None
) -> Operator:
    """Breaks "the state is the true one": one state is reported as another."""

    def work(place: Place, call: Call, memory: Memory) -> None:
        if place.value == seen:
            place.set(told)

    enum = Path.parse(RPCS[rpc].response, path).fields[-1].enum_type
    words = [enum.values_by_number[n].name if enum else str(n) for n in (seen, told)]
    return _at(
        "misstate", rpc, path, work, when=when, where=where, create=True, detail="-as-".join(words)
    )


def drifts(
    rpc: str, path: str, change: Change, *, when: When = always, where: Where | None = None
) -> Operator:
    """Breaks "this never changes": the value moves on by ``change`` at each read of the object."""

    def work(place: Place, call: Call, memory: Memory) -> None:
        identity = getattr(place.parent, "id", "") or subject(call.rpc, call.request)
        value = _detached(place)
        for _ in range(memory.count(("drift", path, identity))):
            value = change(value)
        place.set(value)

    return _at("drift", rpc, path, work, when=when, where=where, detail=change.name)


def falls(
    rpc: str, path: str, start: int, *, when: When = always, where: Where | None = None
) -> Operator:
    """Breaks "this never falls": a number that begins high and is less at each read."""

    def work(place: Place, call: Call, memory: Memory) -> None:
        place.set(start - memory.count(("fall", path, subject(call.rpc, call.request))))

    return _at("sink", rpc, path, work, when=when, where=where, create=True)


def freezes(rpc: str, path: str, *, when: When = always, where: Where | None = None) -> Operator:
    """Breaks "this follows what happens": the value first read of an object stays for ever."""

    def work(place: Place, call: Call, memory: Memory) -> None:
        identity = getattr(place.parent, "id", "") or subject(call.rpc, call.request)
        value = _detached(place)
        place.set(memory.kept(("frozen", path, identity), lambda: value))

    return _at("freeze", rpc, path, work, when=when, where=where, create=True)
