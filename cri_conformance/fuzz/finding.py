# SPDX-License-Identifier: Apache-2.0
"""A finding: what the runtime did, and the story that led there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cri_conformance.wire.history import Call, CallRecord, History, bounded

#: Bytes of a message that a line shows, and the width of that.
_BYTES, _WIDTH = 60, 400


class Kind(StrEnum):
    """What is wrong. All count as a failure but OPEN, which no clause speaks of, and the known."""

    CLAUSE = "clause"
    CRASH = "crash"
    HANG = "hang"
    LEAK = "leak"
    PANIC = "panic"
    DAMAGE = "damage"
    SECRET = "secret"
    OPEN = "open"


class Unspoken(Exception):
    """What a runtime did can't be right, and no clause speaks of it."""

    def __init__(self, permitted: str, actual: str) -> None:
        super().__init__(permitted, actual)
        self.permitted = permitted
        self.actual = actual


@dataclass
class Finding:
    """``story`` is plain data that its mode can play again, {} where there is none to play."""

    kind: Kind
    mode: str
    clause: str
    cause: str
    permitted: str
    actual: str
    seed: int
    story: dict[str, Any] = field(default_factory=dict)
    calls: list[CallRecord] = field(default_factory=list)
    #: Ids of the objects that it was about when it was found.
    about: tuple[str, ...] = ()
    #: The same calls as messages.
    raw: list[Call] = field(default_factory=list)
    #: What was sent below the types of a client: "rpc", "bytes" as base64, "outcome".
    sent: list[dict[str, str]] = field(default_factory=list)
    #: Of so many tries so many showed it again.
    tries: int = 0
    again: int = 0
    #: Why it was not tried, where that is known.
    untried: str = ""
    #: Steps of the story when it was found; it may have been shrunk since.
    steps_found: int = 0
    times: int = 1
    #: A leak that is looked for when all that the story made has been removed.
    behind: bool = False
    #: Whether it showed also when a call that was to be given up was answered before.
    in_time_too: bool = False
    #: The calls that its story gives up.
    given_up: tuple[str, ...] = ()
    #: Why it is known and where that is tracked, as the expectations file says; "" if it is not.
    reason: str = ""
    link: str = ""
    folder: str = ""
    #: The command that plays it again; "" if there is nothing to play.
    replay: str = ""

    @property
    def counts(self) -> bool:
        """Whether it fails the run."""
        return self.kind is not Kind.OPEN and not self.reason

    @property
    def steps(self) -> int:
        return len(self.story.get("steps", ()))

    @property
    def sent_in_words(self) -> list[str]:
        """A line for each message that was sent below the types of a client."""
        return [
            f"{one['rpc']} with {one['broken']}: {one['size']} bytes "
            f"{base64.b64decode(one['bytes'])[:_BYTES].hex()} → {one.get('outcome', '')}"[:_WIDTH]
            for one in self.sent
        ]

    @property
    def tried(self) -> dict[str, str]:
        """How often it showed when it was tried again, or why it was not, as files have it."""
        if self.tries:
            return {"again": f"{self.again} of {self.tries}", "untried": self.untried}
        not_yet = "the campaign has not come to it" if self.steps else "it came of no sequence"
        return {"again": "", "untried": self.untried or not_yet}

    @property
    def name(self) -> str:
        """The same for the same finding, in whichever campaign."""
        digest = hashlib.sha256(f"{self.clause}\n{self.cause}".encode()).hexdigest()[:8]
        return f"{self.kind}-{self.clause or self.mode}-{digest}"

    def keep(
        self, history: History, mark: int, until: int | None = None, about: Iterable[str] = ()
    ) -> None:
        """Keep the calls between two marks of a history, as those that led to it.

        ``about``: ids of the objects that it is about.
        """
        self.calls = bounded(history.transcript(mark, about, until))
        self.raw = [call for call in history.since(mark) if until is None or call.number <= until]

    def line(self) -> str:
        """In one line."""
        what = self.clause or str(self.kind)
        return f"{what}: permitted {self.permitted}; got {self.actual}"

    def plain(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return {
            "kind": str(self.kind),
            "mode": self.mode,
            "clause": self.clause,
            "cause": self.cause,
            "permitted": self.permitted,
            "actual": self.actual,
            "counts": self.counts,
            "reason": self.reason,
            "link": self.link,
            "given_up": list(self.given_up),
            "seed": self.seed,
            "steps": self.steps,
            "steps_found": self.steps_found,
            **self.tried,
            "times": self.times,
            "folder": self.folder,
            "replay": self.replay,
        }

    def told(self) -> dict[str, Any]:
        """What led there, as it stands in results.json: that may be long."""
        return {"transcript": self.calls, "sent": self.sent_in_words}
