# SPDX-License-Identifier: Apache-2.0
"""Metrics and what describes them.

The kubelet reads the descriptors once and builds its collector from them. Afterwards it
passes on whatever comes, pairing label values with keys by their place: what does not fit
is dropped, and an error or a wrong descriptor leaves it without any metric at all.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.measured import Measured, supported
from cri_conformance.suite.streamed import LOOKS
from cri_conformance.wire.outcome import SetupFailed, answer
from cri_conformance.wire.runtime import Runtime, poll

pytestmark = pytest.mark.xdist_group("measured")

Patience = Callable[[float], float]
_DESCRIBE, _LIST = "ListMetricDescriptors", "ListPodSandboxMetrics"
#: Seconds until a sandbox must have metrics.
_FOLLOWS_WITHIN = 60.0
_CLOCKS_DIFFER = 60 * 10**9
_ROUNDS = 3
_NAME, _KEY = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*"), re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Round:
    """One answer with metrics, and when it was there."""

    pods: list[types.PodSandboxMetrics]
    answered: int

    def all(self) -> Iterator[tuple[str, str, types.Metric]]:
        """(sandbox, container or "", metric) of every one."""
        for pod in self.pods:
            for metric in pod.metrics:
                yield pod.pod_sandbox_id, "", metric
            for container in pod.container_metrics:
                for metric in container.metrics:
                    yield pod.pod_sandbox_id, container.container_id, metric


@dataclass(frozen=True, slots=True)
class Metrics:
    """What was described at first, and what came then."""

    descriptors: list[types.MetricDescriptor]
    rounds: list[Round]

    @property
    def keys(self) -> dict[str, list[str]]:
        return {one.name: list(one.label_keys) for one in self.descriptors}


def _round(runtime: Runtime) -> Round:
    response = answer(supported(runtime.call(_LIST), _LIST), _LIST)
    return Round(list(response.pod_metrics), time.time_ns())


@pytest.fixture(scope="module")
def metrics(module_runtime: Runtime, measured: Measured, patience: Patience) -> Metrics:
    """Descriptors and a few answers; some runtimes need a while until they have the first."""
    outcome = supported(module_runtime.call(_DESCRIBE), _DESCRIBE)
    descriptors = list(answer(outcome, _DESCRIBE).descriptors)
    if not descriptors:
        # What comes without a descriptor is judged all the same.
        return Metrics(descriptors, [_round(module_runtime)])
    wanted = {pod.id for name, pod in measured.ready.items() if name != "empty"}
    rounds: list[Round] = []

    def look() -> set[str]:
        rounds[:] = [_round(module_runtime)]
        return {pod.pod_sandbox_id for pod in rounds[0].pods if pod.ByteSize()}

    try:
        poll(look, lambda seen: wanted <= seen, patience(_FOLLOWS_WITHIN), "metrics")
    except SetupFailed:
        if not rounds:
            raise
    rounds += [_round(module_runtime) for _ in range(_ROUNDS - 1)]
    return Metrics(descriptors, rounds)


# -- descriptors -------------------------------------------------------------------------------


@clause(
    "MetricDescriptor.name.unique",
    "MetricDescriptor.name.valid",
    "MetricDescriptor.label_keys.valid",
    "MetricDescriptor.help.empty",
    "ListMetricDescriptorsResponse.descriptors.delivered",
)
def test_descriptors_are_well_formed(metrics: Metrics, judge: Judge) -> None:
    if not metrics.descriptors:
        judge.skip(Reason.NOT_ADVERTISED, "no metrics are described")
    names = Counter(one.name for one in metrics.descriptors)
    twice = sorted(name for name, times in names.items() if times > 1)
    judge.equal("MetricDescriptor.name.unique", twice, [], "described twice:")
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    judge.equal("MetricDescriptor.name.valid", wrong, [], "no names for Prometheus:")
    for one in metrics.descriptors:
        keys = list(one.label_keys)
        bad = [k for k in keys if not _KEY.fullmatch(k) or k.startswith("__") or keys.count(k) > 1]
        judge.equal("MetricDescriptor.label_keys.valid", bad, [], f"wrong keys of {one.name}:")
    bare = sum(not one.help for one in metrics.descriptors)
    judge.record("MetricDescriptor.help.empty", f"{bare} of {len(names)} without help")
    seen = {metric.name for _, _, metric in metrics.rounds[-1].all()}
    judge.record(
        "ListMetricDescriptorsResponse.descriptors.delivered",
        f"{len(names.keys() - seen)} of {len(names)} described ones did not come",
    )


@clause("RuntimeService.ListMetricDescriptors.static")
def test_descriptors_stay(
    runtime: Runtime, measured: Measured, metrics: Metrics, judge: Judge
) -> None:
    runtime.running(measured.pods["quiet"])
    for _ in range(2):
        now = list(answer(runtime.call(_DESCRIBE), _DESCRIBE).descriptors)
        judge.that(
            "RuntimeService.ListMetricDescriptors.static",
            _as_set(now) == _as_set(metrics.descriptors),
            permitted=f"the {len(metrics.descriptors)} descriptors of before",
            actual=f"{len(_as_set(now) ^ _as_set(metrics.descriptors))} differ",
        )


def _as_set(descriptors: list[types.MetricDescriptor]) -> set[bytes]:
    return {one.SerializeToString(deterministic=True) for one in descriptors}


# -- whose they are ----------------------------------------------------------------------------


@clause(
    "RuntimeService.ListPodSandboxMetrics.all-ready",
    "ListPodSandboxMetricsResponse.pod_metrics.no-duplicates",
    "PodSandboxMetrics.pod_sandbox_id.known",
    "PodSandboxMetrics.container_metrics.own-only",
    "ContainerMetrics.container_id.known",
    "ContainerMetrics.metrics.reported",
)
def test_metrics_belong_to_what_is_there(
    runtime: Runtime, measured: Measured, metrics: Metrics, judge: Judge
) -> None:
    fresh, pods = _looked(runtime)
    wanted = {pod.id for name, pod in measured.ready.items() if name != "empty"}
    owners = {one.id: one.sandbox.id for one in measured.containers.values()}
    containers = {item.id: item.pod_sandbox_id for item in runtime.get("ListContainers").containers}
    ids = [pod.pod_sandbox_id for pod in fresh.pod_metrics]
    if metrics.descriptors:
        judge.that(
            "RuntimeService.ListPodSandboxMetrics.all-ready",
            wanted <= set(ids),
            permitted=f"metrics of the {len(wanted)} sandboxes with running containers",
            actual=f"{len(wanted - set(ids))} of them are missing",
            about=wanted - set(ids),
        )
    else:
        judge.not_exercised(
            "RuntimeService.ListPodSandboxMetrics.all-ready",
            Reason.NOT_ADVERTISED,
            "no metrics are described",
        )
    twice = sorted({one for one in ids if ids.count(one) > 1})
    judge.equal(
        "ListPodSandboxMetricsResponse.pod_metrics.no-duplicates", twice, [], "listed twice:"
    )
    bare = 0
    for pod in fresh.pod_metrics:
        judge.that(
            "PodSandboxMetrics.pod_sandbox_id.known",
            pod.pod_sandbox_id in pods,
            permitted="the full id of a sandbox",
            actual=pod.pod_sandbox_id,
        )
        inside = [one.container_id for one in pod.container_metrics]
        bare += sum(not one.metrics for one in pod.container_metrics)
        if pod.pod_sandbox_id not in wanted:
            continue
        foreign = [
            one for one in inside if owners.get(one, pod.pod_sandbox_id) != pod.pod_sandbox_id
        ]
        foreign += [one for one in inside if inside.count(one) > 1]
        judge.equal(
            "PodSandboxMetrics.container_metrics.own-only", foreign, [], "not its own, or twice:"
        )
        strange = [one for one in inside if one not in containers]
        judge.equal("ContainerMetrics.container_id.known", strange, [], "no ids of containers:")
    judge.record("ContainerMetrics.metrics.reported", f"{bare} containers without metrics")
    for clause_id in judge.unjudged():
        judge.not_exercised(clause_id, Reason.NOT_ADVERTISED, "no such metrics are delivered")


def _looked(runtime: Runtime) -> tuple[types.ListPodSandboxMetricsResponse, set[str]]:
    """The metrics, and the sandboxes that were listed just before or after.

    What comes after the one list and is gone before the other is in neither: where there is
    such a thing they are taken again, as others may be at work on this runtime.
    """

    def listed() -> set[str]:
        return {item.id for item in runtime.get("ListPodSandbox").items}

    for _ in range(LOOKS):
        pods = listed()
        fresh: types.ListPodSandboxMetricsResponse = runtime.get(_LIST)
        pods |= listed()
        if all(pod.pod_sandbox_id in pods for pod in fresh.pod_metrics):
            break
    return fresh, pods


@clause("RuntimeService.ListPodSandboxMetrics.without-limits")
def test_containers_without_limits_have_metrics(
    runtime: Runtime, measured: Measured, judge: Judge
) -> None:
    outcome = supported(runtime.call(_LIST), _LIST)
    judge.ok(
        "RuntimeService.ListPodSandboxMetrics.without-limits",
        outcome,
        about=[measured.containers["idle"].id],
    )


# -- what they say -----------------------------------------------------------------------------


@clause(
    "Metric.name.described",
    "Metric.timestamp.live-or-collected",
    "Metric.metric_type.known",
    "Metric.label_values.as-many-as-keys",
    "Metric.value.set",
)
def test_metrics_are_as_described(measured: Measured, metrics: Metrics, judge: Judge) -> None:
    keys, judged = metrics.keys, 0
    for round_ in metrics.rounds:
        for pod, container, metric in round_.all():
            judged += 1
            about = [container or pod]
            judge.that(
                "Metric.name.described",
                metric.name in keys,
                permitted="the name of a descriptor",
                actual=metric.name,
                about=about,
            )
            known = keys[metric.name]
            judge.that(
                "Metric.label_values.as-many-as-keys",
                len(metric.label_values) == len(known),
                permitted=f"{len(known)} values of {metric.name}, for its keys {known}",
                actual=list(metric.label_values),
                about=about,
            )
            judge.that(
                "Metric.metric_type.known",
                metric.metric_type in types.MetricType.values(),
                permitted="COUNTER or GAUGE",
                actual=f"{metric.metric_type} of {metric.name}",
                about=about,
            )
            judge.that(
                "Metric.value.set",
                metric.HasField("value"),
                permitted=f"a value of {metric.name}",
                actual="none",
                about=about,
            )
            begun = measured.created.get(pod, 0)
            judge.that(
                "Metric.timestamp.live-or-collected",
                not metric.timestamp
                or begun <= metric.timestamp <= round_.answered + _CLOCKS_DIFFER,
                permitted=f"0, or nanoseconds between {begun} and {round_.answered}",
                actual=f"{metric.timestamp} of {metric.name}",
                about=about,
            )
    if not judged:
        judge.skip(Reason.NOT_ADVERTISED, "no metrics are delivered")


@clause("PodSandboxMetrics.metrics.distinct", "Metric.label_values.order-kept")
def test_metrics_can_be_told_apart(metrics: Metrics, judge: Judge) -> None:
    orders: dict[tuple[str, str, tuple[str, ...]], tuple[str, ...]] = {}
    if not any(list(round_.all()) for round_ in metrics.rounds):
        judge.skip(Reason.NOT_ADVERTISED, "no metrics are delivered")
    for round_ in metrics.rounds:
        here: dict[tuple[str, str, tuple[str, ...]], tuple[str, ...]] = {}
        seen: Counter[tuple[str, tuple[str, ...]]] = Counter()
        for pod, container, metric in round_.all():
            values = tuple(metric.label_values)
            seen[metric.name, values] += 1
            here[metric.name, container or pod, tuple(sorted(values))] = values
        twice = [name for name, times in seen.items() if times > 1]
        judge.that(
            "PodSandboxMetrics.metrics.distinct",
            not twice,
            permitted="each name with the same label values once",
            actual=f"{len(twice)} of {len(seen)} twice, as {twice[:1]}",
        )
        for key, values in here.items():
            judge.equal(
                "Metric.label_values.order-kept",
                values,
                orders.setdefault(key, values),
                f"label values of {key[0]}",
                about=[key[1]],
            )


@clause("Metric.metric_type.counter-grows")
def test_counters_never_fall(metrics: Metrics, judge: Judge) -> None:
    latest: dict[tuple[str, str, tuple[str, ...]], int] = defaultdict(int)
    for round_ in metrics.rounds:
        for pod, container, metric in round_.all():
            if metric.metric_type != types.COUNTER:
                continue
            key = (metric.name, container or pod, tuple(metric.label_values))
            judge.that(
                "Metric.metric_type.counter-grows",
                metric.value.value >= latest[key],
                permitted=f"at least {latest[key]} for {metric.name}, as it was before",
                actual=metric.value.value,
                about=[container or pod],
            )
            latest[key] = metric.value.value
    if not latest:
        judge.skip(Reason.NOT_ADVERTISED, "no counters are delivered")


@clause("RuntimeService.ListPodSandboxMetrics.during-churn")
def test_metrics_while_containers_come_and_go(
    runtime: Runtime, measured: Measured, metrics: Metrics, judge: Judge
) -> None:
    def churn() -> None:
        container = runtime.running(measured.pods["quiet"])
        runtime.get("RemoveContainer", container_id=container.id)

    with ThreadPoolExecutor(3) as pool:
        churning = [pool.submit(churn) for _ in range(3)]
        while True:
            over = all(future.done() for future in churning)
            judge.ok("RuntimeService.ListPodSandboxMetrics.during-churn", runtime.call(_LIST))
            if over:
                break
    for future in churning:
        future.result()
