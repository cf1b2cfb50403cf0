# SPDX-License-Identifier: Apache-2.0
"""Requests generated from the descriptors: valid, varied, and wrong in one way when asked for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.build import generate
from cri_conformance.build.constraints import CONSTRAINTS, broken, parts
from cri_conformance.build.fields import FIELDS, NEVER, NOT_SENT, Ours
from cri_conformance.contract.clause import Level
from cri_conformance.contract.register import register

OURS = Ours(
    sandboxes=("a" * 64,),
    containers=("b" * 64, "c" * 64),
    images=("localhost/ours:1",),
    folder="/tmp/ours",
    files=("/tmp/ours/file",),
    labels=(("run", "1"),),
)
_FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
_REQUESTS = sorted({rpc.request.DESCRIPTOR.name for rpc in RPCS.values()})


@pytest.mark.parametrize("name", _REQUESTS)
def test_every_request_can_be_generated_and_is_valid(name: str):
    @_FEW
    @given(generate.message(name, OURS))
    def check(made: object) -> None:
        assert broken(made) == []
        assert type(made).FromString(made.SerializeToString()) == made

    check()


@_FEW
@given(st.data())
def test_nothing_that_is_not_ours_is_ever_named(data: st.DataObject):
    made = data.draw(generate.message(data.draw(st.sampled_from(_REQUESTS)), OURS))
    for _, part in parts(made):
        for field, value in part.ListFields():
            path = f"{part.DESCRIPTOR.name}.{field.name}"
            assert path not in NEVER
            if field.name in ("pod_sandbox_id", "container_id"):
                assert value in (*OURS.sandboxes, *OURS.containers, OURS.nobody)
            if field.name in ("log_directory", "location", "output_path", "checkpoint_path"):
                assert value.startswith(OURS.folder)
            if path == "Mount.host_path":
                assert value in (OURS.folder, *OURS.files)
            if path == "Device.host_path":
                assert value == "/dev/null"
            if path == "ImageSpec.image":
                assert value in OURS.images
            assert path != "PortMapping.host_port"  # 0 stands for none, and is not listed


def _base(name: str) -> object:
    return generate.mend(getattr(types, name)())


@pytest.mark.parametrize(
    "name", [name for name in _REQUESTS if generate.spoiling(_base(name).DESCRIPTOR)]
)
def test_a_spoiled_message_breaks_just_one_row(name: str):
    @_FEW
    @given(generate.message(name, OURS).flatmap(lambda base: generate.spoiled(base, OURS)))
    def check(made: generate.Spoiled) -> None:
        assert [line.partition(": ")[2] for line in broken(made.message)] == [made.row.id]

    check()


def test_every_row_that_can_be_spoiled_is_spoiled_somewhere():
    reached = {row.id for name in _REQUESTS for row in generate.spoiling(_base(name).DESCRIPTOR)}
    assert reached == {row.id for row in CONSTRAINTS if row.spoil}
    for name in _REQUESTS:
        for row in generate.spoiling(_base(name).DESCRIPTOR):
            assert generate.spoil(_base(name), row, OURS), (name, row.id)


def test_what_is_spoiled_must_be_refused_by_a_clause():
    for row in CONSTRAINTS:
        if row.clause:
            assert row.clause in register(), row.id
        if row.spoil:
            assert register()[row.clause].level in (Level.MUST, Level.FIELD), row.id


def test_tables_name_what_there_is():
    there = {
        f"{message.name}.{field.name}"
        for name in _REQUESTS
        for message in _messages(getattr(types, name).DESCRIPTOR, {})
        for field in message.fields
    }
    assert set(FIELDS) - there == set()
    assert set(NEVER) - there == set()
    assert set(NOT_SENT) - set(RPCS) == set()


def _messages(descriptor, seen):
    if descriptor.name not in seen:
        seen[descriptor.name] = descriptor
        for field in descriptor.fields:
            if field.message_type:
                _messages(field.message_type, seen)
    return seen.values()


def test_an_overlay_changes_little_and_keeps_what_it_is_told_to():
    base = types.ContainerConfig(
        metadata=types.ContainerMetadata(name="kept"), image=types.ImageSpec(image="ours")
    )

    @_FEW
    @given(generate.overlay(base, OURS, keep=("metadata", "image")))
    def check(made: types.ContainerConfig) -> None:
        assert made.metadata == base.metadata
        assert made.image == base.image

    check()


def test_shrinks_to_the_one_field_that_matters():
    strategy = generate.message("ContainerConfig", OURS)
    # It is drawn seldom, and should be small however it was found.
    patient = settings(_FEW, max_examples=5000)
    smallest = find(strategy, lambda made: made.linux.security_context.privileged, settings=patient)
    wanted = types.ContainerConfig()
    wanted.linux.security_context.privileged = True
    assert smallest == wanted
