# SPDX-License-Identifier: Apache-2.0
"""Whether some order of calls that ran at the same time explains what they were answered.

A history is a set of calls with when each began and ended. An order explains it if every call
can be put at one moment between its beginning and its end so that a runtime that does one
after the other would have answered just so: it is linearizable (Herlihy and Wing, 1990). What
calls do one after the other says the table.

The contract promises less than that in places, and there nothing is held against a runtime:

- A call about a sandbox comes to each container, and a list to each object, at a moment of its
  own; what is removed may be seen stopped first. So each object can be looked at by itself.
- A refusal needs no reason if another call on the same object, on what holds it or on what it
  holds was under way, and may have done its work by halves. It is one all the same where a
  clause says of just these calls that all of them succeed.
- A call without an answer may have happened at any time from its beginning on, or not at all.
- What comes to be, or is started, while its sandbox is stopped may escape the stop.
- A look amid the making of an object, or amid a call on it that failed, shows anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cri_conformance.model.states import State
from cri_conformance.model.table import LOOKS
from cri_conformance.model.world import Came

#: Calls that make what they name, and what they make.
MAKES = frozenset({"RunPodSandbox", "CreateContainer"})
#: Calls that remove what they are about.
REMOVES = frozenset({"RemovePodSandbox", "RemoveContainer"})


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """A call. ``began`` and ``ended`` are seconds on one clock; it never ended without an answer.

    ``name`` is that of the object that it is about: two that were made with the same metadata
    have the same. ``about`` is the id; of a call that makes something the one that it answered.
    ``sandbox`` is the id of the sandbox of a container. A look has what it showed, by id.
    """

    call: str
    began: float
    ended: float = math.inf
    came: Came = Came.OK
    code: str = ""
    name: str = ""
    about: str = ""
    sandbox: str = ""
    shown: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def looks(self) -> bool:
        """Whether it changes nothing."""
        return self.call in LOOKS

    def meets(self, other: Event) -> bool:
        """Whether the two were under way at the same time, as far as anybody can tell."""
        return self is not other and self.began <= other.ended and other.began <= self.ended

    def __str__(self) -> str:
        if self.looks and self.came is Came.OK:
            return f"{self.call}: {', '.join(sorted(set(self.shown.values())))}"
        return f"{self.call} answered {self.code or self.came.value}"


@dataclass(frozen=True, slots=True)
class Subject:
    """An object by its id. ``state`` is the one that it had before; NEVER if it was made amid."""

    id: str
    name: str
    state: State
    sandbox: str = ""


@dataclass(frozen=True)
class History:
    """All calls, and all objects that they were about or have made."""

    subjects: tuple[Subject, ...]
    events: tuple[Event, ...]
