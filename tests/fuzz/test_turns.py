# SPDX-License-Identifier: Apache-2.0
"""How modes share the time of a campaign."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest

from cri_conformance.fuzz import turns
from cri_conformance.fuzz.turns import TurnOver, Turns
from cri_conformance.settings import Budget


@dataclass
class Named:
    """As much of a mode as turns know of it."""

    name: str
    weight: int = 1


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def _turns(budget: Budget, *modes: Any) -> Turns:
    player: Any = None
    return Turns([(mode, player) for mode in modes], budget)


def _played(of: Turns, clock: Clock, takes: dict[str, float], number: int) -> list[str]:
    names = []
    for _ in range(number):
        share = of.next()
        assert share
        names.append(share.mode.name)
        with of.turn(share):
            clock.now += takes[share.mode.name]
    return names


def test_what_took_long_is_made_up_for(clock: Clock) -> None:
    """As when one mode's finding is tried again for minutes."""
    of = _turns(Budget(seconds=600), Named("slow"), Named("quick"))
    assert _played(of, clock, {"slow": 9, "quick": 3}, 6) == [
        *("slow", "quick", "quick", "quick"),
        *("slow", "quick"),
    ]


def test_a_heavy_one_has_so_much_more(clock: Clock) -> None:
    of = _turns(Budget(seconds=600), Named("heavy", 3), Named("light"))
    played = _played(of, clock, {"heavy": 5, "light": 5}, 40)
    assert (played.count("heavy"), played.count("light")) == (30, 10)


def test_steps_are_made_one_mode_after_the_other(clock: Clock) -> None:
    """What a seed plays must not hang on how fast the runtime is."""
    of = _turns(Budget(steps=600), Named("slow", 3), Named("quick"))
    assert _played(of, clock, {"slow": 9, "quick": 1}, 4) == ["slow", "quick", "slow", "quick"]


def test_a_turn_ends_with_its_sequence_when_it_had_its_part(clock: Clock) -> None:
    of = _turns(Budget(seconds=100), Named("a"), Named("b"))
    share = of.next()
    assert share
    part = 100 / 2 / turns.ROUNDS
    with of.turn(share):
        clock.now += part * 10
        of.begin()  # One it always has: the look before it may have taken all the time.
        with pytest.raises(TurnOver):
            of.begin()
    with of.turn(share):
        of.begin()
        clock.now += part * 0.9
        of.begin()


def test_who_had_no_step_is_told_but_not_who_can_not_go_on() -> None:
    of = _turns(Budget(seconds=9), Named("a"), Named("b"), Named("c"))
    first = of.next()
    assert first
    assert first.mode.name == "a"
    of.ends(first)
    assert of.unplayed({"b": 7}) == ["c"]
