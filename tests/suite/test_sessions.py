# SPDX-License-Identifier: Apache-2.0
"""What a session that does not end says of itself: by it alone a finding is judged."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from cri_conformance.streaming import status
from cri_conformance.streaming.client import open_session
from cri_conformance.streaming.events import SPDY, V4, WEBSOCKET
from cri_conformance.streaming.server import CommandSession, Server, command
from cri_conformance.suite.sessions import to_the_end

FLAGS = {"stdin": True, "stdout": True}


@pytest.fixture
def url() -> Iterator[str]:
    """Of a command that goes on whatever comes."""
    enough = threading.Event()

    def run(session: CommandSession) -> None:
        enough.wait(10)
        session.finish(status.ended(0))

    server = Server()
    server.start()
    yield server.offer(command(run, **FLAGS), "exec")
    enough.set()
    server.close()


@pytest.mark.parametrize(
    ("protocol", "data", "close", "told"),
    [
        (SPDY, b"", True, "; sent were 0 bytes of input and their end"),
        (SPDY, b"x\n", True, "; sent were 2 bytes of input and their end"),
        (SPDY, b"x\n", False, "; sent were 2 bytes of input"),
        (SPDY, None, True, ""),
        # Which has no word for the end of the input.
        (WEBSOCKET, b"x\n", True, "; sent were 2 bytes of input"),
    ],
)
def test_a_session_that_stands_tells_what_was_sent(
    url: str, protocol: str, data: bytes | None, close: bool, told: str
):
    with open_session(url, **FLAGS, protocol=protocol, subprotocols=(V4,)) as session:
        came = to_the_end(session, data, quiet=0.3, close=close)
    assert not came.over
    assert came.trouble == f"not over, and nothing came for 0.3 s{told}"
