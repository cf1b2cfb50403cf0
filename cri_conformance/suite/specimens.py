# SPDX-License-Identifier: Apache-2.0
"""How a sandbox or container gets into each state of the model."""

from __future__ import annotations

from cri_conformance.expect import NotExercised
from cri_conformance.model.states import ContainerState, SandboxState, State
from cri_conformance.suite.stepper import MISSING_COMMAND, STEPPER_LABEL, Stepper, unknown_id
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

C = ContainerState

#: Reached by the sandbox's end, so that it must be the container's own.
_BY_SANDBOX = {C.LEFT, C.ENDED, C.SWEPT}


class Unreachable(NotExercised):
    """This runtime has no such state: it refuses a call that it may refuse."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the state does not exist in this runtime: {why}", "")


def sandbox_in(runtime: Runtime, state: SandboxState, labels: dict[str, str]) -> Sandbox:
    """A sandbox in a state. Raises SetupFailed."""
    if state is SandboxState.NEVER:
        return Sandbox(unknown_id(), runtime.sandbox_config(labels=labels))
    sandbox = runtime.sandbox(labels=labels)
    if state is not SandboxState.READY:
        runtime.get("StopPodSandbox", pod_sandbox_id=sandbox.id)
    if state is SandboxState.REMOVED:
        runtime.get("RemovePodSandbox", pod_sandbox_id=sandbox.id)
    return sandbox


def container_in(
    runtime: Runtime, state: ContainerState, sandbox: Sandbox, labels: dict[str, str]
) -> Container:
    """A container in a state; ``sandbox`` is stopped or removed where the state says so.

    Raises SetupFailed, and Unreachable where the runtime is free not to have the state.
    """
    if state is C.NEVER:
        config = runtime.container_config(sandbox, labels=labels)
        return Container(unknown_id(), config, sandbox)
    if state in (C.DOOMED, C.FAILED):
        return _failed(runtime, state, sandbox, labels)
    if state is C.EXITED:
        return runtime.exited(sandbox, labels=labels)
    if state in (C.CREATED, C.HALTED, C.LEFT, C.REMOVED):
        container = runtime.container(sandbox, labels=labels)
    else:
        container = runtime.running(sandbox, labels=labels)
    if state is C.STOPPED:
        runtime.get("StopContainer", container_id=container.id, timeout=0)
    elif state is C.HALTED:
        outcome = runtime.call("StopContainer", container_id=container.id, timeout=0)
        if not isinstance(outcome, Ok):
            raise Unreachable("StopContainer of a created container is refused")
    elif state is C.REMOVED:
        runtime.get("RemoveContainer", container_id=container.id)
    elif state is C.SWEPT:
        runtime.get("RemovePodSandbox", pod_sandbox_id=sandbox.id)
    elif state in (C.LEFT, C.ENDED):
        runtime.get("StopPodSandbox", pod_sandbox_id=sandbox.id)
        if state is C.LEFT and runtime.container_status(container.id).state:
            raise Unreachable("the stop of a sandbox ends its created containers")
    return container


def _failed(
    runtime: Runtime, state: ContainerState, sandbox: Sandbox, labels: dict[str, str]
) -> Container:
    config = runtime.container_config(sandbox, labels=labels, command=MISSING_COMMAND)
    created = runtime.create(sandbox, config)
    if not isinstance(created, Ok):
        raise Unreachable("CreateContainer refuses a command that is missing")
    container = Container(created.response.container_id, config, sandbox)
    if state is C.FAILED and isinstance(
        runtime.call("StartContainer", container_id=container.id), Ok
    ):
        raise Unreachable("StartContainer succeeds with a command that is missing")
    return container


class Specimens:
    """One object in each state, made when first asked for, for tests that only look."""

    def __init__(self, runtime: Runtime, sandbox: Sandbox) -> None:
        self._runtime = runtime
        self._sandbox = sandbox
        self._made: dict[State, Sandbox | Container] = {}

    def show(self, state: State, stepper: Stepper) -> str:
        """Its id, and let a stepper know it."""
        if state not in self._made:
            self._made[state] = self._make(state, {STEPPER_LABEL: "specimen"})
        return introduce(self._made[state], state, stepper)

    def _make(self, state: State, labels: dict[str, str]) -> Sandbox | Container:
        if isinstance(state, SandboxState):
            return sandbox_in(self._runtime, state, labels)
        sandbox = self._runtime.sandbox() if state in _BY_SANDBOX else self._sandbox
        return container_in(self._runtime, state, sandbox, labels)


def own(runtime: Runtime, state: State, shared: Sandbox | None, stepper: Stepper) -> str:
    """The id of an object made for one test, which a stepper then knows.

    A container comes into ``shared`` if there is one and the state lets it.
    """
    if isinstance(state, SandboxState):
        return introduce(sandbox_in(runtime, state, stepper.labels()), state, stepper)
    sandbox = shared
    if sandbox is None or state in _BY_SANDBOX:
        sandbox = runtime.sandbox()
    made = container_in(runtime, state, sandbox, stepper.labels())
    if sandbox is not shared:
        stepper.know_sandbox(sandbox, SandboxState.READY)
    return introduce(made, state, stepper)


_SANDBOX_OF = {
    C.LEFT: SandboxState.NOTREADY,
    C.ENDED: SandboxState.NOTREADY,
    C.SWEPT: SandboxState.REMOVED,
}


def introduce(made: Sandbox | Container, state: State, stepper: Stepper) -> str:
    """Let a stepper know an object."""
    if isinstance(made, Sandbox):
        assert isinstance(state, SandboxState)
        stepper.know_sandbox(made, state)
    else:
        assert isinstance(state, ContainerState)
        if state in _SANDBOX_OF:
            stepper.know_sandbox(made.sandbox, _SANDBOX_OF[state])
        stepper.know_container(made, state)
    return made.id
