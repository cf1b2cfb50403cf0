# SPDX-License-Identifier: Apache-2.0
"""Answers of a runtime in the words of the model."""

from __future__ import annotations

from typing import Any

from cri_conformance.model.states import ABSENT
from cri_conformance.wire.outcome import Ok, Outcome, Refused


def whole(call: str, outcome: Outcome) -> Outcome:
    """An exec whose command failed has not succeeded, whatever the call says."""
    if call == "ExecSync" and isinstance(outcome, Ok) and outcome.response.exit_code:
        return Refused(f"exit code {outcome.response.exit_code}", "")
    return outcome


def in_a_word(outcome: Outcome) -> str:
    """OK, the code of a refusal, or that there was no answer."""
    if isinstance(outcome, Ok):
        return "OK"
    return outcome.code if isinstance(outcome, Refused) else "UNKNOWN-OUTCOME"


def status_shown(outcome: Outcome, kind: Any) -> str:
    """The state that a status call shows, ABSENT for an error, "" for no answer."""
    if isinstance(outcome, Ok):
        return state_name(kind, outcome.response.status.state)
    return ABSENT if isinstance(outcome, Refused) else ""


def state_name(kind: Any, number: int) -> str:
    """A state by its name; a number that the contract has not as it is."""
    return str(kind.Name(number)) if number in kind.values() else f"state {number}"
