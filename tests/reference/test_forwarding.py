# SPDX-License-Identifier: Apache-2.0
"""PortForward of the reference runtime, with ports of this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cri_conformance.streaming.client import open_forward
from cri_conformance.streaming.events import WEBSOCKET, Refused


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(5)
        yield made


def test_each_direction_ends_alone(runtime: Any, port: socket.socket) -> None:
    sandbox = runtime.sandbox()
    number = port.getsockname()[1]
    url = runtime("PortForward", pod_sandbox_id=sandbox, port=[number]).url
    with open_forward(url) as forward:
        tunnel = forward.connect(number)
        tunnel.data.write(b"question")
        tunnel.data.close()
        peer, _ = port.accept()
        with peer:
            peer.settimeout(5)
            asked = b""
            while data := peer.recv(100):
                asked += data
            assert asked == b"question"
            peer.sendall(b"answer")
        assert tunnel.data.read_all(5) == b"answer"
        assert tunnel.failure(5) == ""
        assert tunnel.data.end == "closed"


def test_a_client_that_goes_away_leaves_no_connection(runtime: Any, port: socket.socket) -> None:
    number = port.getsockname()[1]
    for protocol in ("spdy", WEBSOCKET):
        for busy in (False, True):
            sandbox = runtime.sandbox()
            url = runtime("PortForward", pod_sandbox_id=sandbox, port=[number]).url
            forward = open_forward(url, protocol=protocol, ports=[number])
            forward.connect(number)
            peer, _ = port.accept()
            with peer:
                peer.settimeout(5)
                if busy:
                    writer = threading.Thread(target=_fill, args=(peer,))
                    writer.start()
                forward.abort()
                if busy:
                    writer.join(10)
                    assert not writer.is_alive()
                else:
                    assert peer.recv(1) == b""


def _fill(peer: socket.socket) -> None:
    try:
        while True:
            peer.sendall(b"x" * 65536)
    except OSError:
        pass


def test_what_is_refused(runtime: Any, port: socket.socket) -> None:
    sandbox = runtime.sandbox()
    number = port.getsockname()[1]
    for bad in (0, -1, 65536):
        refused = runtime.refused("PortForward", pod_sandbox_id=sandbox, port=[bad])
        assert refused == "INVALID_ARGUMENT"
    assert runtime.refused("PortForward", pod_sandbox_id="0" * 64) == "NOT_FOUND"
    url = runtime("PortForward", pod_sandbox_id=sandbox).url
    late = runtime("PortForward", pod_sandbox_id=sandbox).url
    with open_forward(url) as forward:
        runtime("StopPodSandbox", pod_sandbox_id=sandbox)
        tunnel = forward.connect(number)
        assert "not ready" in tunnel.failure(5)
    with pytest.raises(Refused, match="not ready"):
        open_forward(late)
    assert runtime.refused("PortForward", pod_sandbox_id=sandbox) == "FAILED_PRECONDITION"


def test_a_port_where_nobody_listens_is_told(runtime: Any, port: socket.socket) -> None:
    sandbox = runtime.sandbox()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        number = closed.getsockname()[1]
        with open_forward(runtime("PortForward", pod_sandbox_id=sandbox).url) as forward:
            tunnel = forward.connect(number)
            assert "refused" in tunnel.failure(5)
            assert tunnel.data.read(5) == b""
