# SPDX-License-Identifier: Apache-2.0
"""The reference runtime's log files, and opening them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from cri_conformance.reference.logs import LONGEST_TEXT, LogFile
from cri_conformance.wire.crilog import Log


def test_long_lines_are_cut_and_can_be_joined(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "pod" / "0.log"))
    written = b"a" * (3 * LONGEST_TEXT) + b"\n" + b"b" * LONGEST_TEXT + b"\n\nend"
    for start in range(0, len(written), 1000):
        log.stdout(written[start : start + 1000])
    log.close()
    read = Log.read((tmp_path / "pod" / "0.log").read_bytes())
    assert read.output("stdout") == written
    assert max(len(record.text) for record in read.records) == LONGEST_TEXT


def test_a_line_goes_on_in_the_file_after_a_rotation(tmp_path: Path) -> None:
    path, old = tmp_path / "0.log", tmp_path / "0.log.1"
    log = LogFile(str(path))
    log.stdout(b"one\ntw")
    path.rename(old)
    log.reopen()
    assert path.exists()
    log.stdout(b"o\n")
    log.reopen()  # in its place
    log.stdout(b"three\n")
    log.close()
    assert Log.read(old.read_bytes()).output("stdout") == b"one\n"
    assert Log.read(path.read_bytes()).output("stdout") == b"two\nthree\n"


def test_the_old_file_is_kept_when_no_new_one_can_be_made(tmp_path: Path) -> None:
    path, old = tmp_path / "0.log", tmp_path / "0.log.1"
    log = LogFile(str(path))
    path.rename(old)
    path.mkdir()
    with pytest.raises(OSError):
        log.reopen()
    log.stdout(b"one\n")
    log.close()
    assert Log.read(old.read_bytes()).output("stdout") == b"one\n"


def test_without_a_file_there_is_nothing_to_open_anew(tmp_path: Path) -> None:
    silent = LogFile("")
    with pytest.raises(OSError):
        silent.reopen()
    log = LogFile(str(tmp_path / "0.log"))
    log.close()
    (tmp_path / "0.log").unlink()
    with pytest.raises(OSError):
        log.reopen()
    assert not (tmp_path / "0.log").exists()
