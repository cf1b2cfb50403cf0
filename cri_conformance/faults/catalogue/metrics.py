# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for metrics and their descriptors."""

from __future__ import annotations

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter,
    answer_error,
    delay,
    drop,
    duplicate_item,
    falls,
    leave_out,
    leave_out_one,
    set_value,
    together,
)

_DESCRIBE, _LIST = "ListMetricDescriptors", "ListPodSandboxMetrics"
_OF_PODS, _OF_CONTAINERS = "pod_metrics.metrics", "pod_metrics.container_metrics.metrics"


def _one_has_no_limit(call: Call, memory: Memory) -> bool:
    running = types.ContainerFilter(state=types.ContainerStateValue(state=types.CONTAINER_RUNNING))
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=running))
    for item in listed.containers:
        asked = types.ContainerStatusRequest(container_id=item.id)
        if not call.upstream("ContainerStatus", asked).status.HasField("resources"):
            return True
    return False


FAULTS: list[Fault] = [
    # -- descriptors
    fault(
        "RuntimeService.ListMetricDescriptors.static",
        leave_out_one(_DESCRIBE, path="descriptors", when=when.from_time(2)),
    ),
    fault("MetricDescriptor.name.unique", duplicate_item(_DESCRIBE, "descriptors")),
    fault(
        "MetricDescriptor.name.valid",
        alter(_DESCRIBE, "descriptors.name", changes.replaced("_", "-")),
    ),
    fault(
        "MetricDescriptor.label_keys.valid",
        alter(
            _DESCRIBE,
            "descriptors.label_keys",
            Change("dotted", lambda keys: [f"io.kubernetes.{key}" for key in keys]),
        ),
    ),
    fault(
        "MetricDescriptor.label_keys.valid",
        alter(_DESCRIBE, "descriptors.label_keys", Change("twice", lambda keys: [*keys, keys[0]])),
    ),
    # -- whose they are
    fault(
        "RuntimeService.ListPodSandboxMetrics.all-ready",
        leave_out(_LIST, path="pod_metrics"),
    ),
    # containerd commit 6b82f034d.
    fault(
        "RuntimeService.ListPodSandboxMetrics.without-limits",
        answer_error(_LIST, When("one-has-no-limit", _one_has_no_limit)),
    ),
    fault(
        "RuntimeService.ListPodSandboxMetrics.during-churn",
        together(
            delay("RemoveContainer", 0.1),
            answer_error(_LIST, when.during("RemoveContainer")),
        ),
    ),
    fault(
        "ListPodSandboxMetricsResponse.pod_metrics.no-duplicates",
        duplicate_item(_LIST, "pod_metrics"),
    ),
    fault(
        "PodSandboxMetrics.pod_sandbox_id.known",
        alter(_LIST, "pod_metrics.pod_sandbox_id", changes.cut(12)),
    ),
    fault(
        "PodSandboxMetrics.container_metrics.own-only",
        duplicate_item(_LIST, "pod_metrics.container_metrics"),
    ),
    fault(
        "ContainerMetrics.container_id.known",
        alter(_LIST, "pod_metrics.container_metrics.container_id", changes.cut(12)),
    ),
    # -- what they say
    fault("Metric.name.described", leave_out_one(_DESCRIBE, path="descriptors")),
    fault("Metric.name.described", alter(_LIST, f"{_OF_PODS}.name", changes.suffixed("_total"))),
    fault(
        "Metric.timestamp.live-or-collected",
        set_value(_LIST, f"{_OF_PODS}.timestamp", 1_700_000_000),
    ),
    fault("Metric.metric_type.known", set_value(_LIST, f"{_OF_PODS}.metric_type", 7)),
    fault(
        "Metric.metric_type.counter-grows", falls(_LIST, f"{_OF_CONTAINERS}.value.value", 10**12)
    ),
    # cri-o/cri-o commit e43e31772e.
    fault(
        "Metric.label_values.as-many-as-keys",
        alter(_LIST, f"{_OF_CONTAINERS}.label_values", changes.drop_last),
    ),
    fault(
        "Metric.label_values.order-kept",
        alter(_LIST, f"{_OF_CONTAINERS}.label_values", changes.reverse, when=when.every(2)),
    ),
    fault("Metric.value.set", drop(_LIST, f"{_OF_CONTAINERS}.value")),
    fault("PodSandboxMetrics.metrics.distinct", duplicate_item(_LIST, _OF_CONTAINERS)),
]
