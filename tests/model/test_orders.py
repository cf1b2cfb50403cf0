# SPDX-License-Identifier: Apache-2.0
"""Histories made by hand: those that some order explains, and those that none does."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cri_conformance.contract.register import register
from cri_conformance.model import orders
from cri_conformance.model.histories import Event, History, Subject
from cri_conformance.model.orders import check
from cri_conformance.model.states import ABSENT, ContainerState, SandboxState
from cri_conformance.model.world import Came

C, S = ContainerState, SandboxState
OK, NO, UNKNOWN = Came.OK, Came.REFUSED, Came.UNKNOWN
CREATED, RUNNING, EXITED = (f"CONTAINER_{state}" for state in ("CREATED", "RUNNING", "EXITED"))


def _call(call: str, began: float, ended: float = float("inf"), **fields: Any) -> Event:
    """A call on the container ``ctr``, or on the sandbox ``pod``."""
    fields.setdefault("came", UNKNOWN if ended == float("inf") else OK)
    if call.endswith("Sandbox"):
        return Event(call, began, ended, name="pod", **{"about": "pod", **fields})
    return Event(call, began, ended, name="ctr", sandbox="pod", **{"about": "ctr", **fields})


def _look(call: str, began: float, ended: float, shown: str, of: str = "ctr") -> Event:
    return Event(call, began, ended, shown={of: shown})


def _broken(*events: Event, state: C = C.CREATED, more: tuple[str, ...] = ()) -> list[str] | None:
    """The clauses that may be what was broken, of a container in this state; None for nothing."""
    subjects = (
        Subject("pod", "pod", S.READY),
        Subject("ctr", "ctr", state, "pod"),
        *(Subject(one, "ctr", C.NEVER, "pod") for one in more),
    )
    found = check(History(subjects, events))
    clauses = None if found is None else [doubt.clause for doubt in found.doubts]
    assert set(clauses or ()) <= register().clauses.keys()
    return clauses


def _is(call: str, clause: str) -> str:
    return f"RuntimeService.{call}.{clause}"


# -- explained ----------------------------------------------------------------------------


def test_what_ran_at_the_same_time_may_have_come_in_either_order() -> None:
    for shown in (CREATED, RUNNING):
        assert _broken(_call("StartContainer", 0, 9), _look("ContainerStatus", 3, 4, shown)) is None
    for shown in (RUNNING, EXITED):
        started, stopped = _call("StartContainer", 0, 9), _call("StopContainer", 0, 9)
        assert _broken(started, stopped, _look("ListContainers", 10, 11, shown)) is None


def test_the_order_of_calls_that_did_not_meet_stands() -> None:
    started, stopped = _call("StartContainer", 0, 1), _call("StopContainer", 2, 3)
    assert _broken(started, stopped, _look("ListContainers", 4, 5, EXITED)) is None
    assert _broken(started, stopped, _look("ListContainers", 4, 5, RUNNING)) == [
        "ContainerState.CONTAINER_EXITED.on-exit"
    ]


def test_a_call_without_an_answer_may_have_happened_or_not() -> None:
    lost = _call("RemoveContainer", 0)
    for came in (OK, NO):
        assert _broken(lost, _call("StartContainer", 5, 6, came=came)) is None
    # Before it nothing can have come of it.
    early = _call("StartContainer", -2, -1, came=NO)
    assert _broken(early, lost) == [_is("StartContainer", "runs-once")]


def test_a_refusal_beside_another_call_needs_no_reason() -> None:
    removed = _call("RemoveContainer", 2, 5)
    assert _broken(_call("StopContainer", 0, 3, came=NO), removed, state=C.RUNNING) is None
    sandbox = _call("StopPodSandbox", 2, 5)
    assert _broken(_call("StartContainer", 0, 3, came=NO), sandbox) is None


def test_a_removal_may_be_seen_halfway() -> None:
    looks = [
        _look("ContainerStatus", 1, 2, RUNNING),
        _look("ContainerStatus", 3, 4, EXITED),
        _look("ContainerStatus", 5, 6, ABSENT),
    ]
    removed = _call("RemoveContainer", 0, 9)
    assert _broken(removed, *looks, state=C.RUNNING) is None
    assert _broken(removed, looks[0], _look("ContainerStatus", 10, 11, EXITED), state=C.RUNNING)
    assert _broken(removed, looks[2], _look("ContainerStatus", 7, 8, EXITED), state=C.RUNNING)


def test_a_removal_goes_no_further_once_it_was_refused() -> None:
    refused = [_call(call, 0, 3, came=NO) for call in ("RemoveContainer", "StartContainer")]
    looks = [_look("ContainerStatus", 4, 5, RUNNING), _look("ContainerStatus", 6, 7, EXITED)]
    assert _broken(*refused, looks[1], state=C.RUNNING) is None
    assert _broken(*refused, *looks, state=C.RUNNING) is not None


def test_a_container_that_is_started_amid_the_stop_of_its_sandbox_may_escape_it() -> None:
    stopped = _call("StopPodSandbox", 0, 9)
    running = _look("ListContainers", 10, 11, RUNNING)
    assert _broken(stopped, _call("StartContainer", 8, 9), running) is None
    assert _broken(stopped, running, state=C.RUNNING) == ["ContainerState.CONTAINER_EXITED.on-exit"]


def test_one_container_of_a_name_after_the_other_is_taken_for_no_duplicate() -> None:
    made = _call("CreateContainer", 0, 1, about="new")
    removed = _call("RemoveContainer", 2, 3, about="new")
    again = _call("CreateContainer", 4, 5, about="newer")
    assert _broken(made, removed, again, state=C.REMOVED, more=("new", "newer")) is None
    # Both may be answered with the one that is there.
    same = [_call("CreateContainer", 0, 9, about="new") for _ in range(2)]
    assert _broken(*same, state=C.REMOVED, more=("new",)) is None


# -- not explained ------------------------------------------------------------------------


def test_a_lost_update() -> None:
    calls = [_call("RemoveContainer", 0, 9), _call("RemoveContainer", 1, 8)]
    listed = _look("ListContainers", 10, 11, EXITED)
    status = _look("ContainerStatus", 12, 13, EXITED)
    gone = _is("RemoveContainer", "concurrent-gone")
    assert _broken(*calls, listed, status, state=C.STOPPED) == [gone]


def test_two_containers_of_one_name() -> None:
    for began in (0, 6):
        both = [
            _call("CreateContainer", 0, 5, about="new"),
            _call("CreateContainer", began, 9, about="newer"),
        ]
        found = _broken(*both, state=C.REMOVED, more=("new", "newer"))
        assert found == ["ContainerMetadata.unique-in-sandbox"]


def test_two_sandboxes_of_one_name() -> None:
    pods = (Subject("one", "pod", S.NEVER), Subject("other", "pod", S.NEVER))
    for began, clause in ((0, "concurrent-duplicates"), (6, "duplicate-metadata")):
        calls = (
            _call("RunPodSandbox", 0, 5, about="one"),
            _call("RunPodSandbox", began, 9, about="other"),
        )
        found = check(History(pods, calls))
        assert found is not None
        assert [doubt.clause for doubt in found.doubts] == [_is("RunPodSandbox", clause)]


def _pods(*calls: tuple[str, str, float, float]) -> list[str]:
    """The clauses that may be what was broken by runs: name, id ("" if refused), began, ended."""
    made = dict.fromkeys(about for _, about, _, _ in calls if about)
    names = {about: name for name, about, _, _ in reversed(calls)}
    subjects = tuple(Subject(one, names[one], S.NEVER) for one in made)
    events = tuple(
        Event("RunPodSandbox", began, ended, OK if about else NO, name=name, about=about)
        for name, about, began, ended in calls
    )
    found = check(History(subjects, events))
    return [] if found is None else [doubt.clause for doubt in found.doubts]


def test_different_pods_at_once() -> None:
    together = _is("RunPodSandbox", "concurrent-pods")
    assert _pods(("a", "one", 0, 5), ("b", "two", 1, 6)) == []
    assert _pods(("a", "one", 0, 5), ("b", "", 1, 6)) == [together]
    # One after the other it was not the company.
    assert _pods(("a", "one", 0, 5), ("b", "", 6, 7)) == ["RuntimeCondition.status.network-serves"]
    # Calls for one pod may get into each other's way.
    assert _pods(("a", "one", 0, 5), ("a", "", 1, 6), ("b", "two", 1, 6)) == []


def test_one_id_for_two_names() -> None:
    unique = "RunPodSandboxResponse.pod_sandbox_id.unique"
    together = _is("RunPodSandbox", "concurrent-pods")
    assert _pods(("a", "one", 0, 5), ("b", "one", 1, 6)) == [together, unique]
    assert _pods(("a", "one", 0, 5), ("b", "one", 6, 7)) == [unique]
    assert _pods(("a", "one", 0, 5), ("a", "one", 1, 6)) == []
    container = Event("CreateContainer", 0, 5, name="ctr", about="new", sandbox="pod")
    other = Event("CreateContainer", 6, 7, name="other", about="new", sandbox="pod")
    assert _broken(container, other, state=C.REMOVED, more=("new",)) == [
        "CreateContainerResponse.container_id.unique"
    ]
    # What is gone may have left its id to another.
    removed = Event("RemoveContainer", 5.2, 5.5, name="ctr", about="new", sandbox="pod")
    gone = _broken(container, removed, other, state=C.REMOVED, more=("new",))
    assert gone is None


def test_a_list_without_a_container_that_was_there() -> None:
    missed = _look("ListContainers", 1, 2, ABSENT)
    assert "ContainerState.CONTAINER_RUNNING.after-start" in (
        _broken(missed, state=C.RUNNING) or ()
    )
    busy = _call("RemoveContainer", 0, 9, about="gone", came=OK)
    busy = Event(busy.call, 0, 9, name="other", about="gone", sandbox="pod")
    assert _broken(busy, missed, state=C.RUNNING) == [_is("ListContainers", "during-churn")]
    # What is removed itself at that time may be missing.
    assert _broken(_call("RemoveContainer", 0, 9), missed, state=C.RUNNING) is None


def test_a_list_that_fails_while_objects_come_and_go() -> None:
    refused = Event("ListContainers", 1, 2, NO, "INTERNAL")
    assert _broken(refused) is None
    assert _broken(refused, _call("RemoveContainer", 0, 9)) == [
        _is("ListContainers", "during-churn")
    ]


def test_a_status_that_goes_back() -> None:
    looks = [_look("ContainerStatus", 1, 2, RUNNING), _look("ContainerStatus", 3, 4, CREATED)]
    found = _broken(_call("StartContainer", 0, 9), *looks)
    assert found is not None
    assert found[0] == "ContainerState.CONTAINER_RUNNING.after-start"
    assert _broken(_call("StartContainer", 0, 9), *reversed(looks))
    assert _broken(_call("StartContainer", 2.5, 9), looks[1]) is None


@pytest.mark.parametrize(
    ("call", "other", "clause"),
    [
        ("StopContainer", "StopContainer", _is("StopContainer", "concurrent")),
        ("StopContainer", "StopPodSandbox", _is("StopPodSandbox", "racing-stops")),
        ("StopPodSandbox", "StopContainer", _is("StopPodSandbox", "racing-stops")),
        ("StopPodSandbox", "StopPodSandbox", _is("StopPodSandbox", "concurrent")),
        ("RemoveContainer", "RemoveContainer", _is("RemoveContainer", "concurrent")),
        ("RemovePodSandbox", "RemovePodSandbox", _is("RemovePodSandbox", "concurrent")),
    ],
)
def test_of_calls_that_all_succeed_none_may_be_refused(call: str, other: str, clause: str) -> None:
    refused = _call(call, 0, 5, came=NO, code="UNKNOWN")
    assert _broken(refused, _call(other, 1, 6), state=C.RUNNING) == [clause]
    # With a start under way nobody promises it.
    assert _broken(refused, _call(other, 1, 6), _call("StartContainer", 0, 9)) is None


def test_a_refusal_with_nothing_else_under_way() -> None:
    assert _broken(_call("StopContainer", 0, 1, came=NO), state=C.RUNNING) == [
        _is("StopContainer", "exited")
    ]
    assert _broken(_call("CreateContainer", 0, 1, came=NO, about=""), state=C.NEVER)
    removed = _call("RemoveContainer", 0, 1)
    late = _call("StopContainer", 2, 3, came=NO, code="NOT_FOUND")
    assert _broken(removed, late) is None


def test_starts_of_which_one_undoes_the_other() -> None:
    starts = [_call("StartContainer", 0, 5), _call("StartContainer", 1, 6)]
    assert _broken(*starts, _look("ListContainers", 7, 8, RUNNING)) is None
    assert _broken(*starts, _look("ListContainers", 7, 8, EXITED)) == [
        _is("StartContainer", "concurrent")
    ]
    # Nor does the one that is refused say that the container failed to start.
    starts[0] = _call("StartContainer", 0, 5, came=NO)
    assert _broken(*starts, _look("ListContainers", 7, 8, EXITED)) == [
        _is("StartContainer", "concurrent")
    ]
    stopped = _call("StopContainer", 0, 6)
    assert _broken(*starts, stopped, _look("ListContainers", 7, 8, EXITED)) is None


# -- in general ---------------------------------------------------------------------------


def test_whatever_happened_in_turn_is_explained_however_long_the_calls_took() -> None:
    """Calls answered by a runtime that does one after the other, and then stretched in time."""
    shown = {C.CREATED: CREATED, C.RUNNING: RUNNING, C.STOPPED: EXITED, C.REMOVED: ABSENT}
    after = {"StartContainer": C.RUNNING, "StopContainer": C.STOPPED, "RemoveContainer": C.REMOVED}
    chance = random.Random(0)
    for _ in range(300):
        state, events = C.CREATED, []
        for moment in range(8):
            began, ended = moment - chance.random() * 3, moment + chance.random() * 3
            call = chance.choice([*after, "ListContainers"])
            if call == "ListContainers":
                events.append(_look(call, began, ended, shown[state]))
            elif call == "StartContainer" and state is not C.CREATED:
                events.append(_call(call, began, ended, came=NO))
            elif state is C.CREATED and call == "StopContainer":
                continue  # what it leads to is open
            else:
                state = after[call] if state is not C.REMOVED else state
                events.append(_call(call, began, ended))
        assert _broken(*events) is None, events


def test_a_search_that_takes_too_long_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [_call("StopContainer", 0, 9) for _ in range(4)]
    wrong = _look("ListContainers", 10, 11, RUNNING)
    assert _broken(*calls, wrong, state=C.RUNNING)
    monkeypatch.setattr(orders, "MOST", 2)
    assert _broken(*calls, wrong, state=C.RUNNING) is None
    subjects = (Subject("ctr", "ctr", C.RUNNING, "pod"),)
    # Nor that letting something pass would help.
    assert orders.obstacles(History(subjects, (*calls, wrong)), "ctr", "pod") is None
