# SPDX-License-Identifier: Apache-2.0
"""The streamed lists, each with the twin that answers all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge
from cri_conformance.wire.outcome import Ok, Refused
from cri_conformance.wire.runtime import Runtime
from cri_conformance.wire.stream import Stream

#: Seconds that the kubelet gives a list, streamed or not, by default: two minutes; here less.
WITHIN = 20.0


def _own_id(item: Any) -> str:
    return str(item.id)


def _attributes_id(item: Any) -> str:
    return str(item.attributes.id)


def _sandbox_id(item: Any) -> str:
    return str(item.pod_sandbox_id)


def _whole(item: Any) -> Any:
    return item


def _attributes(item: Any) -> Any:
    return item.attributes


def _metrics(item: Any) -> Any:
    """The part of a sandbox's metrics that does not move on with time."""
    of_containers = {
        one.container_id: sorted({metric.name for metric in one.metrics})
        for one in item.container_metrics
    }
    return sorted({metric.name for metric in item.metrics}), of_containers


#: How often a stream is taken while things come and go between two lists.
LOOKS = 8


@dataclass(frozen=True, slots=True)
class Twin:
    """A streamed list. ``listed`` and ``parts`` are the fields with the items.

    ``steady`` is what of an item stays the same while the object does.
    """

    rpc: str
    lister: str
    listed: str
    parts: str
    key: Callable[[Any], str] = _own_id
    steady: Callable[[Any], Any] = _whole
    #: Whether both calls take a filter, of the same type.
    filtered: bool = True

    def clause(self, promise: str) -> str:
        """The id of a clause of the call itself."""
        service = "ImageService" if self.rpc == "StreamImages" else "RuntimeService"
        return f"{service}.{self.rpc}.{promise}"

    @property
    def slow_clause(self) -> str:
        """That of slow clients, where the call has one."""
        return self.clause("reader-leaves" if self.rpc == "StreamImages" else "slow-client")

    @property
    def filter_clause(self) -> str:
        return f"{self.rpc}Request.filter.same-as-list"

    @property
    def item_clause(self) -> str:
        return f"{self.rpc}Response.{self.parts}.same-as-list"

    def items(self, stream: Stream) -> list[Any]:
        """All items that came, in order."""
        return [item for part in stream.messages for item in getattr(part, self.parts)]

    def list_all(self, runtime: Runtime, judge: Judge, wanted: Any = None) -> dict[str, Any]:
        """What the twin lists, by id. Ends the test if the runtime has no such call."""
        fields = {} if wanted is None else {"filter": wanted}
        outcome = runtime.call(self.lister, **fields)
        if isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
            judge.skip(Reason.YOUNGER, f"the runtime has no {self.lister}")
        response = outcome.response if isinstance(outcome, Ok) else runtime.get(self.lister)
        return {self.key(item): item for item in getattr(response, self.listed)}

    def stream(self, runtime: Runtime, judge: Judge, within: float, wanted: Any = None) -> Stream:
        """The stream, taken to its end, which must be a good one and come in time."""
        fields = {} if wanted is None else {"filter": wanted}
        stream = runtime.stream(self.rpc, deadline=within + 5, **fields)
        outcome = stream.finish(within)
        judge.that(
            self.clause("ends"),
            isinstance(outcome, Ok),
            permitted=f"the stream is closed without an error within {within:g} s",
            actual=outcome or "it is still open",
        )
        return stream

    def looks(
        self, runtime: Runtime, judge: Judge, within: float, wanted: Any = None
    ) -> tuple[dict[str, Any], Stream, dict[str, Any]]:
        """A list, a stream, and a list again.

        What comes after the first and is gone before the last shows in the stream alone: where
        there is such a thing they are taken again, as others may be at work on this runtime.
        """
        for _ in range(LOOKS):
            before = self.list_all(runtime, judge, wanted)
            stream = self.stream(runtime, judge, within, wanted)
            after = self.list_all(runtime, judge, wanted)
            if all(
                self.key(item) in before or self.key(item) in after for item in self.items(stream)
            ):
                break
        return before, stream, after

    def ours(self, runtime: Runtime, name: str) -> bool:
        """Whether nobody else changes what an item tells of."""
        return self.rpc == "StreamImages" or name in runtime.workshop.ids

    def whole(self, judge: Judge, stream: Stream) -> None:
        """Judge what holds of the parts of any stream."""
        ids = [self.key(item) for item in self.items(stream)]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        judge.that(
            self.clause("each-once"),
            not twice,
            permitted="each item once",
            actual=f"more than once: {', '.join(twice[:3])}",
            about=twice[:2],
        )
        empty = [n for n, part in enumerate(stream.messages) if not getattr(part, self.parts)]
        judge.that(
            self.clause("parts-not-empty"),
            not empty,
            permitted="at least one item in each part",
            actual=f"of {len(stream.messages)} parts these are empty: {empty[:5]}",
        )

    def compare(
        self, judge: Judge, clause_id: str, came: Iterable[str], lists: Sequence[Iterable[str]]
    ) -> None:
        """Judge a stream's ids against those of lists taken before and after it."""
        seen, always, ever = set(came), set(lists[0]).intersection(*lists), set(chain(*lists))
        missing, surplus = sorted(always - seen), sorted(seen - ever)
        judge.that(
            clause_id,
            not missing and not surplus,
            permitted=f"the {len(always)} that {self.lister} lists",
            actual=f"{len(missing)} missing ({', '.join(missing[:3])}), "
            f"{len(surplus)} that are not listed ({', '.join(surplus[:3])})",
            about=[*missing[:2], *surplus[:2]],
        )


SANDBOXES = Twin("StreamPodSandboxes", "ListPodSandbox", "items", "pod_sandboxes")
CONTAINERS = Twin("StreamContainers", "ListContainers", "containers", "containers")
IMAGES = Twin("StreamImages", "ListImages", "images", "images")
TWINS = (
    SANDBOXES,
    CONTAINERS,
    Twin(
        *("StreamContainerStats", "ListContainerStats", "stats", "container_stats"),
        key=_attributes_id,
        steady=_attributes,
    ),
    Twin(
        *("StreamPodSandboxStats", "ListPodSandboxStats", "stats", "pod_sandbox_stats"),
        key=_attributes_id,
        steady=_attributes,
    ),
    Twin(
        *("StreamPodSandboxMetrics", "ListPodSandboxMetrics", "pod_metrics"),
        "pod_sandbox_metrics",
        key=_sandbox_id,
        steady=_metrics,
        filtered=False,
    ),
    IMAGES,
)
