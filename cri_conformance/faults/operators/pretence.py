# SPDX-License-Identifier: Apache-2.0
"""Operators that answer with an address of their own, where the runtime would not give a session.

``divert`` changes a session that there is; here one is made up, or taken away.
"""

from __future__ import annotations

from typing import Any

from cri_conformance.api.rpcs import RPCS
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import copy_of, named, operator
from cri_conformance.faults.relay import Relay, offered, untouched
from cri_conformance.streaming import status
from cri_conformance.streaming.events import SPDY, Refused
from cri_conformance.streaming.server import Incoming, command


def pretends(rpc: str, when: When) -> Operator:
    """Breaks "this gives no session": Exec or Attach gives one, which ends well at once."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)
        asked = call.request
        service = command(
            lambda session: session.finish(status.ended(0)),
            stdin=asked.stdin,
            stdout=asked.stdout,
            stderr=asked.stderr,
            tty=asked.tty,
        )
        return RPCS[rpc].response(url=offered(service))

    return operator(
        named("pretend", rpc, when=when), rpc, f"{rpc} gives a session that does nothing", step
    )


def refuses_spdy(rpc: str) -> Operator:
    """Breaks "the address takes SPDY": only WebSockets are taken."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        response = copy_of(proceed(call.request))
        url = response.url

        def serve(incoming: Incoming) -> None:
            if incoming.request.kind == SPDY:
                raise Refused(400, "a WebSocket is wanted")
            Relay(url, None, untouched).serve(incoming, str)

        response.url = offered(serve)
        return response

    return operator(named("refuse-spdy", rpc), rpc, f"{rpc} serves WebSockets only", step)
