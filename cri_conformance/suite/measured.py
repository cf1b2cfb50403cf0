# SPDX-License-Identifier: Apache-2.0
"""A few sandboxes and containers to be measured, and what was said of them while they worked.

One container works: it uses processor time and reads from the kernel how much, keeps
memory, writes files, starts processes. Beside it are an idle one, one with limits, one
that was never started and one that has ended. All tests about figures judge what was
seen of these few, so that measuring costs a second and not a minute.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.suite.others import foreign_sandboxes
from cri_conformance.suite.scripts import wait_for_file
from cri_conformance.wire import cgroups
from cri_conformance.wire.outcome import Ok, Outcome, Refused, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

#: Bytes that the worker keeps in memory and that it writes, files that it makes besides,
#: processes that it starts.
HELD, WRITTEN, FILES, FORKS = 24_000_000, 6_000_000, 40, 5
#: Ticks of processor time (1/100 s) that the worker uses, if the kernel counts them for it.
_TICKS = 15


def work_until(name: str, ticks: int) -> str:
    """A script that works until it has used so many ticks, and says how many in a file."""
    return f"""
ticks=0; i=0; while [ $ticks -lt {ticks} ] && [ $i -lt 5000 ]; do
  n=0; while [ $n -lt 500 ]; do n=$((n + 1)); done
  read -r line < /proc/self/stat; set -- $line; ticks=$((${{14}} + ${{15}})); i=$((i + 1))
done
echo $ticks > {name}
"""


_WORK = f"""
i=0; while [ $i -lt {FILES} ]; do : > file$i; i=$((i + 1)); done
head -c {WRITTEN} /dev/zero > large
i=0; while [ $i -lt {FORKS} ]; do sleep 3600 & i=$((i + 1)); done
{{ head -c {HELD} /dev/zero; : > held; exec sleep 3600; }} | tail -c {HELD} > /dev/null &
{work_until("ticks", _TICKS)}
while [ ! -e held ]; do sleep 0.02; done
trap 'exit 0' TERM; : > ready; while :; do sleep 3600 & wait $!; done
"""
MEMORY_LIMIT, SWAP_LIMIT = 96 * 1024 * 1024, 32 * 1024 * 1024
_ROUNDS = 3
#: Why ListPodSandboxStats of all sandboxes may fail without blame: some runtimes measure no
#: sandbox without a cgroup_parent. A kubelet always gives one, we only where the form is known,
#: and of others (critest, say) nobody knows.
NO_PARENT = (Reason.YOUNGER, "RuntimeConfig, by which to choose a cgroup for each sandbox")
OTHERS = (Reason.NEEDS_HARDWARE, "a node to itself: sandboxes of others are not measured")
#: Seconds within which a container must have worked, on whatever machine.
WORKS_WITHIN = 60.0

#: A label that all of them carry, and those by which they differ.
MEASURED, TIER, ROLE = (f"cri-conformance/{name}" for name in ("measured", "tier", "role"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call said of one object."""

    rpc: str
    about: str
    #: ContainerStats or PodSandboxStats.
    stats: Any
    #: When the answer was there, in nanoseconds by our clock.
    answered: int


@dataclass(frozen=True, slots=True)
class Part:
    """One message with figures, such as a CpuUsage, within an answer."""

    answer: Answer
    #: The container or sandbox that it is about.
    about: str
    kind: str
    field: str
    message: Any

    def __str__(self) -> str:
        return f"{self.field} of {self.about[:12]} in {self.answer.rpc}"


