# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of any CRI endpoint that breaks one promise, or the one that a call names.

Calls that the fault does not look at pass as raw bytes. Deadlines,
cancellation, metadata, error codes and details are passed on both ways.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from cri_conformance.api.rpcs import RPCS, Rpc
from cri_conformance.api.status import StatusError
from cri_conformance.faults.catalogue import CatalogueError, faults
from cri_conformance.faults.fault import Call, Decoding, Fault, Middleware, Proceed, Upstream
from cri_conformance.faults.layer import METADATA_KEY, FaultLayer
from cri_conformance.listening import CannotListen, free, free_port
from cri_conformance.wire import endpoint

#: Calls served at once; their threads are made when they are needed. A stop may take minutes, and
#: a call whose request never comes takes one too. Of these one connection gets so many.
THREADS, STREAMS = 1024, 128
#: Seconds within which the upstream must take a connection.
CONNECT_WITHIN = 3.0
#: Seconds that calls under way get when the proxy is told to end.
GRACE = 2.0
#: Deadline (seconds) of the further calls that a fault makes itself.
OWN_DEADLINE = 30.0
#: A client without a deadline shows as one in the far future.
_NO_DEADLINE = 10.0**8

#: Calls that a fault has to see whatever it is about, because it remembers objects.
_REMEMBERED = frozenset(
    (
        "RunPodSandbox",
        "StopPodSandbox",
        "RemovePodSandbox",
        "CreateContainer",
        "StartContainer",
        "StopContainer",
        "RemoveContainer",
        "ExecSync",
    )
)
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
_UPSTREAM_OPTIONS = [
    *_OPTIONS,
    # Without it grpcio sends the socket's path as authority, which Go servers refuse.
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
#: Metadata that each hop makes for itself.
_OWN_KEYS = (":", "grpc-", "user-agent", "content-type", "te", "host", METADATA_KEY)


_MethodHandler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


class ProxyError(Exception):
    """The proxy can't do its work; one line that says what was tried and what to check."""


def serve(upstream: str, fault_id: str | None, listen: str) -> int:
    """Run the proxy until SIGTERM or SIGINT. Returns an exit status: 0, or 2 for a user error.

    Endpoints as in ``unix:///path.sock``; without a fault each call names its own. Prints one
    line when it listens; errors are one line on stderr.
    """
    # Blocked and waited for, in place of handlers: nothing runs between two instructions.
    ends = {signal.SIGTERM, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with running(upstream, fault_id, listen) as address:
            print(f"fault {fault_id or 'by call'}: {address} in front of {upstream}", flush=True)
            signal.sigwait(ends)
    except ProxyError as error:
        print(f"cri-conformance: {error}", file=sys.stderr)
        return 2
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0


@contextlib.contextmanager
def running(upstream: str, fault: str | Fault | None, listen: str) -> Iterator[str]:
    """A proxy for the time of the block; gives its address as text. Raises ProxyError.

    ``fault`` by its id or itself; with None each call is under the fault that its metadata names,
    as in the reference runtime.
    """
    seeded = _named(fault) if isinstance(fault, str) else fault
    try:
        target, address = endpoint.parse(upstream), endpoint.parse(listen)
    except endpoint.EndpointError as error:
        raise ProxyError(str(error)) from None
    if target == address:
        raise ProxyError(f"--listen and --upstream are the same: {address.text}")
    with contextlib.ExitStack() as undo:
        channel = grpc.insecure_channel(target.target, options=_UPSTREAM_OPTIONS)
        undo.callback(channel.close)
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_WITHIN)
        except grpc.FutureTimeoutError:
            raise ProxyError(
                f"nothing takes gRPC connections at {target.text} (tried for "
                f"{CONNECT_WITHIN:g} s): is the runtime running, and is this its endpoint?"
            ) from None
        server = grpc.server(
            futures.ThreadPoolExecutor(THREADS, thread_name_prefix="fault-proxy"),
            options=[*_OPTIONS, ("grpc.max_concurrent_streams", STREAMS)],
        )
        server.add_generic_rpc_handlers((_Handler(channel, seeded),))
        _bind(server, address, undo)
        server.start()
        undo.callback(lambda: server.stop(GRACE).wait())
        yield address.text


def _named(fault_id: str) -> Fault:
    try:
        catalogue = faults()
    except CatalogueError as error:
        raise ProxyError(str(error)) from None
    if fault_id not in catalogue:
        raise ProxyError(f"there is no fault {fault_id!r}; see: cri-conformance faults --list")
    return catalogue[fault_id]


def _bind(server: grpc.Server, address: endpoint.Endpoint, undo: contextlib.ExitStack) -> None:
    path = address.socket
    host, _, port = address.target.removeprefix("dns:///").rpartition(":")
    try:
        if path is not None:
            free(path)
        else:
            free_port(host.strip("[]"), int(port))
    except CannotListen as error:
        raise ProxyError(f"can't listen at {address.text}: {error}") from None
    if path is not None:
        # Runs after the server has stopped; grpc removes the socket itself when all goes well.
        undo.callback(path.unlink, missing_ok=True)
    try:
        server.add_insecure_port(address.target if path else f"{host}:{port}")
    except RuntimeError as error:
        raise ProxyError(f"can't listen at {address.text}: {error}") from None
    if path is not None:
        path.chmod(0o600)


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers all calls of the contract, and any others, by what upstream says."""

    def __init__(self, channel: grpc.Channel, fault: Fault | None) -> None:
        self._channel = channel
        self._by_path = {rpc.path: rpc for rpc in RPCS.values()}
        self._middleware_for = _always(fault) if fault else _by_metadata(self._upstream)

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        path = details.method
        rpc = self._by_path.get(path)
        under = self._middleware_for(rpc.name, details) if rpc is not None else None
        if rpc is not None and rpc.server_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._faulty_stream(rpc, under) if under else self._stream(path)
            )
        if rpc is not None and under:
            return grpc.unary_unary_rpc_method_handler(self._faulty(rpc, under))
        return grpc.unary_unary_rpc_method_handler(self._plain(path))

    def _plain(self, path: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        stub = self._channel.unary_unary(path, None, None)

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                return self._pass_on(stub, request, context)
            except grpc.RpcError as error:
                _abort(context, error)
                raise AssertionError from None

        return answer

    def _stream(self, path: str) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
        stub = self._channel.unary_stream(path, None, None)

        def answer(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            try:
                yield from self._stream_on(stub, request, context)
            except grpc.RpcError as error:
                _abort(context, error)

        return answer

    @staticmethod
    def _stream_on(stub: Any, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        stream: Any = stub(request, timeout=_left(context), metadata=_metadata(context))
        # Without effect once it has ended.
        if not context.add_callback(stream.cancel):
            stream.cancel()

        def messages() -> Iterator[bytes]:
            yield from stream
            context.set_trailing_metadata(tuple(stream.trailing_metadata() or ()))

        return messages()

    def _faulty_stream(
        self, rpc: Rpc, middleware: Middleware
    ) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
        stub = self._channel.unary_stream(rpc.path, None, None)

        def answer(raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            ended = threading.Event()
            context.add_callback(ended.set)
            came: dict[int, grpc.RpcError] = {}

            def proceed(request: Message) -> Iterator[Message]:
                # Opened now, not at the first message: what happens from now on is wanted.
                stream = self._stream_on(stub, request.SerializeToString(), context)
                return _messages(rpc, stream, came)

            try:
                _decode(middleware, rpc.name, raw, ended)
                call = Call(rpc.name, rpc.request.FromString(raw), self._upstream, ended)
                for message in middleware(call, proceed):
                    yield message.SerializeToString()
            except DecodeError:
                context.abort(grpc.StatusCode.INTERNAL, f"{rpc.name}: not a message of the CRI")
            except StatusError as status:
                if id(status) in came:
                    _abort(context, came[id(status)])
                context.abort(grpc.StatusCode[status.code], status.message)

        return answer

    def _faulty(
        self, rpc: Rpc, middleware: Middleware
    ) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        stub = self._channel.unary_unary(rpc.path, None, None)

        def answer(raw: bytes, context: grpc.ServicerContext) -> bytes:
            ended = threading.Event()
            context.add_callback(ended.set)
            # The error as it came is kept, so that its details reach the client.
            came: dict[int, grpc.RpcError] = {}

            def proceed(request: Message) -> Message:
                try:
                    data = self._pass_on(stub, request.SerializeToString(), context)
                except grpc.RpcError as error:
                    status = _as_status(error)
                    came[id(status)] = error
                    raise status from error
                return rpc.response.FromString(data)

            try:
                _decode(middleware, rpc.name, raw, ended)
                call = Call(rpc.name, rpc.request.FromString(raw), self._upstream, ended)
                response: bytes = middleware(call, proceed).SerializeToString()
                return response
            except DecodeError:
                context.abort(grpc.StatusCode.INTERNAL, f"{rpc.name}: not a message of the CRI")
            except StatusError as status:
                if id(status) in came:
                    _abort(context, came[id(status)])
                context.abort(grpc.StatusCode[status.code], status.message)
            raise AssertionError

        return answer

    def _pass_on(self, stub: Any, request: bytes, context: grpc.ServicerContext) -> bytes:
        pending = stub.future(request, timeout=_left(context), metadata=_metadata(context))
        # Cancelled with its client; without effect once it is answered.
        if not context.add_callback(pending.cancel):
            pending.cancel()
        try:
            answer: bytes = pending.result()
        except grpc.FutureCancelledError:
            context.abort(grpc.StatusCode.CANCELLED, "the client gave the call up")
            raise AssertionError from None
        context.set_trailing_metadata(tuple(pending.trailing_metadata() or ()))
        return answer

    def _upstream(self, name: str, request: Message) -> Message:
        rpc = RPCS[name]
        stub = self._channel.unary_unary(rpc.path, None, None)
        try:
            data = stub(request.SerializeToString(), timeout=OWN_DEADLINE)
        except grpc.RpcError as error:
            raise _as_status(error) from error
        return rpc.response.FromString(data)


def _messages(
    rpc: Rpc, stream: Iterator[bytes], came: dict[int, grpc.RpcError]
) -> Iterator[Message]:
    """A stream's messages; its error as a StatusError, under whose id it is kept as it came."""
    try:
        for data in stream:
            yield rpc.response.FromString(data)
    except grpc.RpcError as error:
        status = _as_status(error)
        came[id(status)] = error
        raise status from error


#: The middleware that a call is under, by its name and metadata; None if it just passes.
_Choice: TypeAlias = Callable[[str, grpc.HandlerCallDetails], Middleware | None]


def _always(fault: Fault) -> _Choice:
    middleware, seen = fault.make(), fault.rpcs | _REMEMBERED
    return lambda rpc, _: middleware if rpc in seen else None


def _by_metadata(call_upstream: Upstream) -> _Choice:
    layer = FaultLayer(call_upstream)

    def choose(_: str, details: grpc.HandlerCallDetails) -> Middleware | None:
        metadata = tuple(details.invocation_metadata or ())
        if not any(key == METADATA_KEY for key, _ in metadata):
            return None
        return _Named(layer, metadata)

    return choose


def _decode(middleware: object, rpc: str, data: bytes, ended: threading.Event) -> None:
    if isinstance(middleware, Decoding):
        middleware.decode(rpc, data, ended)


class _Named:
    """The fault that a call's metadata names, as a middleware of its own."""

    def __init__(self, layer: FaultLayer, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        self._layer, self._metadata = layer, metadata

    def __call__(self, call: Call, proceed: Proceed) -> Any:
        return self._layer.handle(call.rpc, call.request, self._metadata, proceed, call.ended)

    def decode(self, rpc: str, data: bytes, ended: threading.Event) -> None:
        self._layer.decode(rpc, data, self._metadata, lambda: ended)


def _left(context: grpc.ServicerContext) -> float | None:
    left = context.time_remaining()
    return None if left is None or left > _NO_DEADLINE else max(left, 0.0)


def _metadata(context: grpc.ServicerContext) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (key, value)
        for key, value in context.invocation_metadata() or ()
        if not key.startswith(_OWN_KEYS)
    )


def _as_status(error: Any) -> StatusError:
    return StatusError(error.code().name, error.details() or "")


def _abort(context: grpc.ServicerContext, error: Any) -> None:
    """Answer with an error just as it came, its details included."""
    trailing = error.trailing_metadata() or ()
    context.set_trailing_metadata(tuple(itertools.chain(trailing)))
    context.abort(error.code(), error.details() or "")
