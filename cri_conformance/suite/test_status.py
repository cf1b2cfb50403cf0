# SPDX-License-Identifier: Apache-2.0
"""Status: whether the node is ready, and what its runtime handlers can do.

The kubelet asks every few seconds and takes the node out of service by the answer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime

REQUIRED = ("RuntimeReady", "NetworkReady")
_ONE_WORD = re.compile(r"[A-Z][A-Za-z0-9]*")


@clause("RuntimeService.Status.succeeds")
def test_status_is_answered(runtime: Runtime, judge: Judge) -> None:
    judge.ok("RuntimeService.Status.succeeds", runtime.call("Status"))


@clause("StatusResponse.status.set")
def test_status_is_set(runtime: Runtime, judge: Judge) -> None:
    response = runtime.get("Status")
    judge.that(
        "StatusResponse.status.set",
        response.HasField("status"),
        permitted="the status field is set",
        actual="a response without it",
    )


@pytest.mark.parametrize(
    ("condition", "clause_id"),
    [
        pytest.param(condition, clause_id, marks=clause(clause_id), id=clause_id)
        for condition, clause_id in zip(
            REQUIRED,
            (
                "RuntimeStatus.conditions.runtime-ready",
                "RuntimeStatus.conditions.network-ready",
            ),
            strict=True,
        )
    ],
)
def test_required_condition_is_there(
    runtime: Runtime, judge: Judge, condition: str, clause_id: str
) -> None:
    listed = _condition_types(runtime)
    judge.that(
        clause_id,
        condition in listed,
        permitted=f"a condition {condition}",
        actual=f"conditions {listed}",
    )


@clause("RuntimeCondition.type-once")
def test_condition_types_are_unique(runtime: Runtime, judge: Judge) -> None:
    _judge_unique(judge, "RuntimeCondition.type-once", "condition", _condition_types(runtime))


@clause("RuntimeCondition.type.others")
def test_other_conditions_are_recorded(runtime: Runtime, judge: Judge) -> None:
    others = [name for name in _condition_types(runtime) if name not in REQUIRED]
    judge.record("RuntimeCondition.type.others", f"others: {', '.join(others) or 'none'}")


@clause("RuntimeCondition.reason.one-word")
def test_reasons_are_one_word(runtime: Runtime, judge: Judge) -> None:
    for condition in runtime.get("Status").status.conditions:
        judge.that(
            "RuntimeCondition.reason.one-word",
            not condition.reason or _ONE_WORD.fullmatch(condition.reason),
            permitted=f"the reason of {condition.type} is empty or one CamelCase word",
            actual=repr(condition.reason),
        )


@clause("StatusRequest.verbose.same-status")
def test_verbose_changes_no_status(runtime: Runtime, judge: Judge) -> None:
    plain, verbose = runtime.get("Status"), runtime.get("Status", verbose=True)
    for field in ("status", "runtime_handlers", "features"):
        judge.equal(
            "StatusRequest.verbose.same-status",
            getattr(verbose, field),
            getattr(plain, field),
            field,
        )


@clause("StatusRequest.verbose.adds-info")
def test_verbose_info_is_recorded(runtime: Runtime, judge: Judge) -> None:
    info = runtime.get("Status", verbose=True).info
    keys = ", ".join(sorted(info)) or "none"
    judge.record("StatusRequest.verbose.adds-info", f"keys: {keys}")


@clause("StatusResponse.info.only-verbose")
def test_info_is_empty_unless_verbose(runtime: Runtime, judge: Judge) -> None:
    judge.equal("StatusResponse.info.only-verbose", sorted(runtime.get("Status").info), [], "keys")


@clause("StatusResponse.info.json")
def test_info_values_are_json(runtime: Runtime, judge: Judge) -> None:
    info = runtime.get("Status", verbose=True).info
    if not info:
        judge.skip(Reason.NOT_ADVERTISED, "Status gives no info")
    for key, value in info.items():
        judge.that(
            "StatusResponse.info.json",
            is_json(value),
            permitted=f"the value of {key!r} is JSON",
            actual=repr(value),
        )


@clause("RuntimeHandler.name.unique")
def test_handler_names_are_unique(runtime: Runtime, judge: Judge) -> None:
    _judge_unique(judge, "RuntimeHandler.name.unique", "handler", _handler_names(runtime, judge))


@clause("RuntimeHandler.name.default-listed")
def test_default_handler_is_listed(runtime: Runtime, judge: Judge) -> None:
    names = _handler_names(runtime, judge)
    judge.that(
        "RuntimeHandler.name.default-listed",
        "" in names,
        permitted="a handler with the empty name",
        actual=f"handlers {names}",
    )


@clause("RuntimeHandler.name.usable")
def test_listed_handlers_are_recorded(runtime: Runtime, judge: Judge) -> None:
    answers = {
        name: "runs" if isinstance(_run_with(runtime, name), Ok) else "refused"
        for name in _handler_names(runtime, judge)
    }
    judge.record("RuntimeHandler.name.usable", f"sandboxes: {answers}")


@clause("RuntimeFeatures.supplemental_groups_policy.policy-accepted")
def test_strict_groups_are_accepted(runtime: Runtime, judge: Judge) -> None:
    _need_groups_policy(runtime, judge)
    sandbox = runtime.sandbox()
    config = runtime.container_config(sandbox)
    config.linux.security_context.supplemental_groups_policy = types.Strict
    accepted = "RuntimeFeatures.supplemental_groups_policy.policy-accepted"
    created = judge.response(accepted, runtime.create(sandbox, config))
    judge.ok(accepted, runtime.call("StartContainer", container_id=created.container_id))


@clause("RuntimeFeatures.supplemental_groups_policy.user-reported")
def test_user_is_reported(runtime: Runtime, judge: Judge) -> None:
    _need_groups_policy(runtime, judge)
    container = runtime.running(runtime.sandbox())
    status = runtime.container_status(container.id)
    judge.that(
        "RuntimeFeatures.supplemental_groups_policy.user-reported",
        status.HasField("user") and status.user.HasField("linux"),
        permitted="ContainerStatus.user.linux is set",
        actual="a running container without it",
        about=(container.id,),
    )


def is_json(text: str) -> bool:
    """Whether a string is one JSON document."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _condition_types(runtime: Runtime) -> list[str]:
    return [condition.type for condition in runtime.get("Status").status.conditions]


def _handler_names(runtime: Runtime, judge: Judge) -> list[str]:
    """Names of the listed handlers; ends the test where the runtime lists none."""
    handlers = runtime.get("Status").runtime_handlers
    if not handlers:
        judge.skip(Reason.NOT_ADVERTISED, "Status lists no runtime handlers")
    return [handler.name for handler in handlers]


def _judge_unique(judge: Judge, clause_id: str, what: str, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    judge.that(
        clause_id, not twice, permitted=f"every {what} once", actual=f"more than once: {twice}"
    )


def _run_with(runtime: Runtime, handler: str) -> object:
    return runtime.run_sandbox(runtime.sandbox_config(), handler)


def _need_groups_policy(runtime: Runtime, judge: Judge) -> None:
    if not runtime.get("Status").features.supplemental_groups_policy:
        judge.skip(Reason.NOT_ADVERTISED, "supplemental_groups_policy")
