# SPDX-License-Identifier: Apache-2.0
"""The one command that shows a clause's verdict again."""

from __future__ import annotations

from cri_conformance.contract.verdict import Verdict
from cri_conformance.report.findings import of_clauses
from cri_conformance.report.schema import Results


def commands(results: Results) -> dict[str, str]:
    """By clause, for those that are broken: of a campaign's findings their story is played."""
    found = {
        record["clause"]: test["replay"]
        for test in reversed(results["tests"])
        for record in test["clauses"]
        if record["verdict"] == Verdict.BROKEN
    }
    for clause, findings in of_clauses(results["campaigns"]).items():
        replay = next((one["replay"] for one in findings if one["replay"]), "")
        if clause in found and replay:
            found[clause] = replay
    return found
