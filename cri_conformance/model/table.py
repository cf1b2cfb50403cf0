# SPDX-License-Identifier: Apache-2.0
"""One table: what each call does to an object in each state, and by which clause.

A cell is one call on an object in one state. It holds three things:

- **the answer**: whether the call must succeed, must be refused, or may do either. Each
  rule on the answer is a clause's own; a cell without a rule is open.
- **the state afterwards**, after success and after refusal: a set, as the contract often
  permits several. A refused call may have got halfway.
- **the promises** by which that state is judged. They come before those that stand for the
  state itself (``states.STANDING``): that a stopped container is EXITED is first of all
  StopContainer's promise.

The object of a cell is the one that the call names by id; for RunPodSandbox and
CreateContainer, which make something, it is the one whose name (metadata) is sent, or for
CreateContainer the sandbox. StopPodSandbox and RemovePodSandbox have cells for containers
too: what becomes of one when its sandbox is stopped or removed.

'Fails' is wider than an error in one place: a command that ExecSync ran with an exit code
other than 0 has not succeeded either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from cri_conformance.model.states import (
    ContainerState,
    Promise,
    SandboxState,
    State,
    Where,
    standing,
)

S, C = SandboxState, ContainerState


class Answer(Enum):
    """What a cell permits as answer."""

    OK = "ok"
    REFUSED = "refused"
    EITHER = "either"
    NOT_FOUND = "refused with NOT_FOUND"
    OK_OR_NOT_FOUND = "ok or NOT_FOUND"
    LISTED = "listed"
    NOT_LISTED = "not listed"


@dataclass(frozen=True, slots=True)
class Rule:
    """A clause on the answer. One with EITHER is a MAY: it is recorded."""

    answer: Answer
    clause: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One call on an object in one state."""

    call: str
    state: State
    rules: tuple[Rule, ...]
    after: frozenset[State]
    after_refusal: frozenset[State]
    promises: tuple[Promise, ...]

    @property
    def permitted(self) -> Answer:
        """The answer in one word; EITHER where no clause judges it."""
        return self.rules[0].answer if self.rules else Answer.EITHER

    @property
    def clause(self) -> str:
        """The clause that judges the answer, "" where the contract leaves it open."""
        return self.rules[0].clause if self.rules else ""

    @property
    def clauses(self) -> tuple[str, ...]:
        """All clauses that judge the answer or the state afterwards."""
        sure = self.permitted is Answer.OK
        found = [rule.clause for rule in self.rules]
        found += [promise.clause for promise in self.promises]
        found += [
            promise.clause
            for promise in standing(self.after if sure else self.after | self.after_refusal)
        ]
        return tuple(dict.fromkeys(found))

    @property
    def name(self) -> str:
        """As in ``StopContainer of container running``."""
        return f"{self.call} of {self.state.value}"


TABLE: Mapping[tuple[str, State], Cell]

_cells: dict[tuple[str, State], Cell] = {}
_ORDER: dict[State, int] = {
    state: place for place, state in enumerate([*SandboxState, *ContainerState])
}


def _cell(
    call: str,
    states: State | Iterable[State],
    *rules: tuple[Answer, str],
    to: State | Iterable[State] | None = None,
    refused: State | Iterable[State] | None = None,
    keeps: str | Promise | Iterable[str | Promise] = (),
) -> None:
    """Enter a cell for each state. Without ``to`` nothing changes.

    A refused call that changes something when it succeeds may have got anywhere between.
    """
    for state in sorted(_set(states), key=_ORDER.__getitem__):
        after = _set(to) if to is not None else frozenset({state})
        key = (call, state)
        if key in _cells:
            raise ValueError(f"two cells for {call} of {state.value}")
        _cells[key] = Cell(
            call,
            state,
            tuple(Rule(answer, clause) for answer, clause in rules),
            after,
            _set(refused) if refused is not None else after | {state},
            tuple(
                Promise(one) if isinstance(one, str) else one
                for one in ([keeps] if isinstance(keeps, str | Promise) else keeps)
            ),
        )


def _set(states: State | Iterable[State]) -> frozenset[State]:
    return frozenset([states] if isinstance(states, Enum) else states)


def _is(call: str, clause: str) -> str:
    return f"RuntimeService.{call}.{clause}"


_GONE = {S.NEVER, S.REMOVED}
_LOST = {C.NEVER, C.REMOVED, C.SWEPT}
_OVER = {C.EXITED, C.STOPPED}


# -- calls on sandboxes -------------------------------------------------------------------

