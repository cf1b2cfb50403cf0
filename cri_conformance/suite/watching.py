# SPDX-License-Identifier: Apache-2.0
"""Streams of events that are known to be open, and whether one may be opened at all.

A client can't tell when its stream has begun: most runtimes say nothing before the first
event. So a beacon is lit until its event is seen: a container that is made and removed.

Where one client's stream takes events away from another's, as in containerd 1.7, to look
would be to rob a kubelet on that node. So none is opened before the runtime has shown a
sign of the contract's minor 1.30, in its Status: all that show one tell each client
everything, or are known to be asked for it. An option that says another minor does not
change that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge
from cri_conformance.wire.client import Client
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.runtime import Runtime, Sandbox
from cri_conformance.wire.stream import Stream

RPC = "GetContainerEvents"
CREATED, STARTED = types.CONTAINER_CREATED_EVENT, types.CONTAINER_STARTED_EVENT
STOPPED, DELETED = types.CONTAINER_STOPPED_EVENT, types.CONTAINER_DELETED_EVENT

#: Seconds in which an event must come, and after which a stream ends of itself.
WITHIN, DEADLINE = 5.0, 300.0
#: Seconds that one beacon is waited for, and how many are lit.
_LIT, _BEACONS = 1.0, 5


class Unavailable(Exception):
    """There are no events here, and nobody is to blame. ``reason`` is of the closed list."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class NoEvents(Exception):
    """The stream that should tell events failed, or is silent: ``actual`` in words."""

    def __init__(self, actual: str) -> None:
        super().__init__(actual)
        self.actual = actual


@dataclass(frozen=True)
class Watch:
    """A stream that tells what happens."""

    stream: Stream

    def of(self, object_id: str) -> list[Any]:
        """The events of one object so far."""
        return [event for event in self.stream.messages if event.container_id == object_id]

    def kinds(self, object_id: str) -> list[int]:
        """Their kinds, in order."""
        return [event.container_event_type for event in self.of(object_id)]

    def wait(self, object_id: str, kind: int, within: float) -> Any:
        """The event of this kind, once it is there; None if it did not come in time."""

        def found(events: Sequence[Any]) -> Any:
            return next((one for one in events if _is(one, object_id, kind)), None)

        self.stream.wait_until(found, within)
        return found(self.stream.messages)

    def wait_any(self, object_ids: Collection[str], within: float) -> bool:
        """Whether any event of any of these objects comes in time."""
        return self.stream.wait_until(
            lambda events: any(event.container_id in object_ids for event in events), within
        )


def _is(event: Any, object_id: str, kind: int) -> bool:
    return bool(event.container_id == object_id and event.container_event_type == kind)


def may_listen(runtime: Runtime) -> None:
    """Raises Unavailable where an open stream could take events away from others."""
    status = runtime.get("Status")
    if not status.runtime_handlers and not status.HasField("features"):
        raise Unavailable(
            Reason.YOUNGER,
            "the runtime shows no sign of 1.30; in older ones a stream may take events away "
            "from the kubelet's",
        )


def listen(runtime: Runtime, place: Sandbox, *clients: Client) -> list[Watch]:
    """A stream of each client (the scope's own if none is given) that is known to tell events.

    ``place`` is where beacons are lit. Raises Unavailable or NoEvents.
    """
    may_listen(runtime)
    if clients:
        streams = [client.stream(RPC, deadline=DEADLINE) for client in clients]
    else:
        streams = [runtime.stream(RPC, deadline=DEADLINE)]
    watches = [Watch(stream) for stream in streams]
    if not lit(runtime, place, watches):
        came = sum(len(stream.messages) for stream in streams)
        others = f" about them, of {came} in all" if came else ""
        told = f"none{others} within {_BEACONS * _LIT:g} s, while containers came and went"
        raise NoEvents(told)
    return watches


def lit(runtime: Runtime, place: Sandbox, watches: Sequence[Watch]) -> bool:
    """Let a container come and go until each stream has told of it.

    What happened before has then been told as well, if it is told at all. Raises
    Unavailable or NoEvents if a stream ends.
    """
    waiting = list(watches)
    made: list[str] = []
    for _ in range(_BEACONS):
        made.append(runtime.container(place).id)
        runtime.get("RemoveContainer", container_id=made[-1])
        # From here on: on a slow node the calls alone may take so long.
        begun = time.monotonic()
        for watch in list(waiting):
            left = max(0.0, begun + _LIT - time.monotonic())
            # Any of them shows it: a slow node may tell of each when the next is lit already.
            if watch.wait_any(made, left):
                waiting.remove(watch)
            elif (outcome := watch.stream.outcome) is not None:
                raise _ended(outcome, watch)
        if not waiting:
            return True
    return False


def _ended(outcome: Outcome, watch: Watch) -> Exception:
    if isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
        return Unavailable(Reason.YOUNGER, f"the runtime has no {RPC}")
    if isinstance(outcome, Ok) and not watch.stream.messages:
        return Unavailable(Reason.NOT_ADVERTISED, "the stream ends at once: events are off")
    return NoEvents(f"the stream has ended: {outcome}")


def judged(judge: Judge, clause_id: str, make: Callable[[], list[Watch]]) -> list[Watch]:
    """Watches, or the end of the test: not exercised, or the clause is broken."""
    try:
        return make()
    except Unavailable as there_is_none:
        judge.skip(there_is_none.reason, there_is_none.detail)
    except NoEvents as failed:
        judge.that(clause_id, False, permitted="events come", actual=failed.actual)
        # Known to break, or a SHOULD: there is nothing to go on with.
        judge.skip(Reason.NOT_ADVERTISED, failed.actual)
