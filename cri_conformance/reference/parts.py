# SPDX-License-Identifier: Apache-2.0
"""Lists as streams: what a list call answers, in parts.

Each streamed list has a twin that answers all at once, and is made of its answer: so the
two can't differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api.rpcs import RPCS

#: Items in one part: few, so that clients meet lists in several parts.
PART = 16

#: The twin of each, the field of its answer that has the items, and that of a part.
TWINS = {
    "StreamPodSandboxes": ("ListPodSandbox", "items", "pod_sandboxes"),
    "StreamContainers": ("ListContainers", "containers", "containers"),
    "StreamContainerStats": ("ListContainerStats", "stats", "container_stats"),
    "StreamPodSandboxStats": ("ListPodSandboxStats", "stats", "pod_sandbox_stats"),
    "StreamPodSandboxMetrics": ("ListPodSandboxMetrics", "pod_metrics", "pod_sandbox_metrics"),
    "StreamImages": ("ListImages", "images", "images"),
}


def stream(
    rpc: str, request: Any, call: Callable[[str], Callable[[Any], Message]]
) -> Iterator[Message]:
    """The answer to a streamed list; ``call`` gives what answers a call. Raises StatusError.

    A part is never empty: of a list without items comes nothing but the end.
    """
    twin, listed, parts = TWINS[rpc]
    asked = RPCS[twin].request()
    if "filter" in RPCS[rpc].request.DESCRIPTOR.fields_by_name:
        asked.filter.CopyFrom(request.filter)  # type: ignore[attr-defined]
    items = getattr(call(twin)(asked), listed)
    return _cut(RPCS[rpc].response, parts, items)


def _cut(response: type[Message], field: str, items: Any) -> Iterator[Message]:
    for first in range(0, len(items), PART):
        yield response(**{field: items[first : first + PART]})
