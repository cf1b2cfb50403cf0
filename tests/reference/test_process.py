# SPDX-License-Identifier: Apache-2.0
"""Start, orderly end, and what a killed runtime leaves to the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.reference import process, procfs


@pytest.fixture(autouse=True)
def _own_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """State directories of these tests apart from those of runtimes that run beside them."""
    short = tmp_path_factory.mktemp("t")
    monkeypatch.setenv("TMPDIR", str(short))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    monkeypatch.undo()


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "this did not come true"
        time.sleep(0.005)


def pids_of(container: str) -> list[int]:
    return [
        pid
        for pid, one in procfs.table().items()
        if not one.dead and procfs.marker(pid).startswith(container)
    ]


def state_directories() -> list[Path]:
    return list(Path(os.environ["TMPDIR"]).glob("cri-reference-*"))


# A child in the session, one that left it, one that lost its parent; the last begins after "ready".
FAMILY = "sleep 301 & setsid sleep 302 & (setsid sleep 303 &) ; echo ready; sleep 304"


def test_starts_in_under_a_second() -> None:
    # The best of a few: what else a busy machine does is no fault of the runtime's.
    took = []
    for _ in range(3):
        begin = time.monotonic()
        reference = process.start()
        took.append(time.monotonic() - begin)
        reference.stop()
    assert min(took) < 1.0


def test_orderly_end_leaves_nothing(connect: Any) -> None:
    reference = process.start()
    with connect(reference.endpoint) as runtime:
        container = runtime.ready(runtime.sandbox(), FAMILY)
        until(lambda: len(pids_of(container)) == 5)
        assert len(state_directories()) == 1
    reference.stop()
    assert not pids_of(container)
    assert not state_directories()
    assert procfs.stat(reference.pid) is None
    reference.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_in_good_order_with_calls_under_way(
    tmp_path: Path, number: int, connect: Any
) -> None:
    socket = tmp_path / "s"
    command = [sys.executable, "-m", "cri_conformance.reference", "--listen", f"unix://{socket}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as served:
        assert served.stdout is not None
        assert served.stdout.readline() == f"listening on unix://{socket}\n".encode()
        with connect(f"unix://{socket}") as runtime:
            container = runtime.ready(runtime.sandbox(), "trap '' TERM; echo ready; sleep 60")
            calls = [
                threading.Thread(
                    target=runtime.client.call,
                    args=("StopContainer",),
                    kwargs={"container_id": container, "timeout": 50, "deadline": 60},
                ),
                threading.Thread(
                    target=runtime.client.call,
                    args=("ExecSync",),
                    kwargs={"container_id": container, "cmd": ["sleep", "70"], "deadline": 60},
                ),
            ]
            for call in calls:
                call.start()
            until(lambda: any("/" in procfs.marker(pid) for pid in pids_of(container)))
            served.send_signal(number)
            assert served.wait(5) == 0
            for call in calls:
                call.join(5)
                assert not call.is_alive()
    assert not socket.exists()
    assert not pids_of(container)
    assert not state_directories()


#: Waits for the end again and again, and reads how often from its arguments.
_WAITS = """
import sys
from cri_conformance.reference.__main__ import End, _set_signals

for _ in range(int(sys.argv[1])):
    end = End()
    _set_signals(end)
    print(flush=True)
    end.wait(1e-6)
