# SPDX-License-Identifier: Apache-2.0
"""After a restart of the runtime: what was there is there, and says of itself what it said.

A kubelet that is restarted learns from labels and annotations which pod a container belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.restart import Restarter
from cri_conformance.wire.runtime import Runtime, Sandbox

_CONTAINER = "ContainerStatus"


@dataclass(frozen=True, slots=True)
class Story:
    """What a container said before and after."""

    before: types.ContainerStatus
    after: types.ContainerStatus


@pytest.fixture(scope="module")
def stories(shared_runtime: Runtime, shared_sandbox: Sandbox, restart: Restarter) -> list[Story]:
    """Of a container that runs, one that has ended, and one that was never started."""
    more = {
        "labels": {"example.com/restart": "Aa-1._z", "empty": ""},
        "annotations": {"example.com/json": '{"a": ["b", "ü"]}', "lines": "1\n2\n"},
    }
    made = []
    for make in (shared_runtime.running, shared_runtime.exited, shared_runtime.container):
        annotations = more["annotations"]
        container = make(shared_sandbox, labels=more["labels"], annotations=annotations)
        made.append(container.id)
    before = [shared_runtime.container_status(one) for one in made]
    restart(shared_runtime)
    return [
        Story(then, shared_runtime.container_status(one))
        for one, then in zip(made, before, strict=True)
    ]


@clause(f"{_CONTAINER}.labels.survive-restart")
def test_labels(stories: list[Story], judge: Judge) -> None:
    for story in stories:
        judge.equal(
            f"{_CONTAINER}.labels.survive-restart",
            dict(story.after.labels),
            dict(story.before.labels),
            "labels after the restart",
            about=[story.after.id],
        )


@clause(f"{_CONTAINER}.annotations.survive-restart")
def test_annotations(stories: list[Story], judge: Judge) -> None:
    for story in stories:
        judge.equal(
            f"{_CONTAINER}.annotations.survive-restart",
            dict(story.after.annotations),
            dict(story.before.annotations),
            "annotations after the restart",
            about=[story.after.id],
        )
