# SPDX-License-Identifier: Apache-2.0
"""What a clause is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How binding a clause is, and what follows when a runtime breaks it."""

    MUST = "MUST"  # the text obliges: broken fails
    FIELD = "FIELD"  # the text describes: fails where the runtime contradicts itself or the request
    KUBELET = "KUBELET"  # the text is silent, the kubelet relies on it: broken fails
    SHOULD = "SHOULD"  # the text encourages: broken warns, fails with --cri-strict
    MAY = "MAY"  # the text permits or is silent: recorded, never judged

    @property
    def binding(self) -> bool:
        """Whether breaking a clause of this level fails the test."""
        return self in (Level.MUST, Level.FIELD, Level.KUBELET)


class Kind(StrEnum):
    """What sort of promise a clause makes."""

    IDEMPOTENCY = "idempotency"
    ORDERING = "ordering"
    EXISTENCE = "existence"
    FILTER = "filter"
    FIELD = "field"
    DEFAULT = "default"
    VALIDATION = "validation"
    TIMING = "timing"
    STREAMING = "streaming"
    EVENT = "event"
    IMAGE = "image"
    STATS = "stats"
    SECURITY = "security"
    IMMUTABILITY = "immutability"
    CONCURRENCY = "concurrency"
    VERSION = "version"


class Needs(StrEnum):
    """What must be at hand, beside an endpoint, to judge a clause."""

    NOTHING = "nothing"
    HOST = "host"  # the runtime's host: its files, processes, cgroups
    IMAGE = "image"  # an image made for the purpose
    HARDWARE = "hardware"  # SELinux, AppArmor, devices, huge pages
    WINDOWS = "windows"
    UNOBSERVABLE = "unobservable"  # no client can see it: stated, never judged


@dataclass(frozen=True, slots=True, order=True)
class Minor:
    """A Kubernetes minor, as in ``1.27``: the unit in which the contract moves."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Minor:
        """``"1.27"`` or ``"v1.27"`` → Minor. Raises ValueError on anything else."""
        major, dot, minor = text.strip().removeprefix("v").partition(".")
        if not (dot and major.isdecimal() and minor.isdecimal()):
            raise ValueError(f"not a Kubernetes minor such as 1.27: {text!r}")
        return cls(int(major), int(minor))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


#: The v1 package begins here; an element that says nothing of its age is this old.
FIRST_MINOR = Minor(1, 20)


@dataclass(frozen=True, slots=True)
class Clause:
    """One promise of the contract that can be broken.

    ``id`` is the element's name and the clause's own: what tests and faults bind to.
    ``since`` is the minor from which this wording holds; ``source`` is ``file:line`` in proto/;
    ``came`` is the version of this suite in which it came or was sharpened last, if known.
    """

    id: str
    element: str
    level: Level
    kind: Kind
    since: Minor
    needs: Needs
    evidence: str
    text: str
    source: str
    came: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """A service, call, message, field, enum or enum value, and what the comments say of it."""

    name: str
    kind: str
    since: Minor
    history: str
    description: str
    clauses: tuple[Clause, ...]
    source: str
