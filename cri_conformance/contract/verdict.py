# SPDX-License-Identifier: Apache-2.0
"""What can be said of a clause after a run, and why nothing was said."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypedDict

from cri_conformance.contract.clause import Needs


class Verdict(StrEnum):
    """From bad to good: the first that any test reached is the clause's own."""

    BROKEN = "broken"
    KNOWN = "known"  # broken, as the expectations file says
    ERROR = "error"  # its test could not come to a verdict: environment or suite
    WARNED = "warned"  # a SHOULD that was not kept
    HELD = "held"
    RECORDED = "recorded"  # a MAY: what the runtime does, without judgement
    NOT_EXERCISED = "not exercised"


_ORDER = {verdict: rank for rank, verdict in enumerate(Verdict)}


def rank(verdict: Verdict) -> int:
    """From 0, the worst, up."""
    return _ORDER[verdict]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a clause that several tests judged."""
    return min(verdicts, key=_ORDER.__getitem__, default=Verdict.NOT_EXERCISED)


class Reason(StrEnum):
    """Why a clause was not exercised. The list is closed."""

    NEEDS_HOST = "needs the runtime's host"
    NEEDS_HARDWARE = "needs hardware"
    NEEDS_WINDOWS = "Windows"
    NOT_ADVERTISED = "feature not advertised"
    YOUNGER = "RPC or wording younger than the runtime"
    REMOTE = "endpoint remote"
    SWITCHED_OFF = "switched off by option"
    NO_REGISTRY = "registry out of the runtime's reach"
    OTHERS = "others use the node"
    NOT_INSTALLED = "not installed here"
    NO_OCCASION = "its occasion did not arise"
    UNOBSERVABLE = "not observable by a client"
    UNTESTED = "no test yet"


def untested(needs: Needs) -> Reason:
    """Why a clause has no test: what it needs can't be had, or nobody has written one."""
    if needs is Needs.WINDOWS:
        return Reason.NEEDS_WINDOWS
    if needs is Needs.UNOBSERVABLE:
        return Reason.UNOBSERVABLE
    return Reason.UNTESTED


class ClauseRecord(TypedDict):
    """What one test found of one clause; travels on the test's report."""

    clause: str
    verdict: str
    permitted: str
    actual: str
    reason: str
