# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for the calls that give figures: whose they are, and which are listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, Operator, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    add_entry,
    add_item,
    alter,
    answer_error,
    change_code,
    delay,
    drop,
    duplicate_item,
    edit_request,
    filter_by,
    ignore_filter,
    leave_out,
    leave_out_one,
    or_filters,
    or_labels,
    remembers_request,
    set_value,
    swallow,
    together,
    waits_for,
)

_ONE, _LIST, _POD, _PODS = (
    "ContainerStats",
    "ListContainerStats",
    "PodSandboxStats",
    "ListPodSandboxStats",
)
_LABELLED = when.given("filter.label_selector")
_RUNNING, _READY = when.in_state("CONTAINER_RUNNING"), when.in_state("SANDBOX_READY")


# -- the calls ---------------------------------------------------------------------------


def _of_another_container(request: Any, call: Call, memory: Memory) -> None:
    running = types.ContainerFilter(state=types.ContainerStateValue(state=types.CONTAINER_RUNNING))
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=running))
    request.container_id = listed.containers[0].id


def _of_another_sandbox(request: Any, call: Call, memory: Memory) -> None:
    ready = types.PodSandboxFilter(state=types.PodSandboxStateValue(state=types.SANDBOX_READY))
    listed = call.upstream("ListPodSandbox", types.ListPodSandboxRequest(filter=ready))
    request.pod_sandbox_id = listed.items[0].id


def _exited_ones(items: list[Any], call: Call) -> Any:
    """An entry for a container that the filter chooses and that has ended."""
    ended = types.ContainerFilter(
        state=types.ContainerStateValue(state=types.CONTAINER_EXITED),
        label_selector=call.request.filter.label_selector,
    )
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=ended))
    for item in listed.containers:
        who = types.ContainerAttributes(id=item.id, metadata=item.metadata)
        return types.ContainerStats(attributes=who)
    return None


def _one_is_stopped(call: Call, memory: Memory) -> bool:
    stopped = types.PodSandboxFilter(
        state=types.PodSandboxStateValue(state=types.SANDBOX_NOTREADY),
        label_selector=call.request.filter.label_selector,
    )
    listed = call.upstream("ListPodSandbox", types.ListPodSandboxRequest(filter=stopped))
    return bool(listed.items)


def _while(removing: str, failing: str) -> Operator:
    """What is asked for while something is being removed fails (a removal takes a moment)."""
    return together(delay(removing, 0.1), answer_error(failing, when.during(removing)))


_CALLS = [
    *(
        fault(f"RuntimeService.{rpc}.{clause}", operator, also=also)
        for rpc in (_ONE, _POD)
        for clause, operator, also in (
            (
                "absent-error",
                swallow(rpc, when=when.unknown),
                [f"RuntimeService.{rpc}.absent-code"],
            ),
            ("absent-code", change_code(rpc, "UNKNOWN", when=when.unknown), []),
            ("empty-id", swallow(rpc, when=when.empty_id), []),
        )
    ),
    fault("RuntimeService.ContainerStats.running-succeeds", answer_error(_ONE, _RUNNING)),
    fault("RuntimeService.PodSandboxStats.ready-succeeds", answer_error(_POD, _READY)),
    fault(
        "RuntimeService.ContainerStats.never-another",
        edit_request(
            "another-runs",
            _ONE,
            "measures another container if this one does not run",
            _of_another_container,
            when=when.in_state("CONTAINER_EXITED"),
        ),
    ),
    fault(
        "RuntimeService.PodSandboxStats.never-another",
        edit_request(
            "another-is-ready",
            _POD,
            "measures another sandbox if this one is stopped",
            _of_another_sandbox,
            when=when.in_state("SANDBOX_NOTREADY"),
        ),
    ),
    *(
        fault(f"RuntimeService.{rpc}.prompt-during-stop", waits_for(rpc, "StopContainer"))
        for rpc in (_ONE, _LIST, _POD, _PODS)
    ),
    fault("ContainerStatsResponse.stats.set", drop(_ONE, "stats", when=_RUNNING)),
    fault("PodSandboxStatsResponse.stats.set", drop(_POD, "stats", when=_READY)),
    fault("ContainerStatsRequest.container_id.names-one", remembers_request(_ONE, "container_id")),
    fault(
        "PodSandboxStatsRequest.pod_sandbox_id.names-one",
        remembers_request(_POD, "pod_sandbox_id"),
    ),
    # -- lists
    fault("RuntimeService.ListContainerStats.all-running", leave_out_one(_LIST, when=_LABELLED)),
    fault("RuntimeService.ListPodSandboxStats.all-ready", leave_out_one(_PODS, when=_LABELLED)),
    fault(
        "RuntimeService.ListContainerStats.only-running",
        add_item(_LIST, _exited_ones, name="exited"),
    ),
    # containerd/containerd#6198: no filter, no figures.
    fault(
        "ListContainerStatsRequest.filter.absent-all",
        leave_out(_LIST, when=when.missing("filter")),
    ),
    fault(
        "ListPodSandboxStatsRequest.filter.absent-all",
        leave_out(_PODS, when=when.missing("filter")),
    ),
    fault("ListContainerStatsResponse.stats.no-duplicates", duplicate_item(_LIST, "stats")),
    fault("ListPodSandboxStatsResponse.stats.no-duplicates", duplicate_item(_PODS, "stats")),
    # containerd/containerd#10013: one that is not ready fails all.
    fault(
        "RuntimeService.ListPodSandboxStats.stopped-harmless",
        answer_error(_PODS, When("one-stopped", _one_is_stopped), "UNAVAILABLE"),
    ),
    fault("RuntimeService.ListContainerStats.during-churn", _while("RemoveContainer", _LIST)),
    # containerd/containerd#9897: "ttrpc: closed", for all.
    fault("RuntimeService.ListPodSandboxStats.during-churn", _while("RemovePodSandbox", _PODS)),
]