@dataclass
class Measured:
    """All there is to measure. ``pods`` and ``containers`` go by the names of their parts."""

    runtime: Runtime
    nonce: str
    pods: dict[str, Sandbox] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    #: When each object was created, as the runtime says.
    created: dict[str, int] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    #: The last outcome of each call, for those that gave no answers.
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    #: Processor time that the worker has read of itself, in nanoseconds.
    worked: int = 0
    has_swap_limit: bool = False

    @property
    def label(self) -> Mapping[str, str]:
        """Selects just these."""
        return {MEASURED: self.nonce}

    @property
    def running(self) -> dict[str, Container]:
        return {name: self.containers[name] for name in ("worker", "idle", "limited")}

    @property
    def ready(self) -> dict[str, Sandbox]:
        return {name: pod for name, pod in self.pods.items() if name != "stopped"}

    # -- asking ------------------------------------------------------------------------

    def ask(self, rpc: str, **fields: Any) -> Outcome:
        """One call; what it answers is kept."""
        outcome = self.runtime.call(rpc, **fields)
        self.outcomes[rpc] = outcome
        if isinstance(outcome, Ok):
            now = time.time_ns()
            items = outcome.response.stats if rpc.startswith("List") else [outcome.response.stats]
            asked = fields.get("container_id") or fields.get("pod_sandbox_id") or ""
            for stats in items:
                about = asked or stats.attributes.id
                self.answers.append(Answer(rpc, about, stats, now))
        return outcome

    def look(self) -> None:
        """Ask for everything once."""
        for container in self.running.values():
            self.ask("ContainerStats", container_id=container.id)
        self.ask("ListContainerStats", filter={"label_selector": self.label})
        for pod in self.ready.values():
            self.ask("PodSandboxStats", pod_sandbox_id=pod.id)
        self.ask("ListPodSandboxStats", filter={"label_selector": self.label})

    # -- what came -----------------------------------------------------------------------

    def of(self, *rpcs: str) -> list[Answer]:
        """The answers of some calls. Raises SetupFailed, or NotExercised, if there are none."""
        found = [answer for answer in self.answers if answer.rpc in rpcs]
        if not found:
            for rpc in rpcs:
                supported(self.outcomes[rpc], rpc)
            raise SetupFailed(f"{' and '.join(rpcs)} gave no figures: {self.outcomes[rpcs[0]]}")
        return found

    def container_stats(self) -> list[tuple[Answer, types.ContainerStats]]:
        """What any call said of a container, those within a sandbox's figures included."""
        found = [
            (answer, answer.stats) for answer in self.of("ContainerStats", "ListContainerStats")
        ]
        for answer in self.answers:
            if answer.rpc.endswith("PodSandboxStats"):
                found += [(answer, stats) for stats in answer.stats.linux.containers]
        return found

    def parts(self, kind: str) -> list[Part]:
        """All messages of one kind, in the order in which they came."""
        return [part for answer in self.answers for part in _parts(answer) if part.kind == kind]

    def reported(self, kind: str) -> list[Part]:
        """As ``parts``. Raises NotExercised if there is none, as ``of`` if there are no answers."""
        self.of("ContainerStats", "ListContainerStats")
        found = self.parts(kind)
        if not found:
            raise NotExercised(Reason.NOT_ADVERTISED, f"no {kind} is reported")
        return found

    def latest(self, name: str, rpc: str = "ContainerStats") -> Any:
        """A fresh look at one container or sandbox. Raises SetupFailed, or NotExercised."""
        one = self.containers.get(name) or self.pods[name]
        key = "container_id" if name in self.containers else "pod_sandbox_id"
        named: dict[str, Any] = {key: one.id}
        outcome = supported(self.ask(rpc, **named), rpc)
        if not isinstance(outcome, Ok):
            raise SetupFailed(f"{rpc} of {name}: {outcome}")
        return outcome.response.stats


def supported(outcome: Outcome, rpc: str) -> Outcome:
    """The outcome, of a call that the runtime has. Raises NotExercised if it has not."""
    if isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
        raise NotExercised(Reason.YOUNGER, f"the runtime has no {rpc}")
    return outcome


def blameless(runtime: Runtime) -> tuple[Reason, str] | None:
    """Why ListPodSandboxStats of all sandboxes may fail, if there is a reason."""
    if not runtime.workshop.cgroup_parent:
        return NO_PARENT
    return OTHERS if foreign_sandboxes(runtime) else None


def _parts(answer: Answer) -> Iterator[Part]:
    if isinstance(answer.stats, types.ContainerStats):
        yield from _within(answer, answer.about, answer.stats)
    else:
        yield from _within(answer, answer.about, answer.stats.linux)
        for stats in answer.stats.linux.containers:
            yield from _within(answer, stats.attributes.id, stats)


def _within(answer: Answer, about: str, message: Any) -> Iterator[Part]:
    for descriptor, value in message.ListFields():
        kind = descriptor.message_type
        if kind is not None and kind.name.endswith("Usage"):
            yield Part(answer, about, kind.name, descriptor.name, value)


# -- making them -------------------------------------------------------------------------------


