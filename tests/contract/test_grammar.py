# SPDX-License-Identifier: Apache-2.0
"""The form of the clauses: what is read, and what is refused rather than overlooked."""

from __future__ import annotations

import pytest

from cri_conformance.contract.clause import FIRST_MINOR, Kind, Level, Minor, Needs
from cri_conformance.contract.grammar import GrammarError, parse

WHOLE = """ Stops the sandbox
 and gives its network back.

 - idempotent (MUST, idempotency): A stop of a sandbox that is stopped
   already succeeds.
 - oom-reason (KUBELET, field; since 1.27; needs host; evidence pkg/kubelet/x.go
   convertToKubeContainerStatus): The reason (of an exit) is OOMKilled.

 Since 1.25.
 History: string from 1.20; bytes from 1.37.
"""


def test_everything_a_comment_can_say() -> None:
    comment = parse(WHOLE)
    first, second = comment.clauses
    assert comment.description == "Stops the sandbox and gives its network back."
    assert comment.since == Minor(1, 25)
    assert comment.history == "string from 1.20; bytes from 1.37"
    assert (first.name, first.level, first.kind) == ("idempotent", Level.MUST, Kind.IDEMPOTENCY)
    assert first.text == "A stop of a sandbox that is stopped already succeeds."
    assert (first.since, first.needs, first.evidence) == (None, Needs.NOTHING, "")
    assert (second.since, second.needs) == (Minor(1, 27), Needs.HOST)
    assert second.evidence == "pkg/kubelet/x.go convertToKubeContainerStatus"
    assert second.text == "The reason (of an exit) is OOMKilled."
    assert (first.line, second.line) == (3, 5)


@pytest.mark.parametrize("comment", ["", "\n", " Only words.\n"])
def test_a_comment_without_clauses_is_as_old_as_the_package(comment: str) -> None:
    parsed = parse(comment)
    assert parsed.clauses == ()
    assert parsed.since == FIRST_MINOR


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("- Idempotent (MUST, idempotency): Text.", "not a clause"),
        ("- two words (MUST, idempotency): Text.", "not a clause"),
        ("- no-text (MUST, idempotency):", "not a clause"),
        ("- no-header: Text.", "not a clause"),
        ("- a (MUSTN'T, field): Text.", "MUSTN'T"),
        ("- a (MUST, feeling): Text.", "feeling"),
        ("- a (MUST): Text.", "unpack"),
        ("- a (MUST, field; needs luck): Text.", "luck"),
        ("- a (MUST, field; since yesterday): Text.", "yesterday"),
        ("- a (MUST, field; colour red): Text.", "unknown attribute"),
        ("- a (KUBELET, field): Text.", "evidence"),
        ("- a (MUST, field; evidence x.go f): Text.", "evidence"),
        ("- a (MUST, field): One.\n- a (MUST, field): Two.", "named twice"),
        ("- a (MUST, field): One.\n\nWords that come too late.", "after the clauses"),
    ],
)
def test_what_looks_like_a_clause_and_is_none_is_an_error(comment: str, said: str) -> None:
    with pytest.raises(GrammarError, match=said):
        parse(comment)


def test_minors_are_ordered_by_number_and_read_either_way() -> None:
    assert Minor.parse("1.9") < Minor.parse("v1.30")
    assert str(Minor.parse("v1.30")) == "1.30"
    for wrong in ("", "1", "1.x", "one.two", "1.2.3"):
        with pytest.raises(ValueError, match=r"not a Kubernetes minor"):
            Minor.parse(wrong)
