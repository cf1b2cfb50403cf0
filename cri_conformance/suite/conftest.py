# SPDX-License-Identifier: Apache-2.0
"""Short names for the suite's own tests, and the objects that many of them share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cri_conformance import records
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.pulling import RegistryError, open_registry
from cri_conformance.records import worker_number, worker_of
from cri_conformance.registry.server import Registry
from cri_conformance.session import session_of
from cri_conformance.settings import Settings
from cri_conformance.suite import watching
from cri_conformance.suite.cells import Cells
from cri_conformance.suite.container_life import Endings, Life, endings, live
from cri_conformance.suite.event_life import EventLife
from cri_conformance.suite.event_life import live as live_with_events
from cri_conformance.suite.images import Images
from cri_conformance.suite.measured import Measured, measure
from cri_conformance.suite.population import Population, settle
from cri_conformance.suite.ports import Ports, in_container, in_this_process
from cri_conformance.suite.pulls import Pulls
from cri_conformance.suite.restart import Restarter
from cri_conformance.target import Target
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

#: Seconds in which a container's process must be in sight, if the host is.
_SEEN_WITHIN = 3.0


@pytest.fixture
def cri_clauses() -> tuple[str, ...]:
    """The clauses a test is bound to. The plugin fills it in, which names the test by them."""
    return ()


@pytest.fixture(autouse=True)
def _named(cri_clauses: tuple[str, ...]) -> None:
    """Let every test of the suite be named by its clauses."""


@pytest.fixture
def runtime(cri_runtime: Runtime) -> Runtime:
    """The runtime under test; what a test makes through it is removed after the test."""
    return cri_runtime


@pytest.fixture
def lifecycle(request: pytest.FixtureRequest) -> list[dict[str, str]]:
    """Rows that this test adds to the report's lifecycle table."""
    rows: list[dict[str, str]] = request.node.stash.setdefault(records.TABLE, [])
    return rows


@pytest.fixture(scope="session")
def shared_runtime(cri_target: Target) -> Iterator[Runtime]:
    """A scope that lasts as long as the run, for objects that tests only look at."""
    with cri_target.scope() as runtime:
        yield runtime


@pytest.fixture(scope="module")
def module_runtime(cri_target: Target) -> Iterator[Runtime]:
    """A scope that lasts as long as the tests of one file.

    What lives longer than it is needed costs the node, most of all where all is measured.
    """
    with cri_target.scope() as runtime:
        yield runtime


@pytest.fixture(scope="session")
def shared_sandbox(shared_runtime: Runtime) -> Sandbox:
    """One ready sandbox for tests that need a place for containers and leave it alone."""
    return shared_runtime.sandbox()


@pytest.fixture(scope="session")
def population(shared_runtime: Runtime) -> Population:
    """Dozens of sandboxes and containers for filters to choose from."""
    return settle(shared_runtime)


@pytest.fixture(scope="session")
def measured(shared_runtime: Runtime) -> Measured:
    """A few sandboxes and containers with figures, for tests that only look at them."""
    return measure(shared_runtime)


@pytest.fixture(scope="session")
def idle(shared_runtime: Runtime, shared_sandbox: Sandbox) -> Container:
    """One running container that does nothing, for tests that only run commands in it."""
    return shared_runtime.running(shared_sandbox)


@pytest.fixture(scope="session")
def ports(cri_target: Target, shared_runtime: Runtime) -> Iterator[Ports]:
    """A sandbox of its own with ports."""
    sandbox = shared_runtime.sandbox()
    if cri_target.facts.isolates:
        yield in_container(shared_runtime, sandbox)
    else:
        with in_this_process(sandbox) as made:
            yield made


@pytest.fixture(scope="session")
def registry(cri_target: Target, pytestconfig: pytest.Config) -> Iterator[Registry]:
    """The suite's own registry of images; each process of a run has one."""
    try:
        made = open_registry(cri_target.settings, worker_number(pytestconfig))
    except RegistryError as error:
        raise SetupFailed(str(error)) from None
    yield made
    made.close()


@pytest.fixture(scope="session")
def images(shared_runtime: Runtime, registry: Registry, cri_target: Target) -> Iterator[Images]:
    """Images made for the purpose, in the runtime as soon as they are asked for."""
    facts = cri_target.facts
    made = Images(
        shared_runtime, registry, facts.loader, facts.architecture, isolates=facts.isolates
    )
    yield made
    made.close()


