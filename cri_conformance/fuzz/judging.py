# SPDX-License-Identifier: Apache-2.0
"""The judge of a campaign: bound to every clause, and told of each thing only once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from cri_conformance.expect.judge import Judge, Rules
from cri_conformance.expect.violation import Violation

_ID = re.compile(r"\b[0-9a-f]{12,}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_NAME = re.compile(r"\b[a-z]+-[0-9a-f]{8,}-[0-9a-f]{8}\b")
_NUMBER = re.compile(r"\d+")
#: Longest cause: two that begin alike are one.
_LONGEST = 160


def cause_of(actual: str) -> str:
    """What came, without what differs from one time to the next: ids, names and numbers."""
    text = _NUMBER.sub("N", _ID.sub("ID", _NAME.sub("NAME", actual)))
    return " ".join(text.split())[:_LONGEST]


Key = tuple[str, str]
"""A finding's identity: its clause (or crash, hang, leak), and its cause."""


def key_of(error: Violation) -> Key:
    """The identity of a violation."""
    return error.clause.id, cause_of(error.actual)


class CampaignJudge(Judge):
    """Judges any clause. What is in ``muted`` was found before: it is counted, and no more."""

    one_story = False

    def __init__(self, rules: Rules, now: Callable[[], int] = lambda: 0) -> None:
        super().__init__(rules, rules.register.clauses, now)
        self.muted: Counter[Key] = Counter()

    def mute(self, key: Key) -> None:
        """Let the campaign go on past this from now on."""
        self.muted[key] += 1

    def that(
        self,
        clause_id: str,
        kept: object,
        *,
        permitted: object,
        actual: object,
        about: Iterable[str] = (),
    ) -> None:
        try:
            super().that(clause_id, kept, permitted=permitted, actual=actual, about=about)
        except Violation as error:
            key = key_of(error)
            if key not in self.muted:
                raise
            self.muted[key] += 1
            self.broken = None

    def warned(self, violation: Violation) -> None:
        # It fails no run, and who wants to mend it must be able to see it again.
        if violation.clause.id not in self.rules.known:
            raise violation

    def unjudged(self) -> list[str]:
        """None: a campaign judges what it comes by."""
        return []
