# SPDX-License-Identifier: Apache-2.0
"""Patterns that choose clauses, of a command line or of a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cri_conformance.contract import patterns
from cri_conformance.contract.register import register

STABLE, STATUS = "RuntimeService.Version.stable", "RuntimeService.Status.succeeds"


def test_several_choose_what_any_of_them_chooses() -> None:
    found = [clause.id for clause in register().matching(f"{STATUS}, Version.stable,, nothing")]
    assert found == [STABLE, STATUS]


def test_nothing_but_commas_chooses_nothing() -> None:
    assert register().matching(" , ") == []


def test_a_file_has_one_in_a_line_and_what_people_write_beside(tmp_path: Path) -> None:
    path = tmp_path / "ours.txt"
    path.write_text(f"\ufeff# ours\n\n{STABLE}  # since 1.2\r\n 'Status.*'\n", encoding="utf-8")
    assert patterns.resolved(f"@{path}") == f"{STABLE},'Status.*'"


def test_what_is_no_file_stays_as_it_is() -> None:
    assert patterns.resolved("StopPodSandbox.*") == "StopPodSandbox.*"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't read {}: there is no such file; give one with a pattern a line"),
        (b"# none\n \n", "{} names no clause"),
        (b"\xff\xfe\x00", "{} is no text in UTF-8"),
    ],
)
def test_a_file_of_no_use_is_told_in_a_line(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "ours.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(patterns.PatternsError, match=f"^{re.escape(said.format(path))}$"):
        patterns.resolved(f"@{path}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Version.stable,@two", "@two stands alone: put the other patterns into that file"),
        ("@one,@two", "can't read one,@two: there is no such file; a file stands alone"),
        ("@one,Status", "can't read one,Status: there is no such file; a file stands alone"),
    ],
)
def test_a_file_stands_alone(text: str, said: str) -> None:
    with pytest.raises(patterns.PatternsError, match=f"^{said}$"):
        patterns.resolved(text)


def test_a_file_of_files_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ours.txt"
    path.write_text(f"{STABLE}\n@two\n", encoding="utf-8")
    said = f"^{path} has @two: a line is a pattern, and no other file$"
    with pytest.raises(patterns.PatternsError, match=said):
        patterns.resolved(f"@{path}")


def test_a_folder_is_no_list() -> None:
    with pytest.raises(patterns.PatternsError, match=r"^can't read /: Is a directory$"):
        patterns.resolved("@/")