_cell(
    "RunPodSandbox",
    S.NEVER,
    (Answer.OK, "RuntimeCondition.status.network-serves"),
    to=S.READY,
    refused=S.NEVER,
)
_cell(
    "RunPodSandbox",
    S.READY,
    (Answer.EITHER, _is("RunPodSandbox", "duplicate-answer")),
    keeps=_is("RunPodSandbox", "duplicate-metadata"),
)
# The object is the stopped one. Nothing shown of it breaks the promise, which is about the
# sandbox that is answered with: whoever asks must judge that it is READY.
_cell(
    "RunPodSandbox",
    S.NOTREADY,
    to={S.NOTREADY, S.READY},
    refused={S.NOTREADY, S.READY},
    keeps=Promise(_is("RunPodSandbox", "duplicate-of-stopped"), forbidden=frozenset()),
)
_cell(
    "RunPodSandbox",
    S.REMOVED,
    (Answer.OK, _is("RunPodSandbox", "name-free-after-removal")),
)

_cell(
    "StopPodSandbox",
    S.NEVER,
    (Answer.OK, _is("StopPodSandbox", "unknown-id")),
)
_cell(
    "StopPodSandbox",
    S.READY,
    (Answer.OK, _is("StopPodSandbox", "not-ready")),
    to=S.NOTREADY,
    keeps=_is("StopPodSandbox", "not-ready"),
)
_cell(
    "StopPodSandbox",
    S.NOTREADY,
    (Answer.OK, _is("StopPodSandbox", "idempotent")),
    keeps=_is("StopPodSandbox", "repeat-changes-nothing"),
)
_cell("StopPodSandbox", S.REMOVED, (Answer.OK, _is("StopPodSandbox", "after-removal")))

_cell("RemovePodSandbox", S.NEVER, (Answer.OK, _is("RemovePodSandbox", "unknown-id")))
_cell(
    "RemovePodSandbox",
    S.READY,
    (Answer.OK, _is("RemovePodSandbox", "ready-sandbox")),
    to=S.REMOVED,
    refused={S.READY, S.NOTREADY, S.REMOVED},
)
_cell(
    "RemovePodSandbox",
    S.NOTREADY,
    (Answer.OK, _is("RemovePodSandbox", "gone")),
    to=S.REMOVED,
)
_cell("RemovePodSandbox", S.REMOVED, (Answer.OK, _is("RemovePodSandbox", "idempotent")))

for _sandbox, _clause in (
    (S.READY, _is("RunPodSandbox", "ready-on-success")),
    (S.NOTREADY, _is("StopPodSandbox", "stays-listed")),
):
    _cell("PodSandboxStatus", _sandbox, (Answer.OK, _clause))
for _sandbox, _clause in (
    (S.NEVER, _is("PodSandboxStatus", "unknown-error")),
    (S.REMOVED, _is("PodSandboxStatus", "removed-error")),
):
    _cell(
        "PodSandboxStatus",
        _sandbox,
        (Answer.REFUSED, _clause),
        (Answer.NOT_FOUND, _is("PodSandboxStatus", "not-found-code")),
    )

# Nobody promises that an id is not given out later.
_cell("ListPodSandbox", S.NEVER)
_cell("ListPodSandbox", S.READY, (Answer.LISTED, _is("RunPodSandbox", "listed-on-success")))
_cell("ListPodSandbox", S.NOTREADY, (Answer.LISTED, _is("StopPodSandbox", "stays-listed")))
_cell("ListPodSandbox", S.REMOVED, (Answer.NOT_LISTED, _is("RemovePodSandbox", "gone")))


# -- containers are made ------------------------------------------------------------------

_cell("CreateContainer", S.NEVER, (Answer.REFUSED, _is("CreateContainer", "unknown-sandbox")))
_cell(
    "CreateContainer",
    S.READY,
    (Answer.OK, "CreateContainerRequest.sandbox_config.repeat-harmless"),
    keeps="CreateContainerRequest.sandbox_config.repeat-harmless",
)
_cell("CreateContainer", S.NOTREADY, (Answer.REFUSED, _is("CreateContainer", "stopped-sandbox")))
_cell("CreateContainer", S.REMOVED, (Answer.REFUSED, _is("CreateContainer", "removed-sandbox")))
# With the name and attempt of a container that is there.
_cell(
    "CreateContainer",
    {C.CREATED, C.DOOMED, C.RUNNING, C.EXITED, C.STOPPED, C.HALTED},
    (Answer.EITHER, "ContainerMetadata.duplicate-answer"),
    keeps="ContainerMetadata.unique-in-sandbox",
)
# It may be gone already, or give way.
_cell("CreateContainer", C.FAILED)
# An id may be answered that is there, where a new container would be refused.
_cell("CreateContainer", {C.LEFT, C.ENDED})
_cell(
    "CreateContainer",
    C.REMOVED,
    (Answer.EITHER, "ContainerMetadata.reuse-after-removal"),
)
_cell("CreateContainer", C.SWEPT, (Answer.REFUSED, _is("CreateContainer", "removed-sandbox")))


