# SPDX-License-Identifier: Apache-2.0
"""Comparing another api.proto with ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from cri_conformance.api.descriptors import descriptor_set
from cri_conformance.contract import diff

pytest.importorskip("grpc_tools", reason="needs the dev extra")

SOURCE = """\
syntax = "proto3";
package runtime.v1;
import "github.com/gogo/protobuf/gogoproto/gogo.proto";
option (gogoproto.goproto_stringer_all) = false;

service RuntimeService {
    // Says
    // the version.
    rpc Version(VersionRequest) returns (stream VersionResponse) {}
}
message VersionRequest { string version = 1; }
message VersionResponse {
    bytes version = 1; // The version.
    optional string runtime_name = 2;
    repeated string runtime_version = 3;
    map<string, int64> runtime_api_version = 4 [deprecated = true];
    oneof mood { string good = 5; string bad = 6; }
}
"""


def _read(tmp_path: Path, source: str) -> diff.Upstream:
    path = tmp_path / "some.proto"
    path.write_text(source, encoding="utf-8")
    return diff.read(path)


def test_the_contract_does_not_differ_from_itself() -> None:
    assert diff.wire_changes(diff.shapes(descriptor_set())) == []


def test_every_way_in_which_an_element_can_differ(tmp_path: Path) -> None:
    lines = diff.wire_changes(_read(tmp_path, SOURCE).shapes)
    response = "VersionResponse"
    assert {line for line in lines if not line.startswith("removed")} == {
        f"added    {response}.good: field 5 string in oneof mood",
        f"added    {response}.bad: field 6 string in oneof mood",
        "changed  RuntimeService.Version: call (VersionRequest) returns (VersionResponse) → "
        "call (VersionRequest) returns (stream VersionResponse)",
        f"changed  {response}.version: field 1 string → field 1 bytes",
        f"changed  {response}.runtime_name: field 2 string → field 2 string optional",
        f"changed  {response}.runtime_version: field 3 string → field 3 repeated string",
        f"changed  {response}.runtime_api_version: field 4 string → "
        "field 4 map<string, int64> deprecated",
    }
    assert "removed  ImageService: service" in lines
    assert "removed  ContainerState.CONTAINER_EXITED: value 2" in lines


def test_a_comment_is_news_when_its_words_change_and_not_when_it_is_wrapped(tmp_path: Path) -> None:
    lock = tmp_path / "upstream.lock"
    diff.write_lock(_read(tmp_path, SOURCE).comments, "some 1.2", lock)
    assert diff.read_lock(lock)[0] == "some 1.2"
    assert "Says" not in lock.read_text(encoding="utf-8")

    wrapped = SOURCE.replace("Says\n    // the", "Says the")
    assert diff.comment_changes(_read(tmp_path, wrapped).comments, lock) == []

    changed = (
        SOURCE.replace("the version.", "the truth.")
        .replace("The version.", "Another.")
        .replace("string good = 5; ", "string better = 5; ")
    )
    assert diff.comment_changes(_read(tmp_path, changed).comments, lock) == [
        "comment  RuntimeService.Version: changed",
        "comment  VersionResponse.version: changed",
        "comment  VersionResponse.better: never read",
        "comment  VersionResponse.good: gone",
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("message {", "does not compile"),
        ('syntax = "proto3"; package other.v1;', "is not the CRI's api.proto"),
        ("\xff", "does not compile"),
    ],
)
def test_what_is_no_contract_is_one_line(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(diff.DiffError, match=said) as caught:
        _read(tmp_path, source)
    assert "\n" not in str(caught.value)


def test_the_lock_knows_every_element() -> None:
    version, comments = diff.read_lock()
    assert version
    assert comments.keys() == diff.shapes(descriptor_set()).keys()
