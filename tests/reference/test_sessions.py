# SPDX-License-Identifier: Apache-2.0
"""Exec and Attach of the reference runtime, through our own streaming client."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.reference import procfs
from cri_conformance.streaming.client import Session, open_session
from cri_conformance.streaming.events import V4, V5, WEBSOCKET, StreamingError

_SOON = 10.0
_MUCH = os.urandom(3_000_000)


@contextlib.contextmanager
def session(runtime: Any, rpc: str, container: str, *cmd: str, **flags: Any) -> Iterator[Session]:
    link = {name: flags.pop(name) for name in ("protocol", "subprotocols") if name in flags}
    fields = {"cmd": list(cmd)} if rpc == "Exec" else {}
    url = runtime(rpc, container_id=container, **fields, **flags).url
    with open_session(url, **flags, **link) as opened:
        yield opened


def commands_in(container: str) -> list[int]:
    return [
        pid
        for pid, one in procfs.table().items()
        if not one.dead and procfs.marker(pid).startswith(f"{container}/")
    ]


@pytest.fixture
def container(runtime: Any, pod: str) -> str:
    return runtime.running(pod, "exec sleep 60")


OVER = [
    pytest.param({}, id="spdy"),
    pytest.param({"protocol": WEBSOCKET, "subprotocols": [V5]}, id="websocket-v5"),
]


@pytest.mark.parametrize("over", OVER)
def test_a_command_gets_input_and_gives_output_and_code(
    runtime: Any, container: str, over: dict[str, Any]
) -> None:
    command = ("sh", "-c", "cat; echo end >&2; exit 7")
    flags = {"stdin": True, "stdout": True, "stderr": True}
    with session(runtime, "Exec", container, *command, **flags, **over) as client:
        result = client.communicate(_MUCH, seconds=_SOON)
    assert result.stdout == _MUCH
    assert (result.stderr, result.status.exit_code) == (b"end\n", 7)


def test_v4_over_a_websocket_has_no_half_close(runtime: Any, container: str) -> None:
    over = {"protocol": WEBSOCKET, "subprotocols": [V4]}
    command = ("sh", "-c", "read line; echo got $line")
    with session(runtime, "Exec", container, *command, stdin=True, stdout=True, **over) as client:
        assert client.stdin
        client.stdin.write(b"word\n")
        assert client.communicate(seconds=_SOON).stdout == b"got word\n"


def test_a_slow_client_slows_the_command_and_loses_nothing(runtime: Any, container: str) -> None:
    with session(runtime, "Exec", container, "sh", "-c", "cat; cat /dev/zero | head -c 30000000",
                 stdin=True, stdout=True) as client:  # fmt: skip
        result = client.communicate(b"x", seconds=30)
    assert len(result.stdout) == 30_000_001


def test_a_command_that_is_not_there(runtime: Any, container: str) -> None:
    with session(runtime, "Exec", container, "/no/such", stdout=True) as client:
        said = client.status(_SOON)
    assert not said.success
    assert said.exit_code is None


def test_a_client_that_leaves_takes_its_command_along(runtime: Any, container: str) -> None:
    with session(runtime, "Exec", container, "sleep", "71", stdout=True) as client:
        runtime.until(lambda: commands_in(container))
        client.abort(reset=True)
    runtime.until(lambda: not commands_in(container))
    assert runtime.status(container).state == types.CONTAINER_RUNNING


def test_a_container_that_stops_ends_its_sessions(runtime: Any, container: str) -> None:
    with session(runtime, "Exec", container, "sleep", "72", stdout=True) as client:
        runtime.until(lambda: commands_in(container))
        runtime("StopContainer", container_id=container)
        assert client.status(_SOON).exit_code == 137


def test_a_child_left_behind_is_not_waited_for(runtime: Any, container: str) -> None:
    with session(
        runtime, "Exec", container, "sh", "-c", "sleep 73 & echo done", stdout=True
    ) as client:
        began = time.monotonic()
        assert client.communicate(seconds=_SOON).stdout == b"done\n"
        assert time.monotonic() - began < 5


def test_a_terminal_follows_the_size_of_the_clients(runtime: Any, container: str) -> None:
    script = "trap 'stty size' WINCH; tty >/dev/tty; echo ready; while :; do sleep 0.05; done"
    with session(runtime, "Exec", container, "sh", "-c", script, stdout=True, tty=True) as client:
        assert client.stdout
        seen = b""
        while b"ready" not in seen:
            seen += client.stdout.read(_SOON)
        assert b"/dev/pts/" in seen
        client.resize(191, 47)
        while b"47 191" not in seen:
            seen += client.stdout.read(_SOON)


def test_flags_are_checked(runtime: Any, container: str) -> None:
    for rpc, fields in (("Exec", {"cmd": ["true"]}), ("Attach", {})):
        for flags in ({}, {"tty": True, "stdout": True, "stderr": True}):
            assert (
                runtime.refused(rpc, container_id=container, **fields, **flags)
                == "INVALID_ARGUMENT"
            )
    assert runtime.refused("Attach", container_id=container, stdout=True, tty=True) == (
        "INVALID_ARGUMENT"
    )


def test_what_does_not_run_is_refused(runtime: Any, pod: str) -> None:
    for rpc, fields in (("Exec", {"cmd": ["true"]}), ("Attach", {})):
        assert runtime.refused(rpc, container_id="no", stdout=True, **fields) == "NOT_FOUND"
        created = runtime.container(pod)
        assert runtime.refused(rpc, container_id=created, stdout=True, **fields) == (
            "FAILED_PRECONDITION"
        )


def test_attached_clients_all_get_the_output_and_the_log_too(runtime: Any, pod: str) -> None:
    container = runtime.running(pod, "cat; echo over >&2", stdin=True, stdin_once=True)
    flags = {"stdout": True, "stderr": True}
    with (
        session(runtime, "Attach", container, **flags) as watcher,
        session(runtime, "Attach", container, stdin=True, **flags) as talker,
    ):
        assert talker.stdin
        talker.stdin.write(b"hello\n")
        assert talker.stdout
        assert watcher.stdout
        assert talker.stdout.read(_SOON) == b"hello\n" == watcher.stdout.read(_SOON)
        talker.stdin.close()  # stdin_once: that is the end of cat
        for client in (watcher, talker):
            result = client.communicate(seconds=_SOON)
            assert (result.stdout, result.stderr) == (b"", b"over\n")
            assert result.status.success
    assert "stdout F hello" in runtime.log(container)
    assert runtime.exited(container).exit_code == 0


def test_input_stays_open_for_the_next_client(runtime: Any, pod: str) -> None:
    container = runtime.ready(
        pod, "echo ready; while read line; do echo got $line; done", stdin=True
    )
    for word in ("one", "two"):
        with session(runtime, "Attach", container, stdin=True, stdout=True) as client:
            assert client.stdin
            assert client.stdout
            client.stdin.write(word.encode() + b"\n")
            assert client.stdout.read(_SOON) == f"got {word}\n".encode()
            client.abort()
    assert runtime.status(container).state == types.CONTAINER_RUNNING


def test_an_attached_client_that_reads_nothing_stops_nobody_for_good(
    runtime: Any, pod: str
) -> None:
    container = runtime.running(pod, "read go; head -c 20000000 /dev/zero; exit 3", stdin=True)
    url = runtime("Attach", container_id=container, stdin=True, stdout=True).url
    with open_session(url, stdin=True, stdout=True) as client:
        assert client.stdin
        client.stdin.write(b"go\n")
        assert client.stdout
        client.stdout.read(_SOON)
        client.abort()
    assert runtime.exited(container).exit_code == 3


def test_sessions_end_with_the_runtime(connect: Any, tmp_path: Any) -> None:
    from cri_conformance.reference import process

    reference = process.start()
    try:
        with connect(reference.endpoint) as runtime:
            container = runtime.running(runtime.sandbox(), "sleep 74")
            with session(runtime, "Exec", container, "sleep", "75", stdout=True) as client:
                stopper = threading.Thread(target=reference.stop)
                stopper.start()
                with contextlib.suppress(StreamingError):
                    client.status(_SOON)
                assert client.connection.wait_over(_SOON)
                stopper.join()
    finally:
        reference.stop()
