# SPDX-License-Identifier: Apache-2.0
"""benchmarks/kills.tsv, the faults that campaigns look for, and docs/kills.md, how soon."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from cri_conformance.faults.catalogue import (
    faults,
    images,
    malformed,
    restart,
    retry,
    stateful,
    streamed_lists,
)

ROOT = Path(__file__).parents[1]
#: Faults of such files that are the suite's alone, and why.
ALONE = {
    "fail-Version": "a campaign waits for Version before it looks at anything",
    "dawdle-on-failure": "a hopeless pull may take a minute",
    "side-effect-RemoveImage-RemoveImage": "it takes an image that only the suite brings",
    "nameless-means-some": "a removal of nothing could hit an image of others",
    "freeze-ImageFsInfo.image_filesystems.used_bytes.value": "measured after up to 45 s",
    "freeze-ImageFsInfo.image_filesystems.inodes_used.value": "measured after up to 45 s",
    "never-end-StreamImages+slow-reader-StreamImages-blocks": "clients that read slowly",
}


#: Faults of other files that it finds.
_BESIDE = {
    "fail-CreateContainer-digest",
    "fail-CreateContainer-image-id",
    "tag-is-part-of-the-name",
    "uid-of-everybody",
}


def _listed() -> list[tuple[str, str]]:
    with (ROOT / "benchmarks" / "kills.tsv").open(encoding="utf-8", newline="") as file:
        return [(kind, fault) for kind, fault in csv.reader(file, delimiter="\t")][1:]


LISTED = _listed()
NAMES = [fault for _, fault in LISTED]


def test_each_fault_is_one_and_stands_there_once() -> None:
    assert set(NAMES) <= faults().keys()
    assert [name for name, times in Counter(NAMES).items() if times > 1] == []


@pytest.mark.parametrize(
    "file", [malformed, restart, retry, stateful], ids=lambda file: file.__name__
)
def test_of_what_only_campaigns_can_meet_none_is_missing(file: object) -> None:
    of_file = {fault.id for fault in file.FAULTS}  # type: ignore[attr-defined]
    assert of_file - ALONE.keys() <= set(NAMES)


def test_of_what_the_mode_images_can_meet_none_is_missing() -> None:
    of_images = {fault.id for fault in images.FAULTS}
    of_images |= {fault.id for fault in streamed_lists.FAULTS if "StreamImages" in fault.id}
    assert of_images - ALONE.keys() == {name for kind, name in LISTED if kind == "images"} - _BESIDE


def test_what_no_clause_speaks_of_is_listed() -> None:
    assert {fault.id for fault in faults().values() if fault.misbehaves} <= set(NAMES)


def test_the_page_has_each_of_them_killed_with_every_seed() -> None:
    page = (ROOT / "docs" / "kills.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \|(.+)\|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == NAMES
    for name, found in rows:
        assert re.fullmatch(r"( \d+( / \d+)? \|){2} \d+( / \d+)? ", found), name
