# SPDX-License-Identifier: Apache-2.0
"""Where clauses hang."""

from __future__ import annotations

from google.protobuf import descriptor_pb2

from cri_conformance.api.descriptors import descriptor_set
from cri_conformance.contract.register import register
from cri_conformance.report.tree import call_of, calls, homes, message_of
from cri_conformance.report.view import tree

from .fakes import large


def test_a_message_hangs_under_the_first_call_that_reaches_it():
    where = homes(descriptor_set())
    assert where["VersionRequest"] == "RuntimeService.Version"
    assert where["PodSandboxConfig"] == "RuntimeService.RunPodSandbox"
    # CreateContainer has it in its request too, and comes later.
    assert where["PodSandboxMetadata"] == "RuntimeService.RunPodSandbox"


def test_nested_types_maps_and_recursion_are_followed():
    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(name="x.proto", package="p")
    tree_ = file.message_type.add(name="Tree")
    tree_.field.add(name="children", type_name=".p.Tree")
    tree_.field.add(name="by_name", type_name=".p.Tree.ByNameEntry")
    entry = tree_.nested_type.add(name="ByNameEntry")
    entry.options.map_entry = True
    entry.field.add(name="value", type_name=".p.Leaf")
    tree_.nested_type.add(name="Inner").field.add(name="mode", type_name=".p.Tree.Mode")
    tree_.enum_type.add(name="Mode")
    file.message_type.add(name="Leaf")
    file.message_type.add(name="Lonely")
    method = file.service.add(name="S").method.add(name="Grow")
    method.input_type, method.output_type = ".p.Tree", ".p.Leaf"
    where = homes(files)
    assert where["Tree"] == where["Leaf"] == where["Tree.ByNameEntry"] == "S.Grow"
    assert "Lonely" not in where
    assert "Tree.Inner" not in where
    assert calls(files) == ["S.Grow"]


def test_elements_find_their_call_and_message():
    where, real = homes(descriptor_set()), register()
    assert call_of("RuntimeService.Version", real, where) == "RuntimeService.Version"
    assert call_of("RuntimeService", real, where) == "RuntimeService"
    assert call_of("PodSandboxMetadata.uid", real, where) == "RuntimeService.RunPodSandbox"
    assert call_of("Nowhere.field", real, where) == ""
    assert message_of("PodSandboxMetadata.uid", real) == "PodSandboxMetadata"
    assert (
        message_of("SecurityProfile.ProfileType.Localhost", real) == "SecurityProfile.ProfileType"
    )
    assert message_of("SecurityProfile", real) == "SecurityProfile"
    assert message_of("RuntimeService.Version", real) == ""


def test_the_tree_holds_every_clause_once_in_the_order_of_the_calls():
    clauses = large()["clauses"]
    made = tree(clauses)
    held = [
        clause["id"]
        for branches in made.values()
        for branch in branches
        for group in branch.groups
        for clause in group.clauses
    ]
    assert sorted(held) == sorted(clause["id"] for clause in clauses)
    names = [branch.name for branch in made["RuntimeService"] if branch.name]
    order = [call.partition(".")[2] for call in calls(descriptor_set())]
    assert names == sorted(names, key=order.index)
    first = made["RuntimeService"][0].groups
    assert first[0].name == ""  # the call's own clauses come before its messages'


def test_of_a_narrowed_run_what_was_judged_stands_first():
    clauses = large()["clauses"]
    for clause in clauses:
        clause["verdict"] = (
            "held" if clause["call"] == "ImageService.PullImage" else "not exercised"
        )
    made = tree(clauses, judged_first=True)
    service, branches = next(iter(made.items()))
    assert (service, branches[0].name) == ("ImageService", "PullImage")
    first = next(iter(tree(clauses).values()))[0]
    assert not first.counts.get("held")
