# SPDX-License-Identifier: Apache-2.0
"""Generated sequences of calls: the events are those of what happened, whatever it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st

from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite import watching
from cri_conformance.suite.scripts import go
from cri_conformance.suite.watching import CREATED, DELETED, STARTED, STOPPED, WITHIN, Watch
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

pytestmark = pytest.mark.xdist_group("events")

_MATCHES = "RuntimeService.GetContainerEvents.matches-life"
#: Containers that a sequence deals with, and its calls.
_CONTAINERS, _CALLS = 3, 12
_EXAMPLES = 5

#: Ends by itself once ``scripts.go`` has made the file.
_UNTIL_TOLD = "while [ ! -e go ]; do sleep 0.02; done; exit 7"
_OPERATIONS = ("create", "start", "end", "stop", "remove")


@dataclass(slots=True)
class _One:
    """A container of a sequence, and what must be told of it."""

    container: Container | None = None
    state: str = ""
    told: list[int] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.container.id if self.container else ""

    def permitted(self) -> list[list[int]]:
        """What may be told: a container that is removed while it runs may be told as stopped."""
        if self.told[-2:] == [STARTED, DELETED]:
            return [self.told, [*self.told[:-1], STOPPED, DELETED]]
        return [self.told]


@clause(_MATCHES)
def test_events_match_what_happened(
    runtime: Runtime,
    shared_sandbox: Sandbox,
    judge: Judge,
    explore: Explorer,
    patience: Callable[[float], float],
) -> None:
    (watch,) = watching.judged(judge, _MATCHES, lambda: watching.listen(runtime, shared_sandbox))

    def check(sequence: list[tuple[str, int]]) -> None:
        ones = [[_One()] for _ in range(_CONTAINERS)]
        for operation, n in sequence:
            _do(runtime, shared_sandbox, watch, operation, ones[n], patience(WITHIN))
        watching.lit(runtime, shared_sandbox, [watch])
        for one in (one for lives in ones for one in lives if one.id):
            judge.that(
                _MATCHES,
                watch.kinds(one.id) in one.permitted(),
                permitted=f"events of the kinds {' or '.join(map(str, one.permitted()))}",
                actual=str(watch.kinds(one.id)),
                about=[one.id],
            )

    steps = st.tuples(st.sampled_from(_OPERATIONS), st.integers(0, _CONTAINERS - 1))
    # Most of what is drawn freely finds nothing to do: a life in order is laid beneath.
    beneath = [("create", 0), ("start", 0), ("create", 1)]
    explore(
        check,
        examples=_EXAMPLES,
        sequence=st.lists(steps, min_size=4, max_size=_CALLS).map(lambda drawn: beneath + drawn),
    )


def _do(
    runtime: Runtime, place: Sandbox, watch: Watch, operation: str, lives: list[_One], within: float
) -> None:
    """One call, where there is something for it; and what must be told of it."""
    one = lives[-1]
    if operation == "create" and one.state in ("", "gone"):
        made = runtime.container(place, command=["/bin/sh", "-c", _UNTIL_TOLD])
        lives.append(_One(made, "created", [CREATED]))
    elif operation == "start" and one.state == "created":
        runtime.get("StartContainer", container_id=one.id)
        one.state = "running"
        one.told.append(STARTED)
    elif operation == "stop" and one.state in ("running", "exited", "gone"):
        runtime.get("StopContainer", container_id=one.id, timeout=0)
        if one.state == "running":
            one.state = "exited"
            one.told.append(STOPPED)
            # Its end may still be on the way when the call returns.
            watch.wait(one.id, STOPPED, within)
    elif operation == "end" and one.container and one.state == "running":
        go(runtime, one.container)
        one.state = "exited"
        one.told.append(STOPPED)
        watch.wait(one.id, STOPPED, within)
    elif operation == "remove" and one.state:
        runtime.get("RemoveContainer", container_id=one.id)
        if one.state != "gone":
            one.told.append(DELETED)
            watch.wait(one.id, DELETED, within)
        one.state = "gone"
