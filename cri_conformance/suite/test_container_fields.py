# SPDX-License-Identifier: Apache-2.0
"""What was sent for a container comes back byte for byte, in its status and in the list.

The kubelet keeps in labels and annotations what it must know again after a restart:
which pod a container is of, how often it was restarted, how to stop it. One container
has a value of every awkward kind in every field and is looked at in every state of its
life; then generated values follow, for what nobody thought of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.build import strategies
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.container_life import Life
from cri_conformance.suite.views import ContainerView, container_view, differences
from cri_conformance.wire.outcome import Ok, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

LABELS_ADMITTED = "ContainerConfig.labels.admissible-keys"


@dataclass(frozen=True, slots=True)
class Echo:
    """A clause that a field comes back as it was sent."""

    clause: str
    shown: Callable[[ContainerView], Any]
    sent: Callable[[types.ContainerConfig], Any]
    #: Whether a map may hold more than was sent.
    more: bool = False

    def judge(self, judge: Judge, view: ContainerView, container: Container, when: str) -> None:
        """Judge the clause on what is shown of a container."""
        actual, sent = self.shown(view), self.sent(container.config)
        if not isinstance(sent, Mapping):
            judge.equal(self.clause, actual, sent, when, about=[container.id])
            return
        wrong = differences(actual, sent, more=self.more)
        judge.that(
            self.clause,
            not wrong,
            permitted=f"all {len(sent)} entries as sent{'' if self.more else ' and no other'}",
            actual=f"{when} {'; '.join(wrong)}",
            about=[container.id],
        )


ECHOES = [
    Echo(
        "ContainerMetadata.name.in-status",
        lambda view: view.status.metadata.name,
        lambda config: config.metadata.name,
    ),
    Echo(
        "ContainerMetadata.name.in-list",
        lambda view: view.item.metadata.name,
        lambda config: config.metadata.name,
    ),
    Echo(
        "ContainerMetadata.attempt.in-status",
        lambda view: view.status.metadata.attempt,
        lambda config: config.metadata.attempt,
    ),
    Echo(
        "ContainerMetadata.attempt.in-list",
        lambda view: view.item.metadata.attempt,
        lambda config: config.metadata.attempt,
    ),
    Echo(
        "ContainerStatus.labels.as-sent",
        lambda view: view.status.labels,
        lambda config: config.labels,
        more=True,
    ),
    Echo(
        "Container.labels.as-sent",
        lambda view: view.item.labels,
        lambda config: config.labels,
        more=True,
    ),
    Echo(
        "ContainerStatus.annotations.unaltered",
        lambda view: view.status.annotations,
        lambda config: config.annotations,
    ),
    Echo(
        "Container.annotations.unaltered",
        lambda view: view.item.annotations,
        lambda config: config.annotations,
    ),
]


@pytest.mark.parametrize(
    "echo", [pytest.param(echo, marks=clause(echo.clause), id=echo.clause) for echo in ECHOES]
)
def test_awkward_values_come_back_in_every_state(
    echo: Echo, container_life: Life, judge: Judge
) -> None:
    for when, view in container_life.views.items():
        echo.judge(judge, view, container_life.container, f"when {when}:")


@clause(LABELS_ADMITTED, *(echo.clause for echo in ECHOES))
def test_generated_values_come_back(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, explore: Explorer
) -> None:
    def check(name: str, attempt: int, labels: dict[str, str], annotations: dict[str, str]) -> None:
        config = runtime.container_config(shared_sandbox, name=name, labels=labels)
        config.metadata.attempt = attempt
        config.annotations.update(annotations)
        outcome = runtime.create(shared_sandbox, config)
        if not isinstance(outcome, Ok):
            # Labels are to blame only if the container is refused for them alone.
            bare = runtime.container_config(shared_sandbox, labels=labels)
            judge.ok(LABELS_ADMITTED, runtime.create(shared_sandbox, bare))
            raise SetupFailed(f"a container was refused, and not for its labels: {outcome}")
        container = Container(outcome.response.container_id, config, shared_sandbox)
        try:
            view = container_view(runtime, container)
        finally:
            runtime.call("RemoveContainer", container_id=container.id)
        _judge_keys(judge, view, container)
        for echo in ECHOES:
            echo.judge(judge, view, container, "")

    explore(
        check,
        examples=20,
        # The nonce keeps them apart from what others make in the shared sandbox.
        name=strategies.dns_labels(40).map(lambda n: f"{n}-{runtime.workshop.run.nonce}"[-63:]),
        attempt=strategies.attempts(),
        labels=strategies.label_maps(),
        annotations=strategies.annotation_maps(),
    )


@clause(LABELS_ADMITTED)
def test_labels_of_every_form_are_accepted(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    config = runtime.container_config(shared_sandbox, labels=dict(strategies.AWKWARD_LABELS))
    response = judge.response(LABELS_ADMITTED, runtime.create(shared_sandbox, config))
    container = Container(response.container_id, config, shared_sandbox)
    _judge_keys(judge, container_view(runtime, container), container)


def _judge_keys(judge: Judge, view: ContainerView, container: Container) -> None:
    lost = sorted(container.config.labels.keys() - view.status.labels.keys())
    judge.equal(LABELS_ADMITTED, lost, [], "keys that are lost:", about=[container.id])


@clause("ContainerMetadata.attempt.default-zero")
def test_the_attempt_is_zero_unless_it_is_sent(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    config = runtime.container_config(shared_sandbox)
    config.metadata.ClearField("attempt")
    view = container_view(runtime, runtime.container(shared_sandbox, config))
    for where, metadata in (("status", view.status.metadata), ("list", view.item.metadata)):
        judge.equal(
            "ContainerMetadata.attempt.default-zero", metadata.attempt, 0, f"in the {where}"
        )
