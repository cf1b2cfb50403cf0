# SPDX-License-Identifier: Apache-2.0
"""What the status and the list say of a sandbox through its life.

One sandbox is looked at three times: when it has just been started, when containers
have run in it, and when it has been stopped. What identifies it must never change,
what is told of its containers must be true, and its times must be times.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.build import strategies
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.views import SandboxView, differences, sandbox_view
from cri_conformance.wire.runtime import Runtime, Sandbox

#: Nanoseconds that the clock of another host may differ from ours. A wrong unit differs by more.
CLOCKS = 5 * 60 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Life:
    """A sandbox's life. Times are ours, in nanoseconds."""

    sandbox: Sandbox
    begun: int
    ended: int
    ready: SandboxView
    busy: SandboxView
    stopped: SandboxView
    #: PodSandboxStatus with verbose set, taken just before ``busy``.
    verbose: types.PodSandboxStatusResponse
    #: When the answer of ``busy`` had come.
    looked: int
    #: The containers' own statuses, taken just before ``busy``.
    containers: dict[str, types.ContainerStatus]

    @property
    def views(self) -> dict[str, SandboxView]:
        """What was seen of it, by when."""
        return {"ready": self.ready, "busy": self.busy, "stopped": self.stopped}


@pytest.fixture(scope="module")
def life(module_runtime: Runtime) -> Life:
    """The life of a sandbox, which is over: tests judge what was seen."""
    runtime = module_runtime
    begun = time.time_ns()
    sandbox = runtime.sandbox(
        labels=dict(strategies.AWKWARD_LABELS),
        annotations=strategies.AWKWARD_ANNOTATIONS,
    )
    ended = time.time_ns()
    ready = sandbox_view(runtime, sandbox)
    made = [
        runtime.container(sandbox),
        runtime.running(sandbox),
        runtime.exited(sandbox, "exit 3"),
    ]
    containers = {container.id: runtime.container_status(container.id) for container in made}
    verbose = runtime.get("PodSandboxStatus", pod_sandbox_id=sandbox.id, verbose=True)
    busy = sandbox_view(runtime, sandbox)
    looked = time.time_ns()
    runtime.get("StopPodSandbox", pod_sandbox_id=sandbox.id)
    stopped = sandbox_view(runtime, sandbox)
    return Life(sandbox, begun, ended, ready, busy, stopped, verbose, looked, containers)


# -- identity ----------------------------------------------------------------------------


@clause("PodSandboxStatus.id.full-id")
def test_status_carries_the_whole_id(life: Life, judge: Judge) -> None:
    for when, view in life.views.items():
        judge.equal("PodSandboxStatus.id.full-id", view.status.id, life.sandbox.id, when)


@clause("PodSandbox.id.full-id")
def test_list_carries_the_whole_id(life: Life, judge: Judge) -> None:
    for when, view in life.views.items():
        judge.equal("PodSandbox.id.full-id", view.item.id, life.sandbox.id, when)


@clause("PodSandboxStatusResponse.status.present")
def test_answer_carries_a_status(life: Life, judge: Judge) -> None:
    for when, view in life.views.items():
        judge.that(
            "PodSandboxStatusResponse.status.present",
            view.response.HasField("status"),
            permitted="a status",
            actual=f"none of the {when} sandbox",
            about=[life.sandbox.id],
        )


@clause("PodSandboxStatus.metadata.present")
def test_status_carries_metadata(life: Life, judge: Judge) -> None:
    for when, view in life.views.items():
        metadata = view.status.metadata
        judge.that(
            "PodSandboxStatus.metadata.present",
            metadata.name and metadata.uid and metadata.namespace,
            permitted="name, uid and namespace",
            actual=f"of the {when} sandbox: {metadata}",
            about=[life.sandbox.id],
        )


@clause("PodSandbox.metadata.present")
def test_every_sandbox_in_the_list_has_metadata(life: Life, runtime: Runtime, judge: Judge) -> None:
    without = [
        item.id for item in runtime.get("ListPodSandbox").items if not item.HasField("metadata")
    ]
    judge.equal("PodSandbox.metadata.present", without, [], "items without metadata:")


