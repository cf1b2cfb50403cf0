# SPDX-License-Identifier: Apache-2.0
"""Expectations brought up to date: what people wrote stays, letter by letter."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cri_conformance import cli
from cri_conformance.contract.expectations import ExpectationsError, parse
from cri_conformance.contract.register import register
from cri_conformance.report import json_file
from cri_conformance.report.known import TODO, update

from .fakes import broken, found, record, results, target

STOP = "RuntimeService.StopPodSandbox.idempotent"
REMOVE = "RuntimeService.RemovePodSandbox.idempotent"
OTHER = "RuntimeService.StopContainer.idempotent"
WRITTEN = f"""\
# Ours.
runtime = "containerd"

[[known]]
clause = "{STOP}"   # as told
reason = 'by hand'

# Of the second.
[[known]]
clause = "{REMOVE}"
reason = \"\"\"by hand,
too\"\"\"
"""


def made(*records, version="2.1.9+unknown"):
    return results(register(), *records, runtime=target(runtime_version=version))


def held(*names):
    return [record(f"t::{name}", found(name, "held")) for name in names]


def test_a_new_file_has_an_entry_for_each_broken_clause():
    done = update("", "f", made(broken("t::a", STOP, actual='a "b"\x7f\n')), register())
    loaded = parse(done.text, "f", register())
    assert loaded.runtime == "containerd"
    (entry,) = loaded.entries
    assert (entry.clause, entry.reason, entry.since) == (STOP, TODO, None)
    assert entry.evidence == 'permitted the call succeeds; got a "b"\\x7f'
    assert done.lines == (f"added    {STOP}: its reason is to be written",)
    again = update(done.text, "f", made(broken("t::a", STOP)), register())
    assert (again.text, again.lines) == (done.text, ())


def test_what_held_goes_and_all_else_stays():
    done = update(WRITTEN, "f", made(*held(STOP), broken("t::o", OTHER)), register())
    assert done.lines[0] == f"removed  {STOP}: it held"
    rest = WRITTEN[WRITTEN.index("# Of the second.") :]
    assert done.text.startswith(f'# Ours.\nruntime = "containerd"\n\n\n{rest}') or (
        rest in done.text
    )
    assert STOP not in done.text
    clauses = [entry.clause for entry in parse(done.text, "f", register()).entries]
    assert clauses == [REMOVE, OTHER]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [*held(STOP), record("t::x", found(STOP, "not exercised", reason="not selected"))],
        [record("t::x", found(STOP, "known", reason="by hand"))],
        [record("t::x", found(STOP, "error", reason="x"))],
    ],
)
def test_what_was_not_shown_to_hold_stays(records):
    assert update(WRITTEN, "f", made(*records), register()).text == WRITTEN


def test_ranges_are_ended_and_begun():
    text = WRITTEN.replace("'by hand'", "'by hand'\nsince = \"1.6\"").replace(
        '[[known]]\nclause = "' + REMOVE, '[[known]]\nuntil = "2.0"\nclause = "' + REMOVE
    )
    done = update(text, "f", made(*held(STOP), broken("t::r", REMOVE)), register())
    assert done.lines == (
        f"ended    {STOP}: it held in 2.1.9",
        f"added    {REMOVE}: its reason is to be written",
    )
    old, second, new = parse(done.text, "f", register()).entries
    assert (str(old.since), str(old.until), old.reason) == ("1.6", "2.1.9", "by hand")
    assert (second.clause, str(second.until)) == (REMOVE, "2.0")
    assert (new.clause, str(new.since), new.until) == (REMOVE, "2.1.9", None)


def test_what_flakes_stays():
    text = WRITTEN.replace("'by hand'", "'by hand'\nflaky = \"1 in 70\"")
    assert update(text, "f", made(*held(STOP)), register()).text == text


def test_another_runtimes_file_is_left_alone():
    strange = results(register(), runtime=target(runtime_name="cri-o"))
    with pytest.raises(ExpectationsError, match="about containerd"):
        update(WRITTEN, "f", strange, register())


def test_the_command(tmp_path: Path, capsys):
    answer, file = tmp_path / "results.json", tmp_path / "mine.toml"
    json_file.write(made(broken("t::a", STOP)), answer)
    words = ["expectations", "update", str(answer), "--file", str(file)]
    assert cli.main([*words, "--check"]) == 1
    assert not file.exists()
    assert cli.main(words) == 0
    assert cli.main([*words, "--check"]) == 0
    assert "up to date" in capsys.readouterr().out
    assert parse(file.read_text(encoding="utf-8"), "f", register()).entries
    assert cli.main(["expectations", "list"]) == 0
    told = r"^containerd: \d+ known violations and \d+ known findings of containerd$"
    assert re.search(told, capsys.readouterr().out, re.MULTILINE)
    for bad in ("", "[]", "{", json.dumps({"schema_version": 99}), '{"schema_version": 1}'):
        answer.write_text(bad, encoding="utf-8")
        assert cli.main(words) == 2
        assert str(answer) in capsys.readouterr().err
