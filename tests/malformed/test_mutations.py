# SPDX-License-Identifier: Apache-2.0
"""Mutations: plain data, the same bytes for the same data, and of every kind."""

from __future__ import annotations

import json

import hypothesis
from google.protobuf.message import DecodeError
from hypothesis import given, settings

from cri_conformance.api import types
from cri_conformance.malformed.fields import parse
from cri_conformance.malformed.mutations import (
    WAYS,
    WHOLE,
    Mutation,
    Mutator,
    apply,
    by_chance,
    mutations,
)

CONFIG = types.PodSandboxConfig(
    metadata=types.PodSandboxMetadata(name="n", uid="u", namespace="ns", attempt=1),
    labels={"a": "b"},
    linux=types.LinuxPodSandboxConfig(cgroup_parent="/x"),
)
REQUEST = types.RunPodSandboxRequest(config=CONFIG, runtime_handler="h")
DATA = REQUEST.SerializeToString(deterministic=True)
TREE = parse(DATA, types.RunPodSandboxRequest.DESCRIPTOR)


def test_without_mutations_the_message_is_as_it_was() -> None:
    assert apply(TREE, []) == DATA


def test_the_same_seed_makes_the_same_mutations() -> None:
    mutator = Mutator(TREE)
    some, again = (
        [mutator.some(choose) for _ in range(100)] for choose in (by_chance(1), by_chance(1))
    )
    assert some == again
    assert some != [mutator.some(by_chance(2)) for _ in range(100)]


def test_plain_data_says_all() -> None:
    mutator, choose = Mutator(TREE), by_chance(3)
    for _ in range(200):
        sent = mutator.some(choose)
        written = json.loads(json.dumps([one.plain() for one in sent]))
        assert apply(TREE, [Mutation.of(one) for one in written]) == apply(TREE, sent)


def test_every_way_is_gone_and_applies_to_any_message() -> None:
    mutator, choose, met = Mutator(TREE), by_chance(4), set()
    for _ in range(20_000):
        one = mutator.one(choose)
        if one.what not in met:
            apply((), [one])
            apply(TREE, [one, one])
        met.add(one.what)
    assert met == {*WAYS, *WHOLE}


def test_many_are_messages_still_and_many_are_none() -> None:
    mutator, choose, messages = Mutator(TREE), by_chance(5), 0
    for _ in range(400):
        try:
            types.RunPodSandboxRequest.FromString(apply(TREE, mutator.some(choose)))
            messages += 1
        except DecodeError:
            pass
    assert 100 < messages < 300


@given(mutations(TREE))
@settings(max_examples=50, derandomize=True, database=None)
def test_hypothesis_chooses_too(sent: list[Mutation]) -> None:
    assert isinstance(apply(TREE, sent), bytes)


def test_hypothesis_shrinks_to_one_simple_mutation() -> None:
    smallest = hypothesis.find(
        mutations(TREE),
        lambda sent: b"../" in apply(TREE, sent),
        settings=settings(derandomize=True, max_examples=2000, database=None),
    )
    assert len(smallest) == 1
    assert smallest[0].what in ("text", "extended")
