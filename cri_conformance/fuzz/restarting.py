# SPDX-License-Identifier: Apache-2.0
"""The runtime is killed and started again in the midst of a sequence (``--cri-restart-command``).

Between two steps, or while a call is under way. What was there is there, as it was; the call that
was broken off is repeated as after any other one without an answer, and comes to its aim.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from google.protobuf.message import Message
from hypothesis import strategies as st
from hypothesis.stateful import multiple, precondition, rule

from cri_conformance.api import types
from cri_conformance.expect.judge import Judge
from cri_conformance.fuzz.retrying import GRACE, Retrier, RetrySteps
from cri_conformance.fuzz.story import Story
from cri_conformance.model.states import AFTER_RESTART, ContainerState, SandboxState, Where
from cri_conformance.model.table import Answer, Rule
from cri_conformance.suite.repeating import repeated
from cri_conformance.suite.restart import CALL_TAKES, HANGS, Restarter, StaysAway, interrupted
from cri_conformance.suite.restart_life import (
    ENDS_AFTER,
    OF_CONTAINERS,
    OF_SANDBOXES,
    SEEN_WITHIN,
    asking,
    end_of,
    refused_for_good,
)
from cri_conformance.suite.stepper import id_field
from cri_conformance.suite.test_stateful import Lifecycle
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed, Unknown
from cri_conformance.wire.runtime import Runtime

#: Methods of RestartSteps that are steps of a story.
TOLD = ("restart", "stop_after_restart", "end_meanwhile")
#: The way in which a call is given up: the word of its clauses.
RESTART = "restart"
#: Seconds from a call to the kill.
MOMENTS = (0.0, 0.002, 0.005, 0.02, 0.05, 0.1, 0.3)
#: What is judged at any time → the clause on the same of what was there before a restart.
_OF_OLD = {"ContainerMetadata.unique-in-sandbox": "ContainerMetadata.unique-after-restart"}
#: The code of one that ends meanwhile.
CODE = 20
#: So often in one sequence: a restart takes seconds.
_MOST = 2


def restarts(story: Story) -> bool:
    """Whether a story restarts the runtime."""
    return any(step["do"] in TOLD or step["with"].get("way") == RESTART for step in story)


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

    def restart(self) -> None:
        """Between two calls. Raises StaysAway if it does not come back."""
        answers: list[Outcome] = []
        with asking(self.runtime.client.another(), answers):
            self._restarts(partial(self.restarter, self.runtime))
        wrong = [str(answer) for answer in answers if refused_for_good(answer)]
        self._that(
            "RuntimeService.Status.starting-code",
            not wrong,
            "success, UNAVAILABLE, or no connection",
            "".join(wrong[:1]),
            "",
        )
        self._stray, self.answered = "", "OK"

    def stop_after_restart(self, container_id: str) -> None:
        """One that ends on its signal still gets it."""
        self.start_prompt(container_id)
        self.restart()
        self.look()
        self.container_call("StopContainer", container_id, timeout=GRACE)
        self.ended_on_signal(container_id, "RuntimeService.StopContainer.after-restart")

    def end_meanwhile(self, container_id: str) -> None:
        """One that ends with CODE about when the runtime is restarted."""
        self.container_call("StartContainer", container_id)
        self.restart()
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
        try:
            found = act()
        except StaysAway as error:
            away = error
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

    def _first(self, call: str, request: Message, way: str, seconds: float) -> Outcome:
        if way != RESTART:
            return super()._first(call, request, way, seconds)
        asked = partial(self.runtime.call, call, request, deadline=CALL_TAKES)
        firsts = self._restarts(
            partial(interrupted, self.runtime, self.restarter, {call: asked}, seconds)
        )
        about = getattr(request, id_field(call), "")
        self._untouched -= {about, *(one.id for one in self.world.containers(about))}
        outcome: Outcome = firsts[call]
        self._that(
            f"RuntimeService.{call}.retry-after-restart",
            not (isinstance(outcome, Unknown) and outcome.why == HANGS),
            "the call that was under way is answered or broken off",
            str(outcome),
            "",
        )
        return outcome

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
        super()._shown(object_id, place, shown)

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

    def stop_after_restart(self, sandbox: str) -> str:
        made = self.create_prompt(sandbox)
        if made:
            self.stepper.stop_after_restart(made)
        self.stepper.look()
        return made

    def end_meanwhile(self, sandbox: str, seconds: float) -> str:
        if not self.world.thing(sandbox).within(SandboxState.READY):
            return ""
        config = self._container_config(sandbox)
        config.command[:] = ["/bin/sh", "-c", f"sleep {seconds}; exit {CODE}"]
        made = self.stepper.create(sandbox, config, mortal=True)
        if made:
            self.stepper.end_meanwhile(made)
        self.stepper.look()
        return made


_SANDBOX_CALLS = st.sampled_from(["StopPodSandbox", "RemovePodSandbox"])
_CONTAINER_CALLS = st.sampled_from(["StopContainer", "RemoveContainer"])


class RestartRules(Lifecycle):
    """The same as rules of a state machine."""

    steps: Any
    restarts = 0

    def _worth_it(self) -> bool:
        return self.restarts < _MOST and bool(self.steps.alive(ContainerState))

    @precondition(_worth_it)
    @rule(
        target=Lifecycle.containers,
        sandbox=Lifecycle.sandboxes,
        container=Lifecycle.containers,
        ended=st.booleans(),
        then=st.sampled_from(["", "ExecSync", "create_again"]),
    )
    def restart(self, sandbox: str, container: str, ended: bool, then: str) -> Any:
        """With one more that has ended before, and what depends on what was there before."""
        made = self.steps.create(sandbox, mortal=True) if ended else ""
        if made:
            self.steps.on_container("StartContainer", made)
            self.steps.await_exit(made)
        self.restarts += 1
        self.steps.restart()
        if then == "ExecSync":
            self.steps.on_container("ExecSync", container)
        elif then == "create_again" and self._name_is_its(container):
            self.steps.create_again(container)
        return made or multiple()

    @precondition(_worth_it)
    @rule(target=Lifecycle.containers, sandbox=Lifecycle.sandboxes)
    def stop_after_restart(self, sandbox: str) -> Any:
        self.restarts += 1
        return self.steps.stop_after_restart(sandbox) or multiple()

    @precondition(_worth_it)
    @rule(
        target=Lifecycle.containers,
        sandbox=Lifecycle.sandboxes,
        seconds=st.sampled_from(ENDS_AFTER),
    )
    def end_meanwhile(self, sandbox: str, seconds: float) -> Any:
        self.restarts += 1
        return self.steps.end_meanwhile(sandbox, seconds) or multiple()

    @precondition(_worth_it)
    @rule(target=Lifecycle.sandboxes, seconds=st.sampled_from(MOMENTS))
    def restart_amid_run(self, seconds: float) -> Any:
        self.restarts += 1
        return self.steps.run_given_up(RESTART, seconds) or multiple()

    @precondition(_worth_it)
    @rule(
        target=Lifecycle.containers,
        sandbox=Lifecycle.sandboxes,
        start=st.booleans(),
        seconds=st.sampled_from(MOMENTS),
    )
    def restart_amid_create(self, sandbox: str, start: bool, seconds: float) -> Any:
        self.restarts += 1
        if not start:
            return self.steps.create_given_up(sandbox, RESTART, seconds) or multiple()
        made = self.steps.create(sandbox)
        return (made and self.steps.start_given_up(made, RESTART, seconds)) or made or multiple()

    @precondition(_worth_it)
    @rule(
        subject=st.one_of(
            st.tuples(_SANDBOX_CALLS, Lifecycle.sandboxes),
            st.tuples(_CONTAINER_CALLS, Lifecycle.containers),
        ),
        seconds=st.sampled_from(MOMENTS),
    )
    def restart_amid_end(self, subject: tuple[str, str], seconds: float) -> None:
        call, object_id = subject
        if not self.steps.world.thing(object_id).gone:
            self.restarts += 1
            self.steps.give_up(call, object_id, RESTART, seconds)
