# SPDX-License-Identifier: Apache-2.0
"""Results beside each other, and what is new against a baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cri_conformance import cli
from cri_conformance.contract.expectations import Expectation
from cri_conformance.report import compare, json_file, load
from cri_conformance.report.collect import Collector
from cri_conformance.report.environment import environment
from cri_conformance.report.terminal import summary_lines

from .fakes import broken, found, record, results, small_register, suite, target

NAMES = [f"RuntimeService.StopPodSandbox.p{n}" for n in range(6)]
SIX = small_register(*((name, "MUST") for name in NAMES[:5]), (NAMES[5], "MAY"))


def made(bad=(), known=(), idle=(), *, recorded="INTERNAL", flaky="", version="2.1.9", **more):
    records = [broken(f"t::{NAMES[n]}", NAMES[n]) for n in bad]
    records += [record(f"t::{NAMES[n]}", found(NAMES[n], "known", reason="r")) for n in known]
    rest = [n for n in range(5) if n not in (*bad, *known, *idle)]
    records += [record(f"t::{NAMES[n]}", found(NAMES[n], "held")) for n in rest]
    records.append(record("t::may", found(NAMES[5], "recorded", actual=recorded)))
    expected = {NAMES[n]: Expectation(NAMES[n], "r", flaky=flaky) for n in known}
    more.setdefault("runtime", target(runtime_version=version))
    bound = {name: [f"t::{name}"] for name in NAMES}
    return results(SIX, *records, known=expected, bound=bound, **more)


def matrix(*given):
    return compare.compare([(f"r{n}.json", one) for n, one in enumerate(given)])


@pytest.mark.parametrize(
    ("one", "other", "worse"),
    [
        (made(), made(), False),
        (made(), made([0]), True),
        (made(), made([], [0]), True),
        (made(), made([], [0], flaky="1 in 70"), False),
        (made([0]), made(), False),
        (made([0]), made([], [0]), False),
        (made(), made(idle=[0]), False),
        (made(), made(idle=[0, 1, 2]), True),
        (made(recorded="a 1"), made(recorded="b"), False),
    ],
)
def test_worse_than_the_first(one, other, worse):
    found = matrix(one, other)
    assert found["worse"] is worse
    assert found["columns"][0]["worse"] == []


def test_what_differs_comes_first():
    found = matrix(made([4, 3], idle=[0]), made([4, 2], recorded="OK"), made([4, 2]))
    assert [(row["id"][-1], row["group"]) for row in found["clauses"]] == [
        ("2", "differs"),
        ("3", "differs"),
        ("4", "broken"),
        ("5", "recorded"),
        ("0", "judged"),
        ("1", "same"),
    ]
    assert found["columns"][1]["worse"] == [NAMES[2]]
    assert found["columns"][1]["better"] == [NAMES[3]]


def test_numbers_and_ids_in_what_was_recorded_are_no_difference():
    found = matrix(
        made(recorded="sandbox 4f1c9a0b72d3 after 3 s"),
        made(recorded="sandbox deadbeef99 after 4 s"),
    )
    assert {row["group"] for row in found["clauses"]} == {"same"}


def test_columns_have_names_of_their_own_and_notes_say_what_makes_them_unlike():
    other = made(runtime=target(runtime_version="1.6", minor="1.26"), about=suite(version="0.0.9"))
    found = matrix(made(), made(), other)
    assert [column["label"] for column in found["columns"]] == [
        "containerd 2.1.9 [1]",
        "containerd 2.1.9 [2]",
        "containerd 1.6",
    ]
    assert found["notes"] == [
        "different versions of the suite: 0.1.0, 0.0.9",
        "judged by different minors of the contract: 1.26, 1.31",
    ]


def test_a_clause_that_one_did_not_know():
    old = made()
    old["clauses"] = [clause for clause in old["clauses"] if clause["id"] != NAMES[0]]
    found = matrix(old, made([0]))
    row = next(row for row in found["clauses"] if row["id"] == NAMES[0])
    assert [cell["verdict"] for cell in row["cells"]] == ["", "broken"]
    assert found["columns"][1]["worse"] == []


def test_nothing_from_a_runtime_does_anything():
    bad = "<script>alert(1)</script>|`\x1b[31m\u202e](javascript:x)"
    evil = made(recorded=bad, version=bad)
    found = matrix(made(), evil)
    page, text, data = compare.as_html(found), compare.as_markdown(found), compare.as_json(found)
    for shown in (page, text, data, "\n".join(compare.lines(found))):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "<script" not in page
    assert "<script" not in text.replace("\\<", "")
    assert json.loads(data)["columns"][1]["runtime_version"] == bad
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 4


def test_the_command(tmp_path: Path, capsys):
    files = []
    for name, one in (("a", made()), ("b", made([0])), ("c", made())):
        files.append(tmp_path / f"{name}.json")
        json_file.write(one, files[-1])
    out = {form: tmp_path / f"out/m.{form}" for form in ("html", "markdown", "json")}
    words = ["compare", *map(str, files)]
    assert cli.main([*words, *(f"--{form}={path}" for form, path in out.items())]) == 1
    assert f"WORSE    containerd 2.1.9 [2]: {NAMES[0]}" in capsys.readouterr().out
    assert f"| `{NAMES[0]}` (MUST) | held | **broken** | held |" in out["markdown"].read_text()
    assert json.loads(out["json"].read_text())["worse"] is True
    assert NAMES[0] in out["html"].read_text()
    assert cli.main(["compare", str(files[0]), str(files[2])]) == 0
    capsys.readouterr()
    for bad in (tmp_path / "none.json", tmp_path):
        assert cli.main(["compare", str(files[0]), str(bad)]) == 2
        assert "can't read" in capsys.readouterr().err


def test_where_a_comparison_cannot_be_written_is_told(tmp_path: Path, capsys):
    file = tmp_path / "results.json"
    json_file.write(made(), file)
    assert cli.main(["compare", str(file), str(file), f"--html={file}/x"]) == 2
    error = capsys.readouterr().err
    assert f"can't write the comparison to {file}/x: " in error
    assert "Errno" not in error


def test_results_of_earlier_versions_can_be_read(tmp_path: Path):
    """As they were before profiles, baselines and all that came with them."""
    old = json.loads(json_file.dumps(made([0])))
    for key in ("profiles", "expectations", "baseline", "campaigns", "latencies"):
        old.pop(key, None)
    for clause in old["clauses"]:
        for key in ("profile", "came", "flaky"):
            del clause[key]
    del old["suite"]["as_of"], old["suite"]["profiles"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(old), encoding="utf-8")
    assert matrix(load.load(path), made())["columns"][1]["better"] == [NAMES[0]]
    # The folder of a report stands for its results.
    assert load.load(tmp_path)["clauses"]


def test_what_is_new_against_a_baseline():
    before = made([0, 1])
    collector = Collector(SIX, {}, {}, before, "old.json")
    for n in (0, 2):
        collector.add(broken(f"t::{n}", NAMES[n]))
    collector.add(record("t::1", found(NAMES[1], "held")))
    now = collector.results(suite(), target(), environment(), ())
    base = now["baseline"]
    assert (base["new"], base["gone"]) == ([NAMES[2]], [NAMES[1]])
    assert base["unjudged"] == [NAMES[3], NAMES[4], NAMES[5]]
    shown = [text for text, _ in summary_lines(now, 0)]
    assert any(line.startswith(f"BROKEN   {NAMES[2]} (NEW, MUST)") for line in shown)
    assert any(line.startswith(f"BROKEN   {NAMES[0]} (MUST)") for line in shown)
    told = "against the baseline (containerd 2.1.9): 1 newly broken, 1 no longer broken, 3 no "
    assert any(line.startswith(told) for line in shown)
