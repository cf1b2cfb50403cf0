# SPDX-License-Identifier: Apache-2.0
"""What can come of a call.

Three cases, because a client learns one of three things: the runtime did it, the
runtime refused, or nobody knows. After a deadline of ours has passed, or the
connection broke, the call may or may not have happened; whoever judges must
allow both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ok:
    """The runtime answered. ``response`` is the call's response message."""

    # Any, as the type follows from the call's name: tests read fields without casts.
    response: Any

    def __str__(self) -> str:
        return "OK"


@dataclass(frozen=True, slots=True)
class Refused:
    """The runtime answered with an error. ``code`` is gRPC's name, as in ``NOT_FOUND``."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer within our deadline, or the connection was lost: it may have happened."""

    why: str

    def __str__(self) -> str:
        return f"no answer: {self.why}"


Outcome = Ok | Refused | Unknown


class RuntimeGone(Exception):
    """The endpoint answers no more: the run can't go on."""


class SetupFailed(Exception):
    """A call that a test needed before it could judge anything did not succeed.

    This is no verdict: whether the call must succeed is another test's clause.
    """


def answer(outcome: Outcome, rpc: str) -> Any:
    """The response of a call that a test depends on. Raises SetupFailed if there is none."""
    if isinstance(outcome, Ok):
        return outcome.response
    raise SetupFailed(f"{rpc} was needed to set up this test: {outcome}")


__all__ = ["Ok", "Outcome", "Refused", "RuntimeGone", "SetupFailed", "Unknown", "answer"]
