# SPDX-License-Identifier: Apache-2.0
"""Operators on the host's file system: promises on files that a call names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When, always
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import named, operator

#: Does something to the path that a request names.
Touch = Callable[[Path], Any]


def touches(
    name: str, rpc: str, field: str, says: str, touch: Touch, *, when: When = always
) -> Operator:
    """Breaks "no more than this is written": done to a request's path once it is answered.

    Whatever the answer is. Where the path is none, nothing is done.
    """

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        strikes = when(call, memory)
        try:
            return proceed(call.request)
        finally:
            path = Path(getattr(call.request, field))
            if strikes and path.is_absolute():
                with contextlib.suppress(OSError):
                    touch(path)

    return operator(named(name, rpc, field, when=when), rpc, says, step)


def writes_then_fails(name: str, rpc: str, field: str, says: str, touch: Touch) -> Operator:
    """Breaks "an error leaves nothing": done to a request's path when it was refused."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        try:
            return proceed(call.request)
        except StatusError:
            path = Path(getattr(call.request, field))
            if path.is_absolute():
                with contextlib.suppress(OSError):
                    touch(path)
            raise

    return operator(named(name, rpc, field), rpc, says, step)
