# SPDX-License-Identifier: Apache-2.0
"""Operators on what a call does beside, instead, or again: promises that nothing else happens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When, always
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import named, operator

#: Makes the request of a further call of (call, response, memory); None for no call.
#: ``response`` is None if the further call comes first.
Further = Callable[[Call, Any, Memory], Any]
#: Seconds for which calls at the same time wait for the answer that they are to share.
FIRST_TAKES = 10.0


def side_effect(
    rpc: str,
    also: str,
    request: Further | None = None,
    *,
    first: bool = False,
    when: When = always,
) -> Operator:
    """Breaks "nothing else happens": a further call upstream, after the call or ``first``.

    By default it is made on the same object. Its errors are not passed on.
    """
    make = request or same_object(also)

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        strikes = when(call, memory)
        if strikes and first:
            _quietly(call, also, make(call, None, memory))
        response = proceed(call.request)
        if strikes and not first:
            _quietly(call, also, make(call, response, memory))
        return response

    name = named("side-effect", rpc, "", also, "first" if first else "", when=when)
    return operator(name, rpc, f"{rpc} also does {also}", step)


def instead(
    rpc: str, other: str, request: Further | None = None, *, when: When = always
) -> Operator:
    """Breaks "does this and no more": another call is made in its place, and answered with OK."""
    make = request or same_object(other)

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)
        _quietly(call, other, make(call, None, memory))
        return RPCS[rpc].response()

    name = named("instead-of", rpc, "", other, when=when)
    return operator(name, rpc, f"{rpc} does {other} instead", step)


def acts_on_another(rpc: str, lister: str, *, when: When = always) -> Operator:
    """Breaks "only this object": the call is also done to another object of the session.

    ``lister`` says where to find one; only objects of the run's own (made in this session of
    the fault) are taken.
    """

    def request(call: Call, response: Any, memory: Memory) -> Any:
        field = _id_field(rpc)
        own = getattr(call.request, field)
        listed = call.upstream(lister, RPCS[lister].request())
        items = listed.items if lister == "ListPodSandbox" else listed.containers
        for item in items:
            if item.id != own and memory.made(item.id) and not memory.removed(item.id):
                made = RPCS[rpc].request()
                made.CopyFrom(call.request)
                setattr(made, field, item.id)
                return made
        return None

    made = side_effect(rpc, rpc, request, when=when)
    name = named("also-another", rpc, when=when)
    return Operator(name, made.rpcs, f"{rpc} also acts on another object", made.make)


def done_twice(rpc: str, *, when: When = always) -> Operator:
    """Breaks "once": the call reaches the runtime twice; the second's error is not passed on."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        strikes = when(call, memory)
        response = proceed(call.request)
        if strikes:
            _quietly(call, rpc, call.request)
        return response

    return operator(named("twice", rpc, when=when), rpc, f"{rpc} is done twice", step)


def gives_same_answer(rpc: str, *, when: When = always) -> Operator:
    """Breaks "each its own": later calls are not done and get the first one's answer."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)
        # In turn: of those that come at once all but one must find the first answer.
        with memory.turn(FIRST_TAKES):
            first = memory.kept("first answer", lambda: None)
            if first is None:
                first = proceed(call.request)
                memory.keep("first answer", first)
        return first

    return operator(named("same-answer", rpc, when=when), rpc, f"every {rpc} is the first", step)


def same_object(rpc: str) -> Further:
    """The request of ``rpc`` on the object that the call is about, or on the one it made.

    A call on a container leads to its sandbox where ``rpc`` wants one, and a call on a
    sandbox to the first container that is made in it.
    """
    field = _id_field(rpc)

    def make(call: Call, response: Any, memory: Memory) -> Any:
        value = ""
        for message in (call.request, response):
            value = value or (getattr(message, field, "") if message is not None else "")
        container = getattr(call.request, "container_id", "")
        sandbox = getattr(call.request, "pod_sandbox_id", "")
        if not value and field == "pod_sandbox_id" and container:
            value = memory.sandbox_of(container)
        if not value and field == "container_id" and sandbox:
            chosen = types.ContainerFilter(pod_sandbox_id=sandbox)
            listed = call.upstream("ListContainers", types.ListContainersRequest(filter=chosen))
            value = next((item.id for item in listed.containers), "")
        return RPCS[rpc].request(**{field: value}) if value else None

    return make


def _id_field(rpc: str) -> str:
    names = RPCS[rpc].request.DESCRIPTOR.fields_by_name
    for field in ("container_id", "pod_sandbox_id"):
        if field in names:
            return field
    raise ValueError(f"{rpc} is not about one object: give the request yourself")


def _quietly(call: Call, rpc: str, request: Any) -> None:
    if request is not None:
        with contextlib.suppress(StatusError):
            call.upstream(rpc, request)
