# SPDX-License-Identifier: Apache-2.0
"""What was sent for a sandbox comes back byte for byte, in its status and in the list.

Metadata, labels and annotations are the kubelet's memory: after a restart it restores
its pods from them. They are all packed into one sandbox with a value of every awkward
kind, which each clause is judged on by itself; then generated values follow, for what
nobody thought of.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st

from cri_conformance.api import types
from cri_conformance.build import strategies
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.views import SandboxView, differences, sandbox_view
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox

LABELS_ADMITTED = "PodSandboxConfig.labels.admissible-forms"
ANNOTATIONS_ADMITTED = "PodSandboxConfig.annotations.admissible-forms"


@dataclass(frozen=True, slots=True)
class Echo:
    """A clause that a field comes back as it was sent."""

    clause: str
    shown: Callable[[SandboxView], Any]
    sent: Callable[[types.PodSandboxConfig], Any]
    #: Whether a map may hold more than was sent.
    more: bool = False

    def judge(self, judge: Judge, view: SandboxView, sandbox: Sandbox) -> None:
        """Judge the clause on what is shown of a sandbox."""
        actual, sent = self.shown(view), self.sent(sandbox.config)
        if not isinstance(sent, Mapping):
            judge.equal(self.clause, actual, sent, about=[sandbox.id])
            return
        wrong = differences(actual, sent, more=self.more)
        judge.that(
            self.clause,
            not wrong,
            permitted=f"all {len(sent)} entries as sent{'' if self.more else ' and no other'}",
            actual="; ".join(wrong),
            about=[sandbox.id],
        )


def _metadata(field: str) -> list[Echo]:
    return [
        Echo(
            f"PodSandboxMetadata.{field}.in-status",
            lambda view: getattr(view.status.metadata, field),
            lambda config: getattr(config.metadata, field),
        ),
        Echo(
            f"PodSandboxMetadata.{field}.in-list",
            lambda view: getattr(view.item.metadata, field),
            lambda config: getattr(config.metadata, field),
        ),
    ]


ECHOES = [
    *(echo for field in ("name", "uid", "namespace", "attempt") for echo in _metadata(field)),
    Echo(
        "PodSandboxStatus.labels.as-sent",
        lambda view: view.status.labels,
        lambda config: config.labels,
        more=True,
    ),
    Echo(
        "PodSandbox.labels.as-sent",
        lambda view: view.item.labels,
        lambda config: config.labels,
        more=True,
    ),
    Echo(
        "PodSandboxStatus.annotations.identical",
        lambda view: view.status.annotations,
        lambda config: config.annotations,
    ),
    Echo(
        "PodSandbox.annotations.identical",
        lambda view: view.item.annotations,
        lambda config: config.annotations,
    ),
]


@pytest.fixture(scope="module")
def packed(module_runtime: Runtime) -> tuple[Sandbox, SandboxView]:
    """A sandbox with something awkward in every field, and what is shown of it."""
    sandbox = module_runtime.sandbox(
        # As long as names of pods and namespaces get, and as large as an attempt.
        name=f"{module_runtime.name()}.long-".ljust(252, "a") + "z",
        namespace=f"{module_runtime.workshop.run.nonce}-".ljust(62, "n") + "0",
        attempt=2**32 - 1,
        labels=dict(strategies.AWKWARD_LABELS),
        annotations=strategies.AWKWARD_ANNOTATIONS,
    )
    return sandbox, sandbox_view(module_runtime, sandbox)


@pytest.mark.parametrize(
    "echo", [pytest.param(echo, marks=clause(echo.clause), id=echo.clause) for echo in ECHOES]
)
def test_awkward_values_come_back(
    echo: Echo, packed: tuple[Sandbox, SandboxView], judge: Judge
) -> None:
    sandbox, view = packed
    echo.judge(judge, view, sandbox)


@clause(LABELS_ADMITTED, ANNOTATIONS_ADMITTED, *(echo.clause for echo in ECHOES))
def test_generated_values_come_back(runtime: Runtime, judge: Judge, explore: Explorer) -> None:
    def check(
        name: str,
        namespace: str,
        bare: bool,
        attempt: int,
        labels: dict[str, str],
        annotations: dict[str, str],
    ) -> None:
        identity = uuid.uuid4()
        config = runtime.sandbox_config(
            name=name,
            namespace=namespace,
            # Always a new one, so that a name that comes again is another pod's.
            uid=identity.hex if bare else str(identity),
            attempt=attempt,
            labels=labels,
            annotations=annotations,
        )
        outcome = runtime.run_sandbox(config)
        if not isinstance(outcome, Ok):
            _blame(runtime, judge, labels, annotations)
            return
        judge.ok(LABELS_ADMITTED, outcome)
        judge.ok(ANNOTATIONS_ADMITTED, outcome)
        sandbox = Sandbox(outcome.response.pod_sandbox_id, config)
        view = sandbox_view(runtime, sandbox)
        for echo in ECHOES:
            echo.judge(judge, view, sandbox)

    explore(
        check,
        examples=12,
        name=strategies.dns_subdomains(),
        namespace=strategies.dns_labels(),
        bare=st.booleans(),
        attempt=strategies.attempts(),
        labels=strategies.label_maps(),
        annotations=strategies.annotation_maps(),
    )


def _blame(
    runtime: Runtime, judge: Judge, labels: dict[str, str], annotations: dict[str, str]
) -> None:
    """Judge which part of a refused config is refused. Raises SetupFailed if neither is."""
    apart = {
        LABELS_ADMITTED: _tried(runtime, labels=labels),
        ANNOTATIONS_ADMITTED: _tried(runtime, annotations=annotations),
    }
    for clause_id, outcome in apart.items():
        judge.ok(clause_id, outcome)
    if all(isinstance(outcome, Ok) for outcome in apart.values()):
        raise SetupFailed("a sandbox was refused, and neither for its labels nor its annotations")


def _tried(runtime: Runtime, **options: Any) -> Outcome:
    return runtime.run_sandbox(runtime.sandbox_config(**options))


@clause(LABELS_ADMITTED)
def test_labels_of_every_form_are_accepted(runtime: Runtime, judge: Judge) -> None:
    judge.ok(LABELS_ADMITTED, _tried(runtime, labels=dict(strategies.AWKWARD_LABELS)))


@clause(ANNOTATIONS_ADMITTED)
@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param(strategies.AWKWARD_ANNOTATIONS, id="awkward"),
        pytest.param(strategies.largest_annotations(), id="largest"),
    ],
)
def test_annotations_of_every_form_are_accepted(
    annotations: Mapping[str, str], runtime: Runtime, judge: Judge
) -> None:
    judge.ok(ANNOTATIONS_ADMITTED, _tried(runtime, annotations=annotations))
