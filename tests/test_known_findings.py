# SPDX-License-Identifier: Apache-2.0
"""Entries on what campaigns find beyond the clauses: narrow, and each mistake in one line."""

from __future__ import annotations

from datetime import date

import pytest

from cri_conformance.contract import findings
from cri_conformance.contract.expectations import Applied, ExpectationsError, parse
from cri_conformance.contract.register import register
from cri_conformance.fuzz.finding import Kind
from cri_conformance.fuzz.judging import cause_of
from cri_conformance.fuzz.leftovers import kinds
from cri_conformance.header import expected
from cri_conformance.malformed.assay import THESE

SHIM = "process N (containerd-shim) of ID"
INIT = "process N (runc:[N:INIT]) of ID"
NETNS = "network namespace cni-ID"
SANDBOX = "ListPodSandbox has ID"
UUID = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
NIL = "panic: runtime error: invalid memory address or nil pointer dereference"


def _entry(finding: str = "leak", cause: str = SHIM, **more: str) -> str:
    keys = "".join(f"{key} = {value}\n" for key, value in more.items())
    return (
        f'[[known]]\nfinding = "{finding}"\ncause = "{cause}"\nreason = "x"\n'
        f"review = 2030-01-01\n{keys}"
    )


def _applied(text: str, version: str = "2.1") -> Applied:
    return parse(text, "f", register()).at("any", version, campaign=True)


def _known(text: str, kind: str, cause: str, *given_up: str) -> bool:
    return bool(_applied(text).forgiving(kind, cause, given_up))


@pytest.mark.parametrize(
    ("cause", "known"),
    [
        (SHIM, True),
        (INIT, True),
        (f"{SHIM}; {INIT}", True),
        (NETNS, False),
        (SANDBOX, False),
        (f"{NETNS}; {SHIM}", False),
        (f"{SHIM}; {SANDBOX}", False),
        ("process N (containerd-shim-x) of ID", False),
        ("process N (sleep) of ID", False),
        ("", False),
    ],
)
def test_a_leak_is_known_if_all_that_was_left_is(cause: str, known: bool) -> None:
    assert _known(_entry(cause=f"{SHIM}; {INIT}"), "leak", cause) is known


def test_what_was_left_may_be_of_several_entries() -> None:
    applied = _applied(_entry() + _entry(cause=NETNS))
    assert len(applied.forgiving("leak", f"{NETNS}; {SHIM}", ())) == 2
    assert len(applied.forgiving("leak", SHIM, ())) == 1


def test_a_leak_may_take_calls_that_were_given_up() -> None:
    text = _entry(given_up='["StartContainer"]')
    assert _known(text, "leak", SHIM, "StartContainer")
    assert _known(text, "leak", SHIM, "RunPodSandbox", "StartContainer")
    assert not _known(text, "leak", SHIM, "RunPodSandbox")
    assert not _known(text, "leak", SHIM, "StartContainer by restart")
    by_restart = _entry(given_up='["StopContainer by restart"]')
    assert _known(by_restart, "leak", SHIM, "StopContainer by restart")
    assert not _known(by_restart, "leak", SHIM, "StopContainer")
    any_of_them = _entry(given_up='["* by restart"]')
    assert _known(any_of_them, "leak", SHIM, "StopContainer by restart")
    assert not _known(any_of_them, "leak", SHIM, "StopContainer")
    assert not _known(text, "leak", SHIM)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.LEAK])
def test_the_kind_counts(kind: Kind) -> None:
    assert not _known(_entry(), kind, SHIM)


def test_a_crash_is_known_by_a_piece_of_what_the_log_says() -> None:
    text = _entry("crash", "log panic: * in server.makeContainerName")
    assert _known(text, "crash", f"log {NIL} in server.makeContainerName")
    assert not _known(text, "crash", f"log {NIL} in server.makeSandboxName")
    assert not _known(text, "crash", "CreateContainer config.metadata")


def test_what_differs_by_node_is_left_open() -> None:
    text = _entry(cause="mount */io.containerd.runtime.vN.task/*/rootfs")
    assert _known(text, "leak", "mount /run/x/io.containerd.runtime.vN.task/kNs.io/ID/rootfs")
    assert not _known(text, "leak", "mount /run/x/sandboxes/ID/shm")


def test_a_hang_is_known_by_call_and_field() -> None:
    assert _known(_entry("hang", "ExecSync cmd"), "hang", "ExecSync cmd")
    for other in ("ExecSync container_id", "ExecSync cmd timeout", "Version after ExecSync cmd"):
        assert not _known(_entry("hang", "ExecSync cmd"), "hang", other)