"""


def test_a_signal_is_heeded_whatever_the_wait_is_at() -> None:
    """It may come between any two instructions of it."""
    command = [sys.executable, "-c", _WAITS, "10000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        stuck = threading.Timer(30, waiting.kill)
        stuck.start()
        assert waiting.stdout
        for _ in waiting.stdout:
            waiting.send_signal(signal.SIGTERM)
        stuck.cancel()
    assert waiting.returncode == 0


def test_next_start_sweeps_what_a_killed_one_left(connect: Any) -> None:
    killed = process.start()
    with connect(killed.endpoint) as runtime:
        container = runtime.ready(runtime.sandbox(), FAMILY)
        cleared = "env -i setsid sleep 305 & echo ready; exec env -i sleep 306"
        unmarked = runtime.ready(runtime.sandbox(), cleared)
        log = runtime.log(container)
        first = runtime("ContainerStatus", container_id=unmarked, verbose=True).info["info"]
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: (one := procfs.stat(killed.pid)) is None or one.dead)
    until(lambda: len(pids_of(container)) == 5)

    process.start().stop()

    assert not pids_of(container)
    pid = json.loads(first)["pid"]
    assert (one := procfs.stat(pid)) is None or one.dead
    assert not state_directories()
    assert log, "a log is the client's, and stays"
    killed.stop()


def test_sweep_spares_what_it_cannot_prove(connect: Any) -> None:
    """A process with a foreign marker, and a runtime that is alive."""
    other = process.start()
    stranger = subprocess.Popen(["sleep", "60"], env={**os.environ, procfs.MARKER: "f" * 64})
    with connect(other.endpoint) as runtime:
        container = runtime.running(runtime.sandbox())
        process.start().stop()
        assert stranger.poll() is None
        assert runtime.status(container).finished_at == 0
    other.stop()
    stranger.kill()
    stranger.wait()


def test_ends_with_its_parent(connect: Any) -> None:
    program = (
        "from cri_conformance.reference import process; import time\n"
        "p = process.start(); print(p.pid, p.endpoint, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, endpoint = parent.stdout.readline().decode().split()
        with connect(endpoint) as runtime:
            container = runtime.ready(runtime.sandbox(), FAMILY)
        parent.kill()
    until(lambda: (one := procfs.stat(int(pid))) is None or one.dead)
    assert not pids_of(container)
    assert not state_directories()


def test_a_state_directory_has_one_owner(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "cri_conformance.reference", "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        second = subprocess.run(command, capture_output=True, text=True, timeout=5)
        assert second.returncode == 2
        assert "another reference runtime uses" in second.stderr
        first.kill()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as third:
        assert third.stdout is not None
        assert third.stdout.readline().startswith(b"listening on ")
        third.terminate()
        assert third.wait(5) == 0


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    command = [sys.executable, "-m", "cri_conformance.reference", "--state", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=5)
    assert ran.returncode == 2
    assert "holds other things" in ran.stderr
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            "--listen=unix:///nonexistent/dir/x.sock",
            "can't listen at unix:///nonexistent/dir/x.sock: there is no folder /nonexistent/dir",
        ),
        (
            "--listen=unix:///proc/x.sock",
            "can't listen at unix:///proc/x.sock: No such file or directory",
        ),
        (
            "--listen=unix:///etc/passwd",
            "can't listen at unix:///etc/passwd: a file is there that is no socket",
        ),
        ("--state=/proc/x", "/proc/x: No such file or directory"),
        ("--registry-ca=/none", "--registry-ca /none: No such file or directory"),
    ],
)
def test_what_can_not_be_done_is_told_in_one_line(option: str, said: str) -> None:
    command = [sys.executable, "-m", "cri_conformance.reference", option]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=5)
    assert (ran.returncode, ran.stderr) == (2, f"cri-conformance: {said}\n")
    assert not state_directories()


def test_a_socket_in_use_is_not_taken(connect: Any) -> None:
    first = process.start()
    command = [sys.executable, "-m", "cri_conformance.reference", "--listen", first.endpoint]
    second = subprocess.run(command, capture_output=True, text=True, timeout=5)
    assert second.returncode == 2
    assert "another program listens" in second.stderr
    with connect(first.endpoint) as runtime:
        runtime("Version")
    first.stop()


def test_failing_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    with pytest.raises(process.NotStarted, match="no socket can have a path of more than"):
        process.start()
    assert not list(deep.iterdir())
