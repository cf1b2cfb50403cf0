# SPDX-License-Identifier: Apache-2.0
"""The one command that shows a broken clause again."""

from __future__ import annotations

import shlex

from cri_conformance.contract.verdict import Verdict
from cri_conformance.report.schema import Finding, Results
from cri_conformance.report.text import REPLAY_OPTIONS


def commands(results: Results) -> dict[str, str]:
    """By clause, for those that are broken: of a campaign's findings their story is played."""
    found = {
        record["clause"]: test["replay"]
        for test in reversed(results["tests"])
        for record in test["clauses"]
        if record["verdict"] == Verdict.BROKEN
    }
    for campaign in reversed(results["campaigns"]):
        for finding in reversed(campaign["findings"]):
            if finding["clause"] in found and (command := of_finding(finding, results)):
                found[finding["clause"]] = command
    return found


def of_finding(finding: Finding, results: Results) -> str:
    """How a finding is played again; "" if there is nothing to play."""
    if not finding["steps"] or not finding["folder"]:
        return ""
    return shlex.join(
        ["cri-conformance", "replay", finding["folder"], *_told(results["suite"]["command"])]
    )


def _told(command: str) -> list[str]:
    words = shlex.split(command)
    told = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option in REPLAY_OPTIONS:
            told.append(f"{option}={value if equals else following}")
    return told
