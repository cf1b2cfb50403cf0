# SPDX-License-Identifier: Apache-2.0
"""Containers of the images: by each name of an image one can be made, and it goes on running
whatever becomes of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from cri_conformance.api import types
from cri_conformance.fuzz.image_failing import ImageFailer
from cri_conformance.suite.image_stepper import DIGEST, ID, PLACES, REMOVE, TAG
from cri_conformance.wire.outcome import Ok, Outcome, Unknown
from cri_conformance.wire.runtime import Sandbox

#: Methods of ImageUser that are steps of a story.
TOLD = ("use",)
#: Containers of one sequence at most.
_MOST = 2


@dataclass
class ImageUser(ImageFailer):
    """Runs containers."""

    _sandbox: Sandbox | None = field(default=None, init=False)
    #: Containers that run, and the image of each that was made.
    _running: set[str] = field(default_factory=set, init=False)
    _used: list[str] = field(default_factory=list, init=False)

    def use(self, place: int, by: str) -> None:
        """A container of what is there by a name; it is started if its image has a program."""
        name, variant = self.name(place, by), self.served[place]
        if not self.has(place, by) or len(self._used) == _MOST:
            return
        runtime = self.pulls.runtime
        self._used.append(variant.digest)
        self._sandbox = self._sandbox or runtime.sandbox()
        config = runtime.container_config(self._sandbox, image=name, command=variant.command)
        outcome = runtime.create(self._sandbox, config)
        # A runtime may look for a user by name in the image.
        if variant.command or isinstance(outcome, Ok):
            self._answer(f"ImageSpec.image.by-{by}", outcome)
        if variant.command and isinstance(outcome, Ok):
            made = outcome.response.container_id
            if isinstance(runtime.call("StartContainer", container_id=made), Ok):
                self._running.add(made)
        self.look()

    def _taken_away(
        self, name: str, outcomes: Sequence[Outcome], clause: str, gone: str = f"{REMOVE}.gone"
    ) -> None:
        if self.node.expected(name) in self._used:
            # Whether it can be removed nobody says.
            clause = f"{REMOVE}.in-use-answer"
        super()._taken_away(name, outcomes, clause, gone)
        for container in sorted(self._running):
            outcome = self.pulls.runtime.call("ContainerStatus", container_id=container)
            if isinstance(outcome, Unknown):
                continue
            state = outcome.response.status.state if isinstance(outcome, Ok) else None
            running = state == types.CONTAINER_RUNNING
            self._that(
                f"{REMOVE}.in-use-unharmed", running, "the container runs", "it does not run"
            )
            if not running:
                self._running.remove(container)


class UseRules:
    """The same as a rule of a state machine."""

    steps: Any

    @rule(place=st.integers(0, PLACES - 1), by=st.sampled_from((TAG, DIGEST, ID)))
    def use(self, place: int, by: str) -> None:
        if not self.steps.has(place, by):
            self.steps.pull(place, DIGEST if by == DIGEST else TAG)
        self.steps.use(place, by)