# -- filters -----------------------------------------------------------------------------

_several_fields = When(
    "several-fields", lambda call, memory: len(call.request.filter.ListFields()) > 1
)
_empty_filter = When(
    "empty-filter",
    lambda call, memory: call.request.HasField("filter") and not call.request.filter.ListFields(),
)


def _nobodys(field: str) -> When:
    """The filter names an object that was never made in this session."""

    def test(call: Call, memory: Memory) -> bool:
        wanted = getattr(call.request.filter, field)
        return bool(wanted) and not memory.made(wanted)

    return When(f"nobodys-{field}", test)


def _fits_nothing(call: Call, memory: Memory) -> bool:
    if not call.request.filter.label_selector:
        return False
    return not call.upstream(call.rpc, call.request).ByteSize()


def _by_key(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(key in item.labels for key in wanted)


def _in_any_case(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(item.labels.get(key, "").lower() == value.lower() for key, value in wanted.items())


def _absent_as_empty(item: Any, wanted: Mapping[str, str]) -> bool:
    return all(item.labels.get(key, "") == value for key, value in wanted.items())


def _of_filter(rpc: str, message: str) -> list[Fault]:
    selector = "label_selector"
    return [
        fault(f"{message}.fields-anded", or_filters(rpc)),
        fault(f"{message}.fields-anded", ignore_filter(rpc, selector, when=_several_fields)),
        fault(f"{message}.empty-matches-all", leave_out(rpc, when=_empty_filter)),
        fault(f"{message}.id.full-id", ignore_filter(rpc, "id")),
        fault(f"{message}.id.unknown-empty", ignore_filter(rpc, "id", when=_nobodys("id"))),
        fault(f"{message}.id.unknown-empty", answer_error(rpc, _nobodys("id"), "NOT_FOUND")),
        fault(f"{message}.{selector}.exact-value", filter_by(rpc, selector, "by-key", _by_key)),
        fault(
            f"{message}.{selector}.exact-value",
            filter_by(rpc, selector, "in-any-case", _in_any_case),
        ),
        fault(f"{message}.{selector}.entries-anded", or_labels(rpc)),
        fault(
            f"{message}.{selector}.absent-label",
            filter_by(rpc, selector, "absent-as-empty", _absent_as_empty),
        ),
        fault(
            f"{message}.{selector}.unknown-empty",
            answer_error(rpc, When("labels-of-none", _fits_nothing), "NOT_FOUND"),
        ),
    ]


_FILTERS = [
    *_of_filter(_LIST, "ContainerStatsFilter"),
    *_of_filter(_PODS, "PodSandboxStatsFilter"),
    fault(
        "ContainerStatsFilter.pod_sandbox_id.sandbox-only", ignore_filter(_LIST, "pod_sandbox_id")
    ),
    fault(
        "ContainerStatsFilter.pod_sandbox_id.unknown-empty",
        ignore_filter(_LIST, "pod_sandbox_id", when=_nobodys("pod_sandbox_id")),
    ),
    fault(
        "ContainerStatsFilter.pod_sandbox_id.unknown-empty",
        answer_error(_LIST, _nobodys("pod_sandbox_id"), "NOT_FOUND"),
    ),
]


# -- who is meant ------------------------------------------------------------------------


def _attributes(kind: str, one: str, many: str) -> list[Fault]:
    at = f"{kind}Attributes"
    return [
        fault(f"{kind}Stats.attributes.set", drop(one, "stats.attributes")),
        fault(f"{at}.id.known", alter(many, "stats.attributes.id", changes.cut(12))),
        # pelagos#357.
        fault(f"{at}.metadata.as-status", drop(many, "stats.attributes.metadata.attempt"))
        if kind == "Container"
        else fault(f"{at}.metadata.as-status", drop(many, "stats.attributes.metadata.uid")),
        fault(f"{at}.labels.as-status", drop(one, "stats.attributes.labels")),
        fault(f"{at}.labels.as-status", add_entry(many, "stats.attributes.labels")),
        fault(f"{at}.annotations.unaltered", drop(many, "stats.attributes.annotations")),
        fault(f"{at}.annotations.unaltered", drop(one, "stats.attributes.annotations[empty]")),
    ]


_WHO = [
    *_attributes("Container", _ONE, _LIST),
    *_attributes("PodSandbox", _POD, _PODS),
    fault("PodSandboxStats.linux.set", drop(_POD, "stats.linux")),
    fault(
        "PodSandboxStats.windows.unset-on-linux",
        set_value(_POD, "stats.windows", types.WindowsPodSandboxStats()),
    ),
]

FAULTS: list[Fault] = [*_CALLS, *_FILTERS, *_WHO]