@pytest.fixture
def pulls(runtime: Runtime, registry: Registry, cri_target: Target) -> Iterator[Pulls]:
    """Images of this test's own, pulled from our registry; removed after it."""
    facts = cri_target.facts
    if facts.no_pulls:
        raise NotExercised(Reason.NO_REGISTRY, facts.no_pulls)
    made = Pulls(runtime, registry, facts.architecture)
    yield made
    made.close()


@pytest.fixture(scope="session")
def restart(pytestconfig: pytest.Config, cri_target: Target) -> Restarter:
    """Restarts the runtime, where the user says how."""
    if session_of(pytestconfig).depth.matrix:
        return Restarter("")
    command = cri_target.settings.restart_command
    if not command:
        raise NotExercised(Reason.SWITCHED_OFF, "give --cri-restart-command")
    if worker_of(pytestconfig):
        raise NotExercised(
            Reason.SWITCHED_OFF, "a restart would disturb the other processes: run without -n"
        )
    return Restarter(command)


@pytest.fixture(scope="session")
def isolation(cri_target: Target) -> None:
    """Asked for by tests of what only a runtime with namespaces and cgroups can keep."""
    if not cri_target.facts.isolates:
        raise NotExercised(Reason.NOT_ADVERTISED, "the reference runtime isolates nothing")


@pytest.fixture(scope="session")
def cells(
    isolation: None, shared_runtime: Runtime, shared_sandbox: Sandbox, images: Images
) -> Cells:
    """Containers that are each confined in one way, for tests that only look at them."""
    return Cells(shared_runtime, shared_sandbox, images)


@pytest.fixture(scope="session")
def host(cri_target: Target, shared_runtime: Runtime, shared_sandbox: Sandbox) -> Host:
    """The runtime's host, for tests that look at what the client is not told.

    Only where a container's process is really seen from here: else "nothing is left" would
    hold of what was never in sight.
    """
    if not cri_target.facts.host_root:
        raise NotExercised(Reason.REMOTE, "the runtime's host can't be looked at")
    if os.geteuid() != 0:
        raise NotExercised(Reason.NEEDS_HOST, "as root")
    seen = Host(Path(cri_target.facts.host_root))
    name, value = "CRI_CONFORMANCE_SEEN", shared_runtime.name("seen")
    config = shared_runtime.container_config(
        shared_sandbox, command=["sleep", "3600"], envs={name: value}
    )
    container = shared_runtime.container(shared_sandbox, config)
    shared_runtime.get("StartContainer", container_id=container.id)
    # StartContainer may answer a moment before the process has its own environment.
    until = time.monotonic() + _SEEN_WITHIN
    visible = poll(
        lambda: seen.processes(f"{name}={value}"),
        lambda found: bool(found) or time.monotonic() > until,
        _SEEN_WITHIN + 5,
        "a container's process on the host",
    )
    shared_runtime.get("RemoveContainer", container_id=container.id)
    if not visible:
        raise NotExercised(Reason.NEEDS_HOST, "the containers' processes are not seen from here")
    return seen


@pytest.fixture(scope="session")
def chosen(cri_target: Target) -> Settings:
    """What the user asked for: depth and the like."""
    return cri_target.settings


@pytest.fixture(scope="session")
def container_life(shared_runtime: Runtime) -> Life:
    """The life of a container, which is over: tests judge what was seen."""
    return live(shared_runtime)


@pytest.fixture(scope="session")
def event_life(
    shared_runtime: Runtime, shared_sandbox: Sandbox, patience: Callable[[float], float]
) -> EventLife:
    """The lives of some containers, which are over, and the events that told of them."""
    return live_with_events(shared_runtime, shared_sandbox, patience(watching.WITHIN))


@pytest.fixture(scope="session")
def ended(shared_runtime: Runtime, shared_sandbox: Sandbox) -> Endings:
    """Containers that ended in each way: well, badly, killed, and by a start that failed."""
    return endings(shared_runtime, shared_sandbox)


#: Seconds that a seeded fault is given to show itself: it delays by more, and on our own machine.
_MATRIX_PATIENCE = 2.0


@pytest.fixture(scope="session")
def patience(pytestconfig: pytest.Config, cri_target: Target) -> Callable[[float], float]:
    """How long to wait for what a clause on time promises, in seconds, given the fair bound."""
    if session_of(pytestconfig).depth.matrix:
        return lambda seconds: min(seconds, _MATRIX_PATIENCE)
    return lambda seconds: seconds
