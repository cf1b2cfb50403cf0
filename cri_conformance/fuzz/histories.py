# SPDX-License-Identifier: Apache-2.0
"""The mode ``histories``: up to eight calls at the same time on a few objects, and what they were
answered held against the model for some order that explains it.

A history is told in steps: what there is before, which call each of several lanes makes after
the other, and that the lanes set off together. Then everything is looked at, one after the other:
these looks are a part of the history. How the calls meet is chance, so that a story is played
several times before it is said not to happen any more.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from cri_conformance.api import types
from cri_conformance.expect.judge import Judge
from cri_conformance.fuzz.campaign import Bench, Campaign
from cri_conformance.fuzz.finding import Unspoken
from cri_conformance.fuzz.story import Recorder, Story, play
from cri_conformance.fuzz.trying import least
from cri_conformance.model.histories import MAKES, Event, History, Subject
from cri_conformance.model.orders import Doubt, Unexplained, check
from cri_conformance.model.states import ABSENT, ContainerState, SandboxState, State
from cri_conformance.model.table import LISTS
from cri_conformance.model.world import Came
from cri_conformance.suite.shown import state_name, status_shown
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.runtime import Runtime, Sandbox
from cri_conformance.wire.together import together

#: Histories of one turn, and calls at the same time of one history at most.
HISTORIES, CALLS = 10, 8
#: Times that a story is played until it happens again.
TIMES = 10
#: Seconds that calls which change something are given, and that a process has to end.
_DEADLINE, _GRACE = 30.0, 1

TOLD = ("sandbox", "fresh_sandbox", "container", "fresh_container", "beside", "release")
_STATES = {
    "created": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "stopped": ContainerState.STOPPED,
}
_ON_SANDBOXES = ("RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus")
_ON_CONTAINERS = (
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "ContainerStatus",
)
_LISTS = tuple(sorted(LISTS))
#: What calls of one kind do, to whatever.
_VERBS = ("Run", "Create", "Start", "Stop", "Remove")
#: Pods of a history at most, beside the one that is there.
_PODS = 3
#: Of how many histories lists are made amid.
_LISTED = 0.5
_PERMITTED = "what some order of the calls explains"


@dataclass(frozen=True, slots=True)
class _Known:
    """What a call can be about, and what it is made from; ``sandbox`` is "" for sandboxes."""

    config: Any
    sandbox: str = ""


@dataclass(frozen=True, slots=True)
class _Answered:
    """A call as it came back. ``name`` is that of the object, ``about`` its id."""

    call: str
    began: float
    ended: float
    outcome: Outcome
    name: str = ""
    about: str = ""
    sandbox: str = ""


class Steps:
    """The steps of a history, and what came of the calls."""

    def __init__(self, runtime: Runtime, judge: Judge) -> None:
        self.runtime, self.judge = runtime, judge
        self.answered: list[_Answered] = []
        self._known: dict[str, _Known] = {}
        self._before: dict[str, State] = {}
        #: Name → the id that was answered last.
        self._made: dict[str, str] = {}
        self._lanes: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)

    # -- what there is before --------------------------------------------------------

    def sandbox(self) -> str:
        """A ready sandbox; its id."""
        made = self.runtime.sandbox()
        return self._there(made.id, _Known(made.config), SandboxState.READY)

    def container(self, sandbox: str, state: str) -> str:
        """A container in a state of ``_STATES``; its id."""
        owner = Sandbox(sandbox, self._known[sandbox].config)
        made = self.runtime.container(owner)
        if state != "created":
            self.runtime.get("StartContainer", container_id=made.id)
        if state == "stopped":
            self.runtime.get("StopContainer", container_id=made.id, timeout=0, deadline=_DEADLINE)
        return self._there(made.id, _Known(made.config, sandbox), _STATES[state])

    def fresh_sandbox(self) -> str:
        """A name for a sandbox that is not there."""
        config = self.runtime.sandbox_config()
        self._known[config.metadata.name] = _Known(config)
        return config.metadata.name

    def fresh_container(self, sandbox: str) -> str:
        """A name for a container that is not there."""
        owner = Sandbox(sandbox, self._known[sandbox].config)
        config = self.runtime.container_config(owner)
        self._known[config.metadata.name] = _Known(config, sandbox)
        return config.metadata.name

    def _there(self, object_id: str, known: _Known, state: State) -> str:
        self._known[object_id] = known
        self._before[object_id] = state
        return object_id

    # -- calls at the same time ------------------------------------------------------

    def beside(self, lane: int, call: str, of: str = "") -> None:
        """A lane's next call, about an id or a fresh name: of a name it is about what was made
        for it last, and is left out if nothing was."""
        self._lanes[lane].append((call, of))

    def release(self) -> None:
        """Let the lanes go, look at everything, and judge it all."""
        if not self._lanes:
            return
        together(*[partial(self._go, lane) for lane in self._lanes.values()])
        self._lanes.clear()
        for call in _LISTS:
            self._look(call)
        for event in [one for one in self.answered if one.call in MAKES]:
            if isinstance(event.outcome, Ok):
                self._look(*_status_of(event.about, container=bool(event.sandbox)))
        for object_id in self._before:
            container = bool(self._known[object_id].sandbox)
            self._look(*_status_of(object_id, container=container))
        self._judge(History(*self._told()))

    def _go(self, lane: list[tuple[str, str]]) -> None:
        for call, of in lane:
            self._call(call, of)

    def _call(self, call: str, of: str) -> None:
        if call in LISTS:
            self._look(call)
            return
        known = self._known[of]
        about = of if of in self._before else self._made.get(of, "")
        if not about and call not in MAKES:
            return
        request: dict[str, Any] = {"container_id" if known.sandbox else "pod_sandbox_id": about}
        if call == "CreateContainer":
            owner = self._known[known.sandbox].config
            request = {
                "pod_sandbox_id": known.sandbox,
                "config": known.config,
                "sandbox_config": owner,
            }
        elif call == "RunPodSandbox":
            handler = self.runtime.workshop.handler
            request = {"config": known.config, "runtime_handler": handler}
        elif call == "StopContainer":
            request["timeout"] = _GRACE
        self._send(call, request, known.config.metadata.name, about, known.sandbox)

    def _look(self, call: str, about: str = "") -> None:
        field = "container_id" if call == "ContainerStatus" else "pod_sandbox_id"
        self._send(call, {field: about} if about else {}, "", about, "")

    def _send(
        self, call: str, request: dict[str, Any], name: str, about: str, sandbox: str
    ) -> None:
        began = time.monotonic()
        outcome = self.runtime.call(call, **request, deadline=_DEADLINE)
        ended = time.monotonic()
        if call in MAKES:
            field = "container_id" if sandbox else "pod_sandbox_id"
            about = getattr(outcome.response, field) if isinstance(outcome, Ok) else ""
            if about:
                self._made[name] = about
        self.answered.append(_Answered(call, began, ended, outcome, name, about, sandbox))

    # -- as the model has it ---------------------------------------------------------

    def _told(self) -> tuple[tuple[Subject, ...], tuple[Event, ...]]:
        subjects = {
            object_id: Subject(
                object_id, self._known[object_id].config.metadata.name, state, known.sandbox
            )
            for object_id, state in self._before.items()
            if (known := self._known[object_id])
        }
        for one in self.answered:
            if one.call in MAKES and one.about and one.about not in subjects:
                never = ContainerState.NEVER if one.sandbox else SandboxState.NEVER
                subjects[one.about] = Subject(one.about, one.name, never, one.sandbox)
        return tuple(subjects.values()), tuple(self._event(one, subjects) for one in self.answered)

    def _event(self, one: _Answered, subjects: dict[str, Subject]) -> Event:
        came, ended, code = Came.UNKNOWN, math.inf, ""
        if isinstance(one.outcome, Ok):
            came, ended = Came.OK, one.ended
        elif isinstance(one.outcome, Refused):
            came, ended, code = Came.REFUSED, one.ended, one.outcome.code
        shown: dict[str, str] = {}
        if one.call in LISTS and isinstance(one.outcome, Ok):
            containers = one.call == "ListContainers"
            listed = _listed(one.outcome.response, containers=containers)
            shown = {
                subject.id: listed.get(subject.id, ABSENT)
                for subject in subjects.values()
                if bool(subject.sandbox) is containers
            }
        elif one.call.endswith("Status"):
            container = one.call == "ContainerStatus"
            kind = types.ContainerState if container else types.PodSandboxState
            shown = {one.about: status_shown(one.outcome, kind)} if came is not Came.UNKNOWN else {}
            came = Came.OK if shown else came
        return Event(
            one.call, one.began, ended, came, code, one.name, one.about, one.sandbox, shown
        )

    def _judge(self, history: History) -> None:
        found = check(history)
        if found is None:
            return
        if not found.doubts:
            raise Unspoken(_PERMITTED, str(found.event))
        doubt = self._named(found)
        self.judge.that(
            doubt.clause,
            False,
            permitted=_PERMITTED,
            actual=str(doubt.event),
            about=[one.id for one in history.subjects],
        )

    def _named(self, found: Unexplained) -> Doubt:
        """Of what may be wrong the least: what fails no run, or is known."""
        rules = self.judge.rules

        def weight(doubt: Doubt) -> tuple[bool, bool]:
            binds = rules.register.clauses[doubt.clause].level.binding
            asked_for = rules.selected is not None and doubt.clause in rules.selected
            return not asked_for, binds and doubt.clause not in rules.known

        return min(found.doubts, key=weight)


def _status_of(object_id: str, *, container: bool) -> tuple[str, str]:
    return ("ContainerStatus" if container else "PodSandboxStatus"), object_id


def _listed(response: Any, *, containers: bool) -> dict[str, str]:
    kind = types.ContainerState if containers else types.PodSandboxState
    items = response.containers if containers else response.items
    return {item.id: state_name(kind, item.state) for item in items}


def tell(steps: Any, chance: Random) -> None:
    """A history by chance. Of few kinds of calls, so that calls of one kind meet."""
    sandbox = steps.sandbox()
    states = chance.choices(list(_STATES), k=chance.choice((0, 1, 2, 2)))
    containers = [steps.container(sandbox, state) for state in states]
    there = [sandbox, *containers]
    containers.append(steps.fresh_container(sandbox))
    sandboxes = [sandbox, *(steps.fresh_sandbox() for _ in range(chance.randint(1, _PODS)))]
    possible = [(call, of) for of in sandboxes for call in _ON_SANDBOXES]
    possible += [(call, of) for of in containers for call in _ON_CONTAINERS]
    possible += [(call, "") for call in _LISTS]
    least = 1
    sort = chance.random()
    if sort < 0.3:
        about = chance.choice([*containers, *sandboxes])
        possible = [(call, of) for call, of in possible if of in ("", about)]
    elif sort < 0.8:
        # What is not there yet can only be made.
        verb = chance.choice(_VERBS)
        possible = [
            (call, of)
            for call, of in possible
            if call.startswith(verb) and (call in MAKES or of in there)
        ] or possible
        least = 2
    few = chance.sample(possible, min(len(possible), chance.randint(least, 4)))
    if chance.random() < _LISTED:
        few += [(call, "") for call in _LISTS]
    lanes = chance.randint(2, CALLS)
    for number in range(chance.randint(lanes, CALLS)):
        steps.beside(number % lanes, *chance.choice(few))
    steps.release()


class HistoriesPlayer:
    """The mode in a campaign."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign

    def turn(self, seed: int, number: int) -> None:
        chance = Random(seed)
        for _ in range(HISTORIES):
            self._one(chance)

    def _one(self, chance: Random) -> None:
        campaign = self._campaign
        campaign.begin(lambda: recorder.story)
        steps = Steps(campaign.runtime, campaign.judge)
        recorder = Recorder(steps, TOLD)
        try:
            tell(recorder, chance)
            campaign.alive()
        except Exception as error:
            campaign.found(error, recorder.story)
        for _ in steps.answered:
            campaign.step()

    def close(self) -> None:
        """Nothing is shared between turns."""


class HistoriesMode:
    """Calls at the same time."""

    name = "histories"
    says = "calls at the same time on the same objects, held against the model for some order"
    weight = 1
    steps, told = Steps, TOLD

    def open(self, campaign: Campaign) -> HistoriesPlayer:
        return HistoriesPlayer(campaign)

    def play(self, bench: Bench, story: Story) -> str:
        history = bench.target.client.history
        missing = []
        for _ in range(TIMES):
            # What is told in the end is the time that it happened.
            history.forget(history.mark())
            missing.append(play(Steps(bench.runtime, bench.judge), story))
            bench.runtime.end()
        return least(missing)
