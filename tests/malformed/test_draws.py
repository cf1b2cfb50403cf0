# SPDX-License-Identifier: Apache-2.0
"""What is sent next: every end once, in another order for another seed, then by chance."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cri_conformance.api import types
from cri_conformance.malformed.boundaries import boundaries
from cri_conformance.malformed.draws import Draws
from cri_conformance.malformed.fields import parse
from cri_conformance.malformed.mutations import Mutator, by_chance

_MESSAGES = {
    "StopContainer.plain": types.StopContainerRequest(container_id="c", timeout=1),
    "ContainerStatus.plain": types.ContainerStatusRequest(container_id="c", verbose=True),
}


def _bases() -> Any:
    trees = {
        name: parse(message.SerializeToString(), message.DESCRIPTOR)
        for name, message in _MESSAGES.items()
    }
    return {name: SimpleNamespace(tree=one, mutator=Mutator(one)) for name, one in trees.items()}


def test_every_end_is_drawn_once_and_then_chance_decides() -> None:
    bases, choose = _bases(), by_chance(0)
    ends = [(name, (one,)) for name, base in bases.items() for one in boundaries(base.tree)]
    draws = Draws(bases, 0)
    drawn = [draws.one(bases, choose) for _ in ends]
    assert sorted(map(str, drawn)) == sorted(map(str, ends))
    assert len({str(draws.one(bases, choose)) for _ in range(20)}) > 10


def test_the_order_is_the_seed_s() -> None:
    bases, choose = _bases(), by_chance(0)

    def five(seed: int) -> list[Any]:
        draws = Draws(bases, seed)
        return [draws.one(bases, choose) for _ in range(5)]

    assert five(1) == five(1)
    assert five(1) != five(2)
