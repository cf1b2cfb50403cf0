# SPDX-License-Identifier: Apache-2.0
"""What no runtime may do, whatever it is sent: that which counts without a clause."""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import StrEnum

from cri_conformance.expect.violation import Misbehaved
from cri_conformance.wire.history import UNANSWERED
from cri_conformance.wire.outcome import Ok, Outcome, Refused, Unknown


class Kind(StrEnum):
    """What is wrong."""

    CRASH = "crash"
    HANG = "hang"
    PANIC = "panic"  # the text of one, in an answer or in the log
    LEAK = "leak"  # something is there that was refused, or not asked for
    DAMAGE = "damage"  # something else was touched
    SECRET = "secret"  # a password came back, or is in the log


class Misbehaviour(Misbehaved):
    """``cause`` is the same for the same fault of the runtime, ``actual`` is what came.

    ``lasting``: what it left can't be removed, so that it must not be tried again.
    """

    def __init__(self, kind: Kind, cause: str, actual: str, *, lasting: bool = False) -> None:
        super().__init__(f"{kind}: {actual}")
        self.kind = kind
        self.cause = cause
        self.actual = actual
        self.lasting = lasting


#: What runtimes say of themselves when they fell over, by the language they are written in.
_PANIC = re.compile(
    r"\bpanic(ked)?\b|runtime error:|nil pointer|invalid memory address|\bgoroutine \d+ \["
    r"|\b(index|slice bounds) out of range|unexpected fault address|fatal error:|concurrent map"
    r"|Traceback \(most recent|Exception (calling|iterating|serializing)"
    r"|\b(Type|Value|Key|Attribute|Index|Name|Runtime|Recursion|Overflow|Memory|Assertion"
    r"|Unicode\w+|OS|Permission|FileNotFound|IsADirectory|NotADirectory)Error: "
    r"|SIGSEGV|SIGABRT|[Ss]egmentation fault|stack overflow|core dumped|thread '[^']*' panicked"
    r"|unreachable code|assertion failed"
)


def panic_in(text: str) -> str:
    """The line in which a text betrays a panic; "" if there is none."""
    match = _PANIC.search(text)
    if not match:
        return ""
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    return text[start : end if end >= 0 else None][:400]


def look_at(rpc: str, outcome: Outcome, secrets: Collection[str]) -> None:
    """Judge one answer by its text. Raises Misbehaviour.

    What was asked for may come back: only errors, and answers that should hold no secret.
    """
    text = str(outcome) if isinstance(outcome, Refused) else ""
    if line := panic_in(text):
        raise Misbehaviour(Kind.PANIC, f"{rpc} {cause_of(line)}", f"{rpc} answers {line!r}")
    data = outcome.response if isinstance(outcome, Ok) else text.encode(errors="replace")
    for secret in secrets:
        if secret.encode() in data:
            raise Misbehaviour(
                Kind.SECRET, f"{rpc} secret", f"{rpc} gives back a password of its request"
            )


def look_at_log(text: str, secrets: Collection[str]) -> None:
    """Judge what the runtime wrote into its log meanwhile. Raises Misbehaviour."""
    if line := panic_in(_without_levels(text)):
        raise Misbehaviour(Kind.PANIC, f"log {panic_of(text)}", f"its log says {line!r}")
    for secret in secrets:
        if secret in text:
            raise Misbehaviour(
                Kind.SECRET, "log secret", "its log has a password that came in a request"
            )


def panic_of(log: str) -> str:
    """The panic that a log tells of, the same for the same one, with the function where it was
    as far as Go says so; "" for none."""
    text = _without_levels(log)
    line = panic_in(text)
    where = _frame(text[text.find(line) :]) if line else ""
    return cause_of(line) + (f" in {where}" if where else "")


def _frame(trace: str) -> str:
    """The first function of a trace that is not the language's own; "" where there is none."""
    lines = iter(trace[:_TRACE].splitlines())
    for line in lines:
        if line.startswith("goroutine ") and line.endswith("]:"):
            break
    theirs = (line for line in lines if not line.startswith(("\t", "panic(", "runtime.")))
    return next(theirs, "").rpartition("(")[0].rpartition("/")[2]


#: Characters in which a trace names where it was.
_TRACE = 16 * 1024


def _without_levels(text: str) -> str:
    # Go loggers write errors of calls, with their reasons, which are not panics of the runtime.
    return "\n".join(line for line in text.splitlines() if not _ORDINARY.search(line))


_ORDINARY = re.compile(
    r"level=(trace|debug|info|warning|error)|\"level\":\"(debug|info|warn|error)"
)


def no_answer(outcome: Outcome) -> bool:
    """Whether our own deadline was the end of a call."""
    return isinstance(outcome, Unknown) and "deadline" in outcome.why


def broke_off(outcome: Outcome) -> bool:
    """Whether the connection was lost, or not to be had."""
    return isinstance(outcome, Unknown | Refused) and (
        "connection broke" in str(outcome)
        or (isinstance(outcome, Refused) and outcome.code == "UNAVAILABLE")
    )


def code(outcome: Outcome) -> str:
    """What came, in one word."""
    if isinstance(outcome, Refused):
        return outcome.code
    return "OK" if isinstance(outcome, Ok) else UNANSWERED


_VARYING = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+")


def cause_of(text: str) -> str:
    """A text without what differs from one time to the next."""
    return " ".join(_VARYING.sub("N", text).split())[:160]
