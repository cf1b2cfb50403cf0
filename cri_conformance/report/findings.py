# SPDX-License-Identifier: Apache-2.0
"""What campaigns found: each thing once, whichever process found it."""

from __future__ import annotations

from collections.abc import Iterable

from cri_conformance.report.schema import Campaign, Finding


def distinct(campaigns: Iterable[Campaign]) -> list[Finding]:
    """Of several that are alike the one that says most: which counts, and has the fewest steps."""
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in (one for campaign in campaigns for one in campaign["findings"]):
        key = finding["kind"], finding["clause"], finding["cause"]
        alike.setdefault(key, []).append(finding)
    return [
        {**max(several, key=_worth), "times": sum(one["times"] for one in several)}
        for several in alike.values()
    ]


def of_clauses(campaigns: Iterable[Campaign]) -> dict[str, list[Finding]]:
    """By clause, of findings that are its breach: a crash may name one, and is something else."""
    found: dict[str, list[Finding]] = {}
    for finding in distinct(campaigns):
        if is_breach(finding):
            found.setdefault(finding["clause"], []).append(finding)
    return found


def is_breach(finding: Finding) -> bool:
    """Whether its clause's verdict tells of it."""
    return bool(finding["clause"]) and finding["kind"] in ("clause", "open")


def _worth(finding: Finding) -> tuple[bool, bool, int]:
    return finding["counts"], finding["steps"] > 0, -finding["steps"]
