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
    played = of_clauses(results["campaigns"])
    for clause in results["clauses"]:
        replays = [one["replay"] for one in played.get(clause["id"], ()) if one["replay"]]
        if clause["verdict"] == Verdict.BROKEN and replays:
            found[clause["id"]] = replays[0]
    return found
