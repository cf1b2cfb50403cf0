# SPDX-License-Identifier: Apache-2.0
"""What the list calls select.

All fields of a filter that are set must match. Ids match whole, never by their
beginning: a shortened id that fits one object today fits two tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cri_conformance.api import types


def sandboxes(
    items: Iterable[types.PodSandbox], wanted: types.PodSandboxFilter
) -> list[types.PodSandbox]:
    """The sandboxes that match."""
    state = wanted.state.state if wanted.HasField("state") else None
    return [
        item
        for item in items
        if wanted.id in ("", item.id)
        and state in (None, item.state)
        and _labelled(item.labels, wanted.label_selector)
    ]


def containers(
    items: Iterable[types.Container], wanted: types.ContainerFilter
) -> list[types.Container]:
    """The containers that match."""
    state = wanted.state.state if wanted.HasField("state") else None
    return [
        item
        for item in items
        if wanted.id in ("", item.id)
        and wanted.pod_sandbox_id in ("", item.pod_sandbox_id)
        and state in (None, item.state)
        and _labelled(item.labels, wanted.label_selector)
    ]


def _labelled(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    # A label that is not there must not match an empty value; get() tells them apart.
    return all(labels.get(key) == value for key, value in selector.items())


def sandbox_figures(item: types.PodSandbox, wanted: types.PodSandboxStatsFilter) -> bool:
    """Whether a sandbox is to be measured."""
    return wanted.id in ("", item.id) and _labelled(item.labels, wanted.label_selector)


def container_figures(item: types.Container, wanted: types.ContainerStatsFilter) -> bool:
    """Whether a container is to be measured, if it runs."""
    return (
        wanted.id in ("", item.id)
        and wanted.pod_sandbox_id in ("", item.pod_sandbox_id)
        and _labelled(item.labels, wanted.label_selector)
    )
