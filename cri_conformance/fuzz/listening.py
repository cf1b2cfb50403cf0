# SPDX-License-Identifier: Apache-2.0
"""A stream of events beside the steps: what it tells of each container is what happened to it.

It is opened as soon as there is a sandbox in which it can be seen to have begun, and again after a
restart. Of a container that was there before nothing is said, nor of one about which a call was
given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api import types
from cri_conformance.expect.judge import Judge
from cri_conformance.fuzz.speaking import Speaker
from cri_conformance.model import telling
from cri_conformance.model.states import SandboxState
from cri_conformance.model.table import Rule
from cri_conformance.model.telling import Tale
from cri_conformance.suite import watching
from cri_conformance.suite.restart import Restarter
from cri_conformance.suite.restart_life import SEEN_WITHIN
from cri_conformance.suite.watching import NoEvents, Unavailable, Watch
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed, Unknown
from cri_conformance.wire.runtime import Runtime

_KINDS = {
    watching.CREATED: telling.CREATED,
    watching.STARTED: telling.STARTED,
    watching.STOPPED: telling.STOPPED,
    watching.DELETED: telling.DELETED,
}
#: Kind → whether a container may be shown so in the list that comes with the event.
_AFTER: dict[str, Callable[[Any], bool]] = {
    telling.CREATED: lambda status: True,
    telling.STARTED: lambda status: status is None or status.state != types.CONTAINER_CREATED,
    telling.STOPPED: lambda status: status is None or status.state == types.CONTAINER_EXITED,
    telling.DELETED: lambda status: status is None,
}


class Listener(Speaker):
    """Holds events against the world after each look."""

    def __init__(self, runtime: Runtime, judge: Judge, restarter: Restarter) -> None:
        super().__init__(runtime, judge, restarter)
        self._watch: Watch | None = None
        #: There are no events here.
        self._deaf = False
        self._again = False
        self._tales: dict[str, Tale] = {}
        self._told: dict[str, list[Any]] = {}
        self._heard = 0
        #: Those of which nothing is said.
        self._unsure: set[str] = set()
        #: Those of which there is something new to be said.
        self._news: set[str] = set()

    # -- what happens ----------------------------------------------------------------

    def _judged(
        self,
        call: str,
        object_id: str,
        outcome: Outcome,
        extra: tuple[Rule, ...] = (),
        *,
        silent: bool = False,
    ) -> None:
        try:
            super()._judged(call, object_id, outcome, extra, silent=silent)
        finally:
            if isinstance(outcome, Unknown):
                self._no_more_of(object_id)
            self._note([object_id, *(one.id for one in self.world.containers(object_id))])

    def _first(self, call: str, request: Message, way: str, seconds: float) -> Outcome:
        for field in ("container_id", "pod_sandbox_id"):
            self._no_more_of(getattr(request, field, ""))
        return super()._first(call, request, way, seconds)

    def _no_more_of(self, object_id: str) -> None:
        if object_id:
            self._unsure |= {object_id, *(one.id for one in self.world.containers(object_id))}

    def _restarts(self, act: Any) -> Any:
        if self._watch:
            self._watch.stream.cancel()
            self._watch, self._again = None, True
        self._unsure |= set(self.containers)
        return super()._restarts(act)

    def _note(self, object_ids: Iterable[str]) -> None:
        for name in object_ids:
            if self._watch and name in self.containers and name not in self._unsure:
                if self.containers[name].config.metadata.name in self.given_up:
                    self._unsure.add(name)
                    continue
                thing = self.world.thing(name)
                if self._tales.setdefault(name, Tale()).went(thing.states, mortal=thing.mortal):
                    self._news.add(name)

    # -- what is told ----------------------------------------------------------------

    def look(self, *also: str) -> None:
        super().look(*also)
        if self._deaf:
            return
        if self._watch:
            self._note(self.containers)
            self._hear()
        else:
            self._listen()

    def _listen(self) -> None:
        """Open the stream, where there is a place to see it begin."""
        places = [
            sandbox
            for name, sandbox in self.sandboxes.items()
            if self.world.thing(name).within(SandboxState.READY)
        ]
        if not places:
            return
        try:
            [self._watch] = watching.listen(self.runtime, places[-1])
        except (Unavailable, SetupFailed):
            self._deaf = True
        except NoEvents as silent:
            self._deaf = True
            call = "RuntimeService.GetContainerEvents.reconnect"
            clause = call if self._again else "ContainerEventType.CONTAINER_CREATED_EVENT.told"
            self._that(clause, False, "events come", silent.actual, "")
        else:
            self._heard = len(self._watch.stream.messages)
            self._unsure |= set(self.containers)

    def _hear(self) -> None:
        """Judge what is new."""
        assert self._watch
        awaited = {name: self._tales[name] for name in self._news - self._unsure}

        def all_told(messages: Sequence[Any]) -> bool:
            self._take(messages)
            return all(tale.complete(self._kinds(name)) for name, tale in awaited.items())

        late = not self._watch.stream.wait_until(all_told, SEEN_WITHIN)
        ended = self._watch.stream.outcome
        if ended is not None:
            self._watch, self._deaf = None, True
            self._that(
                "RuntimeService.GetContainerEvents.stays-open",
                isinstance(ended, Unknown),
                "the stream goes on until the client leaves",
                str(Ok(None) if isinstance(ended, Ok) else ended),
                "",
            )
            return
        for name in sorted(self._news & self._tales.keys() - self._unsure):
            self._news.discard(name)
            self._judge_kinds(name)
            for event in self._told.get(name, ()):
                self._judge_shown(name, event)
        self._news.clear()
        # Known to be so, or a SHOULD: each further one would be waited for as long.
        self._deaf = late

    def _take(self, messages: Sequence[Any]) -> None:
        """Keep what has come since."""
        for event in messages[self._heard :]:
            name = event.container_id
            if name in self._tales and event.container_event_type in _KINDS:
                self._told.setdefault(name, []).append(event)
                self._news.add(name)
        self._heard = len(messages)

    def _kinds(self, container_id: str) -> list[str]:
        return [_KINDS[event.container_event_type] for event in self._told.get(container_id, ())]

    def _judge_kinds(self, container_id: str) -> None:
        tale, told = self._tales[container_id], self._kinds(container_id)
        broken = tale.broken(told)
        self._that(
            broken or "RuntimeService.GetContainerEvents.matches-life",
            not broken,
            f"told once and in this order: {tale}",
            ", ".join(told) or "nothing",
            container_id,
        )

    def _judge_shown(self, container_id: str, event: Any) -> None:
        """What comes with an event: the pod as it is after it."""
        kind = _KINDS[event.container_event_type]
        [own] = [one for one in event.containers_statuses if one.id == container_id][:1] or [None]
        self._that(
            "ContainerEventResponse.containers_statuses.after-event",
            _AFTER[kind](own),
            f"the container as it is once it is {kind}",
            types.ContainerState.Name(own.state) if own else "not in the list",
            container_id,
        )
        sandbox = self.containers[container_id].sandbox.id
        if self.world.thing(sandbox).within(SandboxState.READY, SandboxState.NOTREADY):
            shown = event.pod_sandbox_status
            for promise, kept in (
                ("present", shown.HasField("metadata")),
                ("own-sandbox", shown.id == sandbox),
            ):
                self._that(
                    f"ContainerEventResponse.pod_sandbox_status.{promise}",
                    kept,
                    f"the status of sandbox {sandbox}, with metadata",
                    f"that of {shown.id or 'none'}",
                    container_id,
                )
