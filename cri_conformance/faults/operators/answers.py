# SPDX-License-Identifier: Apache-2.0
"""Operators on whether a call succeeds: promises of success, of errors and of their codes."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When, after, again, always, overlapping
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import default_response, named, operator

_MESSAGE = "seeded fault"
#: Calls whose empty answer would be told at once from a true one: they get an id.
_GIVES_ID = {"RunPodSandbox": "pod_sandbox_id", "CreateContainer": "container_id"}


def answer_error(
    rpc: str, when: When, code: str = "UNKNOWN", *, message: str = _MESSAGE
) -> Operator:
    """Breaks "this call succeeds": an error when ``when`` says so, and nothing is done."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if when(call, memory):
            raise StatusError(code, message)
        return proceed(call.request)

    return operator(
        named("fail", rpc, "", code if code != "UNKNOWN" else "", when=when),
        rpc,
        f"{rpc} answers {code} when {when.name or 'called'}",
        step,
    )


def second_call_fails(rpc: str, code: str = "UNKNOWN") -> Operator:
    """Breaks idempotency: a call that succeeded is refused when it is repeated on its object."""
    made = answer_error(rpc, again, code)
    return Operator(f"fail-second-{rpc}", made.rpcs, f"a repeated {rpc} answers {code}", made.make)


def fails_after(rpc: str, earlier: str, code: str = "UNKNOWN") -> Operator:
    """Breaks "still succeeds": refused once ``earlier`` has succeeded on the object."""
    return answer_error(rpc, after(earlier), code)


def overlap_fails(rpc: str, code: str = "UNKNOWN") -> Operator:
    """Breaks concurrency: calls at the same time on the same object; one of them is refused."""
    return answer_error(rpc, overlapping, code)


def does_and_fails(
    rpc: str, when: When = always, code: str = "UNKNOWN", *, message: str = _MESSAGE
) -> Operator:
    """Breaks "an error means nothing was done": done in full, and answered with an error."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        strikes = when(call, memory)
        response = proceed(call.request)
        if strikes:
            memory.learn(call, response)
            raise StatusError(code, message)
        return response

    return operator(
        named("do-and-fail", rpc, when=when), rpc, f"{rpc} does its work and answers {code}", step
    )


def answer_ok(rpc: str, when: When = always, response: Any = None) -> Operator:
    """Breaks "this is refused": OK (with ``response`` or an empty one), without asking upstream."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)
        return invented(rpc) if response is None else response

    return operator(named("accept", rpc, when=when), rpc, f"{rpc} answers OK undone", step)


def skip_effect(rpc: str, when: When = always) -> Operator:
    """Breaks "this is done": OK without doing anything."""
    made = answer_ok(rpc, when)
    return Operator(named("skip", rpc, when=when), made.rpcs, made.says, made.make)


def swallow(rpc: str, codes: Collection[str] = (), *, when: When = always) -> Operator:
    """Breaks "this is refused": the runtime's error becomes OK with an empty answer."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        strikes = when(call, memory)
        try:
            return proceed(call.request)
        except StatusError as error:
            if strikes and (not codes or error.code in codes):
                return invented(rpc)
            raise

    return operator(
        named("swallow", rpc, "", *sorted(codes), when=when),
        rpc,
        f"errors of {rpc} become OK",
        step,
    )


def change_code(rpc: str, to: str, frm: str = "", *, when: When = always) -> Operator:
    """Breaks "with this code": the runtime's error comes with another."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        strikes = when(call, memory)
        try:
            return proceed(call.request)
        except StatusError as error:
            if strikes and frm in ("", error.code):
                raise StatusError(to, error.message) from None
            raise

    return operator(
        named("recode", rpc, "", frm, to, when=when), rpc, f"errors of {rpc} become {to}", step
    )


def invented(rpc: str) -> Any:
    """An answer out of nothing: empty, but for an id where the call gives one."""
    response = default_response(rpc)
    if field := _GIVES_ID.get(rpc):
        setattr(response, field, secrets.token_hex(32))
    return response
