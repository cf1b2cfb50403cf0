# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for the times of a container, its exit code and its reason."""

from __future__ import annotations

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults.changes import Change
from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import alter, copy_field, drop, set_value

_STATUS = "ContainerStatus"
_SECOND = 1_000_000_000
_whole_seconds = Change("whole-seconds", lambda time: time // _SECOND * _SECOND)
_microseconds = Change("in-microseconds", lambda time: time // 1000)


def _created(status: types.ContainerStatus) -> bool:
    return status.state == types.CONTAINER_CREATED


def _running(status: types.ContainerStatus) -> bool:
    return status.state == types.CONTAINER_RUNNING


def _exited(status: types.ContainerStatus) -> bool:
    return status.state == types.CONTAINER_EXITED


def _killed(status: types.ContainerStatus) -> bool:
    return _exited(status) and status.exit_code > 128


def _not_started(status: types.ContainerStatus) -> bool:
    return status.reason == "StartError"


FAULTS: list[Fault] = [
    # -- set, or not
    fault("ContainerStatus.created_at.positive", drop(_STATUS, "status.created_at", where=_exited)),
    fault(
        "ContainerStatus.started_at.zero-before-start",
        copy_field(_STATUS, "status.created_at", "status.started_at", where=_created),
    ),
    fault(
        "ContainerStatus.finished_at.zero-before-exit",
        copy_field(_STATUS, "status.started_at", "status.finished_at", where=_running),
    ),
    fault(
        "ContainerStatus.exit_code.zero-before-exit",
        set_value(_STATUS, "status.exit_code", -1, where=_running),
    ),
    fault(
        "ContainerStatus.started_at.set-when-running",
        drop(_STATUS, "status.started_at", where=_exited),
    ),
    fault(
        "ContainerStatus.finished_at.set-when-exited",
        drop(_STATUS, "status.finished_at", where=_not_started),
        name="no-finish-after-failed-start",
    ),
    fault(
        "ContainerStatus.finished_at.set-when-exited",
        drop(_STATUS, "status.finished_at", where=_killed),
        name="no-finish-after-kill",
    ),
    # -- in order
    fault(
        "ContainerStatus.started_at.not-before-created",
        alter(_STATUS, "status.started_at", changes.plus(-60 * _SECOND)),
    ),
    fault(
        "ContainerStatus.finished_at.not-before-started",
        copy_field(_STATUS, "status.created_at", "status.finished_at", where=_exited),
    ),
    # The clock is looked at when the process runs already: containerd does so up to 2.1 at least,
    # and shows one that ended at once as finished before its start.
    fault(
        "ContainerStatus.finished_at.not-before-started",
        alter(_STATUS, "status.started_at", changes.plus(_SECOND // 50)),
    ),
    fault(
        "ContainerStatus.created_at.increases",
        alter(_STATUS, "status.created_at", _whole_seconds),
    ),
    # -- nanoseconds
    fault(
        "ContainerStatus.created_at.nanoseconds",
        alter(_STATUS, "status.created_at", changes.seconds),
        also=["ContainerStatus.created_at.increases"],
    ),
    fault(
        "ContainerStatus.started_at.nanoseconds",
        alter(_STATUS, "status.started_at", changes.seconds),
        also=["ContainerStatus.started_at.not-before-created"],
    ),
    fault(
        "ContainerStatus.finished_at.nanoseconds",
        alter(_STATUS, "status.finished_at", _microseconds),
        also=["ContainerStatus.finished_at.not-before-started"],
    ),
    # -- how it ended
    fault(
        "ContainerStatus.exit_code.killed-nonzero",
        drop(_STATUS, "status.exit_code", where=_killed),
        name="killed-has-no-code",
    ),
    fault(
        "ContainerStatus.exit_code.failed-start-nonzero",
        drop(_STATUS, "status.exit_code", where=_not_started),
        name="failed-start-has-no-code",
    ),
    fault(
        "ContainerStatus.exit_code.process-code",
        alter(_STATUS, "status.exit_code", Change("as-7-bits", lambda code: code & 0x7F)),
    ),
    fault(
        "ContainerStatus.exit_code.process-code",
        alter(_STATUS, "status.exit_code", Change("as-wait-status", lambda code: code << 8)),
    ),
    fault(
        "ContainerStatus.reason.not-oom",
        set_value(_STATUS, "status.reason", "OOMKilled", where=_killed),
    ),
    fault(
        "ContainerStatus.reason.camel-case",
        set_value(_STATUS, "status.reason", "start error", where=_not_started),
    ),
    fault("ContainerStatus.reason.camel-case", alter(_STATUS, "status.reason", changes.lower)),
]