# -- containers run -----------------------------------------------------------------------

_cell(
    "StartContainer",
    C.CREATED,
    (Answer.OK, _is("StartContainer", "runs-once")),
    to=C.RUNNING,
    refused=C.FAILED,
    keeps=Promise(
        _is("StartContainer", "left-created"), forbidden=frozenset({"CONTAINER_CREATED"})
    ),
)
_cell(
    "StartContainer",
    C.DOOMED,
    (Answer.REFUSED, _is("StartContainer", "bad-command")),
    to={C.EXITED, C.FAILED},
    refused=C.FAILED,
)
_cell(
    "StartContainer",
    C.RUNNING,
    (Answer.REFUSED, _is("StartContainer", "running-again-error")),
    keeps=_is("StartContainer", "running-again-harmless"),
)
_cell(
    "StartContainer",
    _OVER | {C.ENDED},
    (Answer.REFUSED, _is("StartContainer", "exited-error")),
    keeps=_is("StartContainer", "exited-not-revived"),
)
_cell("StartContainer", C.FAILED)
# Whether a stop that came too early forbids the start is not said.
_cell("StartContainer", C.HALTED, to={C.RUNNING, C.EXITED, C.HALTED, C.FAILED})
_cell(
    "StartContainer",
    C.LEFT,
    to=C.FAILED,
    refused=C.FAILED,
    keeps=Promise(
        _is("StartContainer", "stopped-sandbox"), forbidden=frozenset({"CONTAINER_RUNNING"})
    ),
)
_cell(
    "StartContainer",
    _LOST,
    (Answer.REFUSED, _is("StartContainer", "absent-error")),
    (Answer.NOT_FOUND, _is("StartContainer", "absent-code")),
)

_cell("ExecSync", C.RUNNING, (Answer.OK, _is("ExecSync", "waits-for-end")))
_cell("ExecSync", {C.CREATED, C.DOOMED}, (Answer.EITHER, _is("ExecSync", "created-container")))
_cell("ExecSync", {C.FAILED, C.HALTED, C.LEFT})
_cell(
    "ExecSync",
    _OVER | {C.ENDED},
    (Answer.REFUSED, _is("ExecSync", "exited-container")),
)
_cell(
    "ExecSync",
    _LOST,
    (Answer.REFUSED, _is("ExecSync", "absent-error")),
    (Answer.NOT_FOUND, _is("ExecSync", "absent-code")),
)


# -- containers end -----------------------------------------------------------------------

_cell("StopContainer", C.NEVER, (Answer.OK, _is("StopContainer", "unknown-id")))
_cell(
    "StopContainer",
    {C.CREATED, C.DOOMED},
    (Answer.OK, _is("StopContainer", "created-container")),
    to=C.HALTED,
)
_cell(
    "StopContainer",
    C.RUNNING,
    (Answer.OK, _is("StopContainer", "exited")),
    to=C.STOPPED,
    keeps=_is("StopContainer", "exited"),
)
_cell("StopContainer", C.EXITED, (Answer.OK, _is("StopContainer", "ended-by-itself")))
_cell(
    "StopContainer", {C.STOPPED, C.HALTED, C.ENDED}, (Answer.OK, _is("StopContainer", "idempotent"))
)
_cell("StopContainer", C.FAILED)
_cell(
    "StopContainer",
    C.LEFT,
    (Answer.OK, _is("StopContainer", "created-container")),
    to={C.LEFT, C.ENDED},
)
_cell(
    "StopContainer",
    {C.REMOVED, C.SWEPT},
    (Answer.OK_OR_NOT_FOUND, _is("StopContainer", "after-removal")),
    (Answer.OK, _is("StopContainer", "after-removal-success")),
)

for _states, _halfway, _clause in (
    ({C.CREATED, C.DOOMED, C.HALTED}, C.HALTED, "created"),
    ({C.RUNNING}, C.STOPPED, "running"),
    (_OVER, C.STOPPED, "exited"),
    ({C.FAILED}, C.FAILED, "failed-start"),
    ({C.LEFT, C.ENDED}, C.ENDED, "in-stopped-sandbox"),
):
    for _container in sorted(_states, key=_ORDER.__getitem__):
        _cell(
            "RemoveContainer",
            _container,
            (Answer.OK, _is("RemoveContainer", _clause)),
            to=C.REMOVED,
            # It may have been stopped before its removal failed.
            refused={_container, _halfway, C.REMOVED},
            keeps=Promise(_is("RemoveContainer", "gone"), Where.LIST),
        )
