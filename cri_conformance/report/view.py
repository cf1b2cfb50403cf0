# SPDX-License-Identifier: Apache-2.0
"""The page as data: everything that the template only has to write down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cri_conformance.api.descriptors import descriptor_set
from cri_conformance.contract.verdict import Verdict
from cri_conformance.report import again, campaigns, reasons, remains
from cri_conformance.report.brief import whole
from cri_conformance.report.cards import CALLS, RICH, Card, Found, Trouble, cards, found, troubles
from cri_conformance.report.exit import Ending, ending, failures, judged
from cri_conformance.report.exit import known as known_findings
from cri_conformance.report.findings import distinct, is_breach, of_clauses
from cri_conformance.report.latency import MARKS, LatencyRow, latency_row
from cri_conformance.report.lifecycle import Table, tables
from cri_conformance.report.met import Met, met
from cri_conformance.report.profiles import State
from cri_conformance.report.schema import Campaign, ClauseResult, Finding, ProfileResult, Results
from cri_conformance.report.terminal import said
from cri_conformance.report.text import count, one_line, took
from cri_conformance.report.tree import calls


@dataclass(frozen=True, slots=True)
class Banner:
    """The verdict on the whole. ``tone`` is good, bad, unsure: it chooses the colour."""

    tone: str
    headline: str
    sentence: str
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Group:
    """The clauses of one message or enum, or of a call itself (whose name is then "")."""

    name: str
    clauses: list[ClauseResult] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Branch:
    """A call with everything that hangs from it, or the service itself."""

    id: str
    name: str
    groups: list[Group]
    counts: dict[str, int]

    @property
    def open(self) -> bool:
        """Whether there is something to see at once."""
        return bool(self.counts.get(Verdict.BROKEN))


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the page shows."""

    results: Results
    banner: Banner
    facts: list[tuple[str, str]]
    counts: list[tuple[str, int]]
    broken: list[Card]
    known: list[Card]
    warned: list[Card]
    troubles: list[Trouble]
    stale: list[ClauseResult]
    tree: dict[str, list[Branch]]
    kinds: list[str]
    levels: list[str]
    lifecycle: list[Table]
    latencies: list[LatencyRow]
    marks: tuple[str, ...]
    unexercised: dict[str, list[tuple[ClauseResult, str]]]
    environment: list[tuple[str, str]]
    status: str
    #: Clauses that have a card: their anchor is there and not in the tree.
    carded: frozenset[str]
    #: How what is broken is seen again, by clause.
    replays: dict[str, str]
    #: What campaigns found that no card of a clause tells of, and what one does.
    found: list[Found]
    told: list[Finding]
    met: list[Met]

    @property
    def broken_first(self) -> list[Card]:
        """What broke, what is new against the baseline first."""
        new = set(self.results["baseline"]["new"])
        return sorted(self.broken, key=lambda card: card.clause["id"] not in new)

    def notes(self, campaign: Campaign) -> list[str]:
        """Why a campaign is not the whole."""
        return campaigns.notes(campaign)

    @property
    def against(self) -> list[tuple[str, list[str]]]:
        """What is otherwise than in the baseline."""
        base = self.results["baseline"]
        found = [
            ("newly broken", base["new"]),
            ("not kept then, and held now", base["gone"]),
            ("judged then, and not now", base["unjudged"]),
        ]
        return [(title, ids) for title, ids in found if ids]

    def profile_tone(self, profile: ProfileResult) -> str:
        """The class that colours a profile's verdict."""
        if profile["verdict"] == State.PARTIAL and self.results["suite"]["selection"]:
            # That it was judged in part is the user's choice, and nothing to be warned of.
            return "v-not-exercised"
        return _PROFILE_TONES.get(profile["verdict"], "v-not-exercised")

    def reason(self, clause: ClauseResult) -> str:
        """Why a clause was not exercised, without the detail."""
        return str(reasons.reason_of(clause["reason"]))


