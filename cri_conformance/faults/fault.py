# SPDX-License-Identifier: Apache-2.0
"""What a fault is: a middleware around calls, made by an operator, seeded for a clause."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from google.protobuf.message import Message

#: Passes a request on to the runtime; raises StatusError if that refuses. Of a streaming call it
#: gives an iterator of responses, which raises what the runtime ends the stream with.
Proceed = Callable[[Any], Any]
#: Makes a further call of the runtime, past the fault; raises StatusError if that refuses.
Upstream = Callable[[str, Message], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call as a middleware sees it. ``ended`` is set when its client gave it up.

    The request is typed as Any: its type follows from the call's name.
    """

    rpc: str
    request: Any
    upstream: Upstream
    ended: threading.Event = field(default_factory=threading.Event)


#: Answers a call as ``Proceed`` does, or raises StatusError. One instance holds the state of one
#: session.
Middleware = Callable[[Call, Proceed], Any]


@runtime_checkable
class Decoding(Protocol):
    """A middleware that also sees the bytes of calls, before they are taken for a message."""

    def decode(self, rpc: str, data: bytes, ended: threading.Event) -> None:
        """Raises StatusError to answer already."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A way to break a promise, applied to one place.

    ``name`` is readable and says all that was chosen: fault ids are made of it. ``rpcs`` are
    the calls whose answers it falsifies; others pass through untouched.
    """

    name: str
    rpcs: frozenset[str]
    says: str
    make: Callable[[], Middleware]


@dataclass(frozen=True, slots=True)
class Fault:
    """A seeded fault.

    ``clauses`` are those it is seeded for: each must be named by a violation under it. ``also``
    are clauses that break with it of necessity, ``ordinary`` says that plain use of every call
    still succeeds under it (the rule; the fault matrix looks). ``isolated`` faults show only
    where containers have namespaces and cgroups: in front of a real runtime. ``misbehaves`` names
    what it does if that breaks no clause (crash, hang …): then it is seeded for none.
    """

    id: str
    clauses: tuple[str, ...]
    says: str
    operator: Operator
    also: tuple[str, ...] = ()
    ordinary: bool = True
    isolated: bool = False
    misbehaves: str = ""

    @property
    def make(self) -> Callable[[], Middleware]:
        """A fresh middleware, for one session of this fault."""
        return self.operator.make

    @property
    def rpcs(self) -> frozenset[str]:
        """The calls that it falsifies."""
        return self.operator.rpcs


def fault(
    clauses: str | Iterable[str],
    operator: Operator,
    *,
    also: Iterable[str] = (),
    name: str = "",
    says: str = "",
    ordinary: bool = True,
    isolated: bool = False,
    misbehaves: str = "",
) -> Fault:
    """Seed a fault for a clause (or for several that must each be named under it).

    ``name`` is needed only where two faults would get the same id from their operators.
    """
    seeded = (clauses,) if isinstance(clauses, str) else tuple(clauses)
    return Fault(
        id=name or operator.name,
        clauses=seeded,
        says=says or operator.says,
        operator=operator,
        also=tuple(also),
        ordinary=ordinary,
        isolated=isolated,
        misbehaves=misbehaves,
    )
