# SPDX-License-Identifier: Apache-2.0
"""Resources that are kept and reported, checkpoints that are refused for the right reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import resources


def _linux(**fields: Any) -> types.LinuxContainerResources:
    return types.LinuxContainerResources(**fields)


@pytest.mark.parametrize(
    "asked",
    [
        {"cpu_shares": 1},
        {"cpu_shares": -2},
        {"cpu_quota": 5},
        {"cpu_period": 10},
        {"memory_limit_in_bytes": -1},
        {"oom_score_adj": 1001},
        {"cpuset_cpus": "8190"},
        {"cpuset_cpus": "0-"},
        {"cpuset_cpus": "zero"},
        {"cpuset_mems": "1022"},
    ],
)
def test_what_no_host_can_satisfy(asked: dict[str, Any]) -> None:
    with pytest.raises(StatusError) as caught:
        resources.check(_linux(**asked))
    assert caught.value.code == "INVALID_ARGUMENT"


def test_what_a_host_can_satisfy() -> None:
    resources.check(_linux())
    resources.check(_linux(cpu_quota=-1, memory_swap_limit_in_bytes=-1, oom_score_adj=-900))
    resources.check(_linux(cpuset_cpus="0", cpuset_mems="0", cpu_shares=2, cpu_period=1000))
    assert resources.numbers("0-2,7") == {0, 1, 2, 7}
    assert resources.numbers("") == set()


def test_updates_are_merged(runtime: Any) -> None:
    container = runtime.running(runtime.sandbox())

    def update(**fields: Any) -> Any:
        runtime("UpdateContainerResources", container_id=container, linux=_linux(**fields))
        return runtime("ContainerStatus", container_id=container).status.resources.linux

    sizes = [types.HugepageLimit(page_size=size, limit=4) for size in ("2MB", "1GB")]
    update(cpu_shares=100, unified={"a": "1"}, hugepage_limits=sizes)
    shown = update(cpu_quota=5000, unified={"b": "2"}, hugepage_limits=sizes[:1])
    assert shown == _linux(
        cpu_shares=100, cpu_quota=5000, unified={"a": "1", "b": "2"}, hugepage_limits=sizes[:1]
    )
    runtime("StopContainer", container_id=container)
    refused = runtime.refused("UpdateContainerResources", container_id=container)
    assert refused == "FAILED_PRECONDITION"


def test_checkpoints_of_a_pod(runtime: Any, tmp_path: Path) -> None:
    sandbox = runtime.sandbox()
    container = runtime.running(sandbox)
    fields: dict[str, Any] = {
        "pod_sandbox_id": sandbox,
        "output_path": str(tmp_path),
        "container_ids": [container],
    }
    # Nothing is wrong with it, but that there is no way to do it.
    assert runtime.refused("CheckpointPod", **fields) == "FAILED_PRECONDITION"
    assert list(tmp_path.iterdir()) == []
    for wrong, code in (
        ({"container_ids": []}, "INVALID_ARGUMENT"),
        ({"options": {"a": "b"}}, "INVALID_ARGUMENT"),
        ({"output_path": "/nowhere"}, "INVALID_ARGUMENT"),
        ({"pod_sandbox_id": "0" * 64}, "NOT_FOUND"),
    ):
        assert runtime.refused("CheckpointPod", **{**fields, **wrong}) == code
