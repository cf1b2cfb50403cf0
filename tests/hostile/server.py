# SPDX-License-Identifier: Apache-2.0
"""A runtime that is out to hurt whoever judges it: python server.py UPSTREAM SOCKET MODE.

It stands in front of the reference runtime, so that a run gets to where it hurts, and passes
bytes on as they are but for what its mode does. The modes are the functions of ``MODES``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

from cri_conformance.api.rpcs import RPCS

#: Escapes a terminal obeys, markup, a turn of writing, what XML can't hold.
MARKUP = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x00&"
_HONEST = ("Version", "Status", "RuntimeConfig", "ImageStatus")

Forward = Callable[[bytes], bytes]


def _changed(rpc: str, data: bytes, change: Callable[[str, Any, Any], None]) -> bytes:
    """A message with each of its fields changed, at any depth."""
    message = RPCS[rpc].response.FromString(data)
    _walk(message, change)
    done: bytes = message.SerializeToString()
    return done


def _walk(message: Any, change: Callable[[str, Any, Any], None]) -> None:
    for field, value in message.ListFields():
        if field.message_type is None:
            change(field.name, message, value)
        elif not hasattr(value, "items"):
            for inner in value if hasattr(value, "extend") else [value]:
                _walk(inner, change)


def items(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Lists of ten million items."""
    return b"\x0a\x00" * 10_000_000 if rpc == "ListContainers" else forward(request)


def gigabyte(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Messages far beyond what anybody takes."""
    return bytes(100 * 1024 * 1024) if rpc == "ListContainers" else forward(request)


def markup(rpc: str, request: bytes, forward: Forward, context: Any) -> bytes:
    """Texts and errors that do things where they are shown."""

    def change(name: str, message: Any, value: Any) -> None:
        if isinstance(value, str) and name not in ("pod_sandbox_id", "container_id", "id", "url"):
            setattr(message, name, value + MARKUP)

    if rpc in ("RemoveContainer", "UpdateContainerResources"):
        context.abort(grpc.StatusCode.INTERNAL, MARKUP.replace("\x00", ""))
    data = forward(request)
    return data if rpc in ("ImageStatus", "RuntimeConfig") else _changed(rpc, data, change)


def errors(rpc: str, request: bytes, forward: Forward, context: Any) -> bytes:
    """Megabytes of text with each error."""
    if rpc in (*_HONEST, "ListPodSandbox", "ListContainers", "ListImages"):
        return forward(request)
    context.abort(grpc.StatusCode.INTERNAL, "x" * 3_000_000)
    raise AssertionError


def stall(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Answers what is asked first, and then nothing."""
    if rpc not in (*_HONEST, "ListPodSandbox", "ListContainers", "ListImages"):
        threading.Event().wait(120)
    return forward(request)


def utf8(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Strings that are none."""
    return forward(request) if rpc in _HONEST else b"\x0a\x04\xff\xfe\xfd\xfc"


def times(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Moments that no calendar has."""

    def change(name: str, message: Any, value: Any) -> None:
        if name.endswith(("_at", "timestamp")):
            setattr(message, name, 2**63 - 1 if value % 2 else -(2**63))

    return _changed(rpc, forward(request), change)


def nothing(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """OK to everything, and no more."""
    return forward(request) if rpc in ("Version", "Status", "ImageStatus") else b""


def endless(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Streams go on and on (see ``_stream``)."""
    return forward(request)


MODES: dict[str, Callable[[str, bytes, Forward, Any], bytes]] = {
    made.__name__: made
    for made in (items, gigabyte, markup, errors, stall, utf8, times, nothing, endless)
}
#: One message of a stream that does not end: an event with an id, or an item of a list.
_ENDLESS = b"\x0a\x40" + b"e" * 64


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, upstream: str, mode: str) -> None:
        self._channel = grpc.insecure_channel(
            upstream, options=[("grpc.default_authority", "localhost")]
        )
        self._mode = mode

    def service(self, details: Any) -> Any:
        rpc = details.method.rpartition("/")[2]
        if RPCS[rpc].server_streaming:
            return grpc.unary_stream_rpc_method_handler(
                lambda request, context: self._stream(details.method, request, context)
            )
        forward = self._channel.unary_unary(details.method)

        def answer(request: bytes, context: Any) -> bytes:
            try:
                return MODES[self._mode](rpc, request, forward, context)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())  # type: ignore[attr-defined]
                raise

        return grpc.unary_unary_rpc_method_handler(answer)

    def _stream(self, method: str, request: bytes, context: Any) -> Iterator[bytes]:
        if self._mode == "endless":
            while context.is_active():
                yield _ENDLESS
        try:
            yield from self._channel.unary_stream(method)(request)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())  # type: ignore[attr-defined]


def main(upstream: str, listen: str, mode: str) -> None:
    limits = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
    limits += [("grpc.max_metadata_size", 8 << 20), ("grpc.absolute_max_metadata_size", 16 << 20)]
    server = grpc.server(futures.ThreadPoolExecutor(64), options=limits)
    server.add_generic_rpc_handlers((_Handler(upstream, mode),))
    server.add_insecure_port(listen)
    server.start()
    print(listen, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
