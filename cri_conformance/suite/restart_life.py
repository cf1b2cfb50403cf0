# SPDX-License-Identifier: Apache-2.0
"""What goes through a restart of the runtime: objects in every state, seen before and after.

Everything that tests judge of it is looked at here, once: a restart takes seconds and disturbs
the whole node.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cri_conformance.api import types
from cri_conformance.expect.violation import NotExercised
from cri_conformance.suite import watching
from cri_conformance.suite.log_files import Logged, logging, settled
from cri_conformance.suite.restart import Restarter, StaysAway
from cri_conformance.suite.scripts import PROMPT_CODE, wait_for_file
from cri_conformance.suite.watching import Unavailable, Watch
from cri_conformance.wire.client import Client
from cri_conformance.wire.crilog import Log
from cri_conformance.wire.outcome import Ok, Outcome, Refused, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll
from cri_conformance.wire.together import together

#: Goes through it all: says each time where it is, and ends on its signal.
_STEADY = (
    f"trap 'exit {PROMPT_CODE}' TERM; echo begun >> begun; : > ready; n=0; "
    "while :; do n=$((n + 1)); echo $n; echo $n > count.new; mv count.new count; sleep 0.1; done"
)
#: Seconds after which containers end by themselves: all through the time that a restart takes.
ENDS_AFTER = (0.1, 0.3, 0.6, 0.9, 1.2, 1.6, 2.0, 2.5)
#: Where nothing is restarted, so many of them do.
ENOUGH = 2
#: The code of a container that ended before.
CODE = 5
#: The code with which the first of them ends; the next ones go on from it.
FIRST_CODE = 20
#: Lines in the log before the restart, and how many must come after it.
LINES = 5
#: Seconds between two questions while the runtime is away, and of the deadline of one.
ASKED_EVERY, ASKED_FOR = 0.02, 1.0
#: Seconds in which what ended meanwhile must be seen to have.
SEEN_WITHIN = 10.0
LABELS = {"example.com/restart": "Aa-1._z", "empty": ""}
ANNOTATIONS = {"example.com/json": '{"a": ["b", "ü"]}', "lines": "1\n2\n"}

#: Clause → what of a container must be as before, in whichever state it is.
OF_CONTAINERS: dict[str, Callable[[types.ContainerStatus], Any]] = {
    "ContainerStatus.labels.survive-restart": lambda status: dict(status.labels),
    "ContainerStatus.annotations.survive-restart": lambda status: dict(status.annotations),
    "ContainerStatus.metadata.survive-restart": lambda status: (
        status.metadata.name,
        status.metadata.attempt,
    ),
}
#: The same of a sandbox.
OF_SANDBOXES: dict[str, Callable[[types.PodSandboxStatus], Any]] = {
    "PodSandboxStatus.metadata.survive-restart": lambda status: (
        status.metadata.name,
        status.metadata.uid,
        status.metadata.namespace,
        status.metadata.attempt,
    ),
    "PodSandboxStatus.created_at.survive-restart": lambda status: status.created_at,
}


def container_state(status: types.ContainerStatus) -> str:
    """In the contract's word."""
    return types.ContainerState.Name(status.state)


def sandbox_state(status: types.PodSandboxStatus) -> str:
    """In the contract's word."""
    return types.PodSandboxState.Name(status.state)


def end_of(status: types.ContainerStatus) -> tuple[int, int, int, int]:
    """Exit code and times."""
    return status.exit_code, status.created_at, status.started_at, status.finished_at


@dataclass(frozen=True, slots=True)
class Story:
    """What a sandbox or container said before and after; ``after`` is None if nothing more."""

    name: str
    before: Any
    after: Any
    #: As the list shows it afterwards; None if it is not there.
    listed: Any

    @property
    def id(self) -> str:
        return str(self.before.id)


