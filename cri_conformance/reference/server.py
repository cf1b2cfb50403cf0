# SPDX-License-Identifier: Apache-2.0
"""The runtime on a unix socket."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message

from cri_conformance.api.descriptors import PACKAGE
from cri_conformance.api.rpcs import RPCS, Rpc
from cri_conformance.api.status import StatusError
from cri_conformance.reference.runtime import Runtime

#: Largest request in bytes. Answers have no limit here: the client has one.
LARGEST_MESSAGE = 16 * 1024 * 1024
#: Calls at the same time. Each stop that waits for a grace period takes one of them, each open
#: stream, and each call whose request has not come yet. Made when they are needed.
THREADS = 1024
#: Of these one connection gets so many, so that no client alone can keep the others waiting.
STREAMS = 128
#: Seconds that calls under way get at the end, when all processes they could wait for are killed.
GRACE = 2.0

#: Gives the response, or for a streaming call an iterator of responses.
Proceed = Callable[[Message], Any]
#: What all calls go through: (name of the call, request, context, proceed) -> as proceed gives.
Layer = Callable[[str, Message, grpc.ServicerContext, Proceed], Any]
#: Sees the bytes of each call before anything else does, and may refuse them.
Decoder = Callable[[str, bytes, grpc.ServicerContext], None]

_OPTIONS = [
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", STREAMS),
]


class Server:
    """Serves a runtime. ``layer``, where there is one, sees each call and may answer itself."""

    def __init__(
        self, runtime: Runtime, layer: Layer | None = None, decoder: Decoder | None = None
    ) -> None:
        self._runtime = runtime
        self._layer = layer
        self._decoder = decoder
        self._server = grpc.server(ThreadPoolExecutor(THREADS), options=_OPTIONS)
        services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = defaultdict(dict)
        for rpc in RPCS.values():
            services[rpc.service][rpc.name] = self._handler(rpc)
        for service, handlers in services.items():
            generic = grpc.method_handlers_generic_handler(f"{PACKAGE}.{service}", handlers)
            self._server.add_generic_rpc_handlers((generic,))

    def start(self, socket: Path) -> None:
        """Listen. Raises RuntimeError if the socket can't be bound."""
        self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()
        # Whoever may connect may run commands as the runtime's user.
        socket.chmod(0o600)

    def stop(self) -> Callable[[], object]:
        """Take no more calls. Returns what waits for those under way, or cancels them."""
        return self._server.stop(GRACE).wait

    def _handler(self, rpc: Rpc) -> grpc.RpcMethodHandler[Any, Any]:
        answer = self._plain(rpc) if self._layer is None else self._layered(rpc)

        # Decoded here, as gRPC would call bytes that are no message an error of ours.
        def decoded(data: bytes, context: grpc.ServicerContext) -> Message:
            if self._decoder:
                self._decoder(rpc.name, data, context)
            try:
                return rpc.request.FromString(data)
            except DecodeError:
                raise StatusError("INVALID_ARGUMENT", f"no {rpc.name}Request") from None

        def behaviour(data: bytes, context: grpc.ServicerContext) -> Message:
            try:
                response: Message = answer(decoded(data, context), context)
                return response
            except Exception as error:
                _fail(context, error)

        def streamed(data: bytes, context: grpc.ServicerContext) -> Iterator[Message]:
            try:
                responses = answer(decoded(data, context), context)
                # From now on nothing is missed: a client that waits for this can rely on it.
                context.send_initial_metadata(())
                yield from responses
            except Exception as error:
                _fail(context, error)

        handler: grpc.RpcMethodHandler[Any, Any]
        if rpc.server_streaming:
            handler = grpc.unary_stream_rpc_method_handler(
                streamed, None, rpc.response.SerializeToString
            )
        else:
            handler = grpc.unary_unary_rpc_method_handler(
                behaviour, None, rpc.response.SerializeToString
            )
        return handler

    def _plain(self, rpc: Rpc) -> Callable[[Message, grpc.ServicerContext], Any]:
        find = self._runtime.stream if rpc.server_streaming else self._runtime.call

        def answer(request: Message, context: grpc.ServicerContext) -> Any:
            return find(rpc.name, context.add_callback)(request)

        return answer

    def _layered(self, rpc: Rpc) -> Callable[[Message, grpc.ServicerContext], Any]:
        layer = self._layer
        assert layer is not None
        plain = self._plain(rpc)

        def answer(request: Message, context: grpc.ServicerContext) -> Any:
            def proceed(changed: Message) -> Any:
                came = plain(changed, context)
                return map(copy_of, came) if rpc.server_streaming else copy_of(came)

            return layer(rpc.name, request, context, proceed)

        return answer


def _fail(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    if isinstance(error, StatusError):
        context.abort(grpc.StatusCode[error.code], error.message)
    elif not context.is_active():
        raise error  # the client has gone, and with it whoever could be told
    # A mistake of ours: the client learns so.
    traceback.print_exception(error)
    context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


def copy_of(message: Message) -> Message:
    """A copy for those who change it: the runtime's own messages are shared by all readers."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
