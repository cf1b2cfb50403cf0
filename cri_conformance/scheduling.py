# SPDX-License-Identifier: Apache-2.0
"""Which process of ``-n`` runs which files, and which files come first."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

#: Files whose tests look at the same costly objects, which each process makes for itself.
TOGETHER = {
    "measured": (
        *("test_stats_answers", "test_stats_figures", "test_stats_filters"),
        *("test_stats_meanwhile", "test_stats_memory", "test_stats_pods", "test_metrics"),
    ),
    "population": ("test_filters_containers", "test_filters_sandboxes", "test_streamed_lists"),
    "cells": (
        *("test_namespaces", "test_user_namespaces", "test_security_any"),
        *("test_security_capabilities", "test_security_files", "test_security_privileged"),
        *("test_security_profiles", "test_security_sandbox", "test_security_users"),
    ),
    "ended": (
        *("test_container_creation", "test_container_fields", "test_container_lifecycle"),
        *("test_container_logs", "test_container_status", "test_container_times"),
        "test_sandbox_status",
    ),
    "ports": ("test_port_forward", "test_port_forward_targets", "test_port_mappings"),
}
#: How node ids of the suite begin, wherever it is installed.
_SUITE = "cri_conformance/suite/"
_GROUP = {file: group for group, files in TOGETHER.items() for file in files}

#: Seconds of an average test, and of those files that the number of their tests says least of, as
#: measured on containerd. They only decide what begins first.
AVERAGE = 0.35
SECONDS = {
    "test_stateful": 14.0,
    "test_images_stateful": 5.0,
    "test_retry": 16.0,
    "test_image_fs": 8.0,
    "test_side_by_side": 8.0,
    "test_event_clients": 7.0,
    "test_security_any": 8.0,
    "test_exec_end": 7.0,
    "test_processes_gone": 8.0,
    "test_log_rotation": 4.0,
    "test_leftovers": 4.0,
    "test_grace": 10.0,
}


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of one file, and files that share objects, go to one process; the longest begin."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return _GROUP.get(_stem(file), file)

    def _assign_work_unit(self, node: Any) -> None:
        # What takes longest must not be left for one process to end while the others idle.
        longest = max(self.workqueue, key=lambda scope: _seconds(self.workqueue[scope]))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)


def _seconds(unit: dict[str, bool]) -> float:
    """About how long the tests of a unit take."""
    counts: dict[str, int] = {}
    for nodeid in unit:
        stem = _stem(nodeid.split("::", 1)[0])
        counts[stem] = counts.get(stem, 0) + 1
    return sum(SECONDS.get(stem, AVERAGE * number) for stem, number in counts.items())


def _stem(file: str) -> str:
    """A file of the suite by its name alone; one of a vendor's by its path."""
    return file.removeprefix(_SUITE).removesuffix(".py")
