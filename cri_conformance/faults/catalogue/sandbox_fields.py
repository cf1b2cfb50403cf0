# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what a sandbox shows of its metadata, labels and annotations.

Most of them harm only what is long, empty or odd, as real runtimes do: a fault that
spoils every value would be found by the dullest of tests.
"""

from __future__ import annotations

from collections.abc import Callable

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import (
    add_entry,
    alter,
    alter_keys,
    answer_error,
    drop,
    edit,
    set_value,
    shift,
    swap,
)

_STATUS, _LIST = "PodSandboxStatus", "ListPodSandbox"
_AGREES = "RuntimeService.ListPodSandbox.agrees-with-status"


def _config(name: str, test: Callable[[types.PodSandboxConfig], bool]) -> When:
    """The config of RunPodSandbox is like this."""
    return When(name, lambda call, memory: test(call.request.config))


_composed = Change("composed", lambda text: text.replace("e\u0301", "\u00e9"))
_unix_lines = Change("unix-lines", lambda text: text.replace("\r\n", "\n"))
_without_prefix = Change("without-prefix", lambda key: key.rpartition("/")[2])


def _drop_empty(rpc: str, holder: str, field: str) -> Fault:
    """Loses entries with an empty value, as a runtime does that takes empty for absent."""

    def work(response: object, call: object, memory: object) -> None:
        held = getattr(response, holder)
        for one in held if rpc == _LIST else [held]:
            entries = getattr(one, field)
            for key in [key for key, value in entries.items() if not value]:
                del entries[key]

    kind = "PodSandbox" if rpc == _LIST else "PodSandboxStatus"
    clause = "labels.as-sent" if field == "labels" else "annotations.identical"
    return fault(
        f"{kind}.{clause}",
        edit(f"drop-empty-{rpc}.{holder}.{field}", rpc, f"{field} without a value are lost", work),
        also=[_AGREES],
    )


FAULTS: list[Fault] = [
    # -- metadata
    fault(
        "PodSandboxMetadata.name.in-status",
        alter(_STATUS, "status.metadata.name", changes.cut(128)),
    ),
    fault("PodSandboxMetadata.name.in-list", alter(_LIST, "items.metadata.name", changes.cut(128))),
    fault(
        ["PodSandboxMetadata.uid.in-status", "PodSandboxMetadata.namespace.in-status"],
        swap(_STATUS, "status.metadata.uid", "status.metadata.namespace"),
    ),
    fault(
        "PodSandboxMetadata.uid.in-list",
        alter(_LIST, "items.metadata.uid", changes.replaced("-", "")),
        also=[_AGREES],
    ),
    fault(
        "PodSandboxMetadata.namespace.in-list",
        alter(_LIST, "items.metadata.namespace", changes.cut(32)),
        also=[_AGREES],
    ),
    fault(
        "PodSandboxMetadata.namespace.in-list",
        set_value(_LIST, "items.metadata.namespace", "default"),
        also=[_AGREES],
    ),
    # Reported as 0 whatever was asked for: pelagos did so.
    fault("PodSandboxMetadata.attempt.in-status", drop(_STATUS, "status.metadata.attempt")),
    fault(
        "PodSandboxMetadata.attempt.in-list", drop(_LIST, "items.metadata.attempt"), also=[_AGREES]
    ),
    fault(
        "PodSandboxMetadata.attempt.in-list",
        shift(_LIST, "items.metadata.attempt", Change("as-16-bits", lambda n: n & 0xFFFF)),
        also=[_AGREES],
    ),
    # -- labels
    _drop_empty(_STATUS, "status", "labels"),
    _drop_empty(_LIST, "items", "labels"),
    fault(
        "PodSandboxStatus.labels.as-sent",
        alter_keys(_STATUS, "status.labels", changes.lower),
        also=[_AGREES],
    ),
    fault(
        "PodSandbox.labels.as-sent",
        alter(_LIST, "items.labels[*]", changes.lower),
        also=[_AGREES],
    ),
    # -- annotations
    fault(
        "PodSandboxStatus.annotations.identical",
        alter(_STATUS, "status.annotations[*]", changes.strip),
        also=[_AGREES],
    ),
    fault(
        "PodSandboxStatus.annotations.identical",
        alter(_STATUS, "status.annotations[*]", _composed),
        also=[_AGREES],
    ),
    fault(
        "PodSandboxStatus.annotations.identical",
        add_entry(_STATUS, "status.annotations"),
        also=[_AGREES, "PodSandboxStatus.annotations.unaltered-later"],
    ),
    _drop_empty(_STATUS, "status", "annotations"),
    fault(
        "PodSandbox.annotations.identical",
        alter(_LIST, "items.annotations[*]", _unix_lines),
        also=[_AGREES],
    ),
    fault(
        "PodSandbox.annotations.identical",
        alter(_LIST, "items.annotations[*]", changes.ascii_only),
        also=[_AGREES],
    ),
    fault(
        "PodSandbox.annotations.identical",
        alter_keys(_LIST, "items.annotations", _without_prefix),
        also=[_AGREES],
    ),
    # -- what is accepted
    fault(
        "PodSandboxConfig.labels.admissible-forms",
        answer_error(
            "RunPodSandbox",
            _config("key-over-253", lambda c: any(len(key) > 253 for key in c.labels)),
            "INVALID_ARGUMENT",
        ),
    ),
    fault(
        "PodSandboxConfig.labels.admissible-forms",
        answer_error(
            "RunPodSandbox",
            _config("label-without-value", lambda c: "" in c.labels.values()),
            "INVALID_ARGUMENT",
        ),
    ),
    fault(
        "PodSandboxConfig.annotations.admissible-forms",
        answer_error(
            "RunPodSandbox",
            _config(
                "annotations-over-128k",
                lambda c: sum(map(len, c.annotations.values())) > 128 * 1024,
            ),
            "INVALID_ARGUMENT",
        ),
    ),
    fault(
        "PodSandboxConfig.annotations.admissible-forms",
        answer_error(
            "RunPodSandbox",
            _config("line-break", lambda c: any("\n" in value for value in c.annotations.values())),
            "INVALID_ARGUMENT",
        ),
    ),
]
