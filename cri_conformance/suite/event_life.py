# SPDX-License-Identifier: Apache-2.0
"""A sandbox and its containers live, one step at a time, and a stream tells of it.

Made once; tests judge what was told. Each step waits for its event, so that what comes
later was caused later; where nothing changes by itself, the statuses are looked at too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cri_conformance.api import types
from cri_conformance.build.messages import IDLE
from cri_conformance.expect import Judge
from cri_conformance.suite import watching
from cri_conformance.suite.stepper import MISSING_COMMAND
from cri_conformance.suite.watching import (
    CREATED,
    DELETED,
    STARTED,
    STOPPED,
    NoEvents,
    Unavailable,
    Watch,
)
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: The code with which a container ends by itself.
OWN_CODE = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a container, or to the sandbox itself.

    ``event`` is None if none came in time. ``begun`` and ``seen`` are before the cause and
    after the event, by our clock in nanoseconds; ``there`` the containers after it.
    ``statuses`` were asked for afterwards, where nothing had changed by then.
    """

    what: str
    object_id: str
    kind: int
    event: Any
    begun: int
    seen: int
    there: frozenset[str]
    statuses: Mapping[str, types.ContainerStatus]
    sandbox_status: types.PodSandboxStatus | None


@dataclass
class EventLife:
    """What was done and what was told. ``absent`` says why there is nothing."""

    absent: Unavailable | NoEvents | None = None
    sandbox: str = ""
    steps: list[Step] = field(default_factory=list)
    #: Every container that was made in the sandbox.
    made: list[str] = field(default_factory=list)
    #: The one whose start failed; "" if the runtime made none of it.
    failed: str = ""
    #: All events, in the order in which they came.
    events: list[Any] = field(default_factory=list)
    #: Events that came before anything had been done.
    backlog: int = 0
    #: How the stream had ended by then, in words; "" if it was still open, as it should be.
    ended: str = ""

    def there(self, judge: Judge, clause_id: str) -> EventLife:
        """The life, for a test that is bound to a clause; ends the test if there is none."""

        def make() -> list[Watch]:
            if self.absent is not None:
                raise self.absent
            return []

        watching.judged(judge, clause_id, make)
        return self

    def step(self, what: str) -> Step:
        """One step by its name."""
        return next(step for step in self.steps if step.what == what)

    def of(self, object_id: str) -> list[Any]:
        """The events of one object."""
        return [event for event in self.events if event.container_id == object_id]

    def kinds(self, object_id: str) -> list[int]:
        """Their kinds."""
        return [event.container_event_type for event in self.of(object_id)]


def live(runtime: Runtime, place: Sandbox, within: float) -> EventLife:
    """Let them live. Raises SetupFailed."""
    begun = time.time_ns()
    try:
        (watch,) = watching.listen(runtime, place)
    except (Unavailable, NoEvents) as absent:
        return EventLife(absent=absent)
    script = _Script(runtime, watch, within)
    script.run()
    life = script.life
    # What the last calls caused is told before what happens now.
    with contextlib.suppress(NoEvents, Unavailable):
        watching.lit(runtime, place, [watch])
    life.events = watch.stream.messages
    life.backlog = sum(event.created_at < begun for event in life.events)
    life.ended = "" if watch.stream.open else str(watch.stream.outcome)
    watch.stream.cancel()
    return life


class _Script:
    """The steps."""

    def __init__(self, runtime: Runtime, watch: Watch, within: float) -> None:
        self._runtime = runtime
        self._watch = watch
        self._within = within
        self._there: set[str] = set()
        self._sandbox = runtime.sandbox(
            annotations={"events.example/note": "as sent"}, labels={"events": "yes"}
        )
        self.life = EventLife(sandbox=self._sandbox.id)

    def run(self) -> None:
        idle = self._created("idle")
        self._started("idle", idle)
        for what, code in (("well", 0), ("badly", OWN_CODE)):
            own = self._created(what, f"exit {code}")
            self._started(what, own, quiet=False)
            self._seen(f"{what}: ended by itself", own, STOPPED, self._begun)
        self._fail_to_start()
        self._call("idle: stopped", idle, STOPPED, "StopContainer", timeout=0)
        # Nothing is left to do for this one.
        self._runtime.get("StopContainer", container_id=idle.id, timeout=0)
        self._there.discard(idle.id)
        self._call("idle: removed", idle, DELETED, "RemoveContainer")
        self._runtime.get("RemoveContainer", container_id=idle.id)
        last = self._created("last")
        self._started("last", last)
        self._end(last)

    def _end(self, last: Container) -> None:
        sandbox = self._sandbox.id
        begun = time.time_ns()
        self._runtime.get("StopPodSandbox", pod_sandbox_id=sandbox)
        self._seen("last: stopped with its sandbox", last, STOPPED, begun)
        self._runtime.get("StopPodSandbox", pod_sandbox_id=sandbox)
        self._runtime.get("RemovePodSandbox", pod_sandbox_id=sandbox)
        self._runtime.get("RemovePodSandbox", pod_sandbox_id=sandbox)

    def _created(self, what: str, script: str = "") -> Container:
        self._begun = time.time_ns()
        command = ["/bin/sh", "-c", script or IDLE]
        container = self._runtime.container(self._sandbox, command=command)
        self.life.made.append(container.id)
        self._there.add(container.id)
        self._seen(f"{what}: created", container, CREATED, self._begun)
        return container

    def _started(self, what: str, container: Container, *, quiet: bool = True) -> None:
        self._begun = time.time_ns()
        self._runtime.get("StartContainer", container_id=container.id)
        self._seen(f"{what}: started", container, STARTED, self._begun, quiet=quiet)

    def _call(self, what: str, container: Container, kind: int, rpc: str, **fields: Any) -> None:
        begun = time.time_ns()
        self._runtime.get(rpc, container_id=container.id, **fields)
        self._seen(what, container, kind, begun)

    def _fail_to_start(self) -> None:
        config = self._runtime.container_config(self._sandbox, command=list(MISSING_COMMAND))
        created = self._runtime.create(self._sandbox, config)
        if not isinstance(created, Ok):
            return  # refused already: then nothing can be told of it
        failed = created.response.container_id
        self.life.made.append(failed)
        if isinstance(self._runtime.call("StartContainer", container_id=failed), Ok):
            return
        self.life.failed = failed
        # Some runtimes keep it, others don't.
        status = self._runtime.call("ContainerStatus", container_id=failed)
        if isinstance(status, Ok):
            self._there.add(failed)

    def _seen(
        self, what: str, container: Container, kind: int, begun: int, *, quiet: bool = True
    ) -> None:
        event = self._watch.wait(container.id, kind, self._within)
        seen = time.time_ns()
        statuses = {}
        sandbox_status = None
        if quiet:
            statuses = {one: self._runtime.container_status(one) for one in self._there}
            sandbox_status = self._runtime.sandbox_status(self._sandbox.id)
        self.life.steps.append(
            Step(
                what=what,
                object_id=container.id,
                kind=kind,
                event=event,
                begun=begun,
                seen=seen,
                there=frozenset(self._there),
                statuses=statuses,
                sandbox_status=sandbox_status,
            )
        )
