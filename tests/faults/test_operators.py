# SPDX-License-Identifier: Apache-2.0
"""Each operator breaks its promise, and leaves the rest alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import changes, operators
from cri_conformance.faults import conditions as when
from cri_conformance.faults.fault import Operator

from .upstream import Session, Upstream


def refused(code: str, call: Callable[..., Any], *arguments: Any) -> None:
    with pytest.raises(StatusError) as caught:
        call(*arguments)
    assert caught.value.code == code


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


# -- requests ----------------------------------------------------------------------------------


def test_requests_reach_the_runtime_changed() -> None:
    for operator, expected in (
        (operators.ignore_request("CreateContainer", "config.command"), []),
        (
            operators.alter_request("CreateContainer", "config.command", changes.drop_last),
            ["sleep"],
        ),
        (operators.set_request("CreateContainer", "config.command", ["a"]), ["a"]),
    ):
        session = Session(operator)
        session.container()
        (asked,) = session.upstream.asked("CreateContainer")
        assert list(asked.config.command) == expected, operator.name


def test_the_clients_request_is_never_changed_itself() -> None:
    session = Session(operators.ignore_request("ExecSync", "cmd"))
    request = types.ExecSyncRequest(container_id="x", cmd=["echo"])
    assert session(request).stdout == b""
    assert list(request.cmd) == ["echo"]


def test_remembers_request_goes_on_with_the_first_value() -> None:
    session = Session(operators.remembers_request("ExecSync", "cmd"))
    for word in ("first", "second"):
        assert session(types.ExecSyncRequest(container_id="x", cmd=[word])).stdout == b"first"


# -- success and errors ----------------------------------------------------------------------


def test_second_call_fails_on_the_same_object_only() -> None:
    session = Session(operators.second_call_fails("StopContainer"))
    made, other = session.container("one"), session.container("two")
    session.stop(made)
    session.stop(other)
    refused("UNKNOWN", session.stop, made)


def test_fails_after_another_call_also_on_the_sandbox_of_a_container() -> None:
    session = Session(operators.fails_after("StopContainer", "StopPodSandbox", "INTERNAL"))
    made = session.container("one")
    session.stop(made)
    session(types.StopPodSandboxRequest(pod_sandbox_id="of-one"))
    refused("INTERNAL", session.stop, made)


def test_answers_to_unknown_and_removed_ids() -> None:
    session = Session(operators.answer_error("StopContainer", when.removed))
    made = session.container()
    session.remove(made)
    session.stop("never-there")
    refused("UNKNOWN", session.stop, made)
    session = Session(operators.answer_error("StopContainer", when.never_known, "NOT_FOUND"))
    made = session.container()
    session.remove(made)
    session.stop(made)
    refused("NOT_FOUND", session.stop, "never-there")


def test_swallow_and_change_code() -> None:
    session = Session(operators.swallow("ContainerStatus", ["NOT_FOUND"]))
    assert session.status("nowhere") == types.ContainerStatus()
    session = Session(operators.change_code("ContainerStatus", "UNKNOWN", "NOT_FOUND"))
    refused("UNKNOWN", session.status, "nowhere")


def test_done_or_not_done() -> None:
    session = Session(operators.skip_effect("StopContainer"))
    made = session.container()
    session.start(made)
    session.stop(made)
    assert session.status(made).state == types.CONTAINER_RUNNING
    session = Session(operators.does_and_fails("StopContainer"))
    made = session.container()
    refused("UNKNOWN", session.stop, made)
    assert session.status(made).state == types.CONTAINER_EXITED
    session = Session(operators.answer_ok("CreateContainer", when.missing("config.image")))
    assert len(session.container()) == 64


def test_in_state_asks_upstream() -> None:
    session = Session(
        operators.answer_error("StartContainer", when.in_state("CONTAINER_EXITED"), "UNKNOWN")
    )
    made = session.container()
    session.start(made)
    session.stop(made)
    refused("UNKNOWN", session.start, made)


def test_conditions_combine_and_name_themselves() -> None:
    both = when.requested("timeout", 7) & ~when.again
    assert both.name == "timeout=7-and-not-second"
    session = Session(operators.answer_error("StopContainer", both))
    made = session.container()
    session.stop(made)
    session(types.StopContainerRequest(container_id=made, timeout=7))
    refused("UNKNOWN", session, types.StopContainerRequest(container_id="other", timeout=7))
    session = Session(operators.answer_error("StopContainer", when.every(2)))
    session.stop(made)
    refused("UNKNOWN", session.stop, made)
    session.stop(made)


# -- effects -------------------------------------------------------------------------------------


def test_side_effects() -> None:
    session = Session(operators.side_effect("StopContainer", "RemoveContainer"))
    made = session.container()
    session.stop(made)
    refused("NOT_FOUND", session.status, made)
    session = Session(operators.instead("RemoveContainer", "StopContainer"))
    made = session.container()
    session.remove(made)
    assert session.status(made).state == types.CONTAINER_EXITED
    session = Session(operators.acts_on_another("StopContainer", "ListContainers"))
    foreign = Session(operators.drop("Version", "version"), session.upstream).container("foreign")
    made, other = session.container("one"), session.container("two")
    session.stop(made)
    assert session.status(other).state == types.CONTAINER_EXITED
    assert session.status(foreign).state == types.CONTAINER_CREATED


def test_side_effects_lead_from_container_to_sandbox_and_back() -> None:
    session = Session(operators.side_effect("StopContainer", "StopPodSandbox"))
    session.stop(session.container("one"))
    assert session.upstream.asked("StopPodSandbox")[0].pod_sandbox_id == "of-one"
    session = Session(operators.side_effect("StopPodSandbox", "RemoveContainer", first=True))
    session.container("one")
    session(types.StopPodSandboxRequest(pod_sandbox_id="of-one"))
    assert session.listed() == []


def test_done_twice_and_always_the_same_answer() -> None:
    session = Session(operators.done_twice("CreateContainer"))
    session.container()
    assert len(session.listed()) == 2
    session = Session(operators.gives_same_answer("CreateContainer"))
    assert session.container("one") == session.container("two")


# -- over time -----------------------------------------------------------------------------------


def test_stale_repeats_and_forget_loses() -> None:
    session = Session(operators.stale("ContainerStatus"))
    made = session.container()
    session.status(made)
    session.start(made)
    assert session.status(made).state == types.CONTAINER_CREATED
    session = Session(operators.forget("container", event="StopContainer"))
    made = session.container()
    assert session.listed() == [made]
    session.stop(made)
    assert session.listed() == []
    refused("NOT_FOUND", session.status, made)
    session = Session(operators.unlisted("container", event="StopContainer"))
    made = session.container()
    session.stop(made)
    assert session.listed() == []
    assert session.status(made).id == made


def test_resurrect_keeps_what_was_removed() -> None:
    session = Session(operators.resurrect("ListContainers", "RemoveContainer"))
    made, other = session.container("one"), session.container("two")
    session.stop(made)
    session.remove(made)
    assert sorted(session.listed()) == sorted([made, other])
    assert session.listed(id=other) == [other]
    session = Session(operators.resurrect("ContainerStatus", "RemovePodSandbox"))
    made = session.container("one")
    session(types.RemovePodSandboxRequest(pod_sandbox_id="of-one"))
    assert session.listed() == []
    assert session.status(made).id == made
    refused("NOT_FOUND", session.status, "never-there")


# -- time and overlap -----------------------------------------------------------------------------


def together(*calls: Callable[[], object]) -> list[BaseException | None]:
    """Run calls in threads released together; what each raised."""
    gate = threading.Barrier(len(calls))
    raised: list[BaseException | None] = [None] * len(calls)

    def run(number: int) -> None:
        gate.wait()
        try:
            calls[number]()
        except StatusError as error:
            raised[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_overlap_fails_only_for_overlapping_calls_on_one_object() -> None:
    session = Session(operators.overlap_fails("StopContainer"))
    made, other = session.container("one"), session.container("two")
    session.stop(made)
    assert together(lambda: session.stop(made), lambda: session.stop(other)) == [None, None]
    assert any(together(lambda: session.stop(made), lambda: session.stop(made)))


class Slow(Upstream):
    """Stops take their time."""

    def StopContainer(self, request: Any) -> Any:
        time.sleep(0.2)
        return super().StopContainer(request)


def seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_waiting_behind_another_call() -> None:
    session = Session(operators.waits_for("ContainerStatus", "StopContainer"), Slow())
    made = session.container()
    stopping = threading.Thread(target=session.stop, args=(made,))
    stopping.start()
    while not session.upstream.asked("StopContainer"):
        time.sleep(0.001)
    assert seconds(lambda: session.status(made)) > 0.1
    stopping.join()
    assert seconds(lambda: session.status(made)) < 0.1


def test_one_at_a_time() -> None:
    session = Session(operators.one_at_a_time("StopContainer"), Slow())
    first, other = session.container("one"), session.container("two")
    took = seconds(lambda: together(lambda: session.stop(first), lambda: session.stop(other)))
    assert took > 0.35


def test_delay_and_early_return() -> None:
    session = Session(operators.delay("StopContainer", 0.1))
    made = session.container()
    assert seconds(lambda: session.stop(made)) >= 0.1
    session = Session(operators.returns_early("StopContainer", late=0.1), Slow())
    made = session.container()
    assert seconds(lambda: session.stop(made)) < 0.1
    assert session.status(made).state == types.CONTAINER_CREATED
    for _ in range(200):
        if session.status(made).state == types.CONTAINER_EXITED:
            break
        time.sleep(0.01)
    assert session.status(made).state == types.CONTAINER_EXITED


def test_together_breaks_both() -> None:
    operator = operators.together(
        operators.drop("ContainerStatus", "status.labels"),
        operators.drop("ListContainers", "containers.labels"),
    )
    session = Session(operator)
    made = session.container(app="x")
    assert not session.status(made).labels
    assert not session(types.ListContainersRequest()).containers[0].labels
    assert operator.rpcs == {"ContainerStatus", "ListContainers"}


def test_an_operator_on_no_call_of_the_contract_is_refused() -> None:
    with pytest.raises(ValueError, match="Nonsense"):
        operators.skip_effect("Nonsense")
