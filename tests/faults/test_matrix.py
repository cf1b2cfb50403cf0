# SPDX-License-Identifier: Apache-2.0
"""The matrix as a command, on a few faults; CI runs it on all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cri_conformance.contract.register import register
from cri_conformance.faults import matrix, sentinels
from cri_conformance.faults.catalogue import faults

_RUN = "import sys; from cri_conformance.faults.matrix import main; sys.exit(main(sys.argv[1:]))"
PATTERN = "VersionResponse.*"


def test_faults_of_a_family_are_all_killed(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    command = ["--matrix", "--clause", PATTERN, "--json", str(rows), "--workers", "2"]
    ran = subprocess.run(
        [sys.executable, "-c", _RUN, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    *lines, last = ran.stdout.splitlines()
    wanted = {
        (clause, fault.id)
        for fault in faults().values()
        for clause in fault.clauses
        if clause.startswith("VersionResponse.")
    }
    assert len(wanted) > 3
    assert last == f"{len(wanted)} of {len(wanted)} killed"
    assert all(line.endswith("→ killed") for line in lines)
    found = json.loads(rows.read_text(encoding="utf-8"))["rows"]
    assert {(row["clause"], row["fault"]) for row in found} == wanted
    assert not list(tmp_path.glob("reports*"))


def test_the_list_names_clauses_and_what_matches_nothing_is_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert matrix.main(["--list", "--clause", PATTERN]) == 0
    assert "VersionResponse." in capsys.readouterr().out
    assert matrix.main(["--list", "--fault", "nonsense"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_sentinels_name_clauses_of_the_contract() -> None:
    source = Path(sentinels.__file__).read_text(encoding="utf-8")
    named = re.findall(r'"([A-Z]\w+\.\w+(?:\.\w+)?\.?[a-z-]+-[a-z-]+|\w+\.\w+\.\w+)"', source)
    assert len(named) >= 12
    assert [name for name in named if name not in register()] == []
