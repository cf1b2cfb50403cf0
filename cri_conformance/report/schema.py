# SPDX-License-Identifier: Apache-2.0
"""The document that is written to results.json, as types. docs/results.md is for its readers.

Times are seconds unless a name says otherwise; every text may come from the runtime and
may hold anything. ``SCHEMA_VERSION`` grows when a key goes away or changes its meaning;
a new key leaves it as it is.
"""

from __future__ import annotations

from typing import Any, TypedDict

from cri_conformance.contract.verdict import ClauseRecord
from cri_conformance.wire.history import CallRecord
from cri_conformance.wire.latency import Latency

SCHEMA_VERSION = 1
#: What a leftover begins with that was there before the run.
EARLIER = "of an earlier run: "
#: What one begins with that the runtime itself forgot: no call removes it.
FORGOTTEN = "on the host: "


class Suite(TypedDict):
    """The run: what was asked for, and whether it came to its end."""

    version: str  # of this suite
    depth: str  # "gate" or "nightly"
    seed: int
    strict: bool  # a SHOULD that is not kept counts as broken
    selection: dict[str, Any]  # the options that narrow the run; {} when it is a full one
    command: str  # as given on the command line
    workers: int
    started: str  # RFC 3339, UTC
    seconds: float
    complete: bool  # False when it stopped early
    stopped: str  # why it stopped early: "interrupted …", or what the runtime did
    as_of: str  # --cri-clauses-as-of: the version of the suite by whose clauses it is judged
    profiles: list[str]  # what the runtime claims to support; [] for all that it shows


class Target(TypedDict):
    """The runtime, in its own words. Status and info are given as the runtime sent them."""

    endpoint: str  # as given, so "reference" for the embedded runtime
    image_endpoint: str  # "" when it is the same
    runtime_name: str  # from Version, as the next two
    runtime_version: str
    runtime_api_version: str
    minor: str  # the minor by whose text it is judged, as in "1.31"
    minor_source: str  # "--cri-version", or the sign that gave it away
    handler: str  # the runtime handler that was judged; "" for the default
    image: str  # reference of the test image
    isolates: bool  # containers have namespaces and cgroups; not so in the reference runtime
    status: dict[str, Any]  # conditions, handlers, features
    info: dict[str, str]  # verbose Status.info: the runtime's configuration, usually JSON


class Environment(TypedDict):
    """The machine that the suite ran on: the runtime's own only when the endpoint is local.

    What could not be found out is "", 0 or an empty list.
    """

    hostname: str
    kernel: str  # release, as uname -r
    machine: str  # as uname -m
    os: str  # PRETTY_NAME of os-release
    cgroup: str  # "v1", "v2" or "hybrid"
    security_modules: list[str]  # as the kernel lists them
    python: str
    packages: dict[str, str]  # version of what takes part in a verdict
    root: bool  # whether the suite ran as root
    cpus: int


Summary = TypedDict(
    "Summary",
    {
        "held": int,
        "broken": int,
        "known": int,
        "warned": int,
        "recorded": int,
        "error": int,
        "not exercised": int,
        "stale": int,  # beside the others: a stale clause is among the held ones
    },
)
Summary.__doc__ = (
    """How many clauses have each verdict; all but ``stale`` add up to the register."""
)


class ClauseResult(TypedDict):
    """A clause of the register, and the worst that any test found of it."""

    id: str
    element: str
    call: str  # where it hangs in the contract: the first RPC that reaches it; "" if none does
    message: str  # the message or enum that the element is or is in; "" for services and calls
    level: str  # MUST, FIELD, KUBELET, SHOULD, MAY
    kind: str
    since: str  # minor from which the wording holds
    needs: str  # what must be at hand to judge it; "nothing" for most
    text: str
    source: str  # file:line in this project
    evidence: str  # of a KUBELET clause: file and function that rely on it
    verdict: str  # see contract.verdict.Verdict
    reason: str  # why it is known, has no verdict or was not exercised
    permitted: str  # of a clause that was not kept
    actual: str  # what came instead; of a recorded one, what the runtime does
    tests: list[str]  # node ids of the tests bound to it
    link: str  # of a known one, where it is tracked
    profile: str  # the profile that it belongs to
    came: str  # version of this suite in which it came, or was sharpened last
    flaky: str  # as in "1 in 70", if it is expected to break now and then


class LifecycleRow(TypedDict):
    """One call in one state of its object."""

    call: str
    state: str
    permitted: str  # "ok", "refused" or "either"
    clause: str  # the clause that says so; "" for none
    seen: str  # "OK", the name of the gRPC code, or words such as "not listed" of a list