def measure(runtime: Runtime) -> Measured:
    """Make them and look. Raises SetupFailed."""
    made = Measured(runtime, secrets.token_hex(4))
    work = _pod(made, "work", {TIER: "front", ROLE: "web"})
    _start(made, "worker", work, {TIER: "front", ROLE: "web"}, ["/bin/sh", "-c", _WORK])
    _start(made, "idle", work, {TIER: "Front", ROLE: "db"})
    quiet = _pod(made, "quiet", {TIER: "", ROLE: "db"})
    _start_limited(made, quiet)
    _pod(made, "empty", {ROLE: "web"})
    stopped = _pod(made, "stopped", {TIER: "front"})
    made.containers["created"] = _container(made, "created", quiet, {TIER: "front"})
    exited = _container(made, "exited", quiet, {TIER: "fro"}, ["/bin/sh", "-c", "exit 0"])
    made.containers["exited"] = exited
    runtime.get("StartContainer", container_id=exited.id)
    gone = runtime.sandbox()
    made.removed = {"container": runtime.container(gone).id, "sandbox": gone.id}
    runtime.get("RemovePodSandbox", pod_sandbox_id=gone.id)
    runtime.get("StopPodSandbox", pod_sandbox_id=stopped.id)
    runtime.wait_exited(exited.id)
    made.look()
    wait_for_file(runtime, made.containers["worker"], "ready", WORKS_WITHIN)
    ticks = runtime.exec(made.containers["worker"], "cat", "ticks").stdout
    made.worked = int(ticks) * 10_000_000
    for _ in range(_ROUNDS):
        made.look()
    return made


def _pod(made: Measured, name: str, labels: dict[str, str]) -> Sandbox:
    runtime = made.runtime
    config = runtime.sandbox_config(
        labels={**labels, **made.label}, annotations={"cri-conformance/part": name, "empty": ""}
    )
    # A cgroup of its own, as a kubelet gives each pod, or its figures would be those of all.
    parent = config.linux.cgroup_parent or cgroups.parent(runtime.workshop.run.nonce)
    config.linux.cgroup_parent = f"{parent}/{config.metadata.name}"
    outcome = runtime.run_sandbox(config)
    if not isinstance(outcome, Ok):
        # Not as its cgroup driver wants it.
        config.linux.cgroup_parent = ""
        outcome = runtime.run_sandbox(config)
    if not isinstance(outcome, Ok):
        raise SetupFailed(f"RunPodSandbox was needed to set up this test: {outcome}")
    made.pods[name] = pod = Sandbox(
        outcome.response.pod_sandbox_id, config, runtime.workshop.handler
    )
    made.created[pod.id] = runtime.sandbox_status(pod.id).created_at
    return pod


def _container(
    made: Measured,
    name: str,
    pod: Sandbox,
    labels: dict[str, str],
    command: list[str] | None = None,
    resources: types.LinuxContainerResources | None = None,
) -> Container:
    runtime = made.runtime
    config = runtime.container_config(pod, labels={**labels, **made.label})
    config.metadata.attempt = len(made.containers) + 2
    config.annotations.update({"cri-conformance/part": name, "empty": ""})
    if command:
        config.command[:] = command
    if resources:
        config.linux.resources.CopyFrom(resources)
    container = runtime.container(pod, config)
    made.created[container.id] = runtime.container_status(container.id).created_at
    return container


def _start(
    made: Measured,
    name: str,
    pod: Sandbox,
    labels: dict[str, str],
    command: list[str] | None = None,
    resources: types.LinuxContainerResources | None = None,
) -> None:
    container = _container(made, name, pod, labels, command, resources)
    made.runtime.get("StartContainer", container_id=container.id)
    made.containers[name] = container
    # At once: what a runtime has not yet gathered it must not make up.
    made.ask("ContainerStats", container_id=container.id)
    made.ask("ListContainerStats", filter={"id": container.id})


def _start_limited(made: Measured, pod: Sandbox) -> None:
    limits = types.LinuxContainerResources(memory_limit_in_bytes=MEMORY_LIMIT)
    with_swap = types.LinuxContainerResources(
        memory_limit_in_bytes=MEMORY_LIMIT, memory_swap_limit_in_bytes=MEMORY_LIMIT + SWAP_LIMIT
    )
    try:
        _start(made, "limited", pod, {ROLE: "web"}, resources=with_swap)
        made.has_swap_limit = True
    except SetupFailed:
        # A kernel may have no accounts of swap.
        _start(made, "limited", pod, {ROLE: "web"}, resources=limits)


def eventually(
    made: Measured, name: str, wanted: Any, seconds: float, rpc: str = "ContainerStats"
) -> Any:
    """Figures that meet ``wanted``, or the last that were seen: runtimes gather periodically."""
    last: list[Any] = []

    def look() -> Any:
        last[:] = [made.latest(name, rpc)]
        return last[0]

    try:
        return poll(look, wanted, seconds, "figures")
    except SetupFailed:
        if not last:
            raise
        return last[0]
