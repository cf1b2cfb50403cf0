# SPDX-License-Identifier: Apache-2.0
"""What is otherwise than in an earlier run's results.

A clause is *not kept* if it is broken, known or not; *kept* if it was judged and is not
that. Of a clause that was not judged in one of the two nothing is said but that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cri_conformance.contract.verdict import Verdict
from cri_conformance.report.schema import Baseline, ClauseResult, Results

NOT_KEPT = frozenset({Verdict.BROKEN, Verdict.KNOWN})
KEPT = frozenset({Verdict.HELD, Verdict.WARNED, Verdict.RECORDED})


def against(clauses: Iterable[ClauseResult], before: Results | None, source: str = "") -> Baseline:
    """These clauses beside those of a baseline."""
    if before is None:
        return Baseline(
            source="",
            runtime_name="",
            runtime_version="",
            version="",
            started="",
            new=[],
            gone=[],
            unjudged=[],
        )
    then = by_id(before)
    new, gone, unjudged = [], [], []
    for clause in clauses:
        was = then[clause["id"]]["verdict"] if clause["id"] in then else None
        if clause["verdict"] == Verdict.BROKEN and was not in NOT_KEPT:
            new.append(clause["id"])
        elif clause["verdict"] in KEPT and was in NOT_KEPT:
            gone.append(clause["id"])
        elif was in NOT_KEPT | KEPT and clause["verdict"] not in NOT_KEPT | KEPT:
            unjudged.append(clause["id"])
    return Baseline(
        source=source,
        runtime_name=before["target"]["runtime_name"],
        runtime_version=before["target"]["runtime_version"],
        version=before["suite"]["version"],
        started=before["suite"]["started"],
        new=new,
        gone=gone,
        unjudged=unjudged,
    )


def by_id(results: Results) -> Mapping[str, ClauseResult]:
    """Clauses by id."""
    return {clause["id"]: clause for clause in results["clauses"]}