def view(results: Results) -> View:
    """The page of these results."""
    clauses, tests = results["clauses"], results["tests"]
    played = results["campaigns"]
    findings = of_clauses(played)
    broken, known, warned = (
        cards(clauses, tests, verdict, RICH, findings)
        for verdict in (Verdict.BROKEN, Verdict.KNOWN, Verdict.WARNED)
    )
    carded = frozenset(card.clause["id"] for card in (*broken, *known, *warned))
    told: list[Finding] = []
    others: list[Finding] = []
    for one in distinct(played):
        (told if is_breach(one) and one["clause"] in carded else others).append(one)
    idle = [clause for clause in clauses if clause["verdict"] == Verdict.NOT_EXERCISED]
    stale = set(results["stale"])
    return View(
        results=results,
        banner=banner(results),
        facts=_facts(results),
        counts=[(str(v), n) for v, n in _counts(clauses).items()],
        broken=broken,
        known=known,
        warned=warned,
        troubles=troubles(tests),
        stale=[clause for clause in clauses if clause["id"] in stale],
        tree=tree(clauses, judged_first=bool(results["suite"]["selection"])),
        kinds=sorted({clause["kind"] for clause in clauses}),
        levels=list(dict.fromkeys(clause["level"] for clause in clauses)),
        lifecycle=tables(results["lifecycle"], clauses),
        latencies=[latency_row(one) for one in results["latencies"]],
        marks=MARKS,
        unexercised={
            reason: [(clause, reasons.detail_of(clause["reason"])) for clause in group]
            for reason, group in reasons.grouped(idle).items()
        },
        environment=_environment(results),
        status=whole(results["target"]["status"]),
        carded=carded,
        replays=again.commands(results),
        found=[found(one, CALLS if number < RICH else 0) for number, one in enumerate(others)],
        told=told,
        met=met(played),
    )


_PROFILE_TONES: dict[str, str] = {
    State.CONFORMANT: "v-held",
    State.PARTIAL: "v-warned",
    State.BROKEN: "v-broken",
}
_TONES = {
    Ending.HELD: ("good", "CONFORMS"),
    Ending.BROKEN: ("bad", "BROKEN"),
    Ending.INTERRUPTED: ("unsure", "INTERRUPTED"),
    Ending.NOTHING: ("unsure", "NOTHING JUDGED"),
    Ending.NO_VERDICT: ("unsure", "ENVIRONMENT TROUBLE"),
    Ending.MISTAKE: ("unsure", "MISTAKE OF THE SUITE"),
    Ending.INCOMPLETE: ("unsure", "INCOMPLETE"),
}


def banner(results: Results) -> Banner:
    """The verdict, and what a reader must know before believing it."""
    end, numbers = ending(results), results["summary"]
    tone, headline = _TONES[end]
    if end is Ending.BROKEN:
        other = "EXPECTATIONS STALE" if results["stale"] else "CLAIMED AND NOT THERE"
        other = f"CAMPAIGN FOUND {len(failures(results))}" if failures(results) else other
        headline = f"BROKEN {numbers['broken']}" if numbers["broken"] else other
    selection = results["suite"]["selection"]
    if end is Ending.HELD and selection:
        # A part that held is no conformance.
        headline = "NOTHING FOUND" if results["campaigns"] else "SELECTION HELD"
        if number := len(known_findings(results)):
            headline = f"NOTHING NEW FOUND, {number} KNOWN"
    elif end is Ending.HELD and numbers["known"]:
        headline = f"NOTHING NEW BROKEN, {numbers['known']} KNOWN"
    notes = [
        f"{count(len(judged(results['clauses'])), 'clause')} of {len(results['clauses'])} "
        "were judged in this run."
    ]
    if selection:
        chosen = ", ".join(f"{key} {_words(value)}" for key, value in selection.items())
        notes.append(f"The run was narrowed: {chosen}.")
    expected, suite = results["expectations"], results["suite"]
    if suite["profiles"]:
        notes.append(f"Only what is claimed was judged: {', '.join(suite['profiles'])}.")
    if suite["as_of"]:
        notes.append(f"Judged by the clauses as of version {suite['as_of']} of the suite.")
    if overdue := expected["overdue"]:
        named = overdue[0]["clause"] or overdue[0]["finding"]
        first = f"{named} ({overdue[0]['review']})"
        more = f" and {len(overdue) - 1} more" if len(overdue) > 1 else ""
        notes.append(f"Expectations past their review date: {first}{more}.")
    notes += [f"Expectations: {note}." for note in expected["notes"]]
    if end is not Ending.NO_VERDICT and results["suite"]["stopped"]:
        notes.append(f"It stopped early: {results['suite']['stopped']}.")
    without = sum(test["blame"] in ("environment", "suite") for test in results["tests"])
    if without:
        notes.append(f"{count(without, 'test')} came to no verdict.")
    if remains.own(results):
        notes.append(
            f"What this run made was not all removed; this does it: {remains.sweep(results)}"
        )
    if forgotten := remains.forgotten(results):
        notes.append(
            f"{count(len(forgotten), 'thing')} left on the host by this runtime or another, "
            "see Environment."
        )
    sentence = said(results)[0]
    return Banner(tone, headline, sentence[:1].upper() + sentence[1:] + ".", notes)