@dataclass
class RestartLife:
    """All that was seen."""

    sandboxes: list[Story] = field(default_factory=list)
    containers: list[Story] = field(default_factory=list)
    #: (container id, its code, its status when the time to end was over)
    ended: list[tuple[str, int, types.ContainerStatus]] = field(default_factory=list)
    #: What was answered to whoever asked meanwhile.
    meanwhile: list[Outcome] = field(default_factory=list)
    steady: str = ""
    #: How often its command began, and how far it was after and at the end.
    begun: bytes = b""
    execs: list[Outcome] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    stats: list[str] = field(default_factory=list)
    logs: tuple[Log, Log] | None = None
    logs_why_not: NotExercised | None = None
    events: list[int] = field(default_factory=list)
    events_why_not: Exception | None = None
    again: tuple[str, Outcome] | None = None
    stop: Outcome | None = None
    stopped: types.ContainerStatus | None = None
    #: Why there is no more than that: the runtime has stayed away.
    away: StaysAway | None = None


def live(runtime: Runtime, restart: Restarter, patience: Callable[[float], float]) -> RestartLife:
    """Make everything, restart the runtime, and look. Raises SetupFailed."""
    within = patience(SEEN_WITHIN)
    life = RestartLife()
    sandbox, halted = runtime.sandbox(), runtime.sandbox()
    # Its log folder may not be there, with a runtime on another host.
    steady, log = _steady(runtime, sandbox, life)
    life.steady = steady.id
    more: dict[str, Any] = {"labels": LABELS, "annotations": ANNOTATIONS}
    made = {
        "the running one": steady,
        "the created one": runtime.container(sandbox, **more),
        "the ended one": runtime.exited(sandbox, f"exit {CODE}", **more),
        "the idle one": runtime.running(sandbox, **more),
        "the one of the stopped sandbox": runtime.running(halted, **more),
    }
    runtime.get("StopPodSandbox", pod_sandbox_id=halted.id)
    pods = {"the ready one": sandbox, "the stopped one": halted}
    before = [runtime.container_status(one.id) for one in made.values()]
    pods_before = [runtime.sandbox_status(one.id) for one in pods.values()]
    old = settled(log.log, lambda seen: len(seen.records) >= LINES) if log else None
    ending = _ending(runtime, sandbox, ENDS_AFTER[: None if restart.real else ENOUGH])

    with asking(runtime.client.another(), life.meanwhile):
        try:
            restart(runtime)
        except StaysAway as away:
            life.away = away
            return life

    # Before anything else is asked for: the runtime may just be putting itself together.
    life.stats = [one.attributes.id for one in _stats(runtime)]
    _look(runtime, life, made, before, pods, pods_before)
    _listen(runtime, sandbox, life, within)
    if not life.stats:
        life.stats = [one.attributes.id for one in _stats(runtime)]
    life.again = made["the created one"].id, runtime.create(sandbox, made["the created one"].config)
    _go_on(runtime, steady, life, within)
    if log and old:
        lines = len(log.log().records) + LINES
        life.logs = old, settled(log.log, lambda seen: len(seen.records) >= lines, within)
    for container, code in ending:
        with contextlib.suppress(SetupFailed):
            runtime.wait_exited(container.id, within)
        life.ended.append((container.id, code, runtime.container_status(container.id)))
    _stop(runtime, steady, life, within)
    return life


def _steady(
    runtime: Runtime, sandbox: Sandbox, life: RestartLife
) -> tuple[Container, Logged | None]:
    try:
        log = logging(runtime, sandbox, _STEADY)
    except NotExercised as why_not:
        life.logs_why_not = why_not
        container, made = runtime.running(sandbox, _STEADY), None
    else:
        container, made = log.container, log
    wait_for_file(runtime, container, "count")
    return container, made


def _ending(
    runtime: Runtime, sandbox: Sandbox, times: tuple[float, ...]
) -> list[tuple[Container, int]]:
    """Containers that end in the near future, all started at once."""
    made = [
        (
            runtime.container(sandbox, command=["/bin/sh", "-c", f"sleep {seconds}; exit {code}"]),
            code,
        )
        for code, seconds in enumerate(times, FIRST_CODE)
    ]
    together(*[partial(runtime.get, "StartContainer", container_id=one.id) for one, _ in made])
    return made