@dataclass(frozen=True, slots=True)
class Stable:
    """A clause that a field of the status stays the same."""

    clause: str
    look: Callable[[types.PodSandboxStatus], Any]


STABLE = [
    Stable("PodSandboxStatus.metadata.stable", lambda status: status.metadata),
    Stable("PodSandboxStatus.created_at.stable", lambda status: status.created_at),
    Stable("PodSandboxStatus.labels.stable", lambda status: dict(status.labels)),
]


@pytest.mark.parametrize(
    "field", [pytest.param(field, marks=clause(field.clause), id=field.clause) for field in STABLE]
)
def test_fields_that_never_change(field: Stable, life: Life, judge: Judge) -> None:
    first = field.look(life.ready.status)
    for when in ("busy", "stopped"):
        judge.equal(
            field.clause,
            field.look(life.views[when].status),
            first,
            f"when {when}:",
            about=[life.sandbox.id],
        )


@pytest.mark.parametrize(
    ("clause_id", "look"),
    [
        pytest.param(name, look, marks=clause(name), id=name)
        for name, look in {
            "PodSandboxStatus.annotations.unaltered-later": lambda view: view.status.annotations,
            "PodSandbox.annotations.unaltered-later": lambda view: view.item.annotations,
        }.items()
    ],
)
def test_annotations_stay_as_they_were_sent(
    clause_id: str, look: Callable[[SandboxView], Any], life: Life, judge: Judge
) -> None:
    for when in ("busy", "stopped"):
        wrong = differences(look(life.views[when]), life.sandbox.config.annotations)
        judge.that(
            clause_id,
            not wrong,
            permitted=f"all annotations as sent, when {when}",
            actual="; ".join(wrong),
            about=[life.sandbox.id],
        )


@clause("PodSandboxStatus.labels.additions")
def test_labels_that_nobody_sent(life: Life, judge: Judge) -> None:
    added = sorted(life.ready.status.labels.keys() - life.sandbox.config.labels.keys())
    judge.record("PodSandboxStatus.labels.additions", ", ".join(added) or "none")


# -- times -------------------------------------------------------------------------------


@clause("PodSandboxStatus.created_at.positive")
def test_created_at_in_status_is_set(life: Life, judge: Judge) -> None:
    _positive(judge, "PodSandboxStatus.created_at.positive", life.ready.status.created_at, life)


@clause("PodSandbox.created_at.positive")
def test_created_at_in_list_is_set(life: Life, judge: Judge) -> None:
    _positive(judge, "PodSandbox.created_at.positive", life.ready.item.created_at, life)


def _positive(judge: Judge, clause_id: str, created_at: int, life: Life) -> None:
    judge.that(
        clause_id,
        created_at > 0,
        permitted="created_at above zero",
        actual=created_at,
        about=[life.sandbox.id],
    )


@clause("PodSandboxStatus.created_at.nanoseconds")
def test_created_at_is_in_nanoseconds(life: Life, judge: Judge) -> None:
    created_at = life.ready.status.created_at
    judge.that(
        "PodSandboxStatus.created_at.nanoseconds",
        life.begun - CLOCKS <= created_at <= life.ended + CLOCKS,
        permitted=f"between {life.begun} and {life.ended}, give or take five minutes",
        actual=created_at,
        about=[life.sandbox.id],
    )


# -- what an answer says of containers ----------------------------------------------------


@clause(
    "PodSandboxStatusResponse.containers_statuses.filled",
    "PodSandboxStatusResponse.timestamp.filled",
)
def test_which_extras_are_filled(life: Life, judge: Judge) -> None:
    busy = life.busy.response
    judge.record(
        "PodSandboxStatusResponse.containers_statuses.filled",
        f"{len(busy.containers_statuses)} of {len(life.containers)} containers",
    )
    judge.record(
        "PodSandboxStatusResponse.timestamp.filled", "set" if busy.timestamp else "not set"
    )