def test_entries_hold_for_campaigns_and_their_versions() -> None:
    text = _entry(since='"1.7"', until='"2.0"')
    assert not _known(text, "leak", SHIM)
    assert _applied(text, "1.7.24").forgiving("leak", SHIM, ())
    assert not parse(text, "f", register()).at("any", "1.7.24").findings
    assert _applied(text, "1.6").elsewhere == 1


def test_what_is_past_its_review() -> None:
    applied = _applied(_entry())
    assert applied.overdue(date(2029, 12, 31)) == []
    [one] = applied.overdue(date(2030, 1, 1))
    assert one.name == f"leak: {SHIM}"
    assert len(applied.all) == 1


def test_what_campaigns_say_was_left_can_be_named() -> None:
    """The sorts that an entry may begin with are those that there are."""
    one = "1" * 64
    lines = [
        f"process 1 (a) of {one}",
        f"mount /run/{one}",
        "network namespace cni-1",
        "open file /tmp/a.log in process 1",
        *(f"{lister} has {one}" for lister in ("ListPodSandbox", "ListContainers", "ListImages")),
    ]
    refused = "left sandbox for good by RunPodSandbox config.metadata.name"
    assert all(part.startswith(findings.SORTS) for part in (*kinds(lines), refused))
    assert _known(_entry(cause=refused.replace("name", "*")), "leak", refused)
    assert set(findings.KINDS) < set(Kind)
    assert cause_of("a; b") == "a; b"


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("hang", "PullImage image.image"),
        ("hang", "Version after restart_crowded"),
        # A field without a name, attacks, and functions have numbers of their own.
        ("hang", "ExecSync 15"),
        ("hang", "headers-timeout-3"),
        ("panic", "body-flag-255 panic: index [N]"),
        ("crash", "log panic: index [N] in server.(*service).Create.func2"),
        ("crash", "log panic: *.func2"),
        ("leak", "left sandbox for good by RunPodSandbox config.15"),
    ],
)
def test_what_campaigns_say_can_be_known(kind: str, cause: str) -> None:
    assert _known(_entry(kind, cause), kind, cause.replace("*", "x"))


def test_calls_on_images_may_be_given_up() -> None:
    assert _known(_entry(given_up='["PullImage"]'), "leak", SHIM, "PullImage")


def test_the_header_tells_findings_from_violations() -> None:
    clause = '[[known]]\nclause = "RuntimeService.Version.stable"\nreason = "x"\n'
    rarely = f"{clause.replace('Version.stable', 'Status.succeeds')}campaigns = true\n"
    two = _entry() + _entry(cause=NETNS)

    def told(text: str, *, campaign: bool) -> str:
        return expected(parse(text, "f", register()).at("any", "2.1", campaign=campaign))

    assert told(two, campaign=True) == "2 known findings expected by f"
    assert told(clause + _entry(), campaign=True) == (
        "1 known violation and 1 known finding expected by f"
    )
    assert told("", campaign=True) == "0 known violations expected by f"
    assert told(two, campaign=False) == (
        "0 known violations expected by f, 2 known findings are of campaigns alone"
    )
    assert told(clause + rarely + _entry(), campaign=False) == (
        "1 known violation expected by f, "
        "1 known violation and 1 known finding are of campaigns alone"
    )
    later = _entry(since='"9"')
    assert told(later, campaign=True) == (
        "0 known violations expected by f, 1 more is about other versions"
    )