def tree(clauses: list[ClauseResult], *, judged_first: bool = False) -> dict[str, list[Branch]]:
    """Service → calls → the call's own clauses, then those of its messages, in register order.

    ``judged_first``: calls of which something was judged come before the others, and so do
    clauses that were, within their message.
    """
    if judged_first:
        clauses = sorted(clauses, key=_idle)
    order: dict[str, dict[str, dict[str, Group]]] = {}
    # The files of messages come before those of services, so the clauses' order is not the calls'.
    ranks = {call: rank for rank, call in enumerate(calls(descriptor_set()))}
    busy = {_place(clause) for clause in clauses if judged_first and not _idle(clause)}
    for service, call in sorted(
        dict.fromkeys(_place(clause) for clause in clauses),
        key=lambda place: (
            place[0] == OTHER,
            place not in busy,
            ranks.get(".".join(place), -1),
        ),
    ):
        order.setdefault(service, {})[call] = {"": Group("")}
    for clause in clauses:
        service, call = _place(clause)
        name = clause["message"]
        order[service][call].setdefault(name, Group(name)).clauses.append(clause)
    return {
        service: [
            Branch(
                id=f"call-{service}.{call}" if call else f"service-{service}",
                name=call,
                groups=[group for group in groups.values() if group.clauses],
                counts=_counts([c for group in groups.values() for c in group.clauses]),
            )
            for call, groups in branches.items()
        ]
        for service, branches in order.items()
    }


def _idle(clause: ClauseResult) -> bool:
    return clause["verdict"] == Verdict.NOT_EXERCISED


#: Where clauses hang that no call reaches.
OTHER = "Other"


def _place(clause: ClauseResult) -> tuple[str, str]:
    service, _, call = clause["call"].partition(".")
    return service or OTHER, call


def _counts(clauses: list[ClauseResult]) -> dict[str, int]:
    counted = Counter(clause["verdict"] for clause in clauses)
    return {str(verdict): counted[verdict] for verdict in Verdict if counted[verdict]}


def _facts(results: Results) -> list[tuple[str, str]]:
    suite, target = results["suite"], results["target"]
    strict = ", strict" if suite["strict"] else ""
    return [
        ("Runtime", f"{target['runtime_name']} {target['runtime_version']}"),
        ("Endpoint", target["endpoint"]),
        ("Judged by", f"CRI {target['minor']} ({target['minor_source']})"),
        ("Depth, seed", f"{suite['depth']}, {suite['seed']}{strict}"),
        ("Started", f"{_moment(suite['started'])}, took {took(suite['seconds'])}"),
        ("Suite", suite["version"]),
    ]


def _environment(results: Results) -> list[tuple[str, str]]:
    suite, target, found = results["suite"], results["target"], results["environment"]
    rows = [
        ("Command", suite["command"]),
        ("Workers", str(suite["workers"])),
        ("Image endpoint", target["image_endpoint"]),
        ("Runtime API version", target["runtime_api_version"]),
        ("Runtime handler", target["handler"] or "(default)"),
        ("Test image", target["image"]),
        ("Host", found["hostname"]),
        ("Operating system", found["os"]),
        ("Kernel", f"{found['kernel']} {found['machine']}"),
        ("Control groups", found["cgroup"]),
        ("Security modules", ", ".join(found["security_modules"])),
        ("Processors", str(found["cpus"] or "")),
        ("Suite ran as root", "yes" if found["root"] else "no"),
        ("Python", found["python"]),
        ("Packages", ", ".join(f"{name} {at}" for name, at in found["packages"].items())),
    ]
    return [(name, value) for name, value in rows if value]


def _moment(text: str) -> str:
    """A time as results.json has it, for people; as it stands if it is none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return text


def _words(value: object) -> str:
    words = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return one_line(words, 200)
