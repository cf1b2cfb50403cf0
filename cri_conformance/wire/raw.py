# SPDX-License-Identifier: Apache-2.0
"""Calls of bytes, whatever they are: below the types of the client.

No call is put into the history, which holds messages: whoever sends bytes keeps what it sent.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import grpc

from cri_conformance.api.rpcs import RPCS
from cri_conformance.wire.client import Client
from cri_conformance.wire.endpoint import Endpoint
from cri_conformance.wire.outcome import Ok, Outcome

_PEER = struct.Struct("3i")


class RawClient:
    """Sends bytes as the request of a call, over the connection of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stubs: dict[str, Callable[..., Any]] = {}
        for rpc in RPCS.values():
            channel = client.channel(rpc.service)
            kind = channel.unary_stream if rpc.server_streaming else channel.unary_unary
            self._stubs[rpc.name] = kind(rpc.path, None, None)

    def call(self, rpc: str, data: bytes, *, deadline: float) -> Outcome:
        """One call. ``Ok.response`` is bytes; of a stream the first message, b"" if there is none.

        A stream is left after its first message, and one that stays silent counts as unknown.
        Never raises for what the runtime answers, nor if it is gone.
        """
        start = time.monotonic()
        try:
            stub = self._stubs[rpc]
            if not RPCS[rpc].server_streaming:
                return Ok(stub(data, timeout=deadline, metadata=self._client.metadata))
            stream = stub(data, timeout=deadline, metadata=self._client.metadata)
            first = next(stream, b"")
            stream.cancel()
            return Ok(first)
        except grpc.RpcError as error:
            return self._client.outcome_of(error, time.monotonic() - start, deadline)


def peer(endpoint: Endpoint, seconds: float = 2.0) -> int:
    """The process that listens on a unix socket; 0 where that can't be told.

    Another one than before means that the runtime was started anew meanwhile.
    """
    if endpoint.socket is None:
        return 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(endpoint.socket))
            told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        except OSError:
            return 0
    pid: int = _PEER.unpack(told)[0]
    return pid
