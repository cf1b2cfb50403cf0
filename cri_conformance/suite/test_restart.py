# SPDX-License-Identifier: Apache-2.0
"""After a restart of the runtime: what was there is there, goes on, and says what it said.

A kubelet takes what is missing for dead, what is not ready for broken, and a time or code
that has changed for news. A restart of the runtime must be none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite import watching
from cri_conformance.suite.restart import Restarter
from cri_conformance.suite.restart_life import (
    LINES,
    OF_CONTAINERS,
    OF_SANDBOXES,
    RestartLife,
    Story,
    container_state,
    end_of,
    live,
    refused_for_good,
    sandbox_state,
)
from cri_conformance.suite.scripts import PROMPT_CODE
from cri_conformance.suite.watching import Unavailable
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime

_CONTAINER = "ContainerStatus"
_SANDBOX_STATE = "PodSandboxStatus.state.survive-restart"
_RPC = "RuntimeService"


@pytest.fixture(scope="module")
def tried(
    module_runtime: Runtime, restart: Restarter, patience: Callable[[float], float]
) -> RestartLife:
    """What was seen, also where the runtime has not come back."""
    return live(module_runtime, restart, patience)


@pytest.fixture
def life(tried: RestartLife) -> RestartLife:
    """What was seen. Raises SetupFailed where the runtime has not come back."""
    if tried.away:
        raise tried.away
    return tried


@clause(f"{_RPC}.Version.after-restart")
def test_it_comes_back(tried: RestartLife, judge: Judge) -> None:
    judge.that(
        f"{_RPC}.Version.after-restart",
        tried.away is None,
        permitted="the runtime answers within a minute after its restart",
        actual=tried.away,
    )


@clause(f"{_RPC}.Status.starting-code")
def test_what_is_refused_at_the_start(tried: RestartLife, judge: Judge) -> None:
    wrong = [answer for answer in tried.meanwhile if refused_for_good(answer)]
    judge.that(
        f"{_RPC}.Status.starting-code",
        not wrong,
        permitted="success, UNAVAILABLE, or no connection",
        actual=f"{len(wrong)} of {len(tried.meanwhile)} times {wrong[0]}" if wrong else "",
    )


# -- objects -----------------------------------------------------------------------------------


def _bound(clauses: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [pytest.param(c, marks=clause(c)) for c in clauses])


@_bound(OF_CONTAINERS)
def test_containers_say_what_they_said(life: RestartLife, judge: Judge, name: str) -> None:
    _judge_same(judge, name, life.containers, OF_CONTAINERS[name])


@_bound([*OF_SANDBOXES, _SANDBOX_STATE])
def test_sandboxes_say_what_they_said(life: RestartLife, judge: Judge, name: str) -> None:
    _judge_same(judge, name, life.sandboxes, OF_SANDBOXES.get(name, sandbox_state))


def _judge_same(judge: Judge, name: str, stories: list[Story], value: Callable[[Any], Any]) -> None:
    for story in stories:
        judge.equal(
            name,
            value(story.after) if story.after is not None else "no status",
            value(story.before),
            f"of {story.name}:",
            about=[story.id],
        )


@clause("PodSandboxNetworkStatus.ip.survive-restart")
def test_the_address_stays(life: RestartLife, judge: Judge) -> None:
    [ready] = [story for story in life.sandboxes if story.name == "the ready one"]
    if not ready.before.network.ip:
        judge.skip(Reason.NOT_ADVERTISED, "the sandbox has no address of its own")
    judge.equal(
        "PodSandboxNetworkStatus.ip.survive-restart",
        ready.after.network.ip if ready.after is not None else "no status",
        ready.before.network.ip,
        "address",
        about=[ready.id],
    )


@clause(f"{_RPC}.ListContainers.survive-restart")
def test_containers_are_listed(life: RestartLife, judge: Judge) -> None:
    _judge_listed(judge, f"{_RPC}.ListContainers.survive-restart", life.containers)


@clause(f"{_RPC}.ListPodSandbox.survive-restart")
def test_sandboxes_are_listed(life: RestartLife, judge: Judge) -> None:
    _judge_listed(judge, f"{_RPC}.ListPodSandbox.survive-restart", life.sandboxes)


def _judge_listed(judge: Judge, name: str, stories: list[Story]) -> None:
    for story in stories:
        judge.equal(
            name,
            "not listed" if story.listed is None else story.listed.state,
            story.before.state,
            f"state of {story.name} in the list:",
            about=[story.id],
        )


@clause("ContainerMetadata.unique-after-restart")
def test_a_name_is_still_taken(life: RestartLife, judge: Judge) -> None:
    assert life.again
    first, outcome = life.again
    made = outcome.response.container_id if isinstance(outcome, Ok) else ""
    judge.that(
        "ContainerMetadata.unique-after-restart",
        made in ("", first),
        permitted=f"an error, or the id of the first container, {first}",
        actual=made,
        about=[first],
    )


# -- what goes on ------------------------------------------------------------------------------


@clause(f"{_RPC}.ExecSync.after-restart")
def test_what_runs_goes_on(life: RestartLife, judge: Judge) -> None:
    name = f"{_RPC}.ExecSync.after-restart"
    for outcome in life.execs:
        judge.ok(name, outcome, about=[life.steady])
    judge.equal(name, life.begun, b"begun\n", "beginnings of its command", about=[life.steady])
    judge.that(
        name,
        len(life.counts) > 1 and life.counts[1] > life.counts[0] >= 0,
        permitted="its process goes on",
        actual=f"it counted {life.counts}",
        about=[life.steady],
    )


@clause("ContainerConfig.log_path.after-restart")
def test_its_log_goes_on(life: RestartLife, judge: Judge) -> None:
    name = "ContainerConfig.log_path.after-restart"
    if life.logs_why_not:
        raise life.logs_why_not
    assert life.logs
    before, after = life.logs
    judge.that(
        name,
        after.records[: len(before.records)] == before.records,
        permitted=f"the {len(before.records)} records of before are there still",
        actual=f"{len(after.records)} records that begin otherwise",
        about=[life.steady],
    )
    new = len(after.records) - len(before.records)
    judge.that(
        name,
        new >= LINES,
        permitted=f"at least {LINES} records more: it goes on writing",
        actual=f"{new} records more",
        about=[life.steady],
    )


@clause(f"{_RPC}.ListContainerStats.after-restart")
def test_there_are_stats(life: RestartLife, judge: Judge) -> None:
    judge.that(
        f"{_RPC}.ListContainerStats.after-restart",
        life.steady in life.stats,
        permitted="the running container among the stats",
        actual=f"stats of {len(life.stats)} containers without it",
        about=[life.steady],
    )


@clause(f"{_RPC}.GetContainerEvents.after-restart")
def test_events_go_on(life: RestartLife, judge: Judge) -> None:
    name = f"{_RPC}.GetContainerEvents.after-restart"
    if isinstance(life.events_why_not, Unavailable):
        judge.skip(life.events_why_not.reason, life.events_why_not.detail)
    judge.that(
        name,
        watching.STOPPED in life.events,
        permitted="an event of the end of a container that ran before the restart",
        actual=life.events_why_not or f"events of the kinds {life.events}",
    )


@clause(
    f"{_CONTAINER}.state.survives-restart",
    f"{_CONTAINER}.exit_code.survives-restart",
    f"{_CONTAINER}.exit_code.ended-meanwhile",
)
def test_state_and_end(life: RestartLife, judge: Judge) -> None:
    _judge_same(judge, f"{_CONTAINER}.state.survives-restart", life.containers, container_state)
    for container, code, status in life.ended:
        judge.equal(
            f"{_CONTAINER}.state.survives-restart",
            container_state(status),
            "CONTAINER_EXITED",
            f"state of a container that was to end meanwhile with {code}:",
            about=[container],
        )
    _judge_same(judge, f"{_CONTAINER}.exit_code.survives-restart", life.containers, end_of)
    for container, code, status in life.ended:
        # The code of one that ended while it was killed may be lost with the runtime.
        judge.that(
            f"{_CONTAINER}.exit_code.survives-restart",
            status.exit_code != 0,
            permitted="another exit code than 0",
            actual=status.exit_code,
            about=[container],
        )
        judge.equal(
            f"{_CONTAINER}.exit_code.ended-meanwhile",
            status.exit_code,
            code,
            "exit code",
            about=[container],
        )


@clause(f"{_RPC}.StopContainer.after-restart")
def test_what_ran_can_be_stopped(life: RestartLife, judge: Judge) -> None:
    name = f"{_RPC}.StopContainer.after-restart"
    assert life.stop
    assert life.stopped
    judge.ok(name, life.stop, about=[life.steady])
    judge.equal(
        name,
        (container_state(life.stopped), life.stopped.exit_code),
        ("CONTAINER_EXITED", PROMPT_CODE),
        "state and code after the stop",
        about=[life.steady],
    )
