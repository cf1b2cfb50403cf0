# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what the lists hold, without a filter and with one.

The two lists promise the same under different names, so most faults come in pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    Which,
    add_item,
    answer_error,
    duplicate_item,
    filter_by,
    ignore_filter,
    in_list_state,
    leave_out,
    or_filters,
    or_labels,
    set_request,
    shift,
    state_as,
)

SANDBOXES, CONTAINERS = "ListPodSandbox", "ListContainers"
_ID = "f" * 64


# -- when --------------------------------------------------------------------------------

_no_filter = When("no-filter", lambda call, memory: not call.request.HasField("filter"))
_empty_filter = When(
    "empty-filter",
    lambda call, memory: call.request.HasField("filter") and not call.request.filter.ListFields(),
)
_zero_state = When(
    "zero-state",
    lambda call, memory: (
        call.request.filter.HasField("state") and not call.request.filter.state.state
    ),
)
_several_fields = When(
    "several-fields", lambda call, memory: len(call.request.filter.ListFields()) > 1
)
_several_labels = When(
    "several-labels", lambda call, memory: len(call.request.filter.label_selector) > 1
)


def _unknown(field: str) -> When:
    """The filter names an object that there is not, and never was."""

    def test(call: Call, memory: Memory) -> bool:
        wanted = getattr(call.request.filter, field)
        lister = call.rpc if field == "id" else SANDBOXES
        return bool(wanted) and not memory.made(wanted) and wanted not in _ids(call, lister)

    return When(f"unknown-{field}", test)


def _ids(call: Call, lister: str) -> set[str]:
    if lister == SANDBOXES:
        return {one.id for one in call.upstream(lister, types.ListPodSandboxRequest()).items}
    return {one.id for one in call.upstream(lister, types.ListContainersRequest()).containers}


def _fits_nothing(call: Call, memory: Memory) -> bool:
    if not call.request.filter.label_selector:
        return False
    return not call.upstream(call.rpc, call.request).ByteSize()


_no_match = When("labels-of-none", _fits_nothing)


# -- how labels may be mistaken ----------------------------------------------------------