@contextlib.contextmanager
def asking(client: Client, answers: list[Outcome]) -> Any:
    """Ask how it is, over and over, as long as this lasts."""
    begun, over = threading.Event(), threading.Event()

    def ask() -> None:
        # A few times at least, where nothing is restarted.
        while len(answers) < 3 or not over.is_set():
            answers.append(client.glimpse("Status", deadline=ASKED_FOR))
            begun.set()
            over.wait(ASKED_EVERY)

    thread = threading.Thread(target=ask, name="asking", daemon=True)
    thread.start()
    # The first question comes before the restart, however quick that is.
    begun.wait(10 * ASKED_FOR)
    try:
        yield
    finally:
        over.set()
        thread.join()
        client.close()


def _stats(runtime: Runtime) -> list[Any]:
    outcome = runtime.call("ListContainerStats")
    return list(outcome.response.stats) if isinstance(outcome, Ok) else []


def _look(
    runtime: Runtime,
    life: RestartLife,
    made: dict[str, Container],
    before: list[types.ContainerStatus],
    pods: dict[str, Sandbox],
    pods_before: list[types.PodSandboxStatus],
) -> None:
    containers = {one.id: one for one in runtime.get("ListContainers").containers}
    sandboxes = {one.id: one for one in runtime.get("ListPodSandbox").items}
    for name, then in zip(made, before, strict=True):
        after = _status(runtime.call("ContainerStatus", container_id=then.id))
        life.containers.append(Story(name, then, after, containers.get(then.id)))
    for name, seen in zip(pods, pods_before, strict=True):
        now = _status(runtime.call("PodSandboxStatus", pod_sandbox_id=seen.id))
        life.sandboxes.append(Story(name, seen, now, sandboxes.get(seen.id)))


def _status(outcome: Outcome) -> Any:
    return outcome.response.status if isinstance(outcome, Ok) else None


def _go_on(runtime: Runtime, steady: Container, life: RestartLife, within: float) -> None:
    """See it go on, by commands in it."""

    def count() -> int:
        outcome = runtime.call(
            "ExecSync", container_id=steady.id, cmd=["cat", "count", "begun"], timeout=10
        )
        life.execs.append(outcome)
        if not isinstance(outcome, Ok) or outcome.response.exit_code:
            return -1
        first, _, life.begun = outcome.response.stdout.partition(b"\n")
        return int(first or b"-1")

    life.counts.append(count())
    if life.counts[0] >= 0:
        with contextlib.suppress(SetupFailed):
            poll(count, lambda now: now < 0 or now > life.counts[0], within, "it to go on")
        life.counts.append(count())


def _listen(runtime: Runtime, sandbox: Sandbox, life: RestartLife, within: float) -> None:
    try:
        watch: Watch = watching.listen(runtime, sandbox)[0]
    except (Unavailable, watching.NoEvents) as why_not:
        life.events_why_not = why_not
        return
    idle = next(story.id for story in life.containers if story.name == "the idle one")
    runtime.get("StopContainer", container_id=idle, timeout=5)
    watch.wait(idle, watching.STOPPED, within)
    life.events = watch.kinds(idle)
    watch.stream.cancel()


def _stop(runtime: Runtime, steady: Container, life: RestartLife, within: float) -> None:
    life.stop = runtime.call("StopContainer", container_id=steady.id, timeout=5, deadline=30.0)
    with contextlib.suppress(SetupFailed):
        runtime.wait_exited(steady.id, within)
    life.stopped = runtime.container_status(steady.id)


def refused_for_good(outcome: Outcome) -> bool:
    """Whether an answer says something else than to ask again."""
    return isinstance(outcome, Refused) and outcome.code != "UNAVAILABLE"
