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
_SERVICES = ("RuntimeService", "ImageService")
#: How the cause of a hang begins in which nobody is answered any more.
_ALL_HANG = "Version after "
#: What never stands in a cause. Where anything is left behind an id is written ID; in a panic it
#: is a number among others.
_IDS = re.compile(r"\b[0-9a-f]{12,}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_NUMBERS = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+")
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
        if raw := _raw(kind, one):
            yield f"{kind}: {one!r} fits once only: write {raw}"
        elif unknown := _unknown_call(_call(kind, one), register):
            yield f"{kind}: {unknown}"
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


def _raw(kind: str, pattern: str) -> str:
    """What to write for that which differs from one time to the next; "" where nothing does.

    Attacks, functions, and fields without a name have numbers of their own.
    """
    if kind == "leak" and not pattern.startswith("left "):
        if found := _IDS.search(pattern):
            return f"ID for {found[0]!r}"
        found = _NUMBERS.search(pattern)
    elif kind in ("crash", "panic"):
        said = re.split(r"\*| in ", pattern.partition(" ")[2])[0]
        found = _NUMBERS.search(said)
    else:
        return ""
    return f"N for {found[0]!r}" if found else ""


def _call(kind: str, pattern: str) -> str:
    """The call that a cause names; "" for none. What begins it else has no capitals."""
    if kind == "leak":
        words = pattern.partition(" for good by ")[2]
    else:
        words = pattern.removeprefix(_ALL_HANG) if kind == "hang" else pattern
    first = words.partition(" ")[0]
    return first if first != first.lower() and "*" not in first else ""


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
    for call in (call.removesuffix(BY_RESTART) for call in calls if call != f"*{BY_RESTART}"):
        if unknown := _unknown_call(call, register):
            yield f"given_up: {unknown}"


def _unknown_call(call: str, register: Register) -> str:
    """That there is no such call, and which may be meant; "" if there is, or if none is named."""
    known = _calls(register)
    if not call or call in known:
        return ""
    near = difflib.get_close_matches(call, known, n=2, cutoff=0.8)
    return f"there is no call {call!r}" + f"; did you mean {' or '.join(near)}?" * bool(near)


def _calls(register: Register) -> list[str]:
    found = (one.partition(".") for one in register.elements)
    return [call for service, _, call in found if service in _SERVICES]
