# SPDX-License-Identifier: Apache-2.0
"""Which clauses a run is narrowed to."""

from __future__ import annotations

from collections.abc import Container

from cri_conformance.contract import ages
from cri_conformance.contract.profiles import profile_of
from cri_conformance.contract.register import Register


def narrowed(
    register: Register,
    clause: str = "",
    levels: Container[str] = (),
    profiles: Container[str] = (),
    as_of: str = "",
) -> frozenset[str]:
    """Ids of the clauses that patterns, levels, profiles and a version leave in; "" or () all."""
    return frozenset(
        c.id
        for c in register.matching(clause or "*")
        if (not levels or c.level in levels)
        and (not profiles or profile_of(c.element) in profiles)
        and not ages.younger(c, as_of)
    )
