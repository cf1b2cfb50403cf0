# SPDX-License-Identifier: Apache-2.0
"""Violations that a runtime's maintainers know of, each with its reason.

A known clause is judged like any other: broken it shows as known, held it shows as
stale, so that an entry goes when its bug does. A known finding of campaigns
(``findings.py``) shows as known too, and is never stale. The file is TOML::

    runtime = "containerd"                  # optional: what Version calls the runtime

    [[known]]
    clause = "RuntimeService.StopPodSandbox.idempotent"
    reason = "the second stop answers NOT_FOUND"
    evidence = "permitted …; got …"         # optional, as all that follows
    link = "https://…"
    since = "1.6"                           # first version that does it
    until = "1.7"                           # first version that no longer does
    review = 2027-01-31                     # warns from this day on
    flaky = "1 in 70"                       # breaks only now and then: never stale
    campaigns = true                        # only --cri-fuzz breaks it: elsewhere it fails

    [[known]]
    finding = "leak"                        # in place of a clause, of which this is none's
    cause = "process N (shim) of ID"        # as in results.json, with * for what differs
    given_up = ["StartContainer"]           # optional: the calls that it takes
    reason = "…"
    review = 2027-01-31                     # needed: nothing else asks for it again

docs/gate.md is for those who write one.
"""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from cri_conformance.contract.clause import Level
from cri_conformance.contract.findings import Sign, parts, wrong_with
from cri_conformance.contract.register import Register
from cri_conformance.contract.versions import Version

_TABLE = "known"
_RUNTIME = "runtime"
_TEXTS = ("clause", "finding", "cause", "reason", "evidence", "link", "since", "until", "flaky")
_CAMPAIGNS = "campaigns"
#: Keys of findings alone.
_OF_FINDINGS = ("cause", "given_up")
_KEYS = (*_TEXTS, "given_up", "review", _CAMPAIGNS)
_RATE = re.compile(r"([1-9]\d{0,8}) in ([1-9]\d{0,8})")
_SUFFIX = ".toml"
#: The folder, within the package, of those that ship with it.
_SHIPPED = "expectations"