def _without(text: str, key: str) -> str:
    return "".join(x for x in text.splitlines(keepends=True) if not x.startswith(key))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_entry("open"), "finding is one of crash, hang, leak, panic, not 'open'"),
        (_entry("damage"), "not 'damage'"),
        (_entry("Leak"), "not 'Leak'"),
        (_entry(clause='"RuntimeService.Version.stable"'), "about a clause or a finding, not both"),
        (
            _without(_entry(), "finding"),
            "cause without a finding; write what it is, as in finding =",
        ),
        (_without(_without(_entry(), "finding"), "cause"), "no clause, and no finding"),
        (_without(_entry(), "cause"), "leak has no cause; copy it from results.json"),
        (_entry(cause=" "), "leak has no cause"),
        (_without(_entry(), "reason"), f"leak: {SHIM} has no reason"),
        (_without(_entry(), "review"), f"leak: {SHIM} has no review"),
        (_entry(flaky='"1 in 4"'), "flaky is of a clause"),
        (_entry(campaigns="true"), "campaigns is of a clause"),
        (_entry("hang", "ExecSync cmd", given_up='["StopContainer"]'), "given_up is of a leak"),
        (_entry(given_up='"StartContainer"'), 'given_up is a list of calls, as in ["StartC'),
        (_entry(given_up="[]"), "given_up is a list of calls"),
        (_entry(given_up="3"), "given_up is a list of calls"),
        (_entry(given_up='["StartContianer"]'), "no call 'StartContianer'; did you mean StartC"),
        (_entry(given_up='["x"]'), "there is no call 'x'"),
        (_entry(given_up='["*"]'), "there is no call '*'"),
        (_entry(given_up='["Stop* by restart"]'), "there is no call 'Stop*'"),
        (_entry() * 2, "stands twice for the same versions"),
        (_entry("hang", "ExecSnyc cmd"), "no call 'ExecSnyc'; did you mean ExecSync?"),
        (_entry("panic", "ExcSync panic: x in y"), "no call 'ExcSync'; did you mean ExecSync?"),
        (_entry(cause="process 26442 (shim) of ID"), "fits once only: write N for '26442'"),
        (_entry(cause="ListContainers has 0edbfe860947"), "fits once only"),
        (_entry("hang", "ExecSync*"), "'ExecSync*' says too little"),
        (_entry("hang", "ExecSync"), "'ExecSync' says too little"),
        (_entry("hang", "ExecSynk cmd"), "no call 'ExecSynk'; did you mean ExecSync?"),
        (_entry("hang", "execSync cmd"), "no call 'execSync'; did you mean ExecSync?"),
        (_entry("hang", "ListContainer id"), "did you mean ListContainers or"),
        (_entry("hang", "Version after ExecSynk cmd"), "no call 'ExecSynk'; did you mean"),
        (_entry("hang", "Nonsense cmd"), "hang: there is no call 'Nonsense'"),
        (_entry("panic", "PullImages panic: x"), "did you mean PullImage?"),
        (
            _entry(cause="left sandbox for good by RunPodSandbx config.hostname"),
            "no call 'RunPodSandbx'; did you mean RunPodSandbox?",
        ),
        (_entry(cause=SHIM.replace("N", "4711")), "fits once only: write N for '4711'"),
        (_entry(cause=f"{SHIM}; {SHIM.replace('ID', 64 * 'a')}"), f"write ID for '{64 * 'a'}'"),
        (_entry(cause="network namespace cni-" + UUID), f"write ID for '{UUID}'"),
        (_entry(cause="mount /run/runtime.v2.task/ID/rootfs"), "write N for '2'"),
        (_entry("panic", "ExecSync panic: index [5]"), "write N for '5'"),
        (_entry("panic", "ExecSync panic: 0xc0de"), "write N for '0xc0de'"),
        (_entry("crash", "log panic: id deadbeefdeadbeef *"), "write N for 'deadbeefdeadbeef'"),
        (_entry("hang", THESE), "says too little"),
        (_entry("hang", f"Version after {THESE}"), "says too little"),
        (_entry("hang", "Version after "), "says too little"),
        (_entry("crash", "CreateContainer config"), "'CreateContainer config' says too little"),
        (_entry("crash", "log *"), "says too little"),
        (_entry("crash", "log panic: *"), "says too little"),
        (_entry("crash", f"log {NIL}"), "says too little"),
        (_entry("crash", f"log {NIL}*"), "says too little"),
        (_entry("crash", "log *nil pointer dereference*"), "says too little"),
        (_entry("crash", "*makeContainerName"), "says too little"),
        (_entry("panic", "*"), "says too little"),
        (_entry("panic", "log panic*"), "says too little"),
        (_entry("panic", "ExecSync *"), "says too little"),
        (_entry(cause="*"), "says too little"),
        (_entry(cause="p*"), "says too little"),
        (_entry(cause="L*"), "says too little"),
        (_entry(cause="process*"), "says too little"),
        (_entry(cause="process N (*) of ID"), "says too little"),
        (_entry(cause="process N (*"), "says too little"),
        (_entry(cause="mount /*"), "says too little"),
        (_entry(cause="mount */ID*"), "says too little"),
        (_entry(cause="*shim*"), "says too little"),
        (_entry(cause="left sandbox"), "says too little"),
        (_entry(cause="left sandbox for good"), "says too little"),
        (_entry(cause="left sandbox for good by *"), "says too little"),
        (_entry(cause="left container for good by CreateContainer *"), "says too little"),
        (_entry(cause=f"{SHIM}; *"), "'*' says too little"),
        (_entry(cause="proces N (containerd-shim) of ID"), "says too little"),
    ],
)
def test_a_mistake_is_one_line(text: str, said: str) -> None:
    with pytest.raises(ExpectationsError) as caught:
        parse(text, "f", register())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
