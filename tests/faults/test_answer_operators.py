# SPDX-License-Identifier: Apache-2.0
"""Operators on what an answer says and what a list holds."""

from __future__ import annotations

from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.faults import changes, operators
from cri_conformance.faults.fault import Operator

from .upstream import Session, Upstream

# -- what an answer says -------------------------------------------------------------------


def test_drop_takes_a_field_out_of_every_item_and_of_nothing_upstream() -> None:
    session = Session(operators.drop("ListContainers", "containers.labels[app]"))
    made = session.container(app="x", tier="y")
    answer = session(types.ListContainersRequest())
    assert dict(answer.containers[0].labels) == {"tier": "y"}
    assert session.upstream.containers[made].labels["app"] == "x"


def test_where_picks_items() -> None:
    operator = operators.drop(
        "ListContainers", "containers.id", where=lambda c: c.metadata.name == "two"
    )
    session = Session(operator)
    first = session.container("one")
    session.container("two")
    assert session.listed() == [first, ""]


def test_zero_leaves_a_message_there() -> None:
    session = Session(operators.zero("ContainerStatus", "status.metadata"))
    status = session.status(session.container())
    assert status.HasField("metadata")
    assert status.metadata.name == ""


def test_set_value_makes_what_is_not_there() -> None:
    session = Session(operators.set_value("ContainerStatus", "status.image.image", "other"))
    assert session.status(session.container()).image.image == "other"


def test_swap_changes_places_item_by_item() -> None:
    session = Session(
        operators.swap("ListContainers", "containers.id", "containers.pod_sandbox_id")
    )
    session.container("one")
    session.container("two")
    assert session.listed() == ["of-one", "of-two"]


def test_copy_field_repeats_a_message() -> None:
    response = Session(operators.copy_field("ContainerStatus", "status.id", "status.image_ref"))
    made = response.container()
    assert response.status(made).image_ref == made


def test_alter_changes_only_what_is_present_and_shift_all() -> None:
    made = "container1"
    status = Session(operators.alter("ContainerStatus", "status.exit_code", changes.plus(1)))
    status.container()
    assert status.status(made).exit_code == 0
    status = Session(operators.shift("ContainerStatus", "status.exit_code", changes.plus(1)))
    status.container()
    assert status.status(made).exit_code == 1


@pytest.mark.parametrize(
    ("operator", "labels"),
    [
        (operators.alter("ContainerStatus", "status.labels[*]", changes.lower), {"App": "x"}),
        (operators.alter_keys("ContainerStatus", "status.labels", changes.lower), {"app": "X"}),
        (
            operators.add_entry("ContainerStatus", "status.labels", "k", "v"),
            {"App": "X", "k": "v"},
        ),
        (operators.drop("ContainerStatus", "status.labels"), {}),
    ],
    ids=lambda value: value.name if isinstance(value, Operator) else "",
)
def test_maps(operator: Operator, labels: dict[str, str]) -> None:
    session = Session(operator)
    assert dict(session.status(session.container(App="X")).labels) == labels


def test_state_as_tells_one_state_as_another() -> None:
    session = Session(
        operators.state_as(
            "ContainerStatus", "status.state", types.CONTAINER_EXITED, types.CONTAINER_RUNNING
        )
    )
    made = session.container()
    assert session.status(made).state == types.CONTAINER_CREATED
    session.stop(made)
    assert session.status(made).state == types.CONTAINER_RUNNING


def test_drifts_changes_at_each_read_and_freezes_never() -> None:
    drifting = Session(operators.drifts("ContainerStatus", "status.created_at", changes.plus(1)))
    made = drifting.container()
    first = drifting.status(made).created_at
    assert [drifting.status(made).created_at for _ in range(2)] == [first + 1, first + 2]
    frozen = Session(operators.freezes("ContainerStatus", "status.state"))
    made, other = frozen.container("one"), frozen.container("two")
    frozen.status(made)
    frozen.start(made)
    frozen.start(other)
    assert frozen.status(made).state == types.CONTAINER_CREATED
    assert frozen.status(other).state == types.CONTAINER_RUNNING


