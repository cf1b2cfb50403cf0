# SPDX-License-Identifier: Apache-2.0
"""What campaigns find and a file of expectations names: it shows as known, and fails nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.expectations import parse
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.fuzz.campaign import Campaign, CampaignFailed
from cri_conformance.fuzz.finding import Finding, Kind
from cri_conformance.fuzz.leftovers import Left, Played
from cri_conformance.fuzz.modes import chosen
from cri_conformance.fuzz.retrying import given_up
from cri_conformance.fuzz.story import Story
from cri_conformance.malformed.oracle import Kind as Wrong
from cri_conformance.malformed.oracle import Misbehaviour
from cri_conformance.settings import Budget, Settings
from cri_conformance.target import Preparation, connect
from cri_conformance.wire.outcome import RuntimeGone

ID = "1" * 64
SHIM = f"process 7 (containerd-shim) of {ID}"
NETNS = "network namespace cni-1"
START: Story = [{"do": "start_given_up", "with": {"way": "cancel", "seconds": 0.02}}]
STOP: Story = [{"do": "on_container", "with": {"call": "StopContainer"}}]
PANIC = """\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x5581]

goroutine 4242 [running]:
panic({0x55, 0x66})
\t/usr/lib/go/src/runtime/panic.go:770 +0x132
example.org/runtime/internal/server.(*service).makeName(0xc0001, {0x1, 0x2})
\t/build/internal/server/helpers.go:12 +0x1f
"""


@pytest.fixture
def preparation(tmp_path: Path) -> Iterator[Preparation]:
    settings = Settings(
        "reference",
        fuzz=Budget(steps=150),
        fuzz_dir=tmp_path,
        report=tmp_path,
        runtime_log=tmp_path / "log",
    )
    with Preparation(settings, faults=True) as made:
        yield made


@pytest.fixture
def campaign(preparation: Preparation) -> Callable[..., Campaign]:
    def make(*entries: str, fault: str = "", modes: tuple[str, ...] = ()) -> Campaign:
        facts = preparation.facts
        metadata = (("cri-fault", f"{fault}@{facts.run_nonce}-k"),) if fault else ()
        target = connect(preparation.settings, facts, metadata)
        rules = Rules(register(), Minor.parse(facts.minor))
        text = "".join(
            f'[[known]]\n{entry}\nreason = "it is known"\nreview = 2030-01-01\n'
            f'link = "https://bugs.example/{n}"\n'
            for n, entry in enumerate(entries)
        )
        expected = parse(text, "f", register()).at("r", "1", campaign=True)
        progress = preparation.settings.report / "progress.json"
        return Campaign(
            target, rules, chosen(modes) if modes else [], expected=expected, progress=progress
        )

    return make


LEAK = 'finding = "leak"\ncause = "process N (containerd-shim) of ID"'
OF_START = f'{LEAK}\ngiven_up = ["StartContainer"]'


def _played(story: Story) -> Played:
    return Played("lives", 1, lambda: story, frozenset(), (0, 0))


def _tries(
    campaign: Campaign, becomes: Callable[[Story], Story] = lambda story: story
) -> list[Any]:
    """Trying shows it again three times, and makes of its story what ``becomes`` says."""
    tried: list[Finding] = []

    def again(mode: Any, finding: Finding, **_: Any) -> bool:
        tried.append(finding)
        finding.tries = finding.again = 3
        finding.story["steps"] = becomes(finding.story["steps"])
        return True

    campaign.modes = chosen(["lives"])
    campaign._trying.again = campaign._trying.once = again  # type: ignore[assignment]
    return tried


def test_a_finding_that_is_expected_is_known_and_fails_nothing(campaign: Any, tmp_path: Path):
    one = campaign(LEAK)
    _tries(one)
    one.behind.tell(Left([SHIM], [_played(START)]))
    one.run()
    [told] = json.loads((tmp_path / "progress.json").read_text())["findings"]
    assert told["counts"] is False
    assert (told["kind"], told["cause"]) == ("leak", "process N (containerd-shim) of ID")
    assert told["reason"] == "it is known"
    assert told["link"] == "https://bugs.example/0"
    assert told["given_up"] == ["StartContainer"]


@pytest.mark.parametrize(
    ("lines", "story"),
    [
        ([NETNS], START),
        ([f"ListPodSandbox has {ID}"], START),
        ([SHIM], STOP),
    ],
)
def test_another_finding_fails(campaign: Any, lines: list[str], story: Story):
    one = campaign(OF_START)
    _tries(one)
    one.behind.tell(Left(lines, [_played(story)]))
    [found] = one.findings.values()
    assert found.counts
    assert found.reason == ""
    with pytest.raises(CampaignFailed):
        one.run()


def test_what_is_left_beside_what_is_known_is_tried_for_itself(campaign: Any):
    one = campaign(OF_START)
    tried = _tries(one)
    one.behind.tell(Left([SHIM, NETNS], [_played(START)]))
    known, other = one.findings.values()
    assert (known.counts, other.counts) == (False, True)
    assert [found.cause for found in tried] == [
        "process N (containerd-shim) of ID",
        "network namespace cni-N",
    ]


def test_what_is_known_hides_nothing_that_is_left_otherwise(campaign: Any):
    one = campaign(OF_START)
    tried = _tries(one)
    for story in (START, STOP, START, STOP):
        one.behind.tell(Left([SHIM], [_played(story)]))
    known, other = one.findings.values()
    assert (known.counts, other.counts) == (False, True)
    assert (known.times, other.times) == (2, 2)
    assert len(tried) == 2


def test_the_story_counts_as_it_was_made_smaller(campaign: Any):
    # The start that was given up had no part in it.
    one = campaign(OF_START)
    _tries(one, lambda story: story[-1:])
    one.behind.tell(Left([SHIM], [_played(START + STOP)]))
    [found] = one.findings.values()
    assert found.counts


def test_what_may_be_of_others_stays_open_with_the_reason_and_is_tried_once(campaign: Any):
    one = campaign('finding = "leak"\ncause = "network namespace cni-*"')
    for _ in range(2):
        one.behind.tell(Left([NETNS], []))
    [found] = one.findings.values()
    assert (found.kind, found.reason, found.times) == (Kind.OPEN, "it is known", 2)


def test_a_hang_is_known_by_the_call_and_the_field(campaign: Any):
    one = campaign('finding = "hang"\ncause = "ExecSync cmd"')
    one._mode = "wire"
    for cause in ("ExecSync cmd", "ExecSync container_id"):
        one.misbehaved(Misbehaviour(Wrong.HANG, cause, "no answer"), [])
    assert [found.counts for found in one.findings.values()] == [False, True]


@pytest.mark.parametrize("named", ["makeName", "makeOther"])
def test_a_crash_is_known_by_what_the_log_says(campaign: Any, tmp_path: Path, named: str):
    one = campaign(f'finding = "crash"\ncause = "log panic: *.{named}"')
    log = tmp_path / "log"
    log.write_text(PANIC.replace("makeName", "ofEarlier"))
    one.begin()
    with log.open("a") as file:
        file.write(PANIC)
    one._mode = "wire"
    one.misbehaved(Misbehaviour(Wrong.CRASH, "ExecSync cmd", "another process listens"), [])
    [found] = one.findings.values()
    assert found.cause == (
        "log panic: runtime error: invalid memory address or nil pointer dereference "
        "in server.(*service).makeName"
    )
    assert found.actual.startswith("another process listens; its log says panic: runtime error")
    assert found.counts is (named != "makeName")


def test_a_crash_of_which_the_log_says_nothing_is_told_by_its_last_step(campaign: Any):
    one = campaign()
    _tries(one)
    one._mode = "lives"
    one.target.client.wait_ready = lambda seconds: False
    one.found(RuntimeGone("gone"), STOP)
    [found] = one.findings.values()
    assert (found.kind, found.cause) == (Kind.CRASH, "on_container StopContainer")


def test_a_known_panic_lets_a_campaign_go_on(campaign: Any):
    one = campaign(fault="panic-on-nul", modes=("wire",))
    with pytest.raises(CampaignFailed):
        one.run()
    causes = {found.cause for found in one.findings.values()}
    more = [f'finding = "panic"\ncause = "{cause}"' for cause in causes]
    again = campaign(*more, fault="panic-on-nul", modes=("wire",))
    again.run()
    assert again.findings
    assert all(found.reason == "it is known" for found in again.findings.values())


def test_the_calls_that_a_story_gives_up():
    assert given_up([]) == given_up(STOP) == ()
    assert given_up(START + STOP) == ("StartContainer",)
    crowd = {"kinds": [], "calls": ["StopContainer", "RunPodSandbox"], "seconds": 0.1}
    story = [
        {"do": "restart", "with": {}},
        {"do": "restart_crowded", "with": crowd},
        {"do": "give_up", "with": {"call": "RemoveContainer", "way": "restart", "seconds": 0.1}},
        {"do": "stop_prompt", "with": {"way": "deadline", "seconds": 0.1}},
    ]
    assert given_up(story) == (
        "RemoveContainer by restart",
        "RunPodSandbox by restart",
        "StopContainer",
        "StopContainer by restart",
    )
