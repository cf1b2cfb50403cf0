# SPDX-License-Identifier: Apache-2.0
"""What a run says of each profile: conformant, partial, broken, or not supported.

==============  =================================================================
conformant      of its clauses enough were judged, and all that were held
partial         too few were judged for more than that
broken          a clause is not kept, known or not; or what was claimed, or
                advertised, is not there
not supported   the runtime does not claim it, or shows nothing of it
==============  =================================================================

What is known is forgiven in the exit status, not here: conformance is of the contract.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable
from enum import StrEnum

from cri_conformance.contract import profiles
from cri_conformance.contract.clause import Level, Minor, Needs
from cri_conformance.contract.verdict import Reason, Verdict
from cri_conformance.report.schema import ClauseResult, ProfileResult, Suite, Target
from cri_conformance.report.text import count, one_line

JUDGED = (Verdict.HELD, Verdict.BROKEN, Verdict.KNOWN, Verdict.WARNED, Verdict.RECORDED)
#: The runtime's own no: it has not what a clause is about.
_ABSENT = (Reason.NOT_ADVERTISED, Reason.YOUNGER)
#: Why a clause was left out that --cri-clauses-as-of is too old for; begins with SWITCHED_OFF.
AS_OF = f"{Reason.SWITCHED_OFF}: judged as of "


class State(StrEnum):
    """What is said of a profile."""

    CONFORMANT = "conformant"
    PARTIAL = "partial"
    BROKEN = "broken"
    NOT_SUPPORTED = "not supported"


def evaluate(clauses: Iterable[ClauseResult], suite: Suite, target: Target) -> list[ProfileResult]:
    """Every profile, in their order."""
    of: dict[str, list[ClauseResult]] = {name: [] for name in profiles.NAMES}
    for clause in clauses:
        if clause["profile"] in of:
            of[clause["profile"]].append(clause)
    signs = profiles.advertised(target.get("status") or {}, target["handler"])
    return [_one(p, of[p.name], signs, suite, target) for p in profiles.PROFILES]


def _one(
    profile: profiles.Profile,
    clauses: list[ClauseResult],
    signs: list[str],
    suite: Suite,
    target: Target,
) -> ProfileResult:
    claims = frozenset(suite["profiles"])
    named = profile.name in claims
    tested = [clause for clause in clauses if _asked(clause, target)]
    absent = [clause for clause in tested if clause["reason"].startswith(_ABSENT)]
    asked = tested
    if not profile.core and not named:
        # Nobody has said that it is there, so what the runtime says no to is not asked of it.
        asked = [clause for clause in tested if clause not in absent]
    judged = [clause for clause in asked if clause["verdict"] in JUDGED]
    broken = [clause for clause in clauses if clause["verdict"] == Verdict.BROKEN]
    known = [c for c in clauses if c["verdict"] == Verdict.KNOWN or (c["flaky"] and c in judged)]
    missing = [] if suite["selection"] else _missing(clauses, signs)
    least = math.ceil(profile.minimum * len(asked))
    few = len(judged) < least
    if named and few and not profile.core and len(judged) + len(absent) >= least:
        missing.append(f"claimed, and not there: {one_line(absent[0]['reason'], 200)}")
    # What a runtime says no to more often than not it has not, though it refuses well.
    shown = len(tested) > 2 * len(absent) or bool(broken or known or missing)
    supported = profile.core or named or (not claims and shown)
    errors = any(clause["verdict"] == Verdict.ERROR for clause in asked)
    if broken or known or missing:
        state = State.BROKEN
    elif not supported:
        state = State.NOT_SUPPORTED
    elif few or errors or not judged or suite["selection"]:
        state = State.PARTIAL
    else:
        state = State.CONFORMANT
    return ProfileResult(
        name=profile.name,
        text=profile.text,
        core=profile.core,
        claimed=profile.core or named,
        verdict=str(state),
        judged=len(judged),
        asked=len(asked),
        minimum=least,
        broken=len(broken),
        known=len(known),
        missing=missing,
        short=supported and not suite["selection"] and _short(profile, asked, named=named),
    )


def _asked(clause: ClauseResult, target: Target) -> bool:
    """Whether a clause counts for the minimum: it binds, has a test, and could be judged.

    A wording younger than the runtime's contract is not asked of it, nor of the reference
    runtime what it can't have.
    """
    return bool(
        Level(clause["level"]).binding
        and clause["needs"] in (Needs.NOTHING, Needs.HOST, Needs.IMAGE)
        and clause["tests"]
        and Minor.parse(clause["since"]) <= Minor.parse(target["minor"])
        and not clause["reason"].startswith(AS_OF)
        and (target["isolates"] or not clause["reason"].startswith(Reason.NOT_ADVERTISED))
    )


def _short(profile: profiles.Profile, asked: list[ClauseResult], *, named: bool) -> bool:
    """Whether so little was judged that the run as a whole is incomplete.

    Where nobody has claimed the profile, a run without the runtime's host is not blamed for it.
    """
    if not named:
        asked = [clause for clause in asked if clause["needs"] == Needs.NOTHING]
    judged = [clause for clause in asked if clause["verdict"] in JUDGED]
    return len(judged) < math.ceil(profile.minimum * len(asked))


def _missing(clauses: list[ClauseResult], signs: list[str]) -> list[str]:
    """Features that Status advertises, and whose clauses met a runtime that has them not."""
    found = []
    for sign in signs:
        patterns = profiles.ADVERTISED[sign]
        about = [c for c in clauses if any(fnmatch.fnmatchcase(c["id"], p) for p in patterns)]
        absent = [c for c in about if c["reason"].startswith(Reason.NOT_ADVERTISED)]
        if absent and not any(c["verdict"] in JUDGED for c in about):
            name, why = sign.rpartition(".")[2], one_line(absent[0]["reason"], 200)
            found.append(f"{name} is advertised, and not there: {absent[0]['id']}: {why}")
    return found


def supported(results: Iterable[ProfileResult]) -> list[ProfileResult]:
    """Those of which something is said."""
    return [one for one in results if one["verdict"] != State.NOT_SUPPORTED]


def too_short(results: Iterable[ProfileResult]) -> str:
    """Which profiles were judged too little, in words; "" for none."""
    short = [one for one in results if one["short"]]
    told = [
        f"{one['name']} {one['judged']} of {count(one['asked'], 'clause')}, "
        f"{one['minimum']} are needed"
        for one in short[:3]
    ]
    more = f"; and {len(short) - 3} more profiles" if len(short) > 3 else ""
    return "; ".join(told) + more
