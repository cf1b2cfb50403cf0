# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cri_conformance.api import types
from cri_conformance.faults.paths import Path


def test_a_path_goes_through_every_item_of_a_list() -> None:
    listed = types.ListPodSandboxResponse()
    for uid in ("a", "b"):
        listed.items.add().metadata.uid = uid
    places = list(Path.parse(type(listed), "items.metadata.uid").places(listed))
    assert [place.value for place in places] == ["a", "b"]
    places[1].set("c")
    assert [item.metadata.uid for item in listed.items] == ["a", "c"]


def test_a_path_goes_to_one_entry_of_a_map_or_to_each() -> None:
    response = types.PodSandboxStatusResponse()
    response.status.labels.update({"io.kubernetes.pod/x.y": "1", "b": "2"})
    one = list(Path.parse(type(response), "status.labels[io.kubernetes.pod/x.y]").places(response))
    assert [place.value for place in one] == ["1"]
    for place in Path.parse(type(response), "status.labels[*]").places(response):
        place.set("0")
    assert set(response.status.labels.values()) == {"0"}
    one[0].set(None)
    assert not one[0].present
    assert dict(response.status.labels) == {"b": "0"}


def test_what_is_not_set_is_no_place_unless_it_is_to_be_made() -> None:
    response = types.ContainerStatusResponse()
    path = Path.parse(type(response), "status.metadata.name")
    assert not list(path.places(response))
    for place in path.places(response, create=True):
        place.set("made")
    assert response.status.metadata.name == "made"


def test_messages_lists_and_maps_are_set_whole_and_cleared() -> None:
    response = types.ContainerStatusResponse()
    for text, value in (
        ("status.metadata", types.ContainerMetadata(name="n")),
        ("status.mounts", [types.Mount(container_path="/a")]),
        ("status.labels", {"a": "b"}),
    ):
        (place,) = Path.parse(type(response), text).places(response, create=True)
        place.set(value)
        assert place.present
        assert place.value == value
        place.set(None)
        assert not place.present


@pytest.mark.parametrize(
    "text", ["", "nothing", "status.nothing", "status.id.more", "status.id[key]", "status..id"]
)
def test_a_path_that_the_contract_has_not_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no path|at least|no map"):
        Path.parse(types.ContainerStatusResponse, text)
