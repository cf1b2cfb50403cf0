# SPDX-License-Identifier: Apache-2.0
"""What is said of a campaign's processes while they play."""

from __future__ import annotations

from pathlib import Path

from cri_conformance.following import Following
from cri_conformance.report.files import SAID


def _say(folder: Path, worker: str, text: str) -> None:
    with (folder / f"fuzz-{worker}{SAID}").open("a", encoding="utf-8") as file:
        file.write(text)


def test_each_line_is_told_once_when_it_is_whole(tmp_path: Path) -> None:
    said: list[str] = []
    following = Following(tmp_path, said.append)
    following.look()
    assert said == []
    _say(tmp_path, "gw0", "found: ü\nagain 3 of")
    _say(tmp_path, "gw1", "5 s\n6 s\n")
    following.look()
    following.look()
    assert said == ["gw0: found: ü", "gw1: 5 s", "gw1: 6 s"]
    _say(tmp_path, "gw0", " 3\n")
    following.look()
    assert said[3:] == ["gw0: again 3 of 3"]


def test_all_is_told_at_its_end_and_nothing_afterwards(tmp_path: Path) -> None:
    said: list[str] = []
    Following(tmp_path, said.append).end()
    following = Following(tmp_path, said.append)
    following.begin()
    _say(tmp_path, "gw0", "the last\n")
    following.end()
    following.end()
    _say(tmp_path, "gw0", "too late\n")
    assert said == ["gw0: the last"]
    assert not following._thread.is_alive()
