# SPDX-License-Identifier: Apache-2.0
"""The register as a whole: what the package ships is what proto/ says."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2

from cri_conformance.contract import build
from cri_conformance.contract.clause import Level
from cri_conformance.contract.grammar import GrammarError
from cri_conformance.contract.register import read, register


def test_generated_files_are_up_to_date() -> None:
    pytest.importorskip("grpc_tools", reason="needs the dev extra")
    for path, expected in build.generate().items():
        assert path.read_bytes() == expected, "run: cri-conformance contract build"


def test_a_clause_says_where_it_stands() -> None:
    for clause in register().clauses.values():
        file, _, line = clause.source.partition(":")
        lines = (build.PROTO_ROOT.parent / file).read_text(encoding="utf-8").splitlines()
        name = clause.id.removeprefix(f"{clause.element}.")
        assert lines[int(line) - 1].strip().startswith(f"// - {name} ("), clause.id


def test_every_clause_reads_as_a_sentence() -> None:
    for clause in register().clauses.values():
        assert clause.text.endswith("."), clause.id


def test_only_kubelet_clauses_rest_on_evidence_outside_the_text() -> None:
    for clause in register().clauses.values():
        assert bool(clause.evidence) == (clause.level is Level.KUBELET), clause.id


def test_no_clause_is_older_than_its_element() -> None:
    elements = register().elements
    for clause in register().clauses.values():
        assert clause.since >= elements[clause.element].since, clause.id


@pytest.mark.parametrize(
    "pattern",
    ["RuntimeService.StopPodSandbox.*", "RuntimeService.StopPodSandbox", "StopPodSandbox"],
)
def test_a_pattern_may_be_an_id_or_the_name_of_an_element(pattern: str) -> None:
    found = register().matching(pattern)
    assert found
    assert {clause.element for clause in found} == {"RuntimeService.StopPodSandbox"}


def test_of_an_id_its_end_is_enough() -> None:
    found = register().matching("StopPodSandbox.idempotent")
    assert [clause.id for clause in found] == ["RuntimeService.StopPodSandbox.idempotent"]


def test_an_unreadable_clause_is_named_with_its_file_and_element() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="broken.proto", package="runtime.v1")
    file.message_type.add(name="Thing")
    file.source_code_info.location.add(
        path=[4, 0], span=[3, 0, 1], leading_comments=" - half a clause\n"
    )
    with pytest.raises(GrammarError, match=r"proto/broken\.proto, Thing: not a clause"):
        read(descriptor_pb2.FileDescriptorSet(file=[file]))