class ExpectationsError(Exception):
    """The file can't be used; a line for each mistake: the file, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A clause that is expected to break, or a finding that is expected, and why."""

    #: "" of a finding.
    clause: str
    reason: str
    link: str = ""
    evidence: str = ""
    #: The first version with the violation, and the first without it.
    since: Version | None = None
    until: Version | None = None
    review: datetime.date | None = None
    #: As in "1 in 70": it breaks now and then, so often as measured. "" for always.
    flaky: str = ""
    #: Whether only a campaign breaks it: a run of the suite is to hold it.
    campaigns: bool = False
    #: None of a clause.
    finding: Sign | None = None

    @property
    def name(self) -> str:
        """What it is about."""
        return self.clause or str(self.finding)

    def covers(self, version: Version | None) -> bool:
        """Whether it is about this version; of one that can't be read nothing is known."""
        if self.since is None and self.until is None:
            return True
        if version is None:
            return False
        return (self.since is None or self.since <= version) and (
            self.until is None or version < self.until
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """The entries of a file that are about one runtime of one version."""

    source: str = ""
    entries: Mapping[str, Expectation] = field(default_factory=dict)
    #: How many entries are about other versions.
    elsewhere: int = 0
    notes: tuple[str, ...] = ()
    #: Those on findings, in a campaign.
    findings: tuple[Expectation, ...] = ()
    #: In a run of the suite, those that count in a campaign alone.
    of_campaigns: tuple[Expectation, ...] = ()

    @property
    def all(self) -> list[Expectation]:
        """Those on clauses and on findings."""
        return [*self.entries.values(), *self.findings]

    def overdue(self, today: datetime.date) -> list[Expectation]:
        """Entries whose review date has passed."""
        return [e for e in self.all if e.review and e.review <= today]

    def forgiving(self, kind: str, cause: str, given_up: Collection[str]) -> list[Expectation]:
        """The entries by which a finding is known; [] unless all of it is."""
        found: dict[str, Expectation] = {}
        for part in parts(kind, cause):
            entry = next((e for e in self.findings if _covers(e, kind, part, given_up)), None)
            if entry is None:
                return []
            found[entry.name] = entry
        return list(found.values())


def _covers(entry: Expectation, kind: str, part: str, given_up: Collection[str]) -> bool:
    return bool(entry.finding and entry.finding.covers(kind, part, given_up))


def parted(entries: Collection[Expectation]) -> tuple[int, int]:
    """How many are about clauses, and how many about findings."""
    findings = sum(entry.finding is not None for entry in entries)
    return len(entries) - findings, findings


#: Nothing is expected.
NONE = Applied()


@dataclass(frozen=True, slots=True)
class Expectations:
    """A file of expectations."""

    source: str
    runtime: str
    entries: tuple[Expectation, ...]

    def at(self, runtime: str, version: str, *, campaign: bool = False) -> Applied:
        """What is expected of a runtime, in a campaign or in a run of the suite.

        Raises ExpectationsError if it is another's file.
        """
        if self.runtime and self.runtime != runtime:
            raise ExpectationsError(
                f"{self.source} is about {self.runtime}, and this runtime calls itself {runtime!r}"
            )
        notes: tuple[str, ...] = ()
        parsed: Version | None = None
        try:
            parsed = Version.parse(version)
        except ValueError:
            if any(e.since or e.until for e in self.entries):
                notes = (
                    f"entries with since or until don't count: {version!r} can't be read "
                    "as a version",
                )
        covering = [e for e in self.entries if e.covers(parsed)]
        entries = {e.clause: e for e in covering if e.clause and (campaign or not e.campaigns)}
        found = tuple(e for e in covering if campaign and e.finding)
        other = tuple(e for e in covering if not campaign and (e.finding or e.campaigns))
        elsewhere = len(self.entries) - len(covering)
        return Applied(self.source, entries, elsewhere, notes, found, other)


def shipped() -> list[str]:
    """Names of the files that ship with the package."""
    folder = resources.files("cri_conformance").joinpath(_SHIPPED)
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


def is_path(given: str) -> bool:
    """Whether it is a path; else it is the name of a file that ships with the package."""
    return "/" in given or given.endswith(_SUFFIX)


def find(given: str, register: Register) -> Expectations:
    """The file of a path, or of a name. Raises ExpectationsError."""
    if is_path(given) or (given not in shipped() and Path(given).is_dir()):
        return load(Path(given), register)
    if given not in shipped():
        if Path(given).is_file():
            raise ExpectationsError(f"{given!r} is taken for a name; for the file write ./{given}")
        raise ExpectationsError(
            f"no expectations named {given!r} ship with the suite, only {', '.join(shipped())}; "
            f"a file of yours is given by its path, as in ./{given}{_SUFFIX}"
        )
    text = resources.files("cri_conformance").joinpath(_SHIPPED, f"{given}{_SUFFIX}")
    return parse(text.read_text(encoding="utf-8"), f"{given} (of the suite)", register)


def load(path: Path, register: Register) -> Expectations:
    """The expectations of a file. Raises ExpectationsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise ExpectationsError(f"{path} is a folder; give a file in it") from None
    except OSError as error:
        raise ExpectationsError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ExpectationsError(f"{path} is not valid TOML: {error}") from None
    return parse(text, str(path), register)


def parse(text: str, source: str, register: Register) -> Expectations:
    """Read the text of a file. Raises ExpectationsError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ExpectationsError(f"{source} is not valid TOML: {error}") from None
    if strange := sorted(data.keys() - {_TABLE, _RUNTIME}):
        raise ExpectationsError(
            f"{source}: unknown key {strange[0]!r}; only {_RUNTIME} and [[{_TABLE}]] are read"
        )
    runtime = data.get(_RUNTIME, "")
    if not isinstance(runtime, str):
        raise ExpectationsError(f"{source}: {_RUNTIME} is a text in quotes, not {runtime!r}")
    entries = data.get(_TABLE, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ExpectationsError(f"{source}: write each entry as [[{_TABLE}]], in double brackets")
    found: list[Expectation] = []
    wrong: list[str] = []
    for number, entry in enumerate(entries, start=1):
        problems = list(_problems(entry, register))
        if not problems:
            made = _expectation(entry)
            problems = list(_together(made, found))
            found.append(made)
        wrong += [f"{source}, entry {number}: {problem}" for problem in problems]
    if wrong:
        raise ExpectationsError("\n".join(wrong))
    return Expectations(source, runtime, tuple(found))


def _problems(entry: dict[str, Any], register: Register) -> Iterator[str]:
    """All that is wrong with an entry by itself."""
    for key in sorted(entry.keys() - set(_KEYS)):
        yield f"unknown key {key!r}; there are {', '.join(_KEYS)}"
    if strange := [key for key in _TEXTS if not isinstance(entry.get(key, ""), str)]:
        for key in strange:
            yield f"{key} is a text in quotes, not {_shown(entry[key])}"
        return
    if not isinstance(entry.get(_CAMPAIGNS, False), bool):
        yield f"{_CAMPAIGNS} is true or false, without quotes, not {_shown(entry[_CAMPAIGNS])}"
    clause = entry.get("clause", "")
    if "finding" in entry:
        if clause:
            yield f"{clause}: an entry is about a clause or a finding, not both"
        yield from wrong_with(entry, register)
    elif strange := [key for key in _OF_FINDINGS if key in entry]:
        yield f'{strange[0]} without a finding; write what it is, as in finding = "leak"'
    elif not clause:
        yield "no clause, and no finding; give the id, or the kind, that the report shows"
    elif clause not in register:
        near = difflib.get_close_matches(clause, register.clauses, n=1, cutoff=0.8)
        meant = f"did you mean {near[0]}?" if near else "`cri-conformance clauses` lists them"
        yield f"there is no clause {clause!r}; {meant}"
    elif register[clause].level is Level.MAY:
        yield f"{clause} is a MAY, which is never judged; remove the entry"
    if not entry.get("reason", "").strip():
        yield f"{_name(entry)} has no reason; say why it is known, as in an issue's title".lstrip()
    for read in (_span, _day, _rate):
        try:
            read(entry)
        except ValueError as error:
            yield str(error)


def _name(entry: dict[str, Any]) -> str:
    """What an entry is about, right or wrong."""
    found = (entry.get(key, "") for key in ("clause", "finding", "cause"))
    return ": ".join(" ".join(text.split()) for text in found if text)


def _sign(entry: dict[str, Any]) -> Sign | None:
    if "finding" not in entry:
        return None
    cause = " ".join(entry["cause"].split())
    return Sign(entry["finding"], cause, tuple(entry.get("given_up", ())))


def _expectation(entry: dict[str, Any]) -> Expectation:
    """Of an entry without problems."""
    since, until = _span(entry)
    return Expectation(
        clause=entry.get("clause", ""),
        finding=_sign(entry),
        reason=entry["reason"].strip(),
        link=entry.get("link", ""),
        evidence=entry.get("evidence", "").strip(),
        since=since,
        until=until,
        review=_day(entry),
        flaky=_rate(entry),
        campaigns=entry.get(_CAMPAIGNS, False),
    )


def _span(entry: dict[str, Any]) -> tuple[Version | None, Version | None]:
    since, until = (
        Version.bound(entry[key]) if entry.get(key) else None for key in ("since", "until")
    )
    if since and until and not since < until:
        raise ValueError(
            f"{_name(entry)}: no version lies from {since} to before {until}; until is "
            "the first version without the violation"
        )
    return since, until


def _day(entry: dict[str, Any]) -> datetime.date | None:
    value = entry.get("review")
    # A TOML date and time is a date too, in Python; here it would only confuse.
    if value is None or (
        isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    ):
        return value
    raise ValueError(f"review is a day without quotes, as in 2027-01-31, not {_shown(value)}")


def _shown(value: object) -> str:
    """A value as it stands in the file."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _rate(entry: dict[str, Any]) -> str:
    text: str = entry.get("flaky", "")
    match = _RATE.fullmatch(text)
    if text and not (match and int(match[1]) < int(match[2])):
        raise ValueError(f'flaky is the rate that was measured, as in "1 in 70", not {text!r}')
    return text


def _together(made: Expectation, others: Iterable[Expectation]) -> Iterator[str]:
    """Whether another entry on the same is about the same version."""
    lowest = Version((), (-2, 0))
    same = [made, *(other for other in others if other.name == made.name)]
    for one, next_ in pairwise(sorted(same, key=lambda e: e.since or lowest)):
        if one.until is None or next_.since is None or next_.since < one.until:
            yield (
                f"{made.name} stands twice for the same versions; keep one of them, or part "
                "them by since and until"
            )
            return
