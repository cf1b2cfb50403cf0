# SPDX-License-Identifier: Apache-2.0
"""Stories: written down, played again, made shorter."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from cri_conformance.api import types
from cri_conformance.fuzz.judging import cause_of
from cri_conformance.fuzz.story import (
    Recorder,
    alone,
    at_other_moments,
    at_pace,
    play,
    playable,
    smaller,
)


class Steps:
    """Gives out ids, and notes what it is asked for."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def make(self, config: types.ContainerConfig | None = None) -> str:
        self.seen.append(config)
        return f"{len(self.seen):064x}"

    def stop(self, thing: str, **fields: Any) -> None:
        self.seen.append((thing, fields))


def _recorded() -> Recorder:
    told = Recorder(Steps(), ("make", "stop"))
    config = types.ContainerConfig(labels={"a": "b"}, tty=True)
    first = told.make(config)
    told.make()
    told.stop(first, timeout=1)
    return told


def test_a_story_says_nothing_of_the_ids_of_its_run():
    story = json.loads(json.dumps(_recorded().story))
    assert [step["do"] for step in story] == ["make", "make", "stop"]
    assert story[2]["with"] == {"thing": {"ref": story[0]["gives"]}, "timeout": 1}
    assert not any("0" * 20 in str(step) for step in story)


def test_a_story_played_again_makes_the_same_calls():
    steps = Steps()
    assert not play(steps, json.loads(json.dumps(_recorded().story)))
    assert steps.seen == _recorded().inner.seen


def test_a_step_about_what_was_not_made_is_left_out():
    steps = Steps()
    story = _recorded().story
    left_out = play(steps, story[1:])
    assert steps.seen == [None]
    assert left_out == "step 2, stop, is about m1, which no step before it gave"
    assert playable(story[1:]) == story[1:2]
    assert playable(story) == story


def test_the_smallest_story_has_only_what_is_needed():
    tried = 0

    def shows(story: list[dict[str, Any]]) -> bool:
        nonlocal tried
        tried += 1
        steps = Steps()
        play(steps, story)
        return any(isinstance(one, types.ContainerConfig) and one.tty for one in steps.seen)

    shortest = smaller(_recorded().story * 8, shows)
    assert len(shortest) == 1
    assert shortest[0]["with"]["config"]["fields"] == {"tty": True}
    assert tried < 40


def test_a_cause_is_the_same_for_other_ids_names_and_numbers():
    one = f"container {'a1' * 32} of pod-0a1b2c3d-00112233 ended after 3 s"
    other = f"container {'b2' * 32} of pod-ffffffff-99887766 ended after 12 s"
    assert cause_of(one) == cause_of(other)
    assert cause_of(one) != cause_of("container ended")


def test_of_several_changes_only_those_are_kept_that_are_needed():
    changes = [{"n": number} for number in range(4)]
    story = [{"do": "send", "with": {"base": "x", "mutations": changes}}]
    found = smaller(story, lambda one: {"n": 2} in one[0]["with"]["mutations"])
    assert found[0]["with"] == {"base": "x", "mutations": [{"n": 2}]}


def _step(do: str, gives: str = "", **given: Any) -> dict[str, Any]:
    return {"do": do, "with": given, **({"gives": gives} if gives else {})}


def test_a_step_alone_has_what_it_needs_and_no_more():
    story = [
        _step("run", "p"),
        _step("run", "q"),
        _step("create", "c", sandbox={"ref": "p"}),
        _step("create", "d", sandbox={"ref": "q"}),
        _step("start", container={"ref": "c"}),
        _step("start", containers=[{"id": {"ref": "d"}}]),
    ]
    assert alone(story, 4) == [story[0], story[2], story[4]]
    assert alone(story, 5) == [story[1], story[3], story[5]]
    assert alone(story, 1) == [story[1]]


def test_calls_are_given_up_sooner_and_all_else_is_as_it_was():
    story = [_step("start", seconds=0.5, way="cancel"), _step("stop"), _step("ask", seconds=0.0)]
    assert at_pace(story, 0.5) == [_step("start", seconds=0.25, way="cancel"), *story[1:]]


def test_other_moments_leave_all_else_as_it_was():
    story = [_step("start", seconds=0.1, way="cancel"), _step("stop")]
    [first, last] = at_other_moments(story, Random(0))
    assert first["with"].pop("way") == "cancel"
    assert 0.001 <= first["with"]["seconds"] < 0.32
    assert first["with"]["seconds"] != 0.1
    assert last == story[1]
    assert story[0]["with"]["seconds"] == 0.1
