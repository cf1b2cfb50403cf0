# SPDX-License-Identifier: Apache-2.0
"""Figures and metrics of the reference runtime are those of its processes and folders."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.reference import procfs, usage


def _value(number: Any) -> int:
    value: int = number.value
    return value


@pytest.fixture
def working(runtime: Any) -> tuple[str, str]:
    """A sandbox, and a container in it that has written a file and started a process."""
    sandbox = runtime.sandbox()
    script = "head -c 300000 /dev/zero > file; mkdir d; : > d/empty; sleep 60 & echo ready; wait"
    return sandbox, runtime.ready(sandbox, script)


def test_container(runtime: Any, working: tuple[str, str]) -> None:
    sandbox, container = working
    stats = runtime("ContainerStats", container_id=container).stats
    assert stats.attributes.id == container
    assert _value(stats.writable_layer.used_bytes) >= 300_000
    assert _value(stats.writable_layer.inodes_used) == 3
    assert Path(stats.writable_layer.fs_id.mountpoint).is_mount()
    memory = stats.memory
    assert 0 < _value(memory.rss_bytes) <= _value(memory.working_set_bytes)
    assert _value(memory.working_set_bytes) <= _value(memory.usage_bytes)
    assert not memory.HasField("available_bytes")
    listed = runtime("ListContainerStats", filter={"pod_sandbox_id": sandbox}).stats
    assert [one.attributes for one in listed] == [stats.attributes]


def test_sandbox(runtime: Any, working: tuple[str, str]) -> None:
    sandbox, container = working
    stats = runtime("PodSandboxStats", pod_sandbox_id=sandbox).stats
    assert [one.attributes.id for one in stats.linux.containers] == [container]
    assert _value(stats.linux.process.process_count) == 2
    assert not stats.linux.HasField("network")
    before = _value(stats.linux.cpu.usage_core_nano_seconds)
    runtime("StopPodSandbox", pod_sandbox_id=sandbox)
    after = runtime("PodSandboxStats", pod_sandbox_id=sandbox).stats.linux
    assert (list(after.containers), _value(after.process.process_count)) == ([], 0)
    assert _value(after.cpu.usage_core_nano_seconds) >= before


def test_what_does_not_run(runtime: Any) -> None:
    sandbox = runtime.sandbox()
    container = runtime.container(sandbox)
    assert runtime.refused("ContainerStats", container_id=container) == "FAILED_PRECONDITION"
    assert runtime.refused("ContainerStats", container_id="a" * 64) == "NOT_FOUND"
    assert runtime.refused("PodSandboxStats", pod_sandbox_id="") == "INVALID_ARGUMENT"
    assert not runtime("ListContainerStats", filter={"id": container}).stats


def test_metrics(runtime: Any, working: tuple[str, str]) -> None:
    sandbox, container = working
    keys = {one.name: one.label_keys for one in runtime("ListMetricDescriptors").descriptors}
    (pod,) = [
        one for one in runtime("ListPodSandboxMetrics").pod_metrics if one.pod_sandbox_id == sandbox
    ]
    (of_container,) = pod.container_metrics
    assert of_container.container_id == container
    for metric in (*pod.metrics, *of_container.metrics):
        labels = dict(zip(keys[metric.name], metric.label_values, strict=True))
        assert labels["id"] in (sandbox, container)


def test_usage_of_a_process() -> None:
    burn = "import time\nwhile time.process_time() < 0.1: pass\nprint(flush=True); input()"
    with subprocess.Popen(
        ["python3", "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        found = procfs.stat(process.pid)
        assert found
        used = usage.of([found])
        process.communicate(b"\n")
    assert used.processes == 1
    assert 80_000_000 <= used.work.cpu < 60 * 10**9
    assert used.work.minor_faults > 100
    assert used.memory
    assert used.memory.resident > 2**20
    # A process that is gone counts for nothing.
    assert usage.of([found]).work == usage.Work()


def test_usage_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100_000))
    os.link(tmp_path / "a", tmp_path / "same")
    (tmp_path / "link").symlink_to("/")
    size, inodes = usage.of_folder(tmp_path)
    assert inodes == 2
    assert 100_000 <= size < 200_000
    assert usage.of_folder(tmp_path / "nowhere") == (0, 0)
