# SPDX-License-Identifier: Apache-2.0
"""The runtime on a unix socket."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from cri_conformance.api.descriptors import PACKAGE
from cri_conformance.api.rpcs import RPCS, Rpc
from cri_conformance.api.status import StatusError
from cri_conformance.reference.runtime import Runtime

#: Largest request in bytes. Answers have no limit here: the client has one.
LARGEST_MESSAGE = 16 * 1024 * 1024
#: Calls at the same time. Each stop that waits for a grace period takes one of them.
THREADS = 64
#: Seconds that calls under way get at the end, when all processes they could wait for are killed.
GRACE = 2.0

Proceed = Callable[[Message], Message]
#: What all unary calls go through: (name of the call, request, context, proceed) -> response.
Layer = Callable[[str, Message, grpc.ServicerContext, Proceed], Message]

_OPTIONS = [
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
]


class Server:
    """Serves a runtime. ``layer``, where there is one, sees each call and may answer itself."""

    def __init__(self, runtime: Runtime, layer: Layer | None = None) -> None:
        self._runtime = runtime
        self._layer = layer
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
        answer = self._plain(rpc.name) if self._layer is None else self._layered(rpc.name)

        def behaviour(request: Message, context: grpc.ServicerContext) -> Message:
            try:
                return answer(request, context)
            except StatusError as error:
                context.abort(grpc.StatusCode[error.code], error.message)
            except Exception as error:  # a mistake of ours: the client learns so
                traceback.print_exc()
                context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")

        make: Any = (
            grpc.unary_stream_rpc_method_handler
            if rpc.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        handler: grpc.RpcMethodHandler[Any, Any] = make(
            behaviour, rpc.request.FromString, rpc.response.SerializeToString
        )
        return handler

    def _plain(self, rpc: str) -> Callable[[Message, grpc.ServicerContext], Message]:
        def answer(request: Message, context: grpc.ServicerContext) -> Message:
            return self._runtime.call(rpc, context.add_callback)(request)

        return answer

    def _layered(self, rpc: str) -> Callable[[Message, grpc.ServicerContext], Message]:
        layer = self._layer
        assert layer is not None

        def answer(request: Message, context: grpc.ServicerContext) -> Message:
            def proceed(changed: Message) -> Message:
                return copy_of(self._runtime.call(rpc, context.add_callback)(changed))

            return layer(rpc, request, context, proceed)

        return answer


def copy_of(message: Message) -> Message:
    """A copy for those who change it: the runtime's own messages are shared by all readers."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