def test_falls_is_less_at_each_read() -> None:
    session = Session(operators.falls("ContainerStatus", "status.created_at", 100))
    made, other = session.container("one"), session.container("two")
    assert [session.status(made).created_at for _ in range(3)] == [100, 99, 98]
    assert session.status(other).created_at == 100


# -- lists and filters ----------------------------------------------------------------------


def test_lists() -> None:
    for operator, expected in (
        (operators.leave_out_one("ListContainers", -1), ["one"]),
        (operators.duplicate_item("ListContainers"), ["one", "two", "one", "two"]),
        (operators.reverse_items("ListContainers"), ["two", "one"]),
        (
            operators.leave_out("ListContainers", operators.item_after("StopContainer")),
            ["two"],
        ),
        (
            operators.add_item("ListContainers", types.Container(id="ghost")),
            ["one", "two", "ghost"],
        ),
    ):
        session = Session(operator)
        names = {session.container(name): name for name in ("one", "two")}
        session.stop(next(iter(names)))
        assert [names.get(i, i) for i in session.listed()] == expected, operator.name


def test_leave_out_one_of_an_empty_list_is_empty() -> None:
    assert Session(operators.leave_out_one("ListContainers")).listed() == []


def test_filters() -> None:
    asked = {"pod_sandbox_id": "of-one", "label_selector": {"app": "x", "tier": "x"}}
    for operator, expected in (
        (operators.drop("ListContainers", "containers.labels"), ["one"]),
        (operators.ignore_filter("ListContainers", "label_selector"), ["one", "three"]),
        (operators.ignore_filter("ListContainers"), ["one", "two", "three", "four"]),
        (operators.or_filters("ListContainers"), ["one", "two", "three"]),
        (operators.or_labels("ListContainers"), ["one"]),
        (
            operators.filter_by(
                "ListContainers", "pod_sandbox_id", "by-prefix", lambda i, w: w[:4] in i.id + "of-o"
            ),
            ["one", "two"],
        ),
    ):
        session = Session(operator)
        names = {
            session.container("one", app="x", tier="x"): "one",
            session.container("two", app="x", tier="x"): "two",
            session.container("three", app="y"): "three",
            session.container("four", app="y"): "four",
        }
        session.upstream.sandbox_of[list(names)[2]] = "of-one"
        assert sorted(names[i] for i in session.listed(**asked)) == sorted(expected), operator.name


def test_or_labels_lists_what_has_any_label() -> None:
    session = Session(operators.or_labels("ListContainers"))
    made = session.container("one", app="x", tier="y")
    session.container("two", app="other")
    assert session.listed(label_selector={"app": "x", "tier": "x"}) == [made]


def test_figures_are_chosen_by_their_attributes() -> None:
    def stats(name: str, **labels: str) -> types.ContainerStats:
        return types.ContainerStats(attributes=types.ContainerAttributes(id=name, labels=labels))

    class Figures(Upstream):
        def ListContainerStats(self, request: Any) -> Any:
            wanted = request.filter.label_selector
            chosen = [
                one
                for one in (stats("one", app="x"), stats("two", tier="x"), stats("three"))
                if all(one.attributes.labels.get(k) == v for k, v in wanted.items())
            ]
            return types.ListContainerStatsResponse(stats=chosen)

    for operator, expected in (
        (operators.or_labels("ListContainerStats"), ["one", "two"]),
        (
            operators.filter_by(
                "ListContainerStats", "label_selector", "by-key", lambda i, w: "app" in i.labels
            ),
            ["one"],
        ),
    ):
        session = Session(operator, Figures())
        asked = types.ContainerStatsFilter(label_selector={"app": "x", "tier": "x"})
        answer = session(types.ListContainerStatsRequest(filter=asked))
        assert sorted(one.attributes.id for one in answer.stats) == sorted(expected), operator.name
