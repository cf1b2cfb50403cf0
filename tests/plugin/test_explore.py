# SPDX-License-Identifier: Apache-2.0
"""Generated examples: which are tried, what is left of a failure, when it is enough."""

from __future__ import annotations

import random
import sys
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.explore import Depth, Explorer
from cri_conformance.expect.judge import Judge, Rules
from cri_conformance.expect.violation import SuiteMistake, Violation
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed
from cri_conformance.wire.runtime import Runtime

STABLE = "RuntimeService.Version.stable"
EMPTY = "RuntimeService.Version.empty-version"


class Scope:
    """A scope that only writes down what it holds."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.most = 0
        self.calls = 0
        self.client = SimpleNamespace(history=SimpleNamespace(mark=self.mark))

    def mark(self) -> int:
        self.calls += 1
        return self.calls

    def make(self) -> None:
        self.held.append(f"made-{self.calls}")
        self.most = max(self.most, len(self.held))

    def made(self) -> frozenset[str]:
        return frozenset(self.held)

    def close(self, keep: Collection[str] = ()) -> None:
        self.held = [name for name in self.held if name in keep]


@pytest.fixture
def scope() -> Scope:
    return Scope()


@pytest.fixture
def judge() -> Judge:
    return Judge(Rules(register(), Minor(1, 37)), [STABLE, EMPTY])


@pytest.fixture
def explore(judge: Judge, scope: Scope) -> Explorer:
    return Explorer(Depth(seed=0), judge, cast("Runtime", scope))


def _drawn(explore: Explorer) -> list[tuple[str, int]]:
    seen: list[tuple[str, int]] = []
    explore(
        lambda text, number: seen.append((text, number)),
        examples=40,
        text=st.text(),
        number=st.integers(),
    )
    return seen


def test_examples_hang_on_the_seed_alone(
    judge: Judge,
    scope: Scope,
    explore: Explorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = _drawn(explore)
    # Hypothesis takes constants from the user's own modules, and chance from wherever it is.
    tmp_path.joinpath("decoy_of_constants.py").write_text(
        "\n".join(f"A{n} = {123456789 + n}; B{n} = 'decoy-{n}'" for n in range(200))
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("decoy_of_constants")
    random.seed(99)
    profile = hypothesis.settings.get_current_profile_name()
    hypothesis.settings.register_profile("vendor", derandomize=True, max_examples=3)
    hypothesis.settings.load_profile("vendor")
    try:
        again = _drawn(explore)
    finally:
        hypothesis.settings.load_profile(profile)
        del sys.modules["decoy_of_constants"]
    assert again == first
    assert _drawn(Explorer(Depth(seed=1), judge, cast("Runtime", scope))) != first


def test_shrinks_to_the_smallest(explore: Explorer, judge: Judge) -> None:
    def check(number: int) -> None:
        judge.that(STABLE, number < 100, permitted="less than 100", actual=number)

    with pytest.raises(Violation) as raised:
        explore(check, examples=100, number=st.integers(0, 100_000))
    assert raised.value.actual == "100"
    assert judge.records[STABLE]["actual"] == "100"


def test_two_clauses_are_not_mixed_by_shrinking(explore: Explorer, judge: Judge) -> None:
    def check(number: int) -> None:
        judge.that(STABLE, number < 5000, permitted="less than 5000", actual=number)
        judge.that(EMPTY, number < 10, permitted="less than 10", actual=number)

    with pytest.raises(Violation) as raised:
        explore(check, examples=50, tried=({"number": 9000},), number=st.integers(0, 100_000))
    wanted = {STABLE: "5000", EMPTY: "10"}
    assert raised.value.actual in (wanted[raised.value.clause.id], "9000")


@pytest.mark.parametrize("error", [RuntimeGone, SetupFailed, SuiteMistake])
def test_what_no_example_explains_ends_it_at_once(
    explore: Explorer, error: type[Exception]
) -> None:
    tried: list[int] = []

    def check(number: int) -> None:
        tried.append(number)
        raise error("told once")

    with pytest.raises(error, match="told once"):
        explore(check, number=st.integers())
    assert len(tried) == 1


def test_machine_shows_a_violation(explore: Explorer, judge: Judge, scope: Scope) -> None:
    class Counter(RuleBasedStateMachine):
        judge: Judge
        scope: Scope

        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        @rule()
        def step(self) -> None:
            self.count += 1
            self.scope.make()
            self.judge.that(STABLE, self.count < 3, permitted="fewer", actual=self.count)

    with pytest.raises(Violation) as raised:
        explore.machine(Counter, examples=10, steps=10, judge=judge, scope=scope)
    assert raised.value.actual == "3"
    assert scope.held == []


def test_machine_ends_at_once_when_the_runtime_is_gone(explore: Explorer) -> None:
    class Dying(RuleBasedStateMachine):
        steps = 0

        @rule()
        def step(self) -> None:
            Dying.steps += 1
            raise RuntimeGone("it died")

    with pytest.raises(RuntimeGone, match="it died"):
        explore.machine(Dying, examples=10, steps=10)
    assert Dying.steps == 1


def test_objects_go_with_their_example(explore: Explorer, scope: Scope) -> None:
    scope.held.append("of the test itself")

    def check(number: int) -> None:
        scope.make()
        scope.make()

    explore(check, examples=20, number=st.integers())
    assert scope.most == 3
    assert scope.held == ["of the test itself"]


def test_budget(explore: Explorer, scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("cri_conformance.expect.explore.time.monotonic", lambda: now[0])
    tried: list[int] = []

    def check(number: int) -> None:
        tried.append(number)
        now[0] += 60

    with pytest.raises(SetupFailed, match="the time for one property is over"):
        explore(check, examples=20, number=st.integers())
    assert len(tried) == 3, "150 seconds are full"


def test_shrinking_has_a_budget_of_its_own(
    explore: Explorer, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("cri_conformance.expect.explore.time.monotonic", lambda: now[0])
    tried: list[Any] = []

    def check(number: int) -> None:
        tried.append(number)
        now[0] += 6
        judge.that(STABLE, number < 3, permitted="less", actual=number)

    with pytest.raises(Violation):
        explore(check, tried=({"number": 90_000},), number=st.integers(0, 100_000))
    assert len(tried) <= 6
