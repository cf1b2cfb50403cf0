# SPDX-License-Identifier: Apache-2.0
"""Worlds: what is possible after a call, and what seeing rules out."""

from __future__ import annotations

from cri_conformance.model.states import ABSENT, ContainerState, SandboxState, Where
from cri_conformance.model.world import Came, World

C, S = ContainerState, SandboxState


def _world(state: ContainerState = C.RUNNING, *, mortal: bool = False) -> World:
    return World().made("pod", S.READY).made("ctr", state, sandbox="pod", mortal=mortal)


def _clauses(world: World, object_id: str, place: Where, shown: str) -> list[str]:
    """The clauses that what is shown would break."""
    return [one.clause for one in world.expected(object_id, place) if not one.permits(shown)]


def test_a_world_never_changes() -> None:
    world = _world()
    world.apply("StopContainer", "ctr", Came.OK)
    assert world.thing("ctr").states == {C.RUNNING}


def test_a_success_leads_to_the_state_after() -> None:
    world = _world().apply("StopContainer", "ctr", Came.OK)
    assert world.thing("ctr").states == {C.STOPPED}
    assert world.shown() == {"pod": "SANDBOX_READY", "ctr": "CONTAINER_EXITED"}


def test_a_refusal_may_have_got_halfway() -> None:
    world = _world().apply("StopContainer", "ctr", Came.REFUSED)
    assert world.thing("ctr").states == {C.RUNNING, C.STOPPED}


def test_without_an_answer_both_worlds_stay_possible() -> None:
    world = _world(C.CREATED).apply("RemoveContainer", "ctr", Came.UNKNOWN)
    assert world.thing("ctr").states >= {C.CREATED, C.REMOVED}
    for shown in ("CONTAINER_CREATED", ABSENT):
        assert not _clauses(world, "ctr", Where.LIST, shown)
        assert not _clauses(world, "ctr", Where.STATUS, shown)


def test_seeing_narrows_what_is_possible() -> None:
    unsure = _world(C.CREATED).apply("RemoveContainer", "ctr", Came.UNKNOWN)
    assert unsure.seen("ctr", "CONTAINER_CREATED").thing("ctr").states == {
        C.CREATED,
        C.HALTED,
    }
    assert unsure.seen("ctr", ABSENT).thing("ctr").states == {C.REMOVED}


def test_what_fits_nothing_rules_nothing_out() -> None:
    world = _world().seen("ctr", "CONTAINER_CREATED")
    assert world.thing("ctr").states == {C.RUNNING}


def test_an_answer_is_judged_only_if_all_possible_states_agree() -> None:
    assert _world(C.RUNNING).rules("StopContainer", "ctr")
    assert not _world(mortal=True).time_passes().rules("StopContainer", "ctr")


def test_only_what_is_mortal_ends_by_itself() -> None:
    assert _world().time_passes().thing("ctr").states == {C.RUNNING}
    assert _world(mortal=True).time_passes().thing("ctr").states == {C.RUNNING, C.EXITED}
    created = _world(C.CREATED, mortal=True).time_passes()
    assert created.thing("ctr").states == {C.CREATED}


def test_the_stop_of_a_sandbox_reaches_its_containers_and_no_others() -> None:
    world = _world().made("other", S.READY).made("its", C.RUNNING, sandbox="other")
    world = world.apply("StopPodSandbox", "pod", Came.OK)
    assert world.thing("pod").states == {S.NOTREADY}
    assert world.thing("ctr").states == {C.ENDED}
    assert world.thing("its").states == {C.RUNNING}


def test_the_removal_of_a_sandbox_sweeps_its_containers() -> None:
    world = _world(C.CREATED).made("gone", C.REMOVED, sandbox="pod")
    world = world.apply("RemovePodSandbox", "pod", Came.OK)
    assert world.thing("ctr").states == {C.SWEPT}
    assert world.thing("gone").states == {C.REMOVED}
    assert world.shown() == {"pod": ABSENT, "ctr": ABSENT, "gone": ABSENT}


def test_the_broken_promise_of_a_call_is_called_first() -> None:
    world = _world().apply("StopPodSandbox", "pod", Came.OK)
    broken = _clauses(world, "ctr", Where.STATUS, "CONTAINER_RUNNING")
    assert broken[0] == "RuntimeService.StopPodSandbox.containers-exited"
    broken = _clauses(world, "pod", Where.LIST, ABSENT)
    assert broken == [
        "RuntimeService.StopPodSandbox.not-ready",
        "RuntimeService.StopPodSandbox.stays-listed",
    ]


def test_others_are_held_against_the_call_that_was_not_about_them() -> None:
    world = _world().made("other", C.RUNNING, sandbox="pod")
    world = world.apply("StopContainer", "ctr", Came.OK)
    broken = _clauses(world, "other", Where.STATUS, "CONTAINER_EXITED")
    assert broken[0] == "RuntimeService.StopContainer.others-untouched"
    # And no longer against it after the next call.
    world = world.apply("ContainerStatus", "ctr", Came.OK)
    broken = _clauses(world, "other", Where.STATUS, "CONTAINER_EXITED")
    assert broken == ["ContainerState.CONTAINER_RUNNING.after-start"]


def test_a_refused_call_promises_nothing_that_it_did_not_do() -> None:
    world = _world().apply("StopContainer", "ctr", Came.REFUSED)
    assert not world.thing("ctr").promises


def test_a_refused_call_promises_that_nothing_happened() -> None:
    world = _world().apply("StartContainer", "ctr", Came.REFUSED)
    broken = _clauses(world, "ctr", Where.STATUS, "CONTAINER_EXITED")
    assert broken[0] == "RuntimeService.StartContainer.running-again-harmless"


def test_a_container_that_failed_to_start_may_be_anything_but_running() -> None:
    world = _world(C.DOOMED).apply("StartContainer", "ctr", Came.REFUSED)
    for shown in (ABSENT, "CONTAINER_EXITED", "CONTAINER_CREATED", "CONTAINER_UNKNOWN"):
        assert not _clauses(world, "ctr", Where.STATUS, shown)
    assert _clauses(world, "ctr", Where.STATUS, "CONTAINER_RUNNING") == [
        "RuntimeService.StartContainer.failed-not-running"
    ]
