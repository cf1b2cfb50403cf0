# SPDX-License-Identifier: Apache-2.0
"""ExecSync: output, codes, time-outs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.reference import procfs
from cri_conformance.wire.outcome import Ok, Unknown


def commands_in(container: str) -> list[int]:
    return [
        pid
        for pid, one in procfs.table().items()
        if not one.dead and procfs.marker(pid).startswith(f"{container}/")
    ]


@pytest.fixture
def container(runtime: Any, pod: str) -> str:
    return runtime.running(pod, "exec sleep 60")


def test_output_and_code(runtime: Any, container: str) -> None:
    result = runtime.execute(container, "sh", "-c", r"printf 'a\000\377'; echo e >&2; exit 250")
    assert (result.stdout, result.stderr, result.exit_code) == (b"a\0\xff", b"e\n", 250)
    killed = runtime.execute(container, "sh", "-c", "kill -9 $$")
    assert killed.exit_code == 137


def test_time_out_kills_the_command_with_its_descendants(runtime: Any, container: str) -> None:
    script = "sleep 71 & setsid sleep 72 & (setsid sleep 73 &); setsid env -i sleep 74 & sleep 75"
    begin = time.monotonic()
    code = runtime.refused("ExecSync", container_id=container, cmd=["sh", "-c", script], timeout=1)
    assert code == "DEADLINE_EXCEEDED"
    assert 0.95 < time.monotonic() - begin < 2
    assert not commands_in(container)
    assert runtime.status(container).state == types.CONTAINER_RUNNING


def test_a_client_that_leaves_takes_its_command_along(runtime: Any, container: str) -> None:
    outcome = runtime.client.call(
        "ExecSync", container_id=container, cmd=["sleep", "76"], deadline=0.3
    )
    assert isinstance(outcome, Unknown)
    runtime.until(lambda: not commands_in(container))


def test_a_client_that_breaks_off_takes_its_command_along(runtime: Any, container: str) -> None:
    begin = time.monotonic()
    outcome = runtime.client.call(
        "ExecSync", container_id=container, cmd=["sleep", "76"], cancel_after=0.3
    )
    assert outcome == Unknown("the call was cancelled")
    assert 0.25 < time.monotonic() - begin < 5
    runtime.until(lambda: not commands_in(container))
    answered = runtime.client.call(
        "ExecSync", container_id=container, cmd=["true"], cancel_after=10.0
    )
    assert isinstance(answered, Ok)


def test_a_child_left_behind_is_not_waited_for(runtime: Any, container: str) -> None:
    begin = time.monotonic()
    result = runtime.execute(container, "sh", "-c", "sleep 77 & echo done")
    assert time.monotonic() - begin < 1
    assert result.stdout == b"done\n"
    assert commands_in(container)
    runtime("StopContainer", container_id=container)
    assert not commands_in(container)


def test_output_beyond_the_cap_is_dropped(runtime: Any, container: str) -> None:
    flood = "head -c 20000000 /dev/zero"
    result = runtime.execute(container, "sh", "-c", f"{flood}; echo e >&2; exit 3")
    assert (result.exit_code, result.stderr) == (3, b"e\n")
    assert 16_000_000 < len(result.stdout) <= 16 * 1024 * 1024
    both = runtime.execute(container, "sh", "-c", f"{flood}; {flood} >&2")
    assert len(both.stdout) == len(both.stderr) > 8_000_000


def test_refusals(runtime: Any, pod: str, container: str) -> None:
    def refused(container_id: str, *cmd: str, timeout: int = 0) -> str:
        fields = {"container_id": container_id, "cmd": cmd, "timeout": timeout}
        return runtime.refused("ExecSync", **fields)

    assert refused(container) == "INVALID_ARGUMENT"
    assert refused(container, "true", timeout=-1) == "INVALID_ARGUMENT"
    assert refused("", "true") == "INVALID_ARGUMENT"
    assert refused(container[:12], "true") == "NOT_FOUND"
    assert refused(container, "/nonesuch") == "FAILED_PRECONDITION"
    assert refused(runtime.container(pod), "true") == "FAILED_PRECONDITION"
    gone = runtime.running(pod, "exit 0")
    runtime.exited(gone)
    assert refused(gone, "true") == "FAILED_PRECONDITION"
