# SPDX-License-Identifier: Apache-2.0
"""Boundary values: each field missing, and at the ends of what it holds."""

from __future__ import annotations

from cri_conformance.api import types
from cri_conformance.malformed.boundaries import boundaries
from cri_conformance.malformed.fields import parse
from cri_conformance.malformed.mutations import apply


def _tried(message: types.StopContainerRequest) -> list[types.StopContainerRequest]:
    tree = parse(message.SerializeToString(), message.DESCRIPTOR)
    found = []
    for mutation in boundaries(tree):
        data = apply(tree, [mutation])
        if b"\xff" not in data.replace(b"\xff" * 8, b""):
            found.append(type(message).FromString(data))
    return found


def test_a_time_below_zero_and_an_empty_id_are_among_them() -> None:
    tried = _tried(types.StopContainerRequest(container_id="c", timeout=1))
    assert any(one.timeout < 0 for one in tried)
    assert any(not one.container_id for one in tried)
    assert any("\0" in one.container_id for one in tried)


def test_an_unknown_value_of_an_enum_and_a_missing_message_are_among_them() -> None:
    state = types.ContainerStateValue(state=types.CONTAINER_RUNNING)
    request = types.ListContainersRequest(filter=types.ContainerFilter(state=state))
    tried = _tried(request)
    assert any(one.filter.state.state == 999 for one in tried)
    assert any(not one.HasField("filter") for one in tried)
