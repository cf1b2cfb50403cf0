# SPDX-License-Identifier: Apache-2.0
"""Which process of ``-n`` gets which files, and when."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cri_conformance.suite
from cri_conformance.scheduling import SECONDS, TOGETHER, Scheduling

SUITE = Path(cri_conformance.suite.__file__).parent


class _Node:
    """A worker that only notes what it is sent."""

    shutting_down = False

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += indices


def _begun(files: Iterable[str]) -> list[str]:
    """The files of the tests in the order in which a single worker is sent them."""
    nodeids = [f"cri_conformance/suite/{file}.py::test_{n}" for n, file in enumerate(files)]
    scheduling = Scheduling.__new__(Scheduling)
    node: Any = _Node()
    scheduling.assigned_work = {node: {}}
    scheduling.registered_collections = {node: nodeids}
    scheduling.workqueue = OrderedDict()
    for nodeid in nodeids:
        scheduling.workqueue.setdefault(scheduling._split_scope(nodeid), {})[nodeid] = False
    while scheduling.workqueue:
        scheduling._assign_work_unit(node)
    return [nodeids[n].split("/")[2].split(".")[0] for n in node.sent]


def test_files_that_are_named_are_there() -> None:
    named = {file for files in TOGETHER.values() for file in files} | set(SECONDS)
    assert [file for file in sorted(named) if not (SUITE / f"{file}.py").is_file()] == []


def test_a_file_is_in_one_group() -> None:
    files = [file for group in TOGETHER.values() for file in group]
    assert len(files) == len(set(files))


def test_files_that_share_objects_stay_together() -> None:
    first, second, *_ = TOGETHER["population"]
    begun = _begun([*[first] * 3, *["test_version"] * 2, second])
    assert begun == [*[first] * 3, second, *["test_version"] * 2]


def test_the_longest_begin() -> None:
    """One long test before many short ones."""
    assert SECONDS["test_stateful"] > 5
    files = [*["test_version"] * 6, "test_stateful", *["test_status"] * 12]
    assert _begun(files) == ["test_stateful", *["test_status"] * 12, *["test_version"] * 6]


def test_the_same_name_elsewhere_is_a_file_of_its_own() -> None:
    """A vendor's tests may be called like ours."""
    split = Scheduling.__new__(Scheduling)._split_scope
    assert split("mine/test_version.py::test_a") != split(
        "cri_conformance/suite/test_version.py::test_a"
    )
