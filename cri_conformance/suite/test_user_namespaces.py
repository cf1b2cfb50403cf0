# SPDX-License-Identifier: Apache-2.0
"""User namespaces: ids of a pod that are others on the node.

Where the handler does not offer them, a pod that asks for one must not silently run
without: what holds then is only looked at from that side.
"""

from __future__ import annotations

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.cells import USERNS, Cell, Cells, Mapping, in_userns
from cri_conformance.target import Target
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Runtime, Sandbox

_MODE = "UserNamespace.mode"


def _offered(target: Target) -> bool:
    handlers = target.facts.status.get("runtime_handlers") or ()
    mine = [h for h in handlers if h.get("name", "") == target.facts.handler]
    return any((h.get("features") or {}).get("user_namespaces") for h in mine)


def _needs_userns(target: Target, judge: Judge) -> None:
    if not _offered(target):
        judge.skip(Reason.NOT_ADVERTISED, "RuntimeHandlerFeatures.user_namespaces")


@clause(f"{_MODE}.pod")
def test_own_namespace(cells: Cells, cri_target: Target, runtime: Runtime, judge: Judge) -> None:
    node = cells.observed("plain").namespace("user")
    if _offered(cri_target):
        names = ("in-userns", "in-userns-too")
        about = [cells.container(name).id for name in names]
        seen = {cells.observed(name).namespace("user") for name in names}
    else:
        outcome, sandbox = _run(runtime, types.POD, {"uids": USERNS, "gids": USERNS})
        if sandbox is None or not isinstance(outcome, Ok):
            judge.skip(Reason.NOT_ADVERTISED, "RuntimeHandlerFeatures.user_namespaces")
        container, observed = cells.one(runtime, Cell(), sandbox)
        about, seen = [container.id], {observed.namespace("user")}
    judge.that(
        f"{_MODE}.pod",
        len(seen) == 1 and node not in seen,
        permitted="one user namespace for the pod, other than the node's",
        actual=f"{' and '.join(sorted(seen))}; the node's is {node}",
        about=about,
    )


@clause(f"{_MODE}.node")
def test_namespace_of_the_node(cells: Cells, judge: Judge) -> None:
    judge.equal(
        f"{_MODE}.node",
        cells.observed("in-node-userns").namespace("user"),
        cells.observed("plain").namespace("user"),
        "user namespace with NODE:",
        about=[cells.container("in-node-userns").id],
    )


@pytest.mark.parametrize(
    ("clause_id", "field"),
    [
        pytest.param(
            f"UserNamespace.{name}.mapped", name, marks=clause(f"UserNamespace.{name}.mapped")
        )
        for name in ("uids", "gids")
    ],
)
def test_mapped(clause_id: str, field: str, cells: Cells, cri_target: Target, judge: Judge) -> None:
    _needs_userns(cri_target, judge)
    options = cells.sandbox("userns").config.linux.security_context.namespace_options
    sent = getattr(options.userns_options, field)
    judge.equal(
        clause_id,
        getattr(cells.observed("in-userns"), field),
        [(m.container_id, m.host_id, m.length) for m in sent],
        "ranges (container, host, length):",
        about=[cells.container("in-userns").id],
    )


#: Of two ranges the kernel takes none that is in both, and no range of nothing.
_IMPOSSIBLE: dict[str, list[Mapping]] = {
    "overlapping": [USERNS[0], (USERNS[0][0] + 100, USERNS[0][1] + 100, USERNS[0][2])],
    "empty": [(USERNS[0][0], USERNS[0][1], 0)],
}


@pytest.mark.parametrize("how", _IMPOSSIBLE)
@pytest.mark.parametrize(
    ("clause_id", "field"),
    [
        pytest.param(clause_id, name, marks=clause(clause_id), id=name)
        for name in ("uids", "gids")
        for clause_id in [f"UserNamespace.{name}.impossible-refused"]
    ],
)
def test_ranges_that_can_not_be(
    clause_id: str, field: str, how: str, isolation: None, runtime: Runtime, judge: Judge
) -> None:
    ranges = {"uids": USERNS, "gids": USERNS, field: _IMPOSSIBLE[how]}
    outcome, _ = _run(runtime, types.POD, ranges)
    judge.refused(clause_id, outcome)


@clause(f"{_MODE}.other-modes")
def test_other_modes(isolation: None, runtime: Runtime, judge: Judge) -> None:
    shown = []
    for mode in (types.CONTAINER, types.TARGET):
        outcome, _ = _run(runtime, mode, {"uids": USERNS, "gids": USERNS})
        shown.append(f"{types.NamespaceMode.Name(mode)}: {outcome}")
    judge.record(f"{_MODE}.other-modes", "; ".join(shown))


def _run(
    runtime: Runtime, mode: types.NamespaceMode.ValueType, ranges: dict[str, list[Mapping]]
) -> tuple[Outcome, Sandbox | None]:
    """Whether a container comes to run in such a sandbox: the answer of the call that decides."""
    config = runtime.sandbox_config()
    in_userns(config, mode, **ranges)
    outcome = runtime.run_sandbox(config)
    if not isinstance(outcome, Ok):
        return outcome, None
    sandbox = Sandbox(outcome.response.pod_sandbox_id, config, runtime.workshop.handler)
    container = runtime.container_config(sandbox)
    options = container.linux.security_context.namespace_options
    options.userns_options.CopyFrom(config.linux.security_context.namespace_options.userns_options)
    return runtime.create_and_start(sandbox, container), sandbox
