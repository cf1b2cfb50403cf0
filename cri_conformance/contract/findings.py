# SPDX-License-Identifier: Apache-2.0
"""What a campaign finds and no clause speaks of, as a file of expectations names it.

Campaigns tell findings apart by their kind and their cause: what came, without ids (ID), names
(NAME) and numbers (N). An entry has that as results.json shows it, with ``*`` for what differs
from node to node. Such an entry never goes stale, so that it must be narrow: what could stand
for anything of its kind is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cri_conformance.contract.register import Register

#: What may be known. Not what touches others or tells secrets: that is never let go.
KINDS = ("crash", "hang", "leak", "panic")
#: Of a leak, between what was left.
PARTED = "; "
#: How each thing begins that may be left.
SORTS = (
    "process N (",
    "mount /",
    "mount *",
    "open file ",
    "network namespace ",
    "ListPodSandbox has ",
    "ListContainers has ",
    "ListImages has ",
    "left sandbox for good by ",
    "left container for good by ",
)
#: How a cause begins that is what the runtime's log says.
LOG = "log "
#: What stands behind a call that was given up because the runtime was killed amid it.
BY_RESTART = " by restart"
_SERVICE = "RuntimeService."
#: What a language says of any mistake of one sort, wherever it was made.
_COMMON = (
    "panic: runtime error: invalid memory address or nil pointer dereference",
    "panic: runtime error: index out of range [N] with length N",
    "panic: assignment to entry in nil map",
    "panic: send on closed channel",
    "panic: close of closed channel",
    "fatal error: concurrent map writes",
    "fatal error: all goroutines are asleep - deadlock!",
)
#: Causes that nobody knows: an entry that covers one is not about anything that is.
_ANY = ("z", "panic: z", *_COMMON, *(f"{said} in z" for said in _COMMON))
_LEFT = (
    *("process N (z) of ID", "mount /z", "mount /z/ID/z", "mount /ID"),
    *("left sandbox for good by z", "left sandbox for good by RunPodSandbox z"),
    *("left container for good by z", "left container for good by CreateContainer z"),
)


@dataclass(frozen=True, slots=True)
class Sign:
    """What a known finding is known by."""

    kind: str
    cause: str
    #: Calls that were given up before a leak, each of them; "* by restart" is any that a restart
    #: broke off.
    given_up: tuple[str, ...] = ()

    def __str__(self) -> str:
        calls = f", given up: {', '.join(self.given_up)}" if self.given_up else ""
        return f"{self.kind}: {self.cause}{calls}"

    def covers(self, kind: str, part: str, given_up: Collection[str]) -> bool:
        """Whether a finding of this kind is of this sign, as far as this part of it goes."""
        return (
            kind == self.kind
            and all(any(_like(call, one) for one in given_up) for call in self.given_up)
            and any(_like(one, part) for one in parts(kind, self.cause))
        )


def parts(kind: str, cause: str) -> list[str]:
    """All that a finding is: a leak may be of several things."""
    return cause.split(PARTED) if kind == "leak" else [cause]


def _like(pattern: str, text: str) -> bool:
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text))


def wrong_with(entry: Mapping[str, Any], register: Register) -> Iterator[str]:
    """All that is wrong with what an entry says of a finding."""
    kind, cause = entry["finding"], " ".join(entry.get("cause", "").split())
    if kind not in KINDS:
        yield f"finding is one of {', '.join(KINDS)}, not {kind!r}"
        return
    if not cause:
        yield f"{kind} has no cause; copy it from results.json"
    for one in parts(kind, cause) if cause else ():
        if kind != "hang" and _VARIES.search(one):
            yield f"{kind}: {one!r} fits once only: write N for a number and ID for an id"
        elif misspelt := _misspelt(kind, one, register):
            yield f"{kind}: {misspelt}"
        elif _says_too_little(kind, one, register):
            yield f"{kind}: {one!r} says too little: {_MORE[kind]}"
    if "given_up" in entry:
        yield from _wrong_calls(kind, entry["given_up"], register)
    if "review" not in entry:
        yield f"{kind}: {cause} has no review, and nothing else asks for it: it can't go stale"
    for key in ("flaky", "campaigns"):
        if key in entry:
            yield f"{key} is of a clause: only campaigns find a {kind}, and each by chance"


#: What to write instead of that which says too little.
_MORE = {
    "crash": 'begin with "log ", then what the log says and the function that it names',
    "panic": "begin with the call, or with log, and name what was said and where",
    "hang": "name call and field, as in results.json, without *",
    "leak": "begin as results.json does, and name the process, the path, or call and field",
}


#: What results.json never has in a cause.
_VARIES = re.compile(r"\d|\b[0-9a-f]{12,}\b")


def _misspelt(kind: str, cause: str, register: Register) -> str:
    """Which call was meant. What begins with none may be about frames, or the log."""
    first, calls = cause.removeprefix("Version after ").partition(" ")[0], _calls(register)
    if kind not in ("hang", "panic") or first in calls or "*" in first:
        return ""
    near = difflib.get_close_matches(first, calls, n=1, cutoff=0.8)
    return f"there is no call {first!r}; did you mean {near[0]}?" if near else ""


def _says_too_little(kind: str, pattern: str, register: Register) -> bool:
    first, _, rest = pattern.partition(" ")
    if kind == "hang":
        vague = pattern.endswith(("these calls", " after")) or pattern in _calls(register)
        return "*" in pattern or vague
    if kind == "leak":
        return not pattern.startswith(SORTS) or any(_like(pattern, one) for one in _LEFT)
    if "*" in first or (kind == "crash" and not pattern.startswith(LOG)):
        return True
    return any(_like(rest, one) for one in (_ANY if pattern.startswith(LOG) else _ANY[:1]))


def _wrong_calls(kind: str, calls: Any, register: Register) -> Iterator[str]:
    if kind != "leak":
        yield f"given_up is of a leak, not of a {kind}"
        return
    if not isinstance(calls, list) or not calls or not all(isinstance(c, str) for c in calls):
        yield f'given_up is a list of calls, as in ["StartContainer"], not {calls!r}'
        return
    known = _calls(register)
    for call in (call.removesuffix(BY_RESTART) for call in calls if call != f"*{BY_RESTART}"):
        if call not in known:
            near = difflib.get_close_matches(call, known, n=1, cutoff=0.8)
            meant = f"; did you mean {near[0]}?" if near else ""
            yield f"given_up: there is no call {call!r}{meant}"


def _calls(register: Register) -> list[str]:
    return [one.removeprefix(_SERVICE) for one in register.elements if one.startswith(_SERVICE)]
