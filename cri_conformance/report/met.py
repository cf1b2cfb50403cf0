# SPDX-License-Identifier: Apache-2.0
"""What campaigns met: calls down, the states of their object across, codes in the cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cri_conformance.api.descriptors import descriptor_set
from cri_conformance.report.lifecycle import age, split
from cri_conformance.report.schema import Campaign
from cri_conformance.report.tree import calls

#: What stands above calls that are about no object.
NO_OBJECT = "no object"


@dataclass(slots=True)
class Met:
    """A table for one kind of object. ``cells``, by (call, state): how often each code came."""

    object: str
    states: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    cells: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)


def met(campaigns: Iterable[Campaign]) -> list[Met]:
    """Of all processes together, the tables and their parts in the order of a life."""
    made: dict[str, Met] = {}
    for one in (one for campaign in campaigns for one in campaign["met"]):
        kind, state = split(one["state"] or NO_OBJECT)
        cells = made.setdefault(kind, Met(kind)).cells
        cells.setdefault((one["call"], state), Counter())[one["code"]] += one["times"]
    ranks = {name.rpartition(".")[2]: rank for rank, name in enumerate(calls(descriptor_set()))}
    for table in made.values():
        table.states = sorted({state for _, state in table.cells}, key=age)
        table.calls = sorted(
            {call for call, _ in table.cells}, key=lambda call: (ranks.get(call, len(ranks)), call)
        )
    order = ("sandbox", "container", "image", "")
    return sorted(made.values(), key=lambda table: order.index(table.object))