def _by_key(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(key in item.labels for key in wanted)


def _by_part(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(
        key in item.labels and item.labels[key].startswith(value) for key, value in wanted.items()
    )


def _in_any_case(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(
        key in item.labels and item.labels[key].lower() == value.lower()
        for key, value in wanted.items()
    )


def _absent_as_empty(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(item.labels.get(key, "") == value for key, value in wanted.items())


def _first_only(item: Any, wanted: Mapping[str, str]) -> bool:
    first = min(wanted)
    return bool(item.labels.get(first) == wanted[first])


def _same_start(item: Any, wanted: str) -> bool:
    return bool(item.id[:1] == wanted[:1])


@dataclass(frozen=True, slots=True)
class _Names:
    """The clauses of one list that both lists have."""

    rpc: str
    absent: str
    #: A state that no list without a filter may lack.
    last: Which
    empty: str
    one: str
    unknown: str
    zero: str
    anded: str
    exact: str
    labels: str
    no_label: str
    no_match: str
    once: str


def _both(names: _Names) -> list[Fault]:
    rpc, selector = names.rpc, "label_selector"
    return [
        fault(names.absent, leave_out(rpc, names.last, when=_no_filter)),
        fault(names.empty, leave_out(rpc, names.last, when=_empty_filter)),
        fault(names.one, ignore_filter(rpc, "id")),
        fault(names.one, filter_by(rpc, "id", "by-first-letter", _same_start)),
        fault(names.unknown, ignore_filter(rpc, "id", when=_unknown("id"))),
        fault(names.unknown, answer_error(rpc, _unknown("id"), "NOT_FOUND")),
        fault(names.zero, ignore_filter(rpc, "state", when=_zero_state)),
        fault(names.anded, or_filters(rpc)),
        fault(names.anded, ignore_filter(rpc, selector, when=_several_fields)),
        fault(names.anded, ignore_filter(rpc, "state", when=_several_fields)),
        fault(names.exact, filter_by(rpc, selector, "by-key", _by_key)),
        fault(names.exact, filter_by(rpc, selector, "by-beginning", _by_part)),
        fault(names.exact, filter_by(rpc, selector, "in-any-case", _in_any_case)),
        fault(names.labels, or_labels(rpc)),
        fault(
            names.labels, filter_by(rpc, selector, "by-first", _first_only, when=_several_labels)
        ),
        fault(names.no_label, filter_by(rpc, selector, "absent-as-empty", _absent_as_empty)),
        fault(names.no_match, answer_error(rpc, _no_match, "NOT_FOUND")),
        # CRI-O listed a container twice that passes two filters.
        fault(names.once, duplicate_item(rpc, when=_several_fields)),
    ]


FAULTS: list[Fault] = [
    *_both(
        _Names(
            rpc=SANDBOXES,
            absent="ListPodSandboxRequest.filter.absent-all",
            last=in_list_state(types.SANDBOX_NOTREADY, "notready"),
            empty="PodSandboxFilter.empty-matches-all",
            one="PodSandboxFilter.id.only-that-one",
            unknown="PodSandboxFilter.id.unknown-empty",
            zero="PodSandboxStateValue.state.zero-selects-ready",
            anded="PodSandboxFilter.fields-anded",
            exact="PodSandboxFilter.label_selector.exact-pair",
            labels="PodSandboxFilter.label_selector.pairs-anded",
            no_label="PodSandboxFilter.label_selector.empty-value",
            no_match="PodSandboxFilter.label_selector.no-match-empty",
            once="RuntimeService.ListPodSandbox.each-once",
        )
    ),
    *_both(
        _Names(
            rpc=CONTAINERS,
            absent="ListContainersRequest.filter.absent-lists-all",
            last=in_list_state(types.CONTAINER_EXITED, "exited"),
            empty="ContainerFilter.empty-matches-all",
            one="ContainerFilter.id.full-id",
            unknown="ContainerFilter.id.unknown-empty",
            zero="ContainerStateValue.state.zero-is-created",
            anded="ContainerFilter.fields-anded",
            exact="ContainerFilter.label_selector.exact-value",
            labels="ContainerFilter.label_selector.entries-anded",
            no_label="ContainerFilter.label_selector.absent-label",
            no_match="ContainerFilter.label_selector.unknown-empty",
            once="ListContainersResponse.containers.no-duplicates",
        )
    ),
    # -- sandboxes alone
    fault(
        "PodSandboxFilter.state.ready-only",
        leave_out(SANDBOXES, when=when.requested("filter.state.state", types.SANDBOX_READY)),
    ),
    fault(
        "PodSandboxFilter.state.notready-only",
        ignore_filter(
            SANDBOXES,
            "state",
            when=when.requested("filter.state.state", types.SANDBOX_NOTREADY),
        ),
    ),
    # As if a state that isn't given were the zero value.
    fault(
        "PodSandboxFilter.state.absent-any",
        set_request(
            SANDBOXES,
            "filter.state",
            types.PodSandboxStateValue(),
            when=when.missing("filter.state") & when.given("filter.label_selector"),
        ),
    ),
    fault(
        "RuntimeService.ListPodSandbox.agrees-with-status",
        state_as(SANDBOXES, "items.state", types.SANDBOX_NOTREADY, types.SANDBOX_READY),
    ),
    fault(
        "RuntimeService.ListPodSandbox.agrees-with-status",
        shift(SANDBOXES, "items.created_at", changes.plus(1)),
    ),
    # -- containers alone
    fault(
        "ContainerFilter.pod_sandbox_id.sandbox-only", ignore_filter(CONTAINERS, "pod_sandbox_id")
    ),
    fault(
        "ContainerFilter.pod_sandbox_id.sandbox-only",
        leave_out(
            CONTAINERS,
            in_list_state(types.CONTAINER_EXITED, "exited"),
            when=when.given("filter.pod_sandbox_id"),
        ),
    ),
    fault(
        "ContainerFilter.pod_sandbox_id.unknown-empty",
        ignore_filter(CONTAINERS, "pod_sandbox_id", when=_unknown("pod_sandbox_id")),
    ),
    fault(
        "ContainerFilter.pod_sandbox_id.unknown-empty",
        answer_error(CONTAINERS, _unknown("pod_sandbox_id"), "NOT_FOUND"),
    ),
    fault(
        "ContainerFilter.state.exact-state",
        ignore_filter(
            CONTAINERS,
            "state",
            when=when.requested("filter.state.state", types.CONTAINER_RUNNING),
        ),
    ),
    fault(
        "ContainerFilter.state.exact-state",
        leave_out(CONTAINERS, when=when.requested("filter.state.state", types.CONTAINER_EXITED)),
    ),
    fault(
        "ListContainersResponse.containers.each-has-status",
        add_item(CONTAINERS, types.Container(id=_ID), when=_no_filter, name="ghost"),
    ),
]
