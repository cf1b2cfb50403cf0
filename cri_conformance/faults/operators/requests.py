# SPDX-License-Identifier: Apache-2.0
"""Operators that falsify what the runtime is asked: promises on the effect of request fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api.rpcs import RPCS
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When, always
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import copy_of, named, operator
from cri_conformance.faults.paths import Path, Place


def edit_request(
    name: str,
    rpc: str,
    says: str,
    work: Callable[[Any, Call, Memory], None],
    *,
    when: When = always,
) -> Operator:
    """Breaks any promise on a request: ``work`` changes it in place before the runtime sees it."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)
        request = copy_of(call.request)
        work(request, call, memory)
        return proceed(request)

    return operator(name, rpc, says, step)


def _at(
    verb: str,
    rpc: str,
    path: str,
    change: Callable[[Place], None],
    when: When,
    *,
    create: bool = False,
    detail: str = "",
) -> Operator:
    parsed = Path.parse(RPCS[rpc].request, path)

    def work(request: Any, call: Call, memory: Memory) -> None:
        for place in list(parsed.places(request, create=create)):
            change(place)

    name = named(verb, rpc, path, detail, when=when)
    return edit_request(name, rpc, f"{verb} {path} of {rpc}", work, when=when)


def ignore_request(rpc: str, path: str, *, when: When = always) -> Operator:
    """Breaks "this has an effect": the field never reaches the runtime."""
    return _at("ignore", rpc, path, lambda place: place.set(None), when)


def set_request(rpc: str, path: str, value: Any, *, when: When = always) -> Operator:
    """Breaks "as asked": the runtime is asked for something else."""
    shown = "other" if isinstance(value, Message | dict | list) else repr(value)[:32].strip("'")
    return _at("ask", rpc, path, lambda p: p.set(value), when, create=True, detail=shown or "empty")


def alter_request(rpc: str, path: str, change: Change, *, when: When = always) -> Operator:
    """Breaks "exactly as sent": the value reaches the runtime changed, where there is one."""

    def work(place: Place) -> None:
        if place.present:
            place.set(change(place.value))

    return _at("alter-request", rpc, path, work, when, detail=change.name)


def remembers_request(rpc: str, path: str, *, when: When = always) -> Operator:
    """Breaks "this request's own": the first value ever sent is used in all later calls."""
    parsed = Path.parse(RPCS[rpc].request, path)

    def work(request: Any, call: Call, memory: Memory) -> None:
        for n, place in enumerate(list(parsed.places(request, create=True))):
            value = copy_of(place.value) if isinstance(place.value, Message) else place.value
            place.set(memory.kept(("request", path, n), lambda value=value: value))  # type: ignore[misc]

    name = named("remember", rpc, path, when=when)
    return edit_request(name, rpc, f"{rpc} goes on using the first {path}", work, when=when)
