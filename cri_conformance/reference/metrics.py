# SPDX-License-Identifier: Apache-2.0
"""Metrics: the figures again, each under a name that was described beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cri_conformance.api import types
from cri_conformance.reference import usage
from cri_conformance.reference.state import Sandbox
from cri_conformance.reference.stats import Measured, Stats, sum_of

_POD = ("namespace", "pod", "id")
_CONTAINER = ("namespace", "pod", "container", "id")
_COUNTER, _GAUGE = types.COUNTER, types.GAUGE
#: Values of further labels, with the number; no number where it can't be measured.
_Numbers = dict[tuple[str, ...], int | None]


@dataclass(frozen=True, slots=True)
class _Metric:
    """``keys`` are further labels, after those that name the object."""

    name: str
    help: str
    type: types.MetricType.ValueType
    numbers: Callable[[usage.Usage, types.ContainerStats], _Numbers]
    keys: tuple[str, ...] = ()

    def describe(self, names: tuple[str, ...]) -> types.MetricDescriptor:
        return types.MetricDescriptor(
            name=self.name, help=self.help, label_keys=[*names, *self.keys]
        )

    def values(
        self, names: tuple[str, ...], used: usage.Usage, stats: types.ContainerStats
    ) -> list[types.Metric]:
        # Measured as they are asked for: the timestamp stays 0.
        return [
            types.Metric(
                name=self.name,
                metric_type=self.type,
                label_values=[*names, *further],
                value=types.UInt64Value(value=number),
            )
            for further, number in self.numbers(used, stats).items()
            if number is not None
        ]


_OF_PODS = (
    _Metric(
        "pod_cpu_usage_nanoseconds",
        "Processor time of all containers that run.",
        _GAUGE,
        lambda used, _: {(): used.work.cpu},
    ),
    _Metric(
        "pod_processes",
        "Processes of all containers.",
        _GAUGE,
        lambda used, _: {(): used.processes},
    ),
)
_OF_CONTAINERS = (
    _Metric(
        "container_cpu_usage_nanoseconds_total",
        "Processor time since the start.",
        _COUNTER,
        lambda used, _: {(): used.work.cpu},
    ),
    _Metric(
        "container_memory_usage_bytes",
        "Resident memory of all processes.",
        _GAUGE,
        lambda used, _: {(): used.memory.resident if used.memory else None},
    ),
    _Metric(
        "container_memory_rss_bytes",
        "Anonymous memory of all processes.",
        _GAUGE,
        lambda used, _: {(): used.memory.anonymous if used.memory else None},
    ),
    _Metric(
        "container_page_faults_total",
        "Page faults since the start.",
        _COUNTER,
        lambda used, _: {
            ("minor",): used.work.minor_faults,
            ("major",): used.work.major_faults,
        },
        ("kind",),
    ),
    _Metric(
        "container_processes",
        "Processes.",
        _GAUGE,
        lambda used, _: {(): used.processes},
    ),
    _Metric(
        "container_fs_usage_bytes",
        "Disk space of what the container has written.",
        _GAUGE,
        lambda _, stats: {(): stats.writable_layer.used_bytes.value},
    ),
)


class Metrics:
    """The calls about metrics."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def ListMetricDescriptors(
        self, _: types.ListMetricDescriptorsRequest
    ) -> types.ListMetricDescriptorsResponse:
        """Always the same."""
        descriptors = [metric.describe(_POD) for metric in _OF_PODS]
        descriptors += [metric.describe(_CONTAINER) for metric in _OF_CONTAINERS]
        return types.ListMetricDescriptorsResponse(descriptors=descriptors)

    def ListPodSandboxMetrics(
        self, _: types.ListPodSandboxMetricsRequest
    ) -> types.ListPodSandboxMetricsResponse:
        """Of all sandboxes, oldest first, with their running containers."""
        return types.ListPodSandboxMetricsResponse(
            pod_metrics=[
                _pod_metrics(sandbox, running) for sandbox, running in self._stats.sandboxes()
            ]
        )


def _pod_metrics(sandbox: Sandbox, running: list[Measured]) -> types.PodSandboxMetrics:
    pod = sandbox.item.metadata
    names = (pod.namespace, pod.name, sandbox.id)
    of_pod = types.PodSandboxMetrics(pod_sandbox_id=sandbox.id)
    for metric in _OF_PODS:
        of_pod.metrics.extend(metric.values(names, sum_of(running), types.ContainerStats()))
    for one in running:
        container = one.container
        name = container.item.metadata.name
        of_container = of_pod.container_metrics.add(container_id=container.id)
        for metric in _OF_CONTAINERS:
            of_container.metrics.extend(
                metric.values((pod.namespace, pod.name, name, container.id), one.usage, one.stats)
            )
    return of_pod
