# SPDX-License-Identifier: Apache-2.0
"""Which clauses a run judges, as its options have it."""

from __future__ import annotations

import pytest

from cri_conformance.contract import ages
from cri_conformance.contract.profiles import profile_of
from cri_conformance.contract.register import register
from cri_conformance.settings import Settings


def selected(chosen: Settings) -> frozenset[str] | None:
    """Clauses that the options leave in; None for all. Raises pytest.UsageError."""
    if not (chosen.clause or chosen.levels or chosen.profiles or chosen.as_of):
        return None
    clauses = register().matching(chosen.clause or "*")
    found = frozenset(
        c.id
        for c in clauses
        if (not chosen.levels or c.level in chosen.levels)
        and (not chosen.profiles or profile_of(c.element) in chosen.profiles)
        and not ages.younger(c, chosen.as_of)
    )
    if not found:
        raise pytest.UsageError(
            f"no clause matches --cri-clause {chosen.clause!r}"
            + (" at these levels" if chosen.levels else "")
            + (" in the profiles that are claimed" if chosen.profiles else "")
            + (f" as of {chosen.as_of}" if chosen.as_of else "")
            + "; see: cri-conformance clauses"
        )
    return found
