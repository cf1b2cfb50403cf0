# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what a container shows of its metadata, labels and annotations.

As with sandboxes, most of them harm only what is long, empty or odd.
"""

from __future__ import annotations

from typing import Any

from cri_conformance.faults import changes
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    add_entry,
    alter,
    alter_keys,
    alter_request,
    answer_error,
    drop,
    edit,
    shift,
)

_STATUS, _LIST = "ContainerStatus", "ListContainers"
_composed = Change("composed", lambda text: text.replace("e\u0301", "\u00e9"))
_unix_lines = Change("unix-lines", lambda text: text.replace("\r\n", "\n"))
_without_prefix = Change("without-prefix", lambda key: key.rpartition("/")[2])
_as_16_bits = Change("as-16-bits", lambda number: number & 0xFFFF)


def _drop_empty(rpc: str, field: str, clause: str) -> Fault:
    """Loses entries with an empty value, as a runtime does that takes empty for absent."""

    def work(response: Any, call: Call, memory: Memory) -> None:
        for one in response.containers if rpc == _LIST else [response.status]:
            entries = getattr(one, field)
            for key in [key for key, value in entries.items() if not value]:
                del entries[key]

    says = f"{field} without a value are lost"
    return fault(clause, edit(f"drop-empty-{rpc}.{field}", rpc, says, work))


def _lose_long_keys(response: Any, call: Call, memory: Memory) -> None:
    for key in [key for key in response.status.labels if len(key) > 128]:
        del response.status.labels[key]


FAULTS: list[Fault] = [
    # -- metadata
    fault(
        "ContainerMetadata.name.in-status", alter(_STATUS, "status.metadata.name", changes.cut(40))
    ),
    fault(
        "ContainerMetadata.name.in-list", alter(_LIST, "containers.metadata.name", changes.cut(40))
    ),
    # Reported as 0 whatever was asked for: pelagos did so.
    fault("ContainerMetadata.attempt.in-status", drop(_STATUS, "status.metadata.attempt")),
    fault("ContainerMetadata.attempt.in-list", drop(_LIST, "containers.metadata.attempt")),
    fault(
        "ContainerMetadata.attempt.in-status",
        shift(_STATUS, "status.metadata.attempt", _as_16_bits),
    ),
    fault(
        "ContainerMetadata.attempt.default-zero",
        shift(
            _STATUS,
            "status.metadata.attempt",
            Change("from-one", lambda number: number or 1),
        ),
        also=["ContainerMetadata.attempt.in-status"],
    ),
    # -- labels
    _drop_empty(_STATUS, "labels", "ContainerStatus.labels.as-sent"),
    _drop_empty(_LIST, "labels", "Container.labels.as-sent"),
    fault("ContainerStatus.labels.as-sent", alter_keys(_STATUS, "status.labels", changes.lower)),
    fault("Container.labels.as-sent", alter(_LIST, "containers.labels[*]", changes.lower)),
    fault(
        "ContainerConfig.labels.admissible-keys",
        answer_error(
            "CreateContainer",
            When(
                "long-key",
                lambda call, memory: any(len(key) > 100 for key in call.request.config.labels),
            ),
            "INVALID_ARGUMENT",
        ),
    ),
    fault(
        "ContainerConfig.labels.admissible-keys",
        edit(
            "loses-long-keys",
            _STATUS,
            "keys of labels above 128 characters are lost",
            _lose_long_keys,
        ),
        also=["ContainerStatus.labels.as-sent"],
    ),
    # -- annotations
    fault(
        "ContainerStatus.annotations.unaltered",
        alter(_STATUS, "status.annotations[*]", changes.strip),
    ),
    fault(
        "ContainerStatus.annotations.unaltered", alter(_STATUS, "status.annotations[*]", _composed)
    ),
    fault("ContainerStatus.annotations.unaltered", add_entry(_STATUS, "status.annotations")),
    _drop_empty(_STATUS, "annotations", "ContainerStatus.annotations.unaltered"),
    fault(
        "Container.annotations.unaltered", alter(_LIST, "containers.annotations[*]", _unix_lines)
    ),
    fault(
        "Container.annotations.unaltered",
        alter_keys(_LIST, "containers.annotations", _without_prefix),
    ),
    fault(
        ["Container.annotations.unaltered", "ContainerStatus.annotations.unaltered"],
        alter_request("CreateContainer", "config.annotations[*]", changes.ascii_only),
    ),
]
