# SPDX-License-Identifier: Apache-2.0
"""Codes, signals, grace periods, identities and what belongs to a container."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.reference import procfs, signals

SHELL = "localhost/cri-conformance/shell:reference"
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 60; done"
root = pytest.mark.skipif(os.geteuid() != 0, reason="other users can be had by root only")


def marked(container: str) -> list[int]:
    return [pid for pid, one in procfs.table().items() if not one.dead if
            procfs.marker(pid).startswith(container)]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("exit 0", 0, "Completed"),
        ("exit 7", 7, "Error"),
        ("exit 255", 255, "Error"),
        ("kill -KILL $$", 137, "Error"),
        ("kill -SEGV $$", 139, "Error"),
    ],
)
def test_exit_codes(runtime: Any, pod: str, script: str, code: int, reason: str) -> None:
    status = runtime.exited(runtime.running(pod, script))
    assert (status.exit_code, status.reason) == (code, reason)
    assert 0 < status.created_at < status.started_at < status.finished_at


def test_nothing_changes_after_the_exit(runtime: Any, pod: str) -> None:
    container = runtime.running(pod, "exit 3")
    before = runtime.exited(container)
    runtime("StopContainer", container_id=container, timeout=1)
    assert runtime.refused("StartContainer", container_id=container) == "FAILED_PRECONDITION"
    runtime("StopPodSandbox", pod_sandbox_id=pod)
    assert runtime.status(container) == before


def test_start_happens_once(runtime: Any, pod: str) -> None:
    container = runtime.container(pod, "echo once; sleep 60")
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(
            pool.map(
                lambda _: runtime.client.call("StartContainer", container_id=container), range(8)
            )
        )
    assert sorted(str(outcome)[:19] for outcome in outcomes)[-1] == "OK"
    assert [str(outcome) for outcome in outcomes].count("OK") == 1
    runtime.until(lambda: runtime.log(container))
    assert runtime.log(container).count("once") == 1


def test_command_not_found(runtime: Any, pod: str) -> None:
    container = runtime.container(pod, command=["/nonesuch"])
    assert runtime.refused("StartContainer", container_id=container) == "FAILED_PRECONDITION"
    status = runtime.status(container)
    assert (status.state, status.exit_code) == (types.CONTAINER_EXITED, 128)
    assert status.reason == "StartError"
    assert "/nonesuch" in status.message
    assert status.finished_at > status.created_at
    runtime("RemoveContainer", container_id=container)


def test_grace_period_lets_it_end_by_itself(runtime: Any, pod: str) -> None:
    container = runtime.ready(pod, "trap 'exit 9' TERM; echo ready; sleep 60 & wait")
    begin = time.monotonic()
    runtime("StopContainer", container_id=container, timeout=8)
    assert time.monotonic() - begin < 2
    assert runtime.status(container).exit_code == 9


def test_killed_when_the_grace_period_is_over(runtime: Any, pod: str) -> None:
    container = runtime.ready(pod, STUBBORN)
    begin = time.monotonic()
    runtime("StopContainer", container_id=container, timeout=1)
    assert 0.95 < time.monotonic() - begin < 2
    assert runtime.status(container).exit_code == 137


@pytest.mark.parametrize("timeout", [0, -5])
def test_no_grace_period(runtime: Any, pod: str, timeout: int) -> None:
    container = runtime.ready(pod, STUBBORN)
    begin = time.monotonic()
    runtime("StopContainer", container_id=container, timeout=timeout)
    assert time.monotonic() - begin < 0.5
    assert runtime.status(container).state == types.CONTAINER_EXITED


def test_status_calls_do_not_wait_behind_long_stops(runtime: Any, pod: str) -> None:
    """And a second stop with a shorter timeout shortens the first."""
    container = runtime.ready(pod, STUBBORN)
    stops = [
        threading.Thread(
            target=runtime, args=("StopContainer",),
            kwargs={"container_id": container, "timeout": 9},
        )
        for _ in range(20)
    ]  # fmt: skip
    for stop in stops:
        stop.start()
    begin = time.monotonic()
    for _ in range(20):
        assert runtime.status(container).state == types.CONTAINER_RUNNING
        runtime("ListContainers")
        runtime("PodSandboxStatus", pod_sandbox_id=pod)
    assert time.monotonic() - begin < 1
    runtime("StopContainer", container_id=container, timeout=1)
    for stop in stops:
        stop.join(1)
        assert not stop.is_alive()


@pytest.mark.parametrize(
    ("wanted", "shell"),
    [("SIGNAL_SIGUSR1", "USR1"), ("SIGNAL_SIGHUP", "HUP"), ("SIGNAL_SIGPOLL", "IO"),
     ("SIGNAL_SIGRTMINPLUS3", "37"), ("SIGNAL_SIGRTMAXMINUS2", "62")],
)  # fmt: skip
def test_stop_signal(runtime: Any, pod: str, wanted: str, shell: str) -> None:
    number = types.Signal.Value(wanted)
    script = f"sleep 60 & trap 'exit 5' {shell}; echo ready; wait"
    container = runtime.ready(pod, script, command=["bash", "-c", script], stop_signal=number)
    assert runtime.status(container).stop_signal == number
    runtime("StopContainer", container_id=container, timeout=5)
    assert runtime.status(container).exit_code == 5


def test_every_signal_of_the_contract_has_its_number() -> None:
    numbers = {name: signals.number(value) for name, value in types.Signal.items()}
    assert numbers["SIGNAL_SIGCLD"] == numbers["SIGNAL_SIGCHLD"] == 17
    assert numbers["SIGNAL_SIGIOT"] == numbers["SIGNAL_SIGABRT"] == 6
    assert (numbers["SIGNAL_SIGRTMIN"], numbers["SIGNAL_SIGRTMAX"]) == (34, 64)
    assert set(range(34, 65)) < set(numbers.values())


def test_default_stop_signal(runtime: Any, pod: str) -> None:
    container = runtime.running(pod, "exec sleep 60")
    assert runtime.status(container).stop_signal == types.SIGNAL_SIGTERM
    runtime("StopContainer", container_id=container, timeout=5)
    assert runtime.status(container).exit_code == 143


@pytest.mark.parametrize("ending", ["exit", "stop", "remove", "stop pod"])
def test_no_process_outlives_its_container(runtime: Any, pod: str, ending: str) -> None:
    family = "sleep 61 & setsid sleep 62 & (setsid sleep 63 &); setsid env -i sleep 64 & "
    container = runtime.ready(pod, family + "echo ready; " + ("" if ending == "exit" else "wait"))
    other = runtime.running(pod)
    if ending == "exit":
        runtime.exited(container)
    elif ending == "stop":
        runtime("StopContainer", container_id=container)
    elif ending == "remove":
        runtime("RemoveContainer", container_id=container)
    else:
        runtime("StopPodSandbox", pod_sandbox_id=pod)
    assert not marked(container)
    assert bool(marked(other)) == (ending != "stop pod")


def test_settings_of_the_process(runtime: Any, pod: str, tmp_path: Any) -> None:
    envs = [
        types.KeyValue(key="A", value=b"first"),
        types.KeyValue(key="A", value=b"a=b \xff\n"),
        types.KeyValue(key="EMPTY"),
    ]
    container = runtime.ready(
        pod,
        'printf "%s|" "$PWD" "${EMPTY-unset}" "$0" "$@"; printf "%s" "$A" | od -An -tx1; '
        "echo ready; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; sleep 60",
        args=["one", "", "t w o $HOME *"],
        envs=envs,
        working_dir=str(tmp_path),
    )
    log = runtime.until(lambda: "PWD" in (text := runtime.log(container)) and text)
    assert f"{tmp_path}||one||t w o $HOME *| 61 3d 62 20 ff 0a" in log
    assert "HOME" not in log.splitlines()[-1]
    assert runtime.execute(container, "sh", "-c", "echo $PWD").stdout == f"{tmp_path}\n".encode()


@root
def test_user_and_groups(runtime: Any, pod: str) -> None:
    security = types.LinuxContainerSecurityContext(
        run_as_user=types.Int64Value(value=4321),
        run_as_group=types.Int64Value(value=4322),
        supplemental_groups=[77, 78],
        supplemental_groups_policy=types.Strict,
    )
    linux = types.LinuxContainerConfig(security_context=security)
    container = runtime.running(pod, "touch mine; sleep 60", linux=linux)
    user = runtime.status(container).user.linux
    assert (user.uid, user.gid, user.supplemental_groups) == (4321, 4322, [77, 78])
    shown = runtime.execute(container, "sh", "-c", "id -u; id -g; id -G").stdout.split()
    assert shown == [b"4321", b"4322", b"4322", b"77", b"78"]


def test_terminal_and_stdin(runtime: Any, pod: str) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && echo terminal; exit 4"
    container = runtime.running(pod, script, tty=True)
    assert runtime.exited(container).exit_code == 4
    assert " stdout F terminal\r\n" in runtime.log(container)
    closed = runtime.running(pod, "read x; exit 6")
    assert runtime.exited(closed).exit_code == 6
    kept_open = runtime.ready(pod, "echo ready; read x; exit 6", stdin=True)
    time.sleep(0.05)
    assert runtime.status(kept_open).state == types.CONTAINER_RUNNING


def test_log_is_complete_when_the_exit_is_seen(runtime: Any, pod: str) -> None:
    script = "seq 1 20000; printf %040000d 7; seq 1 100 >&2; printf end"
    container = runtime.running(pod, script)
    runtime.exited(container)
    joined = {"stdout": "", "stderr": ""}
    for line in runtime.log(container).splitlines():
        when, stream, tag, text = line.split(" ", 3)
        assert when.endswith("Z")
        assert len(text) <= 16 * 1024
        joined[stream] += text + ("\n" if tag == "F" else "")
    assert joined["stdout"] == "".join(f"{n}\n" for n in range(1, 20001)) + f"{7:040000d}end"
    assert joined["stderr"] == "".join(f"{n}\n" for n in range(1, 101))


def test_images_by_each_of_their_names(runtime: Any, pod: str) -> None:
    image = runtime("ImageStatus", image=types.ImageSpec(image=SHELL)).image
    assert image.size > 0
    for name in (image.id, *image.repo_tags, *image.repo_digests):
        container = runtime.container(pod, image=types.ImageSpec(image=name))
        status = runtime.status(container)
        assert status.image.image == name
        assert (status.image_id, status.image_ref) == (image.id, image.repo_digests[0])
    assert not runtime("ImageStatus", image=types.ImageSpec(image="none:1")).HasField("image")
    defaults = runtime.running(pod, image=types.ImageSpec(image=SHELL), command=[], args=["false"])
    assert runtime.exited(defaults).exit_code == 1
