# SPDX-License-Identifier: Apache-2.0
"""Operators on when an answer comes: promises of waiting, of not waiting, and of parallel work."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When, always
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.answers import invented
from cri_conformance.faults.operators.core import aside, named, operator, pause

#: No fault holds a call longer (seconds): a matrix of a thousand rows has to end.
LONGEST = 60.0


def delay(rpc: str, seconds: float, *, when: When = always, after: bool = False) -> Operator:
    """Breaks "within": the call (or with ``after`` its answer) waits; ends if the client does."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        strikes = when(call, memory)
        if strikes and not after:
            pause(call, min(seconds, LONGEST))
        response = proceed(call.request)
        if strikes and after:
            pause(call, min(seconds, LONGEST))
        return response

    name = named("delay-answer" if after else "delay", rpc, "", f"{seconds:g}s", when=when)
    return operator(name, rpc, f"{rpc} takes {seconds:g} s longer", step)


def returns_early(
    rpc: str, *, when: When = always, response: Any = None, late: float = 0
) -> Operator:
    """Breaks "is done on return": OK at once, the work follows ``late`` seconds behind it."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)

        def work() -> None:
            # A wait of its own: the call that began this is over by now.
            threading.Event().wait(late)
            # Upstream, not proceed, which may go with the call.
            with contextlib.suppress(StatusError):
                call.upstream(rpc, call.request)

        aside(work)
        return invented(rpc) if response is None else response

    name = named("early", rpc, when=when)
    return operator(name, rpc, f"{rpc} answers before it is done", step)


def waits_for(rpc: str, other: str, *, seconds: float = LONGEST, when: When = always) -> Operator:
    """Breaks "does not block": held while a call of ``other`` is under way, on any object."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if when(call, memory):
            memory.await_none(other, min(seconds, LONGEST))
        return proceed(call.request)

    name = named("block", rpc, "", "behind", other, when=when)
    return operator(name, rpc, f"{rpc} waits for {other} to end", step)


def one_at_a_time(rpc: str, *, when: When = always) -> Operator:
    """Breaks "in parallel": calls are done one after the other, over all objects."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)
        with memory.turn(LONGEST):
            return proceed(call.request)

    return operator(named("serial", rpc, when=when), rpc, f"{rpc} is done one at a time", step)
