# SPDX-License-Identifier: Apache-2.0
"""Real steps, each held against the model.

The stepper makes a call, judges its answer by the table's cell, and then looks: at the
lists, and at the status of every object that is there. What it sees is judged by the
clauses that promise it, most specific first. Only clauses that the test is bound to are
judged; the world goes on by what is seen, not by what was hoped for.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api import types
from cri_conformance.expect import Judge
from cri_conformance.model.states import ABSENT, ContainerState, SandboxState, State, Where
from cri_conformance.model.table import LISTS, TABLE, Answer, Rule
from cri_conformance.model.world import Came, World
from cri_conformance.suite.repeating import MINUTE, repeated, succeeded
from cri_conformance.suite.shown import in_a_word, state_name, status_shown, whole
from cri_conformance.wire.client import request_of
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed, Unknown
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: Label by which a stepper finds what its calls made, also if no id was answered.
STEPPER_LABEL = "cri-conformance/stepper"
#: A command that no image has.
MISSING_COMMAND = ("/no/such/command",)
#: What every exec runs and writes.
SAID = b"here\n"
_EXEC = ("/bin/sh", "-c", "echo here")


#: Way of giving a call up → the option of a call that makes it so.
GIVEN_UP = {"deadline": "deadline", "cancel": "cancel_after"}


def unknown_id() -> str:
    """A well-formed id that no runtime gave out."""
    return secrets.token_hex(32)


@dataclass
class Stepper:
    """A world beside a runtime. ``sandboxes`` and ``containers`` hold what was made, by id."""

    runtime: Runtime
    judge: Judge
    world: World = field(default_factory=World)
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    label: str = field(default_factory=lambda: secrets.token_hex(4))
    #: What the last call answered, in a word.
    answered: str = ""
    #: Seconds within which a call that was given up must come to its aim when it is repeated.
    patience: float = MINUTE
    #: Called now and then meanwhile: it may be long.
    meanwhile: Callable[[], None] = lambda: None
    #: The first call that was to be given up and was answered by then; "" for none.
    in_time: str = ""
    _stray: str = ""
    #: What was wrong in the last look at an object: what was shown, and what should have been.
    _wrong: dict[tuple[str, Where], tuple[str, frozenset[str]]] = field(default_factory=dict)

    # -- objects ---------------------------------------------------------------------

    def labels(self) -> dict[str, str]:
        """Labels for everything that is made here."""
        return {STEPPER_LABEL: self.label}

    def know_sandbox(self, sandbox: Sandbox, state: SandboxState) -> None:
        """Take in a sandbox that is in a known state."""
        self.sandboxes[sandbox.id] = sandbox
        self.world = self.world.made(sandbox.id, state)

    def know_container(
        self, container: Container, state: ContainerState, *, mortal: bool = False
    ) -> None:
        """Take in a container that is in a known state."""
        self.containers[container.id] = container
        self.world = self.world.made(
            container.id, state, sandbox=container.sandbox.id, mortal=mortal
        )

    # -- steps: sandboxes ------------------------------------------------------------

    def run(self, config: types.PodSandboxConfig, *, clause: str = "") -> str:
        """A new sandbox; its id, or "". ``clause`` says by what the call must succeed, in
        place of the table's."""
        outcome = self.runtime.run_sandbox(config)
        rules = TABLE["RunPodSandbox", SandboxState.NEVER].rules
        self._answer([Rule(Answer.OK, clause)] if clause else rules, "RunPodSandbox", outcome)
        self._stray = "RuntimeService.RunPodSandbox.failed-not-ready"
        return self._new_sandbox(outcome, config)

    def run_again(self, sandbox_id: str) -> str:
        """RunPodSandbox with the config of a sandbox that was there or is; the answered id."""
        config = self.sandboxes[sandbox_id].config
        stopped = self.world.thing(sandbox_id).within(SandboxState.NOTREADY)
        removed = self.world.thing(sandbox_id).within(SandboxState.REMOVED)
        outcome = self.runtime.run_sandbox(config)
        self._judged("RunPodSandbox", sandbox_id, outcome)
        made = outcome.response.pod_sandbox_id if isinstance(outcome, Ok) else ""
        if stopped:
            shown = self._sandbox_status(made) if made else "refused"
            self._that(
                "RuntimeService.RunPodSandbox.duplicate-of-stopped",
                shown in ("SANDBOX_READY", "refused"),
                "an error, or the id of a sandbox that is SANDBOX_READY",
                f"the id of a sandbox that is {shown}" if made else shown,
                made,
            )
            self._stray = "RuntimeService.RunPodSandbox.failed-not-ready"
        elif removed:
            self._stray = "RuntimeService.RunPodSandbox.failed-not-ready"
        else:
            self._stray = "RuntimeService.RunPodSandbox.duplicate-metadata"
            self._that(
                self._stray,
                made in ("", sandbox_id),
                f"an error, or the id of the first sandbox, {sandbox_id}",
                made or "an error",
                sandbox_id,
            )
        return made if made == sandbox_id else self._new_sandbox(outcome, config)

    def run_with_bad_handler(self, config: types.PodSandboxConfig) -> str:
        """A RunPodSandbox that should fail; the id if it did not."""
        outcome = self.runtime.run_sandbox(config, "no-such-handler")
        self._stray = "RuntimeService.RunPodSandbox.failed-not-ready"
        self.answered = in_a_word(outcome)
        return self._new_sandbox(outcome, config)

    def _new_sandbox(self, outcome: Outcome, config: types.PodSandboxConfig) -> str:
        if not isinstance(outcome, Ok):
            return ""
        made: str = outcome.response.pod_sandbox_id
        self.know_sandbox(Sandbox(made, config, self.runtime.workshop.handler), SandboxState.READY)
        return made

    def sandbox_call(self, call: str, sandbox_id: str, *, by: str = "") -> Outcome:
        """StopPodSandbox, RemovePodSandbox or PodSandboxStatus; judged ``by`` the cells of a
        container in it, if that is given."""
        outcome = self.runtime.call(call, pod_sandbox_id=sandbox_id)
        rules = self.world.rules(call, by) if by and by != sandbox_id else ()
        self._judged(call, sandbox_id, outcome, rules)
        return outcome

    # -- steps: containers -----------------------------------------------------------

    def create(
        self,
        sandbox_id: str,
        config: types.ContainerConfig,
        *,
        mortal: bool = False,
        doomed: bool = False,
        clause: str = "",
    ) -> str:
        """A new container; its id, or "". ``doomed``: its command is missing, so that some
        runtimes refuse it already. ``clause``: by what it must succeed, if not the table's."""
        sandbox = self.sandboxes[sandbox_id]
        ready = self.world.thing(sandbox_id).within(SandboxState.READY)
        outcome = self.runtime.create(sandbox, config)
        extra = (Rule(Answer.OK, clause),) if clause and ready else ()
        self._judged("CreateContainer", sandbox_id, outcome, extra, silent=doomed and ready)
        self._stray = "RuntimeService.CreateContainer.failed-not-listed"
        state = ContainerState.DOOMED if doomed else ContainerState.CREATED
        return self._new_container(
            outcome, config, sandbox, state if ready else ContainerState.LEFT, mortal
        )

    def create_again(self, container_id: str) -> str:
        """CreateContainer with the config of a container that was there or is."""
        container = self.containers[container_id]
        unique = "ContainerMetadata.unique-in-sandbox"
        promised = all(
            unique in (promise.clause for promise in cell.promises)
            for cell in self.world.cells("CreateContainer", container_id)
        )
        outcome = self.runtime.create(container.sandbox, container.config)
        self._judged("CreateContainer", container_id, outcome)
        made = outcome.response.container_id if isinstance(outcome, Ok) else ""
        self._stray = unique if promised else "RuntimeService.CreateContainer.failed-not-listed"
        if promised:
            self._that(
                unique,
                made in ("", container_id),
                f"an error, or the id of the first container, {container_id}",
                made or "an error",
                container_id,
            )
        if made == container_id:
            return made
        ready = self.world.things.get(container.sandbox.id)
        state = (
            ContainerState.CREATED
            if ready is None or ready.within(SandboxState.READY)
            else ContainerState.LEFT
        )
        mortal = self.world.thing(container_id).mortal
        return self._new_container(outcome, container.config, container.sandbox, state, mortal)

    def create_of_absent_image(self, sandbox_id: str, config: types.ContainerConfig) -> None:
        """A CreateContainer that must fail."""
        absent = types.ContainerConfig()
        absent.CopyFrom(config)
        absent.image.image = absent.image.user_specified_image = (
            "localhost/cri-conformance/absent:none"
        )
        outcome = self.runtime.create(self.sandboxes[sandbox_id], absent)
        self._answer(
            [Rule(Answer.REFUSED, "RuntimeService.CreateContainer.absent-image")],
            "CreateContainer",
            outcome,
        )
        self._stray = "RuntimeService.CreateContainer.failed-not-listed"
        self._new_container(
            outcome, absent, self.sandboxes[sandbox_id], ContainerState.CREATED, False
        )

    def _new_container(
        self,
        outcome: Outcome,
        config: types.ContainerConfig,
        sandbox: Sandbox,
        state: ContainerState,
        mortal: bool,
    ) -> str:
        if not isinstance(outcome, Ok):
            return ""
        made: str = outcome.response.container_id
        self.know_container(Container(made, config, sandbox), state, mortal=mortal)
        return made

    def container_call(self, call: str, container_id: str, **fields: Any) -> Outcome:
        """StartContainer, StopContainer, RemoveContainer, ContainerStatus or ExecSync."""
        running = self.world.thing(container_id).within(ContainerState.RUNNING)
        mortal = self.world.thing(container_id).mortal
        if call == "ExecSync":
            fields = {"cmd": _EXEC, "timeout": 10, "deadline": 20.0}
        outcome = self.runtime.call(call, container_id=container_id, **fields)
        self._judged(call, container_id, outcome)
        if call == "ExecSync" and running and not mortal and isinstance(outcome, Ok):
            self._that(
                "RuntimeService.ExecSync.waits-for-end",
                outcome.response.stdout == SAID,
                f"what the command wrote: {SAID!r}",
                repr(bytes(outcome.response.stdout)),
                container_id,
            )
        return outcome

    def give_up(self, call: str, object_id: str, way: str, seconds: float, **fields: Any) -> None:
        """A stop or a removal of which the client gives up the answer, and the identical call,
        repeated until it succeeds, as the kubelet does. ``way`` is a name in GIVEN_UP."""
        names = {id_field(call): object_id, **fields}
        clause = f"RuntimeService.{call}.retry-after-{way}"
        first = self._first(call, request_of(call, **names), way, seconds)
        # Whatever came of it: a refusal may be the runtime's word for the same.
        self.world = self.world.time_passes()
        if not isinstance(first, Ok):
            self.world = self.world.apply(call, object_id, Came.UNKNOWN)
        outcome = self._repeated(lambda: self.runtime.call(call, **names))
        self._judged(call, object_id, outcome, (Rule(Answer.OK, clause),))

    def _first(self, call: str, request: Message, way: str, seconds: float) -> Outcome:
        """What came of a call that is given up in this way, if it was not answered by then."""
        outcome = self.runtime.call(call, request, **{GIVEN_UP[way]: seconds})
        if isinstance(outcome, Ok):
            self.in_time = self.in_time or f"{call}, to be given up after {seconds:.3g} s"
        return outcome

    def _repeated(
        self, call: Callable[[], Outcome], done: Callable[[Outcome], bool] = succeeded
    ) -> Outcome:
        """Call until it is done, as long as there is patience; the last outcome."""
        return repeated(call, done, self.patience, self.meanwhile)

    def await_exit(self, container_id: str, seconds: float = 10.0) -> None:
        """See a container whose process ends by itself become EXITED."""
        shown = ABSENT
        with contextlib.suppress(SetupFailed):
            status = self.runtime.wait_exited(container_id, seconds)
            shown = types.ContainerState.Name(status.state)
        self._that(
            "ContainerState.CONTAINER_RUNNING.left-on-exit",
            shown == "CONTAINER_EXITED",
            f"CONTAINER_EXITED within {seconds:g} s of its end",
            f"not so after {seconds:g} s",
            container_id,
        )
        self.world = self.world.time_passes().seen(container_id, shown)

    def list_call(self, call: str, object_id: str) -> bool:
        """Whether a list has an object, judged by its cell."""
        listed = object_id in self._listed(call)
        self.answered = "OK" if listed else "not listed"
        for rule in self.world.rules(call, object_id):
            if rule.answer is Answer.EITHER:
                self._record(rule.clause, f"{call}: {self.answered}")
            else:
                self._that(
                    rule.clause,
                    listed is (rule.answer is Answer.LISTED),
                    rule.answer.value,
                    self.answered,
                    object_id,
                )
        return listed

    # -- looking ---------------------------------------------------------------------

    def look(self, *also: str) -> None:
        """Compare lists and status with the world; ``also`` ids whose status is asked for
        though they are gone."""
        for call in sorted(LISTS):
            self.world = self.world.time_passes()
            listed = self._listed(call)
            sandboxes = call == "ListPodSandbox"
            for object_id, thing in self.world.things.items():
                if sandboxes is not bool(_is_container(thing.states)):
                    self._shown(object_id, Where.LIST, listed.get(object_id, ABSENT))
            self._adopt(call, listed)
        self._stray = ""
        for object_id, thing in self.world.things.items():
            if not thing.gone or object_id in also:
                self.world = self.world.time_passes()
                container = _is_container(thing.states)
                shown = (self._container_status if container else self._sandbox_status)(object_id)
                if shown:
                    self._shown(object_id, Where.STATUS, shown)

    def _shown(self, object_id: str, place: Where, shown: str) -> None:
        promised = self.world.expected(object_id, place)
        seen = shown, self.world.thing(object_id).shown
        before = self._wrong.pop((object_id, place), None)
        if not all(one.permits(shown) for one in promised):
            self._wrong[object_id, place] = seen
        # What was as wrong in the last look is not the breach of what was called since.
        for one in promised if seen != before else ():
            self._that(
                one.clause, one.permits(shown), f"{place.value} shows {one}", shown, object_id
            )
        self.world = self.world.seen(object_id, shown)

    def _adopt(self, call: str, listed: dict[str, str]) -> None:
        """What is in the list and was never answered: judged, and taken into the world."""
        sandboxes = call == "ListPodSandbox"
        strays = {i: shown for i, shown in listed.items() if i not in self.world.things}
        clause = self._stray
        about_sandboxes = clause.startswith("RuntimeService.RunPodSandbox.")
        if clause and about_sandboxes is sandboxes:
            bad = [
                f"{i} {shown}"
                for i, shown in strays.items()
                if not sandboxes or shown == "SANDBOX_READY"
            ]
            self._that(clause, not bad, "nothing new is in the list", ", ".join(bad), "")
        for object_id, shown in strays.items():
            self.world = self.world.made(object_id, _ADOPTED.get(shown, ContainerState.FAILED))

    def _listed(self, call: str) -> dict[str, str]:
        """Of all that is listed, what is this stepper's: id → state as shown."""
        answer = self.runtime.get(call)
        items, kind = (
            (answer.items, types.PodSandboxState)
            if call == "ListPodSandbox"
            else (answer.containers, types.ContainerState)
        )
        return {
            item.id: state_name(kind, item.state)
            for item in items
            if item.id in self.world.things or item.labels.get(STEPPER_LABEL) == self.label
        }

    def _sandbox_status(self, sandbox_id: str) -> str:
        outcome = self.runtime.call("PodSandboxStatus", pod_sandbox_id=sandbox_id)
        return status_shown(outcome, types.PodSandboxState)

    def _container_status(self, container_id: str) -> str:
        outcome = self.runtime.call("ContainerStatus", container_id=container_id)
        return status_shown(outcome, types.ContainerState)

    # -- judging ---------------------------------------------------------------------

    def _judged(
        self,
        call: str,
        object_id: str,
        outcome: Outcome,
        extra: tuple[Rule, ...] = (),
        *,
        silent: bool = False,
    ) -> None:
        """Judge an answer by the cell, and let the world go on; ``silent`` judges nothing."""
        self._stray = ""
        self.world = self.world.time_passes()
        rules = () if silent else (*extra, *self.world.rules(call, object_id))
        outcome = whole(call, outcome)
        # The world first: it is right also if a SHOULD or a known violation comes up.
        came = (
            Came.OK
            if isinstance(outcome, Ok)
            else Came.UNKNOWN
            if isinstance(outcome, Unknown)
            else Came.REFUSED
        )
        self.world = self.world.apply(call, object_id, came)
        self._answer(rules, call, outcome, object_id)

    def _answer(
        self, rules: list[Rule] | tuple[Rule, ...], call: str, outcome: Outcome, about: str = ""
    ) -> None:
        self.answered = in_a_word(outcome)
        ids = (about,) if about else ()
        for rule in rules:
            if rule.clause not in self.judge.bound:
                continue
            if rule.answer is Answer.EITHER:
                self._record(rule.clause, f"{call}: {self.answered}")
            elif rule.answer is Answer.OK:
                self.judge.ok(rule.clause, outcome, about=ids)
            elif rule.answer is Answer.REFUSED:
                self.judge.refused(rule.clause, outcome, about=ids)
            elif rule.answer is Answer.NOT_FOUND:
                self.judge.refused(rule.clause, outcome, ["NOT_FOUND"], about=ids)
            else:
                self.judge.that(
                    rule.clause,
                    self.answered in ("OK", "NOT_FOUND"),
                    permitted="the call succeeds, or fails with NOT_FOUND",
                    actual=outcome,
                    about=ids,
                )

    def _that(self, clause: str, kept: bool, permitted: str, actual: str, about: str) -> None:
        if clause in self.judge.bound:
            self.judge.that(
                clause, kept, permitted=permitted, actual=actual, about=(about,) if about else ()
            )

    def _record(self, clause: str, observation: str) -> None:
        if clause in self.judge.bound:
            self.judge.record(clause, observation)


_ADOPTED: dict[str, State] = {
    "SANDBOX_READY": SandboxState.READY,
    "SANDBOX_NOTREADY": SandboxState.NOTREADY,
    "CONTAINER_CREATED": ContainerState.CREATED,
    "CONTAINER_RUNNING": ContainerState.RUNNING,
    "CONTAINER_EXITED": ContainerState.EXITED,
}


def id_field(call: str) -> str:
    """Of a stop or a removal, or whatever is about one object: the field that names it."""
    return "pod_sandbox_id" if call.endswith("PodSandbox") else "container_id"


def _is_container(states: frozenset[State]) -> bool:
    return all(isinstance(state, ContainerState) for state in states)
