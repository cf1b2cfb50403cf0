# SPDX-License-Identifier: Apache-2.0
"""Trees of fields: any message comes back byte for byte."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.malformed.fields import (
    Field,
    Kind,
    NotAMessage,
    Wire,
    at,
    parse,
    places,
    replaced,
    serialize,
    tag,
    varint,
)

REQUEST = types.ExecSyncRequest(container_id="abc", cmd=["true", ""], timeout=-1)
DATA = REQUEST.SerializeToString()
TREE = parse(DATA, types.ExecSyncRequest.DESCRIPTOR)


def test_fields_have_their_names_and_values() -> None:
    assert [(f.name, f.value) for f in TREE] == [
        ("container_id", b"abc"),
        ("cmd", b"true"),
        ("cmd", b""),
        ("timeout", 2**64 - 1),
    ]


def test_messages_within_are_trees() -> None:
    config = types.PodSandboxConfig(labels={"a": "b"}, linux=types.LinuxPodSandboxConfig())
    tree = parse(
        types.RunPodSandboxRequest(config=config).SerializeToString(),
        types.RunPodSandboxRequest.DESCRIPTOR,
    )
    assert [field.name for _, field in places(tree)] == [
        "config",
        "labels",
        "key",
        "value",
        "linux",
    ]


@given(st.binary(max_size=60))
@settings(max_examples=300, derandomize=True)
def test_whatever_can_be_parsed_comes_back(data: bytes) -> None:
    try:
        tree = parse(data, types.RunPodSandboxRequest.DESCRIPTOR)
    except NotAMessage:
        return
    # Numbers may be written longer than they need be: the values are the same.
    assert parse(serialize(tree), types.RunPodSandboxRequest.DESCRIPTOR) == tree


@given(st.sampled_from(sorted(RPCS)), st.binary(max_size=60))
@settings(max_examples=300, derandomize=True)
def test_nothing_is_a_message_to_others_and_not_to_us(rpc: str, data: bytes) -> None:
    """The safety of what is sent rests on it."""
    try:
        RPCS[rpc].request.FromString(data)
    except DecodeError:
        return
    parse(data, RPCS[rpc].request.DESCRIPTOR)


def test_groups_of_any_depth_are_one_field() -> None:
    data = tag(9, Wire.GROUP) * 100_000 + tag(9, Wire.END_GROUP) * 100_000
    assert [field.wire for field in parse(data)] == [Wire.VERBATIM]
    assert serialize(parse(data)) == data


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\x0a\x05ab", b"\x0b", b"\x0c", b"\x0e", b"\x0b\x14", b"\x80" * 11, b"\x0d\x00"],
)
def test_what_is_no_message_is_none(data: bytes) -> None:
    with pytest.raises(NotAMessage):
        parse(data)


def test_fields_are_found_and_replaced_by_their_path() -> None:
    inner = Field(1, Wire.VARINT, 5, Kind.NUMBER)
    tree = (Field(2, Wire.BYTES, (inner, inner)), inner)
    assert at(tree, (0, 1)) is inner
    assert at(tree, (0, 7)) is at(tree, (1, 0)) is at(tree, (3,)) is None
    assert replaced(tree, (0, 0), ()) == (Field(2, Wire.BYTES, (inner,)), inner)
    assert replaced(tree, (1,), (inner, inner))[1:] == (inner, inner)
    assert replaced(tree, (9, 9), ()) == tree


def test_negative_numbers_take_ten_bytes() -> None:
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert varint(300) == b"\xac\x02"
