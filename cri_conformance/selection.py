# SPDX-License-Identifier: Apache-2.0
"""Which clauses a run judges, as its options have it."""

from __future__ import annotations

from functools import cache

import pytest

from cri_conformance.contract import patterns
from cri_conformance.contract.narrowing import narrowed
from cri_conformance.contract.register import register
from cri_conformance.report.text import one_line
from cri_conformance.settings import Settings


@cache
def selected(chosen: Settings) -> frozenset[str] | None:
    """Clauses that the options leave in; None for all. Raises pytest.UsageError."""
    if not (chosen.clause or chosen.levels or chosen.profiles or chosen.as_of):
        return None
    if pattern := patterns.idle(chosen.clause, register().matching):
        raise pytest.UsageError(
            f"no clause matches --cri-clause {pattern!r}; see: cri-conformance clauses"
        )
    found = narrowed(register(), chosen.clause, chosen.levels, chosen.profiles, chosen.as_of)
    if not found:
        raise pytest.UsageError(
            f"no clause matches --cri-clause {one_line(chosen.clause, 100)!r}"
            + (" at these levels" if chosen.levels else "")
            + (" in the profiles that are claimed" if chosen.profiles else "")
            + (f" as of {chosen.as_of}" if chosen.as_of else "")
            + "; see: cri-conformance clauses"
        )
    return found
