# SPDX-License-Identifier: Apache-2.0
"""Lives of sandboxes and containers that nobody planned, held against the model.

A Hypothesis state machine runs, stops and removes sandboxes, creates, starts, stops and
removes containers, in orders of its own: twice, too late, with names that are taken or
were, after calls that failed, with ids that nobody gave out. After each step the lists
and the status of everything that is there are compared with the model, and what differs is
called by the clause of the cell that promised it.

Chance does not reach every cell in every run, and a clause is held only where its own
assertion ran. So a tour goes first: a life that comes by each of them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, precondition, rule

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.model.states import STANDING, ContainerState, SandboxState
from cri_conformance.model.table import LISTS, TABLE
from cri_conformance.suite.stepper import GIVEN_UP, MISSING_COMMAND, Stepper, unknown_id
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: At most so many are there at a time: every step looks at all of them.
_MOST_SANDBOXES = 3
_MOST_CONTAINERS = 5

_RUN = "RuntimeService.RunPodSandbox"
_CREATE = "RuntimeService.CreateContainer"

#: Ends by itself, with a code that is not that of a stop.
_MORTAL = ("/bin/sh", "-c", "exit 3")

#: Judged by the machine beside those of the table.
_BESIDE = (
    f"{_RUN}.failed-not-ready",
    f"{_RUN}.name-free-after-failure",
    f"{_CREATE}.failed-not-listed",
    f"{_CREATE}.name-free-after-failure",
    f"{_CREATE}.absent-image",
    "ContainerState.CONTAINER_RUNNING.left-on-exit",
    *(
        f"RuntimeService.{call}.others-untouched"
        for call in ("StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer")
    ),
)


def _clauses() -> list[str]:
    """All that the table judges; what it leaves open is recorded by the tests of its cells."""
    found: list[str] = list(_BESIDE)
    for cell in TABLE.values():
        if cell.call not in LISTS:
            found += [one.clause for one in cell.rules if one.answer.value != "either"]
            found += [promise.clause for promise in cell.promises]
    for promises in STANDING.values():
        found += [promise.clause for promise in promises]
    return list(dict.fromkeys(found))


class Steps:
    """What the machine and the tour do, each followed by a look at everything."""

    def __init__(self, runtime: Runtime, judge: Judge) -> None:
        self.runtime = runtime
        self.stepper = Stepper(runtime, judge)

    @property
    def world(self) -> Any:
        """What may be true now."""
        return self.stepper.world

    def alive(self, kind: type[SandboxState] | type[ContainerState]) -> int:
        """How many of a kind may still be there."""
        return sum(
            not thing.gone and all(isinstance(state, kind) for state in thing.states)
            for thing in self.world.things.values()
        )

    # -- sandboxes -------------------------------------------------------------------

    def run(self) -> str:
        made = self.stepper.run(self._sandbox_config())
        self.stepper.look()
        return made

    def run_wrong_then_right(self) -> str:
        config = self._sandbox_config()
        before = set(self.world.things)
        refused = not self.stepper.run_with_bad_handler(config)
        self.stepper.look()
        if not refused or set(self.world.things) - before:
            # It was taken all the same, or has left something: nothing says what follows.
            return ""
        made = self.stepper.run(config, clause=f"{_RUN}.name-free-after-failure")
        self.stepper.look()
        return made

    def run_again(self, sandbox: str) -> str:
        made = self.stepper.run_again(sandbox)
        self.stepper.look(sandbox)
        return made if made != sandbox else ""

    def on_sandbox(self, call: str, sandbox: str) -> None:
        self.stepper.sandbox_call(call, sandbox)
        self.stepper.look(sandbox, *(one.id for one in self.world.containers(sandbox)))

    def unknown_sandbox(self) -> str:
        """An id that nobody gave out; the world knows it from then on."""
        made = unknown_id()
        self.stepper.know_sandbox(Sandbox(made, self._sandbox_config()), SandboxState.NEVER)
        return made

    # -- containers ------------------------------------------------------------------

    def create(self, sandbox: str, *, mortal: bool = False, doomed: bool = False) -> str:
        config = self._container_config(sandbox)
        if mortal or doomed:
            config.command[:] = _MORTAL if mortal else MISSING_COMMAND
        made = self.stepper.create(sandbox, config, mortal=mortal, doomed=doomed)
        self.stepper.look()
        return made

    def create_wrong_then_right(self, sandbox: str) -> str:
        config = self._container_config(sandbox)
        self.stepper.create_of_absent_image(sandbox, config)
        self.stepper.look()
        free = f"{_CREATE}.name-free-after-failure"
        made = self.stepper.create(sandbox, config, clause=free)
        self.stepper.look()
        return made

    def create_again(self, container: str) -> str:
        made = self.stepper.create_again(container)
        self.stepper.look(container)
        return made if made != container else ""

    def on_container(self, call: str, container: str, **fields: Any) -> None:
        self.stepper.container_call(call, container, **fields)
        self.stepper.look(container)

    def give_up(self, call: str, subject: str, way: str, seconds: float) -> None:
        """Only of what is there, or was: nobody says that an id never known is let pass."""
        self.stepper.give_up(call, subject, way, seconds)
        self.stepper.look(subject, *(one.id for one in self.world.containers(subject)))

    def ends_by_itself(self, container: str) -> bool:
        """Whether its process has ended without a call, or is going to."""
        thing = self.world.thing(container)
        return bool(thing.mortal and thing.within(ContainerState.RUNNING, ContainerState.EXITED))

    def await_exit(self, container: str) -> None:
        # In a story that is being made smaller its start may be missing.
        if self.ends_by_itself(container):
            self.stepper.await_exit(container)
            self.stepper.look()

    def unknown_container(self, sandbox: str) -> str:
        """An id that nobody gave out; the world knows it from then on."""
        made = unknown_id()
        owner = self.stepper.sandboxes[sandbox]
        config = self._container_config(sandbox)
        self.stepper.know_container(Container(made, config, owner), ContainerState.NEVER)
        return made

    def _sandbox_config(self) -> types.PodSandboxConfig:
        return self.runtime.sandbox_config(labels=self.stepper.labels())

    def _container_config(self, sandbox: str) -> types.ContainerConfig:
        owner = self.stepper.sandboxes[sandbox]
        return self.runtime.container_config(owner, labels=self.stepper.labels())


def _needed(made: str) -> str:
    """What a life goes on with. Raises SetupFailed if it was not made."""
    if not made:
        raise SetupFailed("a plain RunPodSandbox or CreateContainer made nothing to go on with")
    return made


def tour(steps: Steps) -> None:
    """A life that comes by every cell that is judged, and each promise beside them."""
    nobody = steps.unknown_sandbox()
    for call in ("StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus"):
        steps.on_sandbox(call, nobody)
    steps.create(nobody)

    first = _needed(steps.run_wrong_then_right() or steps.run())
    other = _needed(steps.run())
    stays = _needed(steps.create(other))
    steps.run_again(first)
    steps.on_sandbox("PodSandboxStatus", first)

    nothing = steps.unknown_container(first)
    for call in _CONTAINER_CALLS:
        steps.on_container(call, nothing)

    idle = _needed(steps.create_wrong_then_right(first) or steps.create(first))
    steps.on_container("ContainerStatus", idle)
    steps.create_again(idle)
    steps.on_container("StartContainer", idle)
    steps.on_container("StartContainer", idle)
    steps.on_container("ContainerStatus", idle)
    steps.on_container("ExecSync", idle)
    steps.on_container("StopContainer", idle, timeout=1)
    for call in ("StopContainer", "StartContainer", "ExecSync", "RemoveContainer"):
        steps.on_container(call, idle)
    for call in _CONTAINER_CALLS:
        steps.on_container(call, idle)

    mortal = _needed(steps.create(first, mortal=True))
    steps.on_container("StartContainer", mortal)
    steps.await_exit(mortal)
    steps.on_container("StopContainer", mortal)
    steps.on_container("ContainerStatus", mortal)

    if doomed := steps.create(first, doomed=True):
        steps.on_container("StartContainer", doomed)
        steps.on_container("RemoveContainer", doomed)
    halted = _needed(steps.create(first))
    steps.on_container("StopContainer", halted)
    steps.on_container("RemoveContainer", halted)
    running = _needed(steps.create(first))
    steps.on_container("StartContainer", running)
    steps.on_container("RemoveContainer", running)

    left, ended = _needed(steps.create(first)), _needed(steps.create(first))
    steps.on_container("StartContainer", ended)
    steps.on_sandbox("StopPodSandbox", first)
    steps.on_sandbox("StopPodSandbox", first)
    steps.on_sandbox("PodSandboxStatus", first)
    steps.run_again(first)
    steps.create(first)
    steps.on_container("StartContainer", left)
    steps.on_container("RemoveContainer", ended)
    steps.on_sandbox("RemovePodSandbox", first)
    for call in ("StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus"):
        steps.on_sandbox(call, first)
    steps.on_container("RemoveContainer", left)
    steps.create_again(left)

    steps.on_container("StartContainer", stays)
    again = _needed(steps.run_again(first))
    waits = _needed(steps.create(again))
    steps.on_container("RemoveContainer", waits)
    steps.create(again)
    runs = _needed(steps.create(again))
    steps.on_container("StartContainer", runs)
    steps.on_sandbox("RemovePodSandbox", again)


_CONTAINER_CALLS = (
    "StartContainer",
    "StopContainer",
    "ExecSync",
    "RemoveContainer",
    "ContainerStatus",
)


class Lifecycle(RuleBasedStateMachine):
    """Any of the steps, in any order."""

    #: Whether calls are given up: what comes then hangs on moments, so not at the gate.
    gives_up: ClassVar[bool] = False

    runtime: ClassVar[Runtime]
    judge: ClassVar[Judge]

    sandboxes: Bundle[str] = Bundle("sandboxes")
    containers: Bundle[str] = Bundle("containers")

    def __init__(self) -> None:
        super().__init__()
        self.steps = Steps(self.runtime, self.judge)

    def _room_for_sandbox(self) -> bool:
        return self.steps.alive(SandboxState) < _MOST_SANDBOXES

    def _room_for_container(self) -> bool:
        return self.steps.alive(ContainerState) < _MOST_CONTAINERS

    @precondition(_room_for_sandbox)
    @rule(target=sandboxes)
    def run(self) -> Any:
        return _made(self.steps.run())

    @precondition(_room_for_sandbox)
    @rule(target=sandboxes)
    def run_wrong_then_right(self) -> Any:
        return _made(self.steps.run_wrong_then_right())

    @precondition(_room_for_sandbox)
    @rule(target=sandboxes, sandbox=sandboxes)
    def run_again(self, sandbox: str) -> Any:
        if self.steps.world.thing(sandbox).within(SandboxState.NEVER):
            return multiple()
        # A name belongs to one sandbox at a time: only its last one can be asked about.
        return _made(self.steps.run_again(sandbox)) if self._is_last(sandbox) else multiple()

    def _is_last(self, sandbox: str) -> bool:
        made = self.steps.stepper.sandboxes
        name = made[sandbox].config.metadata.name
        return [one.id for one in made.values() if one.config.metadata.name == name][-1] == sandbox

    @precondition(_room_for_sandbox)
    @rule(target=sandboxes)
    def unknown_sandbox(self) -> Any:
        return self.steps.unknown_sandbox()

    @rule(
        call=st.sampled_from(["StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus"]),
        sandbox=sandboxes,
    )
    def on_sandbox(self, call: str, sandbox: str) -> None:
        self.steps.on_sandbox(call, sandbox)

    @precondition(_room_for_container)
    @rule(target=containers, sandbox=sandboxes, kind=st.sampled_from(["idle", "mortal", "doomed"]))
    def create(self, sandbox: str, kind: str) -> Any:
        mortal, doomed = kind == "mortal", kind == "doomed"
        return _made(self.steps.create(sandbox, mortal=mortal, doomed=doomed))

    @precondition(_room_for_container)
    @rule(target=containers, sandbox=sandboxes)
    def create_and_start(self, sandbox: str) -> Any:
        made = self.steps.create(sandbox)
        if made:
            self.steps.on_container("StartContainer", made)
        return _made(made)

    @precondition(_room_for_container)
    @rule(target=containers, sandbox=sandboxes)
    def create_wrong_then_right(self, sandbox: str) -> Any:
        return _made(self.steps.create_wrong_then_right(sandbox))

    @precondition(_room_for_container)
    @rule(target=containers, container=containers)
    def create_again(self, container: str) -> Any:
        asked = self._name_is_its(container)
        return _made(self.steps.create_again(container)) if asked else multiple()

    def _name_is_its(self, container: str) -> bool:
        """Whether a container is, or was, and is the last of its name in its sandbox."""
        made = self.steps.stepper.containers
        name, sandbox = made[container].config.metadata.name, made[container].sandbox.id
        last = [
            one.id
            for one in made.values()
            if one.sandbox.id == sandbox and one.config.metadata.name == name
        ][-1]
        known = not self.steps.world.thing(container).within(ContainerState.NEVER)
        return known and last == container

    @precondition(_room_for_container)
    @rule(target=containers, sandbox=sandboxes)
    def unknown_container(self, sandbox: str) -> Any:
        return self.steps.unknown_container(sandbox)

    @rule(call=st.sampled_from(["StartContainer", *_CONTAINER_CALLS]), container=containers)
    def on_container(self, call: str, container: str) -> None:
        self.steps.on_container(call, container)

    @rule(container=containers)
    def stop_with_grace(self, container: str) -> None:
        self.steps.on_container("StopContainer", container, timeout=1)

    @precondition(lambda self: self.gives_up)
    @rule(
        subject=st.one_of(
            st.tuples(st.sampled_from(["StopPodSandbox", "RemovePodSandbox"]), sandboxes),
            st.tuples(st.sampled_from(["StopContainer", "RemoveContainer"]), containers),
        ),
        way=st.sampled_from(sorted(GIVEN_UP)),
        seconds=st.sampled_from([0.001, 0.002, 0.005, 0.02]),
    )
    def give_up(self, subject: tuple[str, str], way: str, seconds: float) -> None:
        call, object_id = subject
        if not self.steps.world.thing(object_id).gone:
            self.steps.give_up(call, object_id, way, seconds)

    @rule(container=containers)
    def await_exit(self, container: str) -> None:
        if self.steps.ends_by_itself(container):
            self.steps.await_exit(container)


def _made(object_id: str) -> Any:
    """What goes into a bundle: nothing for a call that made nothing."""
    return object_id or multiple()


@clause(*_clauses())
def test_lives_nobody_planned(runtime: Runtime, judge: Judge, explore: Explorer) -> None:
    tour(Steps(runtime, judge))
    runtime.close()
    explore.machine(
        Lifecycle,
        examples=8,
        steps=20,
        runtime=runtime,
        judge=judge,
        gives_up=explore.depth.nightly,
    )
