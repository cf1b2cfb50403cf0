# SPDX-License-Identifier: Apache-2.0
"""Fixtures of a run with an endpoint, for the suite and for vendors' own tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cri_conformance import records
from cri_conformance.expect.explore import Depth, Explorer
from cri_conformance.expect.judge import Judge
from cri_conformance.session import Session, session_of
from cri_conformance.target import Target, connect
from cri_conformance.wire.runtime import Container, Runtime, Sandbox


@pytest.fixture(scope="session")
def cri_fault(request: pytest.FixtureRequest) -> str:
    """The seeded fault to run under: "" for none. The fault matrix parametrises this."""
    return str(getattr(request, "param", ""))


@pytest.fixture(scope="session")
def cri_target(pytestconfig: pytest.Config, cri_fault: str) -> Iterator[Target]:
    """This process's connection to the runtime, and what is known of it."""
    session = session_of(pytestconfig)
    metadata = (("cri-fault", session.fault_session(cri_fault)),) if cri_fault else ()
    target = connect(session.settings, session.facts, metadata)
    session.target = target
    yield target
    target.client.close()


@pytest.fixture
def cri_runtime(cri_target: Target) -> Iterator[Runtime]:
    """A connected client; all that is made through it is removed after the test."""
    with cri_target.scope() as runtime:
        yield runtime


@pytest.fixture
def cri_sandbox(cri_runtime: Runtime) -> Sandbox:
    """A ready pod sandbox."""
    return cri_runtime.sandbox()


@pytest.fixture
def cri_container(cri_runtime: Runtime, cri_sandbox: Sandbox) -> Container:
    """A running container, idle, in a sandbox of its own."""
    return cri_runtime.running(cri_sandbox)


@pytest.fixture
def judge(request: pytest.FixtureRequest, pytestconfig: pytest.Config, cri_target: Target) -> Judge:
    """Judges the clauses that this test is bound to."""
    session: Session = session_of(pytestconfig)
    bound = [name for mark in request.node.iter_markers("clause") for name in mark.args]
    made = Judge(session.rules, bound, cri_target.client.history.mark)
    request.node.stash[records.JUDGE] = made
    return made


@pytest.fixture
def explore(pytestconfig: pytest.Config, cri_runtime: Runtime, judge: Judge) -> Explorer:
    """Runs a property of this test over generated examples."""
    session: Session = session_of(pytestconfig)
    depth: Depth = session.depth
    return Explorer(depth, judge, cri_runtime)
