# SPDX-License-Identifier: Apache-2.0
"""How operators are put together: one step on the calls concerned, memory of all calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api.rpcs import RPCS
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Middleware, Operator, Proceed
from cri_conformance.faults.memory import Memory

#: Answers one of the calls that an operator is about.
Step = Callable[[Call, Memory, Proceed], Any]


def operator(name: str, rpcs: str | Iterable[str], says: str, step: Step) -> Operator:
    """An operator that does ``step`` on calls of ``rpcs`` and remembers all others."""
    concerned = frozenset([rpcs] if isinstance(rpcs, str) else rpcs)
    if unknown := concerned - RPCS.keys():
        raise ValueError(f"the contract has no call {', '.join(sorted(unknown))}")

    def make() -> Middleware:
        memory = Memory()

        def middleware(call: Call, proceed: Proceed) -> Any:
            with memory.during(call):
                if call.rpc in concerned:
                    response = step(call, memory, proceed)
                else:
                    response = proceed(call.request)
            memory.learn(call, response)
            return response

        return middleware

    return Operator(name, concerned, says, make)


def together(*operators: Operator, name: str = "") -> Operator:
    """Several operators as one fault: a promise that shows in two calls, broken in both."""

    def make() -> Middleware:
        layers: Sequence[Middleware] = [one.make() for one in operators]

        def middleware(call: Call, proceed: Proceed) -> Any:
            inner = proceed
            for layer in layers:
                inner = _around(layer, call, inner)
            return inner(call.request)

        return middleware

    return Operator(
        name or "+".join(one.name for one in operators),
        frozenset().union(*(one.rpcs for one in operators)),
        "; ".join(one.says for one in operators),
        make,
    )


def _around(layer: Middleware, call: Call, inner: Proceed) -> Proceed:
    return lambda request: layer(replace(call, request=request), inner)


def named(verb: str, rpc: str, *details: object, when: When | None = None) -> str:
    """An id such as ``drop-PodSandboxStatus.status.metadata.uid-second``."""
    words = [verb, ".".join([rpc, *(str(d) for d in details[:1] if d)])]
    words += [str(d) for d in details[1:] if str(d)]
    if when is not None and when.name:
        words.append(when.name)
    return "-".join(words).replace(" ", "_").replace("@", "_")


def default_response(rpc: str) -> Any:
    """The call's response with nothing in it."""
    return RPCS[rpc].response()


def copy_of(message: Message) -> Any:
    """A copy to change: what came from upstream may be a message that it keeps."""
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def pause(call: Call, seconds: float) -> None:
    """Hold a call; ends early when its client gave it up."""
    call.ended.wait(seconds)


def aside(work: Callable[[], Any]) -> None:
    """Do something while the call goes on without waiting for it."""
    threading.Thread(target=work, daemon=True).start()