@clause("PodSandboxStatusResponse.containers_statuses.own-containers")
def test_containers_in_the_answer_are_the_sandboxes_own(
    life: Life, runtime: Runtime, judge: Judge
) -> None:
    name = "PodSandboxStatusResponse.containers_statuses.own-containers"
    listed = {status.id for status in life.busy.response.containers_statuses}
    if not listed:
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "the runtime does not fill the list")
        return
    judge.equal(
        name,
        sorted(listed - life.containers.keys()),
        [],
        "containers of others:",
        about=[life.sandbox.id],
    )
    # A sandbox that has no containers, while others have some.
    empty = runtime.sandbox()
    answer = runtime.get("PodSandboxStatus", pod_sandbox_id=empty.id)
    foreign = [status.id for status in answer.containers_statuses]
    judge.equal(name, foreign, [], "in an empty sandbox:", about=[empty.id])


@clause("PodSandboxStatusResponse.containers_statuses.agrees")
def test_containers_in_the_answer_show_their_states(life: Life, judge: Judge) -> None:
    name = "PodSandboxStatusResponse.containers_statuses.agrees"
    listed = [s for s in life.busy.response.containers_statuses if s.id in life.containers]
    if not listed:
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "the runtime does not fill the list")
    for status in listed:
        judge.equal(
            name,
            types.ContainerState.Name(status.state),
            types.ContainerState.Name(life.containers[status.id].state),
            about=[life.sandbox.id, status.id],
        )


@clause("PodSandboxStatusResponse.timestamp.nanoseconds")
def test_timestamp_is_in_nanoseconds(life: Life, judge: Judge) -> None:
    name = "PodSandboxStatusResponse.timestamp.nanoseconds"
    stamp = life.busy.response.timestamp
    if not stamp:
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "the runtime sets no timestamp")
        return
    judge.that(
        name,
        life.begun - CLOCKS <= stamp <= life.looked + CLOCKS,
        permitted=f"between {life.begun} and {life.looked}, give or take five minutes",
        actual=stamp,
        about=[life.sandbox.id],
    )


@clause("PodSandboxStatusResponse.timestamp.complete-list")
def test_answer_with_a_timestamp_has_every_container(life: Life, judge: Judge) -> None:
    name = "PodSandboxStatusResponse.timestamp.complete-list"
    busy = life.busy.response
    if not busy.timestamp:
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "the runtime sets no timestamp")
        return
    missing = life.containers.keys() - {status.id for status in busy.containers_statuses}
    judge.equal(name, sorted(missing), [], "containers left out:", about=[life.sandbox.id])


# -- verbose -----------------------------------------------------------------------------


@clause("PodSandboxStatusRequest.verbose.info-given")
def test_verbose_gives_info(life: Life, judge: Judge) -> None:
    judge.that(
        "PodSandboxStatusRequest.verbose.info-given",
        life.verbose.info,
        permitted="at least one entry of info",
        actual="none",
        about=[life.sandbox.id],
    )


@clause("PodSandboxStatusRequest.verbose.same-status")
def test_verbose_changes_nothing_in_the_status(life: Life, judge: Judge) -> None:
    judge.equal(
        "PodSandboxStatusRequest.verbose.same-status",
        life.verbose.status,
        life.busy.status,
        "with verbose",
        about=[life.sandbox.id],
    )


@clause("PodSandboxStatusResponse.info.json-values")
def test_info_is_json(life: Life, judge: Judge) -> None:
    name = "PodSandboxStatusResponse.info.json-values"
    if not life.verbose.info:
        judge.not_exercised(name, Reason.NOT_ADVERTISED, "the runtime gives no info")
    for key, value in life.verbose.info.items():
        judge.that(
            name,
            _is_json(value),
            permitted="a JSON document",
            actual=f"{key}: {value}",
            about=[life.sandbox.id],
        )


@clause("PodSandboxStatusResponse.info.only-when-verbose")
def test_no_info_without_verbose(life: Life, judge: Judge) -> None:
    judge.equal(
        "PodSandboxStatusResponse.info.only-when-verbose",
        sorted(life.busy.response.info),
        [],
        "keys of info:",
        about=[life.sandbox.id],
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
