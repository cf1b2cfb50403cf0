# SPDX-License-Identifier: Apache-2.0
"""The mode ``images``, on the reference runtime: stories under a fault, and a campaign."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.expect.violation import NotExercised, Violation
from cri_conformance.fuzz.campaign import Bench, Campaign, CampaignFailed
from cri_conformance.fuzz.finding import Finding
from cri_conformance.fuzz.image_crowds import ImageSteps
from cri_conformance.fuzz.image_lives import ImagesMode
from cri_conformance.fuzz.judging import CampaignJudge, Key, key_of
from cri_conformance.fuzz.modes import chosen
from cri_conformance.fuzz.replay import happens
from cri_conformance.fuzz.story import told
from cri_conformance.fuzz.tools import Tools
from cri_conformance.registry.server import Registry
from cri_conformance.settings import Budget, Settings
from cri_conformance.target import Preparation, Target, connect
from cri_conformance.wire.outcome import Outcome, Refused

#: A step: its name, and what it is given.
Step = tuple[str, dict[str, Any]]


def _step(do: str, **given: Any) -> Step:
    return do, given


PULL, REMOVE = _step("pull", place=0), _step("remove", place=0)
BY_DIGEST = _step("pull", place=0, by="digest")


@pytest.fixture(scope="module")
def preparation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preparation]:
    folder = tmp_path_factory.mktemp("images")
    settings = Settings("reference", fuzz=Budget(steps=1), fuzz_dir=folder, report=folder)
    with Preparation(settings, faults=True) as made:
        yield made


def _target(preparation: Preparation, fault: str = "") -> Target:
    facts = preparation.facts
    metadata = (("cri-fault", f"{fault}@{facts.run_nonce}-x"),) if fault else ()
    return connect(preparation.settings, facts, metadata)


@contextmanager
def _bench(preparation: Preparation, fault: str = "") -> Iterator[Bench]:
    target = _target(preparation, fault)
    rules = Rules(register(), Minor.parse(preparation.facts.minor), strict=True)
    tools = Tools(target)
    with target.client, target.scope() as runtime:
        yield Bench(runtime, CampaignJudge(rules), target, tools, patience=1.0)
        tools.close()


class _Until(Campaign):
    """Ends when it has found what breaks a clause, and tried that."""

    clause = ""

    def add(self, key: Key, finding: Finding, *, again: bool = True) -> None:
        super().add(key, finding, again=again)
        if finding.clause == self.clause:
            self._stopped = "found"


def _campaign(target: Target, clause: str) -> Finding:
    settings = replace(target.settings, fuzz=Budget(steps=2000))
    rules = Rules(register(), Minor.parse(target.facts.minor))
    campaign = _Until(replace(target, settings=settings), rules, chosen(["images"]))
    campaign.clause = clause
    with pytest.raises(CampaignFailed):
        campaign.run()
    return {one.clause: one for one in campaign.findings.values()}[clause]


#: What shows it → the fault, and the clause by which it has to be told.
FOUND: list[tuple[str, str, list[Step]]] = [
    ("leave-out-ListImages.images-pulled", "ImageService.ListImages.pulled-is-listed", [PULL]),
    (
        "leave-out-ListImages.images-pulled-no-filter.image",
        "ListImagesRequest.filter.absent-all",
        [PULL],
    ),
    ("skip-PullImage-by-digest", "ImageService.PullImage.by-digest", [BY_DIGEST]),
    ("skip-PullImage-not-by-digest", "ImageService.PullImage.present-afterwards", [PULL]),
    ("drop-ImageStatus.image-by-digest", "ImageService.ImageStatus.by-digest", [PULL]),
    ("drop-ImageStatus.image-by-id", "ImageService.ImageStatus.by-id", [PULL]),
    ("fail-PullImage-ALREADY_EXISTS-image-there", "ImageService.PullImage.again", [PULL, PULL]),
    (
        "fail-PullImage-INVALID_ARGUMENT-sandbox_config",
        "PullImageRequest.sandbox_config.accepted",
        [_step("pull", place=0, for_pod=True)],
    ),
    (
        "pull-if-not-there",
        "ImageService.PullImage.tag-moved",
        [PULL, _step("move", place=0, number=1), PULL],
    ),
    (
        "pull-first-of-list",
        "ImageService.PullImage.this-platform",
        [_step("move", place=0, number=3), PULL],
    ),
    ("tag-of-its-own", "Image.repo_digests.by-digest-no-tag", [BY_DIGEST]),
    (
        "removed-for-good",
        "ImageService.RemoveImage.pull-after-removal",
        [PULL, REMOVE, PULL],
    ),
    (
        "remove-another-too",
        "ImageService.RemoveImage.others-untouched",
        [_step("pull", place=1), PULL, REMOVE],
    ),
    (
        "fail-ImageStatus-NOT_FOUND-image-absent",
        "ImageService.ImageStatus.removed-no-image",
        [PULL, REMOVE],
    ),
    (
        "half-made-image",
        "ImageService.PullImage.nothing-half-made",
        [_step("pull_troubled", place=0, how="500", kind="manifests", by="tag")],
    ),
    (
        "pull-refused-for-ever",
        "ImageService.PullImage.good-after-bad",
        [_step("pull_troubled", place=0, how="500", kind="manifests", by="tag"), PULL],
    ),
    (
        "credentials-kept",
        "AuthConfig.username.not-kept",
        [
            _step("pull_private", place=0, given="password"),
            _step("pull_private", place=0, given="none"),
        ],
    ),
    (
        "fail-PullImage-UNAVAILABLE-in-company",
        "ImageService.PullImage.concurrent-different",
        [_step("pull_together", places=[0, 1])],
    ),
    (
        "stuck-when-abandoned-RemoveImage",
        "ImageService.RemoveImage.retry-after-deadline",
        [_step("remove_given_up", way="deadline", seconds=0.01)],
    ),
    (
        "side-effect-RemoveImage-StopContainer",
        "ImageService.RemoveImage.in-use-unharmed",
        [PULL, _step("use", place=0, by="tag"), REMOVE],
    ),
    (
        "ignore-StreamImages.filter",
        "StreamImagesRequest.filter.same-as-list",
        [PULL, _step("streamed", place=0, by="tag")],
    ),
]


@pytest.mark.parametrize(("fault", "clause", "steps"), FOUND, ids=lambda one: str(one)[:40])
def test_a_fault_is_told_by_its_clause(
    preparation: Preparation, fault: str, clause: str, steps: list[Step]
):
    story = [told(do, given) for do, given in steps]
    with _bench(preparation, fault) as bench, pytest.raises(Violation) as broken:
        ImagesMode().play(bench, story)
    assert broken.value.clause.id == clause
    with _bench(preparation) as bench:
        assert ImagesMode().play(bench, story) == ""


@pytest.mark.parametrize(
    ("fault", "clause"),
    [
        ("leave-out-ListImages.images-pulled", "ImageService.ListImages.pulled-is-listed"),
        ("skip-PullImage-by-digest", "ImageService.PullImage.by-digest"),
    ],
)
def test_a_campaign_finds_it_and_makes_it_small(preparation: Preparation, fault: str, clause: str):
    target = _target(preparation, fault)
    found = _campaign(target, clause)
    assert found.again == 3
    assert found.steps == 1
    document = json.loads((Path(found.folder) / "replay.json").read_text())
    assert happens(target, document)
    assert not happens(_target(preparation), document)
    # Our registry serves no more when somebody would run it.
    assert not (Path(found.folder) / "crictl.sh").exists()


def test_what_a_failed_pull_may_have_left_is_pulled_as_a_kubelet_does(
    preparation: Preparation, monkeypatch: pytest.MonkeyPatch
):
    """containerd goes on with what it has of a layer: the pull that finds it wrong fails."""
    with _bench(preparation) as bench:
        tools = bench.tools
        pull, refusals = tools.pulls.pull, ["failed commit on ref"] * 2

        def once_refused(*given: Any, **more: Any) -> Outcome:
            return Refused("UNKNOWN", refusals.pop()) if refusals else pull(*given, **more)

        steps = ImageSteps(tools.pulls, bench.judge, tools.images, patience=5.0)
        steps.pull_troubled(0, "other-bytes", "blobs", "digest")
        monkeypatch.setattr(tools.pulls, "pull", once_refused)
        # Another, which shares a layer.
        steps.move(1, 5)
        steps.pull(1)
        assert not refusals
        steps.close()


def test_nothing_is_kept_of_what_a_sequence_used(preparation: Preparation):
    with _bench(preparation) as bench:
        pulls, images = bench.tools.pulls, bench.tools.images
        known, registry = set(bench.target.workshop.images), pulls.registry
        steps = ImageSteps(pulls, bench.judge, images)
        steps.pull(0)
        steps.pull_absent(0, "repository")
        steps.pull_given_up("deadline", 0.001)
        steps.close()
        assert not pulls._pulled
        assert not registry._repositories
        ids = {name for one in images for name in (one.image.id, one.image.id[7:])}
        foreign = {
            name for one in images if one.foreign for name in (one.foreign.id, one.foreign.id[7:])
        }
        assert bench.target.workshop.images <= known | ids | foreign


def test_what_the_list_never_has_is_not_told_as_lost_meanwhile(preparation: Preparation):
    fault = "leave-out-ListImages.images-pulled"
    with _bench(preparation, fault) as bench:
        steps = ImageSteps(bench.tools.pulls, bench.judge, bench.tools.images)
        with pytest.raises(Violation) as broken:
            steps.pull(0)
        bench.judge.mute(key_of(broken.value))
        steps.pull_together([0, 1])
        assert bench.judge.broken is None


def test_images_of_others_are_not_touched(preparation: Preparation):
    """Nor is anything said of them."""
    with _bench(preparation) as bench:
        others = bench.tools.pulls
        foreign = others.serve()
        others.pulled(foreign)
        steps = ImageSteps(others, bench.judge, bench.tools.images)
        steps.pull(0)
        others.remove(foreign.reference)
        steps.pull(1)
        steps.remove(0)
        steps.close()
        others.pulled(foreign)
        steps = ImageSteps(others, bench.judge, bench.tools.images)
        steps.pull(0)
        steps.close()
        assert others.status(foreign.reference) is not None


def test_each_process_has_its_own_registry(preparation: Preparation):
    with _bench(preparation) as bench:
        first = Registry()
        port = int(first.address.rpartition(":")[2])
        settings = replace(bench.target.settings, registry=("127.0.0.1", port))
        target = replace(bench.target, settings=settings)
        with pytest.raises(NotExercised, match="--cri-registry"):
            _ = Tools(target).pulls
        second = Tools(target, 1)
        assert second.pulls.registry.address == f"127.0.0.1:{port + 1}"
        second.close()
        first.close()


def test_a_runtime_that_does_not_come_to_our_registry_has_no_such_mode(preparation: Preparation):
    with _bench(preparation) as bench:
        facts = replace(bench.target.facts, no_pulls="it does not trust us")
        with pytest.raises(NotExercised, match="it does not trust us"):
            _ = Tools(replace(bench.target, facts=facts)).images


def test_the_password_of_a_pull_is_in_no_file(preparation: Preparation):
    target = _target(preparation, "ignore-PullImage.auth.password")
    found = _campaign(target, "AuthConfig.username.with-password")
    passwords = {call.request.auth.password for call in found.raw if call.rpc == "PullImage"} - {""}
    assert passwords
    texts = {file.name: file.read_text() for file in Path(found.folder).iterdir()}
    assert not [text for text in texts.values() if any(one in text for one in passwords)]
    assert "(hidden)" in texts["replay.json"]