_cell("RemoveContainer", C.NEVER, (Answer.OK, _is("RemoveContainer", "unknown-id")))
_cell("RemoveContainer", C.REMOVED, (Answer.OK, _is("RemoveContainer", "idempotent")))
_cell("RemoveContainer", C.SWEPT, (Answer.OK, _is("RemoveContainer", "removed-with-sandbox")))


# -- containers end with their sandbox ----------------------------------------------------

_STOPS = (Answer.OK, _is("StopPodSandbox", "not-ready"))
_cell("StopPodSandbox", {C.CREATED, C.DOOMED, C.HALTED}, _STOPS, to={C.LEFT, C.ENDED})
_cell(
    "StopPodSandbox",
    C.RUNNING,
    (Answer.OK, _is("StopPodSandbox", "containers-exited")),
    to=C.ENDED,
    refused={C.RUNNING, C.ENDED},
    keeps=_is("StopPodSandbox", "containers-exited"),
)
_cell("StopPodSandbox", _OVER, _STOPS, to=C.ENDED)
_cell("StopPodSandbox", {C.FAILED, C.REMOVED}, _STOPS)
_cell(
    "StopPodSandbox",
    {C.LEFT, C.ENDED},
    (Answer.OK, _is("StopPodSandbox", "idempotent")),
    keeps=_is("StopPodSandbox", "repeat-changes-nothing"),
)
_cell("StopPodSandbox", C.SWEPT, (Answer.OK, _is("StopPodSandbox", "after-removal")))

_cell(
    "RemovePodSandbox",
    C.RUNNING,
    (Answer.OK, _is("RemovePodSandbox", "ready-sandbox")),
    to=C.SWEPT,
    refused={C.RUNNING, C.ENDED, C.SWEPT},
    keeps=Promise(_is("RemovePodSandbox", "running-containers-removed"), Where.LIST),
)
for _states, _clause in (
    ({C.CREATED, C.DOOMED, C.HALTED, C.EXITED, C.STOPPED, C.FAILED}, "ready-sandbox"),
    ({C.LEFT, C.ENDED}, "gone"),
):
    for _container in sorted(_states, key=_ORDER.__getitem__):
        _cell(
            "RemovePodSandbox",
            _container,
            (Answer.OK, _is("RemovePodSandbox", _clause)),
            to=C.SWEPT,
            refused={_container, C.LEFT, C.ENDED, C.SWEPT},
            keeps=Promise(_is("RemovePodSandbox", "other-containers-removed"), Where.LIST),
        )
_cell("RemovePodSandbox", C.REMOVED, (Answer.OK, _is("RemovePodSandbox", "ready-sandbox")))
_cell("RemovePodSandbox", C.SWEPT, (Answer.OK, _is("RemovePodSandbox", "idempotent")))


# -- containers are looked at -------------------------------------------------------------

for _states, _clause in (
    ({C.CREATED, C.DOOMED}, "ContainerState.CONTAINER_CREATED.before-start"),
    ({C.RUNNING}, "ContainerState.CONTAINER_RUNNING.after-start"),
    (_OVER | {C.ENDED}, "ContainerState.CONTAINER_EXITED.kept"),
):
    _cell("ContainerStatus", _states, (Answer.OK, _clause))
    _cell("ListContainers", _states, (Answer.LISTED, _clause))
# There, and in which state is not said.
_cell("ContainerStatus", {C.HALTED, C.LEFT})
_cell("ListContainers", {C.HALTED, C.LEFT})
_leftover = (Answer.EITHER, _is("StartContainer", "failed-leftover"))
_cell("ContainerStatus", C.FAILED, _leftover)
_cell("ListContainers", C.FAILED, _leftover)
for _container, _clause in (
    (C.NEVER, "unknown-error"),
    (C.REMOVED, "removed-error"),
    (C.SWEPT, "removed-error"),
):
    _cell(
        "ContainerStatus",
        _container,
        (Answer.REFUSED, _is("ContainerStatus", _clause)),
        (Answer.NOT_FOUND, _is("ContainerStatus", "not-found-code")),
    )
_cell("ListContainers", C.NEVER)
_cell("ListContainers", C.REMOVED, (Answer.NOT_LISTED, _is("RemoveContainer", "gone")))
_cell(
    "ListContainers",
    C.SWEPT,
    (Answer.NOT_LISTED, _is("RemovePodSandbox", "other-containers-removed")),
)

TABLE = MappingProxyType(_cells)
#: Calls that only look.
LOOKS = frozenset({"PodSandboxStatus", "ListPodSandbox", "ContainerStatus", "ListContainers"})
#: The list calls: their answer is whether the object is in the list.
LISTS = frozenset({"ListPodSandbox", "ListContainers"})
