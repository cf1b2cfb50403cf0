# SPDX-License-Identifier: Apache-2.0
"""The command line: what it prints, and one line for each mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cri_conformance import bindings, cli
from cri_conformance.contract.register import register


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cri_conformance.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert cli.main(words) == 0
    return capsys.readouterr().out.splitlines()


def test_every_clause_has_one_line_that_begins_with_its_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = _lines(capsys, "clauses")
    assert [line.split()[0] for line in lines] == list(register().clauses)
    first = next(iter(register().clauses.values()))
    assert lines[0] == f"{first.id}  {first.level}  {first.kind}  {first.since}  {first.text}"


def test_clauses_are_chosen_by_pattern_element_level_and_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clauses = register().clauses.values()
    wanted = [c.id for c in clauses if c.level == "MUST" and c.kind == "idempotency"]
    lines = _lines(capsys, "clauses", "--level", "must", "--kind", "idempotency")
    assert [line.split()[0] for line in lines] == wanted
    by_pattern = _lines(capsys, "clauses", "RuntimeService.StopPodSandbox.*")
    assert by_pattern == _lines(capsys, "clauses", "--element", "StopPodSandbox")
    assert _lines(capsys, "clauses", "--needs", "host") != _lines(capsys, "clauses")
    listed = tmp_path / "ours.txt"
    listed.write_text("RuntimeService.StopPodSandbox.*\n", encoding="utf-8")
    assert _lines(capsys, "clauses", f"@{listed}") == by_pattern
    listed.write_text("RuntimeService.StopPodSandbox.*\nno-such\n", encoding="utf-8")
    assert cli.main(["clauses", f"@{listed}"]) == 2
    assert "no clause matches 'no-such'; " in capsys.readouterr().err


def test_a_clause_is_tested_if_a_test_of_the_suite_is_bound_to_it() -> None:
    tested, untested = (_run("clauses", option).stdout for option in ("--tested", "--untested"))
    both = [[line.split()[0] for line in text.splitlines()] for text in (tested, untested)]
    assert sorted(both[0] + both[1]) == sorted(register().clauses)
    assert "VersionResponse.runtime_version.readable" in both[0]


def test_the_suite_is_bound_to_clauses_that_exist() -> None:
    code = "from cri_conformance import bindings; print(*bindings.bound(), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= register().clauses.keys()


def test_a_suite_that_cannot_be_collected_is_said(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    code = (
        "import pathlib, sys; from cri_conformance import bindings, cli\n"
        f"bindings.SUITE = pathlib.Path({str(tmp_path)!r})\n"
        "sys.exit(cli.main(['clauses', '--tested']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nothing_of_that_name" in done.stderr
    assert done.stderr.startswith("cri-conformance: the suite can't be collected")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "COMMAND"),
        (("nonsense",), "nonsense"),
        (("clauses", "No.Such.Element"), "no clause matches 'No.Such.Element'; cri-conformance c"),
        (("clauses", "Version.*,No.Such.Element"), "no clause matches 'No.Such.Element'"),
        (("clauses", "--element", "No.Such"), "no clause has that name"),
        (("clauses", "Version.*,@two"), "@two stands alone: put the other patterns into that file"),
        (("faults", "--list", "--clause=A", "--clause=B"), "--clause: given twice; see cri-con"),
        (("faults", "--matrix", "--clause=", "--clause=B"), "--clause: given twice"),
        (("clauses", "--element=A", "--element=B"), "--element: given twice"),
        (("clauses", "@/none.txt"), "can't read /none.txt: there is no such file; give one with a"),
        (("clauses", "--level", "LOUD"), "--level is one of MUST"),
        (("clauses", "--kind", "odd"), "--kind is one of"),
        (("clauses", "--tested", "--untested"), "not allowed with"),
        (("contract",), "COMMAND"),
        (
            ("contract", "diff", "/nonexistent/api.proto"),
            "api.proto: there is no such file; give an api.proto",
        ),
        (("sweep",), "--cri-endpoint"),
        (("sweep", "--cri-endpoint", "nowhere"), "not an endpoint"),
        (("sweep", "--cri-endpoint", "/nonexistent/x.sock"), "nothing takes gRPC connections"),
        (("contract", "diff", "/"), "can't read /: Is a directory; give an api.proto"),
        (("image", "/nonexistent/x.tar"), "x.tar: there is no folder /nonexistent; make it first"),
        (("image", "/"), "can't write the test image to /: it is a folder; give the path of a"),
        (("compare", "/none"), "can't read /none: there is no such file; give a run's results.js"),
        (("report", "/none"), "can't read /none: there is no such file; give a run's results.js"),
        (("benchmark", "compare", "/none", "/x"), "can't read /none: there is no such file; give"),
        (
            ("replay", "/none", "--cri-endpoint=reference"),
            "can't read /none: there is no such file; give a finding's folder, or its replay.json",
        ),
        (("image", "--entrypoint", "'", "x.tar"), "closing quotation"),
        (("benchmark",), "required: --cri-endpoint; see cri-conformance benchmark --help"),
        (("benchmark", "--warmup=-1"), "--warmup: a whole number from 0 up, not '-1'"),
        (("benchmark", "--rounds=0"), "--rounds: a whole number from 1 up, not '0'"),
        (("benchmark", "--confidence=x"), "--confidence: a number between 0 and 1, not 'x'"),
        (("benchmark", "--only=x"), "--only: x: there are sandbox"),
        (("faults",), "--list --matrix is required; see cri-conformance faults --help"),
        (("serve", "--listen=x"), "--listen: give unix:///path.sock, not 'x'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("cri-conformance: ")
    assert said in error
    assert "Errno" not in error
    assert error.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"set -o pipefail; {sys.executable} -m cri_conformance.cli clauses | head -1",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from cri_conformance import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('grpc', 'google.protobuf', 'pytest') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_generated_files_can_be_checked_and_a_contract_compared(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs the dev extra")
    assert _run("contract", "build", "--check").returncode == 0
    other = tmp_path / "api.proto"
    other.write_text('syntax = "proto3"; package runtime.v1;\n', encoding="utf-8")
    done = _run("contract", "diff", str(other))
    assert done.returncode == 1
    assert "removed  RuntimeService: service" in done.stdout


def test_the_suite_lies_where_bindings_look() -> None:
    assert bindings.SUITE.is_dir()
