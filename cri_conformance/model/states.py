# SPDX-License-Identifier: Apache-2.0
"""The states of sandboxes and containers, and what a runtime may show of each.

The contract shows two states of a sandbox and four of a container. The model has more,
because more is promised than can be seen: an id that was never given out is not one that
was removed, a container that was stopped is not one that ended by itself, and one whose
sandbox was stopped may not be started any more.

What a runtime shows of an object is a state by its name in the contract, or ABSENT: an
error from the status call, no entry in the list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

#: What status and list show of an object that is not there.
ABSENT = "absent"


class SandboxState(Enum):
    """Where a sandbox is in its life."""

    NEVER = "sandbox never known"
    READY = "sandbox ready"
    NOTREADY = "sandbox stopped"
    REMOVED = "sandbox removed"


class ContainerState(Enum):
    """Where a container is in its life."""

    NEVER = "container never known"
    CREATED = "container created"
    DOOMED = "container created, command missing"
    RUNNING = "container running"
    EXITED = "container ended by itself"
    STOPPED = "container stopped"
    HALTED = "container stopped before its start"
    FAILED = "container failed to start"
    LEFT = "container created, sandbox stopped"
    ENDED = "container exited, sandbox stopped"
    REMOVED = "container removed"
    SWEPT = "container removed with its sandbox"


State = SandboxState | ContainerState

_CREATED = frozenset({"CONTAINER_CREATED"})
_EXITED = frozenset({"CONTAINER_EXITED"})
_ABSENT = frozenset({ABSENT})

#: What status and list may show of an object in each state.
SHOWN: dict[State, frozenset[str]] = {
    SandboxState.NEVER: _ABSENT,
    SandboxState.READY: frozenset({"SANDBOX_READY"}),
    SandboxState.NOTREADY: frozenset({"SANDBOX_NOTREADY"}),
    SandboxState.REMOVED: _ABSENT,
    ContainerState.NEVER: _ABSENT,
    ContainerState.CREATED: _CREATED,
    ContainerState.DOOMED: _CREATED,
    ContainerState.RUNNING: frozenset({"CONTAINER_RUNNING"}),
    ContainerState.EXITED: _EXITED,
    ContainerState.STOPPED: _EXITED,
    ContainerState.HALTED: _CREATED | _EXITED,
    # The contract leaves open what becomes of it, but for one thing: it doesn't run.
    ContainerState.FAILED: _ABSENT | _CREATED | _EXITED | {"CONTAINER_UNKNOWN"},
    ContainerState.LEFT: _CREATED,
    ContainerState.ENDED: _EXITED,
    ContainerState.REMOVED: _ABSENT,
    ContainerState.SWEPT: _ABSENT,
}


class Where(Enum):
    """Where a promise can be seen."""

    STATUS = "status"
    LIST = "list"
    BOTH = "status and list"

    def covers(self, place: Where) -> bool:
        """Whether a promise of this kind can be seen in ``place`` (STATUS or LIST)."""
        return self in (place, Where.BOTH)


@dataclass(frozen=True, slots=True)
class Promise:
    """What a clause says of an object as it is shown.

    ``forbidden`` are the shown states that break it; None for all that the object's state
    does not give.
    """

    clause: str
    where: Where = Where.BOTH
    forbidden: frozenset[str] | None = None

    def permits(self, shown: str, expected: frozenset[str]) -> bool:
        """Whether it is kept, for an object of which ``expected`` may be shown."""
        return shown in expected if self.forbidden is None else shown not in self.forbidden


_RUN = "RuntimeService.RunPodSandbox"
_STOP = "RuntimeService.StopPodSandbox"
_REMOVE = "RuntimeService.RemovePodSandbox"

_IN_LIFE = Promise(
    "ContainerState.CONTAINER_UNKNOWN.not-in-normal-life",
    forbidden=frozenset({"CONTAINER_UNKNOWN"}),
)
_BEFORE_START = (_IN_LIFE, Promise("ContainerState.CONTAINER_CREATED.before-start"))
_AFTER_END = (
    _IN_LIFE,
    Promise("ContainerState.CONTAINER_EXITED.kept", forbidden=_ABSENT),
    Promise(
        "ContainerState.CONTAINER_EXITED.on-exit",
        forbidden=frozenset({"CONTAINER_CREATED", "CONTAINER_RUNNING"}),
    ),
)
_REMOVED_STATUS = Promise("RuntimeService.ContainerStatus.removed-error", Where.STATUS)

#: What is promised of an object for as long as it is in a state, whoever else is dealt with.
STANDING: dict[State, tuple[Promise, ...]] = {
    SandboxState.NEVER: (),
    SandboxState.READY: (
        Promise(f"{_RUN}.ready-on-success", Where.STATUS),
        Promise(f"{_RUN}.listed-on-success", Where.LIST, _ABSENT),
    ),
    SandboxState.NOTREADY: (
        Promise(f"{_STOP}.stays-listed", forbidden=_ABSENT),
        Promise(f"{_STOP}.not-ready", forbidden=frozenset({"SANDBOX_READY"})),
    ),
    SandboxState.REMOVED: (
        Promise(f"{_REMOVE}.gone", Where.LIST),
        Promise("RuntimeService.PodSandboxStatus.removed-error", Where.STATUS),
    ),
    ContainerState.NEVER: (),
    ContainerState.CREATED: _BEFORE_START,
    ContainerState.DOOMED: _BEFORE_START,
    ContainerState.RUNNING: (_IN_LIFE, Promise("ContainerState.CONTAINER_RUNNING.after-start")),
    ContainerState.EXITED: _AFTER_END,
    ContainerState.STOPPED: _AFTER_END,
    ContainerState.HALTED: (_IN_LIFE,),
    ContainerState.FAILED: (
        Promise(
            "RuntimeService.StartContainer.failed-not-running",
            forbidden=frozenset({"CONTAINER_RUNNING"}),
        ),
    ),
    # Whether the stop of the sandbox ended a container that never ran is not said.
    ContainerState.LEFT: (_IN_LIFE,),
    ContainerState.ENDED: _AFTER_END,
    ContainerState.REMOVED: (
        Promise("RuntimeService.RemoveContainer.gone", Where.LIST),
        _REMOVED_STATUS,
    ),
    ContainerState.SWEPT: (
        Promise(f"{_REMOVE}.other-containers-removed", Where.LIST),
        _REMOVED_STATUS,
    ),
}


#: What is promised of an object by its kind when the runtime is restarted, whatever its state.
AFTER_RESTART: dict[type[State], tuple[Promise, ...]] = {
    SandboxState: (
        Promise("PodSandboxStatus.state.survive-restart", Where.STATUS),
        Promise("RuntimeService.ListPodSandbox.survive-restart", Where.LIST),
    ),
    ContainerState: (
        Promise("ContainerStatus.state.survives-restart", Where.STATUS),
        Promise("RuntimeService.ListContainers.survive-restart", Where.LIST),
    ),
}


def shown_of(states: Iterable[State]) -> frozenset[str]:
    """What may be shown of an object that is in one of these states."""
    return frozenset().union(*(SHOWN[state] for state in states))


def standing(states: Iterable[State]) -> tuple[Promise, ...]:
    """What is promised of an object in whichever of these states it is."""
    several = [STANDING[state] for state in states]
    if not several:
        return ()
    return tuple(promise for promise in several[0] if all(promise in one for one in several))
