# SPDX-License-Identifier: Apache-2.0
"""Turns of a state machine, and Hypothesis in the midst of them."""

from __future__ import annotations

from typing import Any

import hypothesis.core
import pytest
from hypothesis.stateful import RuleBasedStateMachine, rule

from cri_conformance.fuzz.machine import turn


class Idle(RuleBasedStateMachine):
    @rule()
    def nothing(self) -> None:
        pass


def test_an_interrupt_before_hypothesis_has_begun_ends_the_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It fails by an assertion of its own then; a campaign would take that for a mistake."""

    def interrupted(*given: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(hypothesis.core, "function_digest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        turn(
            Idle,
            seed=1,
            database=None,
            reuse=False,
            begin=lambda story: None,
            ended=lambda machine, error: None,
        )