class TestRecord(TypedDict):
    """What one test has to say. A test whose clean-up failed has a second record."""

    test: str  # node id
    seconds: float
    worker: str  # of pytest-xdist; "" without it
    outcome: str  # "passed", "failed" or "skipped"
    blame: str  # whose fault a failure is: "runtime", "environment", "suite"; "" for nobody's
    message: str  # one line when it did not pass
    details: str  # the failure as the terminal shows it
    clauses: list[ClauseRecord]
    transcript: list[CallRecord]  # when something is to be explained, else []; not of findings
    replay: str  # the command that shows it again; of a campaign all of it
    log: str  # excerpt of the runtime's log
    table: list[LifecycleRow]


class Finding(TypedDict):
    """What a campaign found."""

    kind: str  # "clause", "crash", "hang", "leak"; "open" for what fails no run
    mode: str
    clause: str  # "" for what is tied to none
    cause: str  # what came, without ids, names and numbers: the same for the same finding
    permitted: str
    actual: str
    counts: bool  # whether it fails the run
    reason: str  # why it is known, as the expectations file says; "" if it is not
    link: str  # of a known one, where it is tracked
    given_up: list[str]  # of a leak, the calls that its story gives up
    seed: int  # of the turn that found it
    steps: int  # of the story, as shrunk; 0 where there is none to play again
    steps_found: int
    again: str  # how often it showed when it was tried again, as in "3 of 3"; "" if it was not
    untried: str  # why it was not, or no oftener; "" if it was
    times: int  # how often the campaign met it
    folder: str  # where its files are
    replay: str  # the command that plays it again; "" if there is nothing to play
    transcript: list[CallRecord]  # the calls that led there, of the story as shrunk
    sent: list[str]  # in words, what was sent then that no client can say


class Met(TypedDict):
    """A call on an object in a state, and its answer."""

    call: str  # the RPC
    state: str  # of its object before, as in "container running"; "" of a call about none
    code: str  # "OK", the name of the gRPC code, or "UNKNOWN-OUTCOME"
    times: int


class Campaign(TypedDict):
    """One process's part of a campaign (--cri-fuzz)."""

    worker: str  # of pytest-xdist; "" without it
    seed: int
    budget: str
    stopped: str  # why it ended before its time; "" if it did not
    unplayed: list[str]  # modes to which it did not come
    seconds: float
    cpu_seconds: float  # of the suite's own process
    steps: int
    sequences: int
    calls: int
    modes: dict[str, int]  # steps by mode
    combinations: int  # how many different (call, state, code) there were
    met: list[Met]  # those
    line: str  # all this in one line
    findings: list[Finding]


class Overdue(TypedDict):
    """An expectation that should have been looked at again."""

    clause: str  # "" of a finding
    finding: str  # which it is; "" of a clause
    review: str  # as in "2027-01-31"


class Expected(TypedDict):
    """The expectations file that was named."""

    source: str  # path or name; "" for none
    entries: int  # how many are about this runtime in this version
    elsewhere: int  # how many are about other versions
    overdue: list[Overdue]
    notes: list[str]  # what a reader must know


class ProfileResult(TypedDict):
    """What can be said of a profile; the numbers are of clauses."""

    name: str
    text: str
    core: bool  # every runtime claims it
    claimed: bool  # by --cri-profiles, or because it is of the core
    verdict: str  # see report.profiles.State
    judged: int  # of those asked for
    asked: int  # that bind, have a test, need nothing special and are there to be judged
    minimum: int  # how many of those must be judged
    short: bool  # whether fewer were
    broken: int
    known: int  # with those that are listed as flaky, whether they broke this time or not
    missing: list[str]  # what is claimed or advertised and not there


class Baseline(TypedDict):
    """What is otherwise than in the results that --cri-baseline names."""

    source: str  # the file; "" for none
    runtime_name: str
    runtime_version: str
    version: str  # of the suite
    started: str
    new: list[str]  # clauses broken now, and not then
    gone: list[str]  # clauses that were not kept then, and hold now
    unjudged: list[str]  # clauses that were judged then, and not now


class Results(TypedDict):
    """All of results.json."""

    schema_version: int
    suite: Suite
    target: Target
    environment: Environment
    summary: Summary
    clauses: list[ClauseResult]  # every clause of the register, in its order
    stale: list[str]  # ids of clauses expected to break that held
    leftovers: list[str]  # what this run or earlier ones left behind, in words
    tests: list[TestRecord]
    lifecycle: list[LifecycleRow]
    campaigns: list[Campaign]  # [] of a run without --cri-fuzz
    latencies: list[Latency]  # of every RPC that was called
    expectations: Expected
    profiles: list[ProfileResult]
    baseline: Baseline
