# SPDX-License-Identifier: Apache-2.0
"""results.json takes anything a runtime may send, and is documented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_type_hints

import pytest

from cri_conformance.contract.verdict import ClauseRecord, Reason, Verdict
from cri_conformance.report import json_file, schema
from cri_conformance.report.profiles import State
from cri_conformance.wire.history import CallRecord

from .fakes import broken, results, small_register, target

ONE = small_register(("RuntimeService.StopPodSandbox.idempotent", "MUST"))
DOCUMENT = Path(__file__).parents[2] / "docs" / "results.md"


def hostile(text: object):
    return results(
        ONE, broken("t", next(iter(ONE.clauses)), actual=text), runtime=target(info={"x": text})
    )


@pytest.mark.parametrize(
    "text",
    [
        "plain ü 容器 🦀",
        "\x00\x01\x1b[31m\x7f\x9b",
        "\u202eevil\u2066",
        "line\u2028end",
        "x" * 3_000_000,
    ],
)
def test_text_comes_back_as_it_was(tmp_path, text):
    json_file.write(hostile(text), tmp_path / "results.json")
    raw = (tmp_path / "results.json").read_bytes()
    read = json.loads(raw.decode("utf-8"))
    assert read["clauses"][0]["actual"] == text
    assert read["target"]["info"]["x"] == text
    # Nothing in the file does anything to a terminal.
    assert not set(raw.decode("utf-8")) & {
        chr(n) for n in (*range(10), *range(11, 32), 0x9B, 0x202E)
    }


def test_what_utf8_or_json_cannot_hold_is_told_as_text():
    read = json.loads(json_file.dumps(hostile("a\udc80b")))
    assert read["clauses"][0]["actual"] == "a\\udc80b"
    for odd in (float("nan"), b"bytes", Path("p")):
        assert isinstance(json.loads(json_file.dumps(hostile(odd)))["clauses"][0]["actual"], str)


def test_the_file_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "results.json"
    json_file.write(hostile("old"), path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        json_file.write(hostile("new"), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_the_document_is_described_key_by_key():
    described = DOCUMENT.read_text(encoding="utf-8")
    types = (
        schema.Results,
        schema.Suite,
        schema.Target,
        schema.Environment,
        schema.Summary,
        schema.ClauseResult,
        schema.TestRecord,
        schema.LifecycleRow,
        schema.Campaign,
        schema.Finding,
        schema.Met,
        schema.Expected,
        schema.Overdue,
        schema.ProfileResult,
        schema.Baseline,
        ClauseRecord,
        CallRecord,
    )
    keys = {key for kind in types for key in get_type_hints(kind)}
    assert not [key for key in sorted(keys) if f"`{key}`" not in described]
    assert not [word for word in (*Verdict, *Reason, *State) if word not in described]
    assert f"`schema_version` is {schema.SCHEMA_VERSION}" in described


def test_a_document_has_the_keys_of_the_schema():
    made = hostile("x")
    for value, kind in (
        (made, schema.Results),
        (made["suite"], schema.Suite),
        (made["target"], schema.Target),
        (made["environment"], schema.Environment),
        (made["summary"], schema.Summary),
        (made["clauses"][0], schema.ClauseResult),
        (made["tests"][0], schema.TestRecord),
        (made["expectations"], schema.Expected),
        (made["profiles"][0], schema.ProfileResult),
        (made["baseline"], schema.Baseline),
    ):
        assert value.keys() == get_type_hints(kind).keys()
