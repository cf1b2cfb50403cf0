# SPDX-License-Identifier: Apache-2.0
"""Operators on objects over time: promises of what is there, is gone, and stays."""

from __future__ import annotations

import contextlib
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When, after, always
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators.answers import answer_error
from cri_conformance.faults.operators.core import copy_of, named, operator, together
from cri_conformance.faults.operators.lists import LISTS, item_after, leave_out

_OF_SANDBOX = ("PodSandboxStatus", "ListPodSandbox")
_OF_CONTAINER = ("ContainerStatus", "ListContainers")


def stale(rpc: str, *, when: When = always) -> Operator:
    """Breaks "the answer is the present": each object's first answer for ever."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)
        key = ("stale", call.request.SerializeToString(deterministic=True))
        # Asked each time all the same: an object that is gone stays an error.
        response = proceed(call.request)
        return memory.kept(key, lambda: copy_of(response))

    return operator(named("stale", rpc, when=when), rpc, f"{rpc} repeats its first answer", step)


def forget(kind: str, *, event: str) -> Operator:
    """Breaks "stays until it is removed": gone from status and list after ``event``.

    ``kind`` is ``"sandbox"`` or ``"container"``.
    """
    status, lister = _calls(kind)
    return together(
        answer_error(status, after(event), "NOT_FOUND"),
        leave_out(lister, item_after(event)),
        name=f"forget-{kind}-after-{event}",
    )


def unlisted(kind: str, *, event: str) -> Operator:
    """Breaks "is listed": gone from the list alone after ``event``, the status goes on."""
    made = leave_out(_calls(kind)[1], item_after(event))
    return Operator(f"unlist-{kind}-after-{event}", made.rpcs, made.says, made.make)


def _calls(kind: str) -> tuple[str, str]:
    calls = {"sandbox": _OF_SANDBOX, "container": _OF_CONTAINER}
    if kind not in calls:
        raise ValueError(f"kind is 'sandbox' or 'container', not {kind!r}")
    return calls[kind]


def resurrect(rpc: str, event: str) -> Operator:
    """Breaks "gone": what ``event`` removed is still answered by ``rpc`` as it was before.

    ``rpc`` is a status or a list call; ``event`` RemoveContainer or RemovePodSandbox (which
    takes the sandbox's containers with it).
    """

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == event:
            gone = _before_removal(call, memory)
            response = proceed(call.request)
            memory.kept("gone", dict).update(gone)
            return response
        gone = memory.kept("gone", dict)
        if rpc in LISTS:
            response = copy_of(proceed(call.request))
            items = getattr(response, LISTS[rpc])
            there = {item.id for item in items}
            items.extend(
                item
                for (kind, _), item in gone.items()
                if kind == rpc and item.id not in there and _matches(item, call.request.filter)
            )
            return response
        try:
            return proceed(call.request)
        except StatusError:
            if (last := gone.get((rpc, subject(rpc, call.request)))) is not None:
                return last
            raise

    def _before_removal(call: Call, memory: Memory) -> dict[tuple[str, str], Any]:
        found: dict[tuple[str, str], Any] = {}
        object_id = subject(call.rpc, call.request)
        with contextlib.suppress(StatusError):
            if rpc in LISTS:
                for item in getattr(call.upstream(rpc, RPCS[rpc].request()), LISTS[rpc]):
                    owner = getattr(item, "pod_sandbox_id", "")
                    if object_id and object_id in (item.id, owner):
                        found[rpc, item.id] = copy_of(item)
            else:
                for one in _concerned(call, rpc, object_id):
                    field = "container_id" if rpc == "ContainerStatus" else "pod_sandbox_id"
                    request = RPCS[rpc].request(**{field: one})
                    found[rpc, one] = copy_of(call.upstream(rpc, request))
        return found

    return operator(
        named("resurrect", rpc, "", event), (rpc, event), f"{rpc} still knows what is removed", step
    )


def _concerned(call: Call, rpc: str, object_id: str) -> list[str]:
    """The objects of the kind that ``rpc`` tells of which a removal takes away."""
    if (rpc == "ContainerStatus") == (call.rpc == "RemoveContainer"):
        return [object_id]
    chosen = types.ContainerFilter(pod_sandbox_id=object_id)
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=chosen))
    return [item.id for item in listed.containers]


def _matches(item: Any, chosen: Any) -> bool:
    """Whether an item passes a list filter: a ghost that did not would break the filter too."""
    owner = getattr(chosen, "pod_sandbox_id", "")
    return (
        (not chosen.id or chosen.id == item.id)
        and (not owner or owner == item.pod_sandbox_id)
        and (not chosen.HasField("state") or chosen.state.state == item.state)
        and all(item.labels.get(k) == v for k, v in chosen.label_selector.items())
    )
