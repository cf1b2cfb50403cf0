# SPDX-License-Identifier: Apache-2.0
"""Operators on requests, errors and effects: each breaks its promise, and leaves the rest alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import changes, operators
from cri_conformance.faults import conditions as when

from .upstream import Session


def refused(code: str, call: Callable[..., Any], *arguments: Any) -> None:
    with pytest.raises(StatusError) as caught:
        call(*arguments)
    assert caught.value.code == code


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


# -- several, and none ------------------------------------------------------------------------


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
