# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for the lists that come as a stream: the same for each of them."""

from __future__ import annotations

from collections.abc import Iterator

from cri_conformance.api.rpcs import RPCS
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.fault import Fault, Operator, fault
from cri_conformance.faults.operators import (
    add_messages,
    alter,
    blocked_by_slow_reader,
    delay,
    ends_after,
    fails_at_end,
    ignore_filter,
    leave_out_one,
    lists_in_parts,
    never_ends,
    repeat_messages,
    together,
)
from cri_conformance.faults.operators.lists import LISTS

#: What of an item a client compares, altered.
_ALTERED = {
    "StreamPodSandboxes": (("metadata.uid",), changes.suffixed("-other")),
    "StreamContainers": (("pod_sandbox_id",), changes.reverse),
    "StreamContainerStats": (("attributes.metadata.name",), changes.suffixed("-other")),
    "StreamPodSandboxStats": (("attributes.metadata.uid",), changes.suffixed("-other")),
    "StreamPodSandboxMetrics": (
        ("metrics.name", "container_metrics.metrics.name"),
        changes.suffixed("_other"),
    ),
    "StreamImages": (("repo_tags",), changes.empty),
}
_IMAGES = "StreamImages"


def _each(rpc: str) -> Iterator[Fault]:
    promise = f"{'ImageService' if rpc == _IMAGES else 'RuntimeService'}.{rpc}."
    paths, change = _ALTERED[rpc]
    parts = LISTS[rpc]
    yield fault(promise + "same-as-list", leave_out_one(rpc))
    yield fault(promise + "each-once", repeat_messages(rpc, "every", lambda _: True))
    yield fault(
        promise + "each-once",
        lists_in_parts(
            rpc, parts, "first-in-two", lambda items: [items[:1], items] if items else []
        ),
    )
    yield fault(promise + "parts-not-empty", _empty_part(rpc))
    yield fault(promise + "ends", never_ends(rpc))
    yield fault(promise + "ends", fails_at_end(rpc))
    yield fault(
        f"{rpc}Response.{parts}.same-as-list",
        together(*(alter(rpc, f"{parts}.{path}", change) for path in paths)),
    )
    if "filter" in RPCS[rpc].request.DESCRIPTOR.fields_by_name:
        yield fault(f"{rpc}Request.filter.same-as-list", ignore_filter(rpc))


def _empty_part(rpc: str) -> Operator:
    return add_messages(rpc, "empty", lambda message, _: [RPCS[rpc].response()])


FAULTS: list[Fault] = [
    *(one for rpc in _ALTERED for one in _each(rpc)),
    # The second part goes missing: nobody sees it where all fits into one.
    fault("RuntimeService.StreamContainers.same-as-list", ends_after("StreamContainers", 1)),
    fault(
        "RuntimeService.StreamPodSandboxes.parts-not-empty",
        lists_in_parts("StreamPodSandboxes", "pod_sandboxes", "one-if-none", lambda items: [items]),
    ),
    fault(
        "RuntimeService.StreamContainers.slow-client",
        blocked_by_slow_reader("StreamContainers", ["ListContainers", "RunPodSandbox"], room=0),
    ),
    fault(
        "RuntimeService.StreamPodSandboxes.slow-client",
        blocked_by_slow_reader("StreamPodSandboxes", ["ListPodSandbox", "RunPodSandbox"], room=0),
    ),
    # So few fit on the way at once: each stream stays, and is waited for, until its client leaves.
    fault(
        "ImageService.StreamImages.reader-leaves",
        together(
            never_ends("StreamImages"),
            blocked_by_slow_reader("StreamImages", ["ListImages"], room=-1),
        ),
        also=["ImageService.StreamImages.ends"],
    ),
    fault(
        "RuntimeService.StreamContainers.during-churn",
        together(
            delay("CreateContainer", 0.02),
            fails_at_end("StreamContainers", "UNKNOWN", when=when.during("CreateContainer")),
        ),
    ),
    fault(
        "RuntimeService.StreamPodSandboxes.during-churn",
        together(
            delay("RunPodSandbox", 0.02),
            fails_at_end("StreamPodSandboxes", "UNKNOWN", when=when.during("RunPodSandbox")),
        ),
    ),
]
