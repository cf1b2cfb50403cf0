# SPDX-License-Identifier: Apache-2.0
"""The runtime is killed and started again in the midst of a sequence (``--cri-restart-command``).

Between two steps, or while a call is under way. What was there is there, as it was; the call that
was broken off is repeated as after any other one without an answer, and comes to its aim.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from google.protobuf.message import Message
from hypothesis import strategies as st
from hypothesis.stateful import multiple, precondition, rule

from cri_conformance.api import types
from cri_conformance.expect.judge import Judge
from cri_conformance.fuzz.retrying import GRACE, Retrier, RetrySteps
from cri_conformance.fuzz.story import Story
from cri_conformance.model.states import (
    ABSENT,
    AFTER_RESTART,
    ContainerState,
    SandboxState,
    Where,
)
from cri_conformance.model.table import Answer, Rule
from cri_conformance.suite.repeating import repeated
from cri_conformance.suite.restart import CALL_TAKES, HANGS, Restarter, StaysAway, interrupted
from cri_conformance.suite.restart_life import (
    OF_CONTAINERS,
    OF_SANDBOXES,
    SEEN_WITHIN,
    asking,
    end_of,
    refused_for_good,
)
from cri_conformance.suite.stepper import id_field
from cri_conformance.suite.test_stateful import Lifecycle
from cri_conformance.wire.client import request_of
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed, Unknown
from cri_conformance.wire.runtime import Runtime

#: Methods of RestartSteps that are steps of a story.
TOLD = ("restart",)
#: All that restart it, whatever the arguments.
_RESTARTING = {*TOLD, "restart_crowded"}
#: The way in which a call is given up: the word of its clauses.
RESTART = "restart"
#: Seconds from a call to the kill.
MOMENTS = (0.0, 0.002, 0.005, 0.02, 0.05, 0.1, 0.3)
#: Those under way at once.
CALLS = (
    "RunPodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
)
#: What is judged at any time → the clause on the same of what was there before a restart.
_OF_OLD = {"ContainerMetadata.unique-in-sandbox": "ContainerMetadata.unique-after-restart"}
#: The code of one that ends meanwhile.
CODE = 20
#: So often in one sequence: a restart takes seconds.
_MOST = 2


def restarts(story: Story) -> bool:
    """Whether a story restarts the runtime."""
    return any(step["do"] in _RESTARTING or step["with"].get("way") == RESTART for step in story)


class Restarts(Retrier):
    """Restarts the runtime, where there is a command for it."""

    def __init__(self, runtime: Runtime, judge: Judge, restarter: Restarter) -> None:
        super().__init__(runtime, judge)
        self.restarter = restarter
        #: What was there at the last restart.
        self._old: set[str] = set()
        #: What of it must be as it was at the next look, and the status of before.
        self._untouched: set[str] = set()
        self._before: dict[str, Any] = {}
        #: What came of calls that the last restart broke off, and that are yet to be repeated.
        self._firsts: dict[str, Outcome] = {}

    def restart(self) -> None:
        """Between two calls. Raises StaysAway if it does not come back."""
        self._restarts(partial(self.restarter, self.runtime))
        self._stray, self.answered = "", "OK"

    def stop_prompted(self, container_id: str) -> None:
        """One that ends on its signal still gets it."""
        self.container_call("StopContainer", container_id, timeout=GRACE)
        self.ended_on_signal(container_id, "RuntimeService.StopContainer.after-restart")

    def ended_meanwhile(self, container_id: str) -> None:
        """One that ends with CODE about when the runtime was restarted."""
        with contextlib.suppress(SetupFailed):
            self.runtime.wait_exited(container_id, SEEN_WITHIN)
        status = self.runtime.container_status(container_id)
        shown = types.ContainerState.Name(status.state)
        for clause, kept, permitted, actual in (
            ("state.survives-restart", shown == "CONTAINER_EXITED", "CONTAINER_EXITED", shown),
            ("exit_code.survives-restart", status.exit_code != 0, "not 0", "0"),
            ("exit_code.ended-meanwhile", status.exit_code == CODE, str(CODE), status.exit_code),
        ):
            self._that(f"ContainerStatus.{clause}", kept, permitted, str(actual), container_id)
        self.world = self.world.time_passes().seen(container_id, shown)

    def measured(self) -> None:
        """What ran before the restart, and still does, has figures."""
        clause = "RuntimeService.ListContainerStats.after-restart"
        running = {name for name in self._old if self._runs(name)}

        def missing(outcome: Outcome) -> set[str]:
            found = outcome.response.stats if isinstance(outcome, Ok) else ()
            return running - {one.attributes.id for one in found}

        if not running or not isinstance(self._figures_of_all(), Ok):
            # A runtime may not have this call.
            return
        last = repeated(self._figures_of_all, lambda one: not missing(one), SEEN_WITHIN)
        self._that(
            clause,
            not missing(last),
            f"figures of all {len(running)} containers that run",
            f"none of {len(missing(last))}",
            next(iter(missing(last)), ""),
        )

    def _figures_of_all(self) -> Outcome:
        return self.runtime.call("ListContainerStats")

    def _runs(self, container_id: str) -> bool:
        thing = self.world.thing(container_id)
        return thing.within(ContainerState.RUNNING) and not thing.mortal

    def _restarts(self, act: Any) -> Any:
        away: StaysAway | None = None
        found: Any = None
        answers: list[Outcome] = []
        with asking(self.runtime.client.another(), answers):
            try:
                found = act()
            except StaysAway as error:
                away = error
        wrong = [str(answer) for answer in answers if refused_for_good(answer)]
        self._that(
            "RuntimeService.Status.starting-code",
            not wrong,
            "success, UNAVAILABLE, or no connection",
            "".join(wrong[:1]),
            "",
        )
        self._that(
            "RuntimeService.Version.after-restart",
            away is None,
            "the runtime answers within a minute after its restart",
            str(away),
            "",
        )
        if away:
            raise away
        self.world = self.world.time_passes()
        self._old = {name for name, thing in self.world.things.items() if not thing.gone}
        self._untouched = set(self._old)
        self._before = dict(self._statuses)
        return found

    def break_off(self, requests: dict[str, Message], seconds: float) -> None:
        """Restart while these calls are under way; ``_first`` tells what came of each."""
        asked: dict[str, Callable[[], Outcome]] = {
            call: partial(self.runtime.call, call, request, deadline=CALL_TAKES)
            for call, request in requests.items()
        }
        self._firsts = self._restarts(
            partial(interrupted, self.runtime, self.restarter, asked, seconds)
        )
        for call, request in requests.items():
            # What makes something is about nothing yet.
            if about := getattr(request, id_field(call), ""):
                self._untouched -= {about, *(one.id for one in self.world.containers(about))}
        for call, outcome in self._firsts.items():
            self._that(
                f"RuntimeService.{call}.retry-after-restart",
                not (isinstance(outcome, Unknown) and outcome.why == HANGS),
                "the call that was under way is answered or broken off",
                str(outcome),
                "",
            )

    def _first(self, call: str, request: Message, way: str, seconds: float) -> Outcome:
        if way != RESTART:
            return super()._first(call, request, way, seconds)
        if call not in self._firsts:
            self.break_off({call: request}, seconds)
        return self._firsts.pop(call)

    # -- judged of what was there before --------------------------------------------

    def _judged(
        self,
        call: str,
        object_id: str,
        outcome: Outcome,
        extra: tuple[Rule, ...] = (),
        *,
        silent: bool = False,
    ) -> None:
        if call == "ExecSync" and object_id in self._old and self._runs(object_id):
            extra = (Rule(Answer.OK, "RuntimeService.ExecSync.after-restart"), *extra)
        super()._judged(call, object_id, outcome, extra, silent=silent)

    def look(self, *also: str) -> None:
        super().look(*also)
        self._untouched.clear()
        self._before.clear()

    def _shown(self, object_id: str, place: Where, shown: str) -> None:
        if object_id in self._untouched:
            self._survived(object_id, self._breaking(object_id, place, shown), shown)
        super()._shown(object_id, place, shown)

    def _survived(self, object_id: str, place: Where, shown: str) -> None:
        thing = self.world.thing(object_id)
        for promise in AFTER_RESTART[type(next(iter(thing.states)))]:
            if promise.where.covers(place):
                may = " or ".join(sorted(thing.shown))
                self._that(
                    promise.clause,
                    promise.permits(shown, thing.shown),
                    f"{place.value} shows {may}, as before the restart",
                    shown,
                    object_id,
                )
        if shown == "CONTAINER_UNKNOWN" and shown not in thing.shown:
            # It is known, and stays so: what follows from it would break other clauses.
            raise SetupFailed(f"container {object_id[:12]} is UNKNOWN since the restart")

    def _breaking(self, object_id: str, place: Where, shown: str) -> Where:
        """The place whose promise what is shown breaks, if it breaks one.

        The list of containers owes what the status shows: where both say the same it is the
        status's.
        """
        expected = self.world.thing(object_id).shown
        if place is Where.STATUS or object_id not in self.containers or shown in expected:
            return place
        if shown == ABSENT or self._container_status(object_id) != shown:
            return place
        return Where.STATUS

    def _that(self, clause: str, kept: bool, permitted: str, actual: str, about: str) -> None:
        if about in self._old and clause in _OF_OLD:
            super()._that(_OF_OLD[clause], kept, permitted, actual, about)
        super()._that(clause, kept, permitted, actual, about)

    def _equal(self, object_id: str, status: Any) -> None:
        before = self._before.get(object_id)
        if before is not None:
            container = object_id in self.containers
            parts: dict[str, Any] = dict(OF_CONTAINERS if container else OF_SANDBOXES)
            if container and before.state == types.CONTAINER_EXITED:
                parts["ContainerStatus.exit_code.survives-restart"] = end_of
            ready = before.state == status.state == types.SANDBOX_READY
            if not container and ready and before.network.ip:
                parts["PodSandboxNetworkStatus.ip.survive-restart"] = _address
            for clause, part in parts.items():
                was, now = part(before), part(status)
                self._that(clause, was == now, f"{was}, as before the restart", str(now), object_id)
        super()._equal(object_id, status)


def _address(status: types.PodSandboxStatus) -> str:
    return status.network.ip


class RestartSteps(RetrySteps):
    """Its steps, each followed by a look at everything."""

    stepper: Restarts

    def restart(self) -> None:
        self.stepper.restart()
        self.stepper.look()
        self.stepper.measured()

    def _begun(self, call: str, own: str) -> tuple[Message, Callable[[], Any]]:
        """A call on something new, and how to go on after it was broken off."""
        stepper = self.stepper
        if call == "RunPodSandbox":
            pod = self._sandbox_config()
            return stepper.run_request(pod), partial(stepper.run_given_up, pod, RESTART, 0.0)
        if call == "CreateContainer":
            config = self._container_config(own)
            return (
                stepper.create_request(own, config),
                partial(stepper.create_given_up, own, config, RESTART, 0.0),
            )
        if call in ("StopPodSandbox", "RemovePodSandbox"):
            made = stepper.run(self._sandbox_config())
        else:
            made = stepper.create(own, self._container_config(own))
        if not made:
            raise SetupFailed(f"nothing for {call} to be about")
        request = request_of(call, **{id_field(call): made})
        if call == "StartContainer":
            return request, partial(stepper.start_given_up, made, RESTART, 0.0)
        if made in stepper.containers:
            stepper.container_call("StartContainer", made)
        return request, partial(stepper.give_up, call, made, RESTART, 0.0)


_MOMENTS = st.sampled_from(MOMENTS)
_ENDS = ("StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer")
#: Which of those that are there.
_NUMBERS = st.integers(0, 7)


class RestartRules(Lifecycle):
    """The same as rules of a state machine."""

    steps: Any
    restarts = 0

    def _may(self) -> bool:
        return self.restarts < _MOST

    def _worth_it(self) -> bool:
        return self._may() and bool(self.steps.alive(ContainerState))

    @precondition(_worth_it)
    @rule(
        target=Lifecycle.containers,
        container=Lifecycle.containers,
        then=st.sampled_from(["", "ExecSync", "create_again"]),
    )
    def restart(self, container: str, then: str) -> Any:
        """With what depends on what was there before."""
        self.restarts += 1
        self.steps.restart()
        if then == "ExecSync":
            self.steps.on_container("ExecSync", container)
        elif then == "create_again" and self._name_is_its(container):
            return self.steps.create_again(container) or multiple()
        return multiple()

    @precondition(_worth_it)
    @rule(call=st.sampled_from(_ENDS), number=_NUMBERS, seconds=_MOMENTS)
    def restart_amid_end(self, call: str, number: int, seconds: float) -> None:
        object_id = self._one_of(SandboxState if call in _ENDS[:2] else ContainerState, number)
        if object_id:
            self.restarts += 1
            self.steps.give_up(call, object_id, RESTART, seconds)

    def _one_of(self, kind: type[SandboxState] | type[ContainerState], number: int) -> str:
        """One of those that are there; "" if there is none. What a bundle draws has often gone."""
        there = [
            name
            for name, thing in self.steps.world.things.items()
            if not thing.gone and thing.within(*kind) and self.steps.knows(name)
        ]
        return there[number % len(there)] if there else ""
