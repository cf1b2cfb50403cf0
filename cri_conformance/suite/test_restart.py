# SPDX-License-Identifier: Apache-2.0
"""After a restart of the runtime: what was there is there, and says of itself what it said.

A kubelet that is restarted learns from labels and annotations which pod a container belongs to.
And what ended while nobody looked has ended: it must be seen to, or its pod waits for ever.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.restart import Restarter
from cri_conformance.wire.outcome import Refused, RuntimeGone, SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox

_CONTAINER = "ContainerStatus"
_STARTING = "RuntimeService.Status.starting-code"
#: Seconds after which containers end by themselves, with this code: while the runtime is away,
#: while it starts, and before and after.
_MEANWHILE, _CODE = (0.2, 0.5, 1.0, 1.5, 2.5), 5
#: Seconds that a call may take while the runtime starts, and between two of them.
_ASKED_FOR, _BETWEEN = 5.0, 0.02


@dataclass(frozen=True, slots=True)
class Story:
    """What a container said before and after; ``ended`` says that it ended in between."""

    before: types.ContainerStatus
    after: types.ContainerStatus
    ended: bool


def _end(status: types.ContainerStatus) -> tuple[int, int, int, int]:
    """Exit code and times."""
    return status.exit_code, status.created_at, status.started_at, status.finished_at


@dataclass(frozen=True, slots=True)
class Restart:
    """A restart: some containers' stories, and the codes of what was refused in between."""

    stories: list[Story]
    codes: set[str]


@pytest.fixture(scope="module")
def restarted(shared_runtime: Runtime, shared_sandbox: Sandbox, restart: Restarter) -> Restart:
    """With a container that runs, one that has ended, one never started, and some that end."""
    codes: set[str] = set()
    more = {
        "labels": {"example.com/restart": "Aa-1._z", "empty": ""},
        "annotations": {"example.com/json": '{"a": ["b", "ü"]}', "lines": "1\n2\n"},
    }
    made = []
    for make in (
        shared_runtime.running,
        partial(shared_runtime.exited, script=f"exit {_CODE}"),
        shared_runtime.container,
    ):
        annotations = more["annotations"]
        container = make(shared_sandbox, labels=more["labels"], annotations=annotations)
        made.append(container.id)
    before = [shared_runtime.container_status(one) for one in made]
    meanwhile = [
        shared_runtime.running(shared_sandbox, f"sleep {seconds}; exit {_CODE}").id
        for seconds in _MEANWHILE
    ]
    before += [shared_runtime.container_status(one) for one in meanwhile]
    _restart_watched(shared_runtime, restart, codes)
    for one in meanwhile:
        with contextlib.suppress(SetupFailed):
            shared_runtime.wait_exited(one)
    made += meanwhile
    return Restart(
        [
            Story(then, shared_runtime.container_status(one), one in meanwhile)
            for one, then in zip(made, before, strict=True)
        ],
        codes,
    )


def _restart_watched(runtime: Runtime, restart: Restarter, codes: set[str]) -> None:
    """Restart the runtime, and note the codes of what it refuses until it is there again."""
    begun, over = threading.Event(), threading.Event()

    def ask(clients: contextlib.ExitStack) -> None:
        client = clients.enter_context(runtime.client.another())
        while True:
            try:
                outcome = client.call("Status", deadline=_ASKED_FOR)
                if isinstance(outcome, Refused):
                    codes.add(outcome.code)
            except RuntimeGone:
                # What is lost once is lost for good: over another connection, then.
                client = clients.enter_context(runtime.client.another())
            begun.set()
            if over.wait(_BETWEEN):
                return

    with contextlib.ExitStack() as clients, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, clients)
        try:
            begun.wait(_ASKED_FOR)
            restart(runtime)
        finally:
            over.set()
        asking.result()


@clause(f"{_CONTAINER}.labels.survive-restart")
def test_labels(restarted: Restart, judge: Judge) -> None:
    for story in restarted.stories:
        judge.equal(
            f"{_CONTAINER}.labels.survive-restart",
            dict(story.after.labels),
            dict(story.before.labels),
            "labels after the restart",
            about=[story.after.id],
        )


@clause(f"{_CONTAINER}.annotations.survive-restart")
def test_annotations(restarted: Restart, judge: Judge) -> None:
    for story in restarted.stories:
        judge.equal(
            f"{_CONTAINER}.annotations.survive-restart",
            dict(story.after.annotations),
            dict(story.before.annotations),
            "annotations after the restart",
            about=[story.after.id],
        )


@clause(f"{_CONTAINER}.state.survives-restart", f"{_CONTAINER}.exit_code.survives-restart")
def test_state_and_end(restarted: Restart, judge: Judge) -> None:
    for story in restarted.stories:
        name, about = types.ContainerState.Name, [story.after.id]
        judge.equal(
            f"{_CONTAINER}.state.survives-restart",
            name(story.after.state),
            "CONTAINER_EXITED" if story.ended else name(story.before.state),
            "state after the restart",
            about=about,
        )
        judge.that(
            f"{_CONTAINER}.exit_code.survives-restart",
            # The code of one that ended while it was killed may be lost with the runtime.
            story.after.exit_code != 0 if story.ended else _end(story.after) == _end(story.before),
            permitted="another exit code than 0" if story.ended else _end(story.before),
            actual=story.after.exit_code if story.ended else _end(story.after),
            about=about,
        )


@clause(_STARTING)
def test_what_is_refused_at_the_start(restarted: Restart, judge: Judge) -> None:
    judge.equal(
        _STARTING,
        sorted(restarted.codes - {"UNAVAILABLE"}),
        [],
        "other codes than UNAVAILABLE while it starts:",
    )
