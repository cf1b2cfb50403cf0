# SPDX-License-Identifier: Apache-2.0
"""With whom a container shares its network, its processes and its IPC.

Namespaces are told by their numbers, together with the kernel that gave them: pods in
virtual machines each have one of their own. Which processes a container sees is told by
the marks in their arguments.
"""

from __future__ import annotations

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.cells import Cell, Cells, observe
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Container, Runtime

_OPTION = "NamespaceOption"
_KINDS = {"network": "net", "ipc": "ipc"}


def _of_each(promise: str) -> pytest.MarkDecorator:
    """Run a test for each of them, bound to its own clause of this name."""
    return pytest.mark.parametrize(
        ("clause_id", "field"),
        [
            pytest.param(name, field, marks=clause(name), id=name)
            for field in _KINDS
            for name in [f"{_OPTION}.{field}.{promise}"]
        ],
    )


@_of_each("pod-shared")
def test_shared_in_the_pod(clause_id: str, field: str, cells: Cells, judge: Judge) -> None:
    kind = _KINDS[field]
    judge.equal(
        clause_id,
        cells.observed("neighbour").namespace(kind),
        cells.observed("plain").namespace(kind),
        f"{kind} namespace of a container and its neighbour:",
        about=[cells.container("plain").id, cells.container("neighbour").id],
    )


@_of_each("pod-own")
def test_own_of_the_pod(clause_id: str, field: str, cells: Cells, judge: Judge) -> None:
    kind = _KINDS[field]
    own = cells.observed("plain").namespace(kind)
    for whose, cell in (("another sandbox's", "elsewhere"), ("the node's", "node")):
        judge.that(
            clause_id,
            cells.observed(cell).namespace(kind) != own,
            permitted=f"another {kind} namespace than {whose}",
            actual=own,
            about=[cells.container("plain").id, cells.container(cell).id],
        )


@_of_each("node")
def test_that_of_the_node(clause_id: str, field: str, cells: Cells, judge: Judge) -> None:
    kind = _KINDS[field]
    # Two sandboxes have nothing in common but the node.
    judge.equal(
        clause_id,
        cells.observed("node").namespace(kind),
        cells.observed("node-too").namespace(kind),
        f"{kind} namespace in two sandboxes with NODE:",
        about=[cells.container("node").id, cells.container("node-too").id],
    )


@_of_each("other-modes")
def test_modes_that_no_kubelet_sends(
    clause_id: str, field: str, cells: Cells, runtime: Runtime, judge: Judge
) -> None:
    sandbox, shown = cells.sandbox("plain"), []
    for mode in (types.CONTAINER, types.TARGET):
        config = cells.config(Cell(), sandbox)
        options = config.linux.security_context.namespace_options
        setattr(options, field, mode)
        options.target_id = cells.container("neighbour").id if mode == types.TARGET else ""
        created = runtime.create(sandbox, config)
        outcome: object = created
        if isinstance(created, Ok):
            container = Container(created.response.container_id, config, sandbox)
            outcome = runtime.call("StartContainer", container_id=container.id)
            if isinstance(outcome, Ok):
                own = observe(runtime, container).namespace(_KINDS[field])
                pod = cells.observed("plain").namespace(_KINDS[field])
                outcome = "the pod's namespace" if own == pod else "a namespace of its own"
        shown.append(f"{types.NamespaceMode.Name(mode)}: {outcome}")
    judge.record(clause_id, "; ".join(shown))


# -- process ids -----------------------------------------------------------------------------


def _sees(
    cells: Cells,
    judge: Judge,
    clause_id: str,
    cell: str,
    others: tuple[str, ...],
    hidden: tuple[str, ...] = (),
) -> None:
    """In a cell just these of the other cells are seen, which are all made first."""
    marks = {name: cells.mark(name) for name in (cell, *others, *hidden)}
    seen = cells.observed(cell, anew=True).marks
    judge.that(
        clause_id,
        all((marks[name] in seen) is (name not in hidden) for name in marks),
        permitted=f"the processes of {_words(cell, *others)} are seen"
        + (f", those of {_words(*hidden)} are not" if hidden else ""),
        actual=_words(*(name for name, mark in marks.items() if mark in seen)),
        about=[cells.container(name).id for name in marks],
    )


def _words(*names: str) -> str:
    return " and ".join(f"'{name}'" for name in names) or "none"


@clause(f"{_OPTION}.pid.pod")
def test_processes_of_the_pod(cells: Cells, judge: Judge) -> None:
    _sees(cells, judge, f"{_OPTION}.pid.pod", "sharing", ("sharing-too",), ("plain",))


@clause(f"{_OPTION}.pid.container")
def test_own_processes(cells: Cells, judge: Judge) -> None:
    hidden = ("neighbour", "elsewhere")
    _sees(cells, judge, f"{_OPTION}.pid.container", "plain", (), hidden)


@clause(f"{_OPTION}.pid.node")
def test_processes_of_the_node(cells: Cells, judge: Judge) -> None:
    _sees(cells, judge, f"{_OPTION}.pid.node", "node", ("node-too", "plain"))


@clause(f"{_OPTION}.pid.default-pod")
def test_processes_without_options(cells: Cells, judge: Judge) -> None:
    _sees(cells, judge, f"{_OPTION}.pid.default-pod", "by-default", ("sharing",), ("plain",))


@clause(f"{_OPTION}.pid.target")
def test_processes_of_the_target(cells: Cells, judge: Judge) -> None:
    for cell, other in (("joining", "target"), ("target", "joining")):
        _sees(cells, judge, f"{_OPTION}.pid.target", cell, (other,), ("neighbour",))


# -- user namespaces left open -----------------------------------------------------------------


@clause(f"{_OPTION}.userns_options.absent")
def test_user_namespace_left_open(cells: Cells, judge: Judge) -> None:
    ranges = cells.observed("plain").uids
    judge.record(f"{_OPTION}.userns_options.absent", f"uid_map: {ranges}")
