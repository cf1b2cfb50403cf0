# SPDX-License-Identifier: Apache-2.0
"""A runtime that is out to hurt whoever judges it: python server.py UPSTREAM SOCKET MODE.

It stands in front of the reference runtime, so that a run gets to where it hurts, and passes
bytes on as they are but for what its mode does. The modes are the functions in ``MODES``. Those
that hold a run up make a file ``SOCKET.struck`` when they begin to.
"""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from hpack import Decoder

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.streaming.events import StreamingError
from cri_conformance.streaming.server import CommandSession, Server, command
from cri_conformance.wire.identity import Run

#: Escapes a terminal obeys, markup, a turn of writing, what XML can't hold.
MARKUP = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x00&"
#: Put in front of each id: a way up, words for a shell, a command for a terminal.
NASTY = "../../../$(touch owned)`touch owned`';touch owned;\x1b[2J\n"
_ID = re.compile("[0-9a-f]{64}")
_HONEST = ("Version", "Status", "RuntimeConfig", "ImageStatus")
_LISTS = ("ListPodSandbox", "ListContainers", "ListImages")

_gone = threading.Event()
#: Where a mode leaves word that it holds the run up.
_struck = ""

Forward = Callable[[bytes], bytes]


def _changed(rpc: str, data: bytes, change: Callable[[str, Any, Any], None]) -> bytes:
    """A response with each of its fields changed, at any depth."""
    return _rewritten(RPCS[rpc].response, data, change)


def _rewritten(kind: Any, data: bytes, change: Callable[[str, Any, Any], None]) -> bytes:
    message = kind.FromString(data)
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


def ids(rpc: str, request: bytes, forward: Forward, context: Any) -> bytes:
    """Ids that hurt whoever puts them into a path, a command or onto a terminal."""

    def honest(name: str, message: Any, value: Any) -> None:
        if isinstance(value, str) and NASTY in value:
            setattr(message, name, value.replace(NASTY, ""))

    def nasty(name: str, message: Any, value: Any) -> None:
        if isinstance(value, str) and _ID.fullmatch(value):
            setattr(message, name, NASTY + value)

    if rpc == "StopPodSandbox":
        context.abort(grpc.StatusCode.INTERNAL, "not today")
    answer = forward(_rewritten(RPCS[rpc].request, request, honest))
    return _changed(rpc, answer, nasty)


def claims(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Tens of thousands of sandboxes that say a run of ours made them, and is gone."""
    if rpc != "ListPodSandbox":
        return forward(request)
    run = Run.new()
    gone = Run(run.nonce, run.owner.rpartition(".")[0] + ".1")
    listed = types.PodSandbox(id=NASTY, labels=gone.labels())
    listed.metadata.name = MARKUP.replace("\x00", "")
    one: bytes = types.ListPodSandboxResponse(items=[listed]).SerializeToString()
    return one * 20_000


def leaves(rpc: str, request: bytes, forward: Forward, context: Any) -> bytes:
    """Is there until the first list is asked for."""
    if rpc in _LISTS:
        _gone.set()
    if _gone.is_set():
        context.abort(grpc.StatusCode.UNAVAILABLE, MARKUP.replace("\x00", ""))
    return forward(request)


def errors(rpc: str, request: bytes, forward: Forward, context: Any) -> bytes:
    """Megabytes of text with each error."""
    if rpc in (*_HONEST, *_LISTS):
        return forward(request)
    context.abort(grpc.StatusCode.INTERNAL, "x" * 3_000_000)
    raise AssertionError


def stall(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Answers what is asked first, and then nothing."""
    if rpc not in (*_HONEST, *_LISTS, "PullImage", "RemoveImage"):
        threading.Event().wait(120)
    return forward(request)


def mute(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Answers nothing more, whatever it is asked, from the first command or exit on."""
    if rpc in ("ExecSync", "StopContainer"):
        _gone.set()
    if _gone.is_set():
        _strike()
        threading.Event().wait(120)
    return forward(request)


def utf8(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Strings that are none."""
    return forward(request) if rpc in _HONEST else b"\x0a\x04\xff\xfe\xfd\xfc"


def times(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Moments that no calendar has."""

    def change(name: str, message: Any, value: Any) -> None:
        if name.endswith(("_at", "timestamp")):
            setattr(message, name, -(2**63) if name == "created_at" else 2**63 - 1)

    return _changed(rpc, forward(request), change)


def nothing(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """OK to everything, and no more."""
    return forward(request) if rpc in ("Version", "Status", "ImageStatus") else b""


def closes(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """The connection ends with each call (see ``_Cut``)."""
    return forward(request)


def endless(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Streams go on and on (see ``_stream``)."""
    return forward(request)


def talks(rpc: str, request: bytes, forward: Forward, _: Any) -> bytes:
    """Sessions whose command writes for ever, as fast as it can."""
    if rpc not in ("Exec", "Attach"):
        return forward(request)
    asked = RPCS[rpc].request.FromString(request)
    flags = {name: getattr(asked, name) for name in ("stdin", "stdout", "stderr", "tty")}
    url = _sessions().offer(command(_talk, **flags), rpc.lower())
    answer: bytes = RPCS[rpc].response(url=url).SerializeToString()
    return answer


@functools.cache
def _sessions() -> Server:
    server = Server()
    server.start()
    return server


def _strike() -> None:
    Path(_struck).touch()


def _talk(session: CommandSession) -> None:
    _strike()
    with contextlib.suppress(StreamingError):
        while True:
            for stream in (session.stdout, session.stderr):
                if stream:
                    stream.write(b"x" * 65536)


_MODES = (items, gigabyte, markup, ids, claims, leaves, errors, stall, closes, utf8, times)
MODES = {made.__name__: made for made in (*_MODES, nothing, endless, talks, mute)}
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
            _strike()
            while context.is_active():
                yield _ENDLESS
        try:
            yield from self._channel.unary_stream(method)(request)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())  # type: ignore[attr-defined]


class _Cut:
    """Takes connections in front of the server, and closes each at a call that is not honest."""

    def __init__(self, listen: str, behind: str) -> None:
        self._behind = behind
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(listen.removeprefix("unix://"))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._behind.removeprefix("unix://"))
            ends = (client, server)
            for target, one, other in ((_asked, *ends), (_pass_on, server, client)):
                threading.Thread(target=_until_cut, args=(target, one, other), daemon=True).start()


def _until_cut(pump: Callable[[Any, Any], None], one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        pump(one, other)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    while data := one.recv(65536):
        other.sendall(data)


def _asked(client: socket.socket, server: socket.socket) -> None:
    """Pass on what is asked, frame by frame, up to the first call that is not honest."""
    came, headers = client.makefile("rb"), Decoder()
    server.sendall(came.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
    while head := came.read(9):
        body = came.read(int.from_bytes(head[:3], "big"))
        if head[3] == 1:
            path = dict(headers.decode(body))[":path"]
            if path.rpartition("/")[2] not in (*_HONEST, *_LISTS):
                return
        server.sendall(head + body)


def main(upstream: str, listen: str, mode: str) -> None:
    global _struck
    _struck = f"{listen.removeprefix('unix://')}.struck"
    limits = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
    limits += [("grpc.max_metadata_size", 8 << 20), ("grpc.absolute_max_metadata_size", 16 << 20)]
    server = grpc.server(futures.ThreadPoolExecutor(64), options=limits)
    server.add_generic_rpc_handlers((_Handler(upstream, mode),))
    behind = f"{listen}.behind" if mode == "closes" else listen
    server.add_insecure_port(behind)
    server.start()
    if mode == "closes":
        _Cut(listen, behind)
    print(listen, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
