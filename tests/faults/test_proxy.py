# SPDX-License-Identifier: Apache-2.0
"""The proxy, between a client and a server of a few lines."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.api.status import StatusError
from cri_conformance.faults import proxy
from cri_conformance.faults.fault import fault
from cri_conformance.faults.layer import METADATA_KEY
from cri_conformance.faults.operators import drop_messages, second_call_fails
from cri_conformance.malformed.attacks import MANY
from cri_conformance.malformed.http2 import Connection
from cri_conformance.wire import endpoint

from .upstream import Upstream

FAULT = fault("RuntimeService.StopContainer.idempotent", second_call_fails("StopContainer"))


class Server:
    """A gRPC server whose answers a test can look into."""

    def __init__(self, socket: Path) -> None:
        self.upstream = Upstream()
        self.contexts: list[tuple[str, float | None, dict[str, Any]]] = []
        self.held = threading.Event()
        self.cancelled = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()
        self.address = f"unix://{socket}"

    def stop(self) -> None:
        self.held.set()
        self._server.stop(None).wait()

    def answer(self, name: str, request: Any, context: Any) -> Any:
        metadata = dict(context.invocation_metadata())
        self.contexts.append((name, context.time_remaining(), metadata))
        if name == "Version":
            context.set_trailing_metadata((("x-trailer", "seen"),))
            return types.VersionResponse(version=request.version)
        if name == "Status":
            context.add_callback(self.cancelled.set)
            self.held.wait(10)
            return types.StatusResponse()
        if name == "ReopenContainerLog":
            context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x09"),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not running ☂")
        try:
            return self.upstream(name, request)
        except StatusError as error:
            context.abort(grpc.StatusCode[error.code], error.message)

    def stream(self, name: str, context: Any) -> Iterator[Any]:
        yield types.ContainerEventResponse(container_id="a")
        yield types.ContainerEventResponse(container_id="b")
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, server: Server) -> None:
        self._server = server

    def service(self, details: Any) -> Any:
        rpc = next(rpc for rpc in RPCS.values() if rpc.path == details.method)
        if rpc.server_streaming:
            return grpc.unary_stream_rpc_method_handler(
                lambda _, context: self._server.stream(rpc.name, context),
                rpc.request.FromString,
                rpc.response.SerializeToString,
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._server.answer(rpc.name, request, context),
            rpc.request.FromString,
            rpc.response.SerializeToString,
        )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "up.sock")
    yield made
    made.stop()


@pytest.fixture
def call(server: Server, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes a call through the proxy."""
    with proxy.running(server.address, FAULT, f"unix://{tmp_path}/p.sock") as address:
        channel = grpc.insecure_channel(address.replace("unix://", "unix:"))

        def make(name: str, request: Any = None, **options: Any) -> Any:
            rpc = RPCS[name]
            kind = channel.unary_stream if rpc.server_streaming else channel.unary_unary
            stub: Any = kind(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
            if options.pop("later", False):
                return stub.future(request or rpc.request(), **options)
            return stub(request or rpc.request(), **options)

        make.address = address  # type: ignore[attr-defined]
        yield make
        channel.close()


def test_the_fault_breaks_its_promise_and_the_rest_passes(call: Callable[..., Any]) -> None:
    stop = types.StopContainerRequest(container_id="one")
    call("StopContainer", stop)
    with pytest.raises(grpc.RpcError) as caught:
        call("StopContainer", stop)
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert call("Version", types.VersionRequest(version="v9")).version == "v9"
    with pytest.raises(grpc.RpcError) as caught:
        call("ContainerStatus", types.ContainerStatusRequest(container_id="none"))
    assert (caught.value.code().name, caught.value.details()) == ("NOT_FOUND", "no such container")


def test_without_a_fault_of_its_own_each_call_names_one(server: Server, tmp_path: Path) -> None:
    stop = types.StopContainerRequest(container_id="one")
    with proxy.running(server.address, None, f"unix://{tmp_path}/p.sock") as address:
        channel = grpc.insecure_channel(address.replace("unix://", "unix:"))
        rpc = RPCS["StopContainer"]
        stub: Any = channel.unary_unary(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        for _ in range(2):
            stub(stop)
        for session in ("a", "b"):
            named = ((METADATA_KEY, f"fail-second-StopContainer@{session}"),)
            stub(stop, metadata=named)
            with pytest.raises(grpc.RpcError) as caught:
                stub(stop, metadata=named)
            assert caught.value.code() is grpc.StatusCode.UNKNOWN
        with pytest.raises(grpc.RpcError) as caught:
            stub(stop, metadata=((METADATA_KEY, "nonsense@a"),))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        channel.close()


def test_deadline_metadata_and_trailers_pass(call: Callable[..., Any], server: Server) -> None:
    call("Version", timeout=7, metadata=(("x-own", "1"), ("cri-fault", "other")))
    call("StopContainer", types.StopContainerRequest(container_id="one"), timeout=7)
    call("ListContainers")
    (_, left, metadata), (_, stop_left, _), (_, none_left, _) = server.contexts
    assert left is not None
    assert stop_left is not None
    assert 0 < left < 7.5
    assert 0 < stop_left < 7.5
    assert none_left is None or none_left > 1e8
    assert metadata["x-own"] == "1"
    assert "cri-fault" not in metadata
    pending = call("Version", later=True)
    assert ("x-trailer", "seen") in pending.trailing_metadata()


def test_error_details_pass_whole(call: Callable[..., Any]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call("ReopenContainerLog")
    assert caught.value.details() == "not running ☂"
    assert ("grpc-status-details-bin", b"\x08\x09") in caught.value.trailing_metadata()


def test_a_fault_of_a_stream_changes_its_messages_and_keeps_its_error(
    server: Server, tmp_path: Path
) -> None:
    seeded = fault("X.y", drop_messages("GetContainerEvents", "a", lambda e: e.container_id == "a"))
    rpc = RPCS["GetContainerEvents"]
    with proxy.running(server.address, seeded, f"unix://{tmp_path}/p.sock") as address:
        channel = grpc.insecure_channel(address.replace("unix://", "unix:"))
        stub: Any = channel.unary_stream(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        stream = stub(types.GetEventsRequest())
        assert next(stream).container_id == "b"
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert (caught.value.code().name, caught.value.details()) == (
            "RESOURCE_EXHAUSTED",
            "enough",
        )
        channel.close()


def test_a_stream_passes_with_its_error(call: Callable[..., Any]) -> None:
    stream = call("GetContainerEvents")
    assert [next(stream).container_id, next(stream).container_id] == ["a", "b"]
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_call_given_up_is_given_up_upstream(call: Callable[..., Any], server: Server) -> None:
    pending = call("Status", later=True)
    while not server.contexts:
        server.cancelled.wait(0.01)
    pending.cancel()
    assert server.cancelled.wait(5)


def test_calls_whose_request_never_comes_keep_nobody_waiting(call: Callable[..., Any]) -> None:
    """A campaign's frames are to find hangs of the runtime, not of what stands before it."""
    served = endpoint.parse(call.address)  # type: ignore[attr-defined]
    with contextlib.ExitStack() as undo:
        for _ in range(3):
            connection = undo.enter_context(Connection(served))
            connection.start()
            for _ in range(MANY):
                connection.open(connection.headers())
            connection.listen(seconds=0.2)
        answer = call("Version", types.VersionRequest(version="v9"), timeout=5)
        assert answer.version == "v9"


def test_a_call_to_an_upstream_that_is_gone_is_unavailable(
    call: Callable[..., Any], server: Server
) -> None:
    server.stop()
    with pytest.raises(grpc.RpcError) as caught:
        call("Version", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("upstream", "listen", "why"),
    [
        ("unix:///nowhere.sock", "unix:///tmp/x.sock", "nothing takes gRPC connections"),
        ("nonsense", "unix:///tmp/x.sock", "not an endpoint"),
        ("{up}", "{up}", "are the same"),
        ("{up}", "unix:///no/such/folder/x.sock", "there is no folder"),
        ("{up}", "unix://{dir}/file", "no socket"),
        ("{up}", "unix://{dir}/link.sock", "another program listens there"),
        ("{up}", "unix:///proc/x.sock", "at unix:///proc/x.sock: No such file or directory$"),
        ("{up}", "tcp://127.0.0.1:{taken}", r"at tcp://127.0.0.1:\d+: Address already in use$"),
        ("{up}", "tcp://nowhere.invalid:9", "at tcp://nowhere.invalid:9: "),
    ],
)
def test_what_can_not_work_is_told_in_one_line(
    server: Server,
    tmp_path: Path,
    upstream: str,
    listen: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(proxy, "CONNECT_WITHIN", 0.2)
    (tmp_path / "file").touch()
    (tmp_path / "link.sock").symlink_to(tmp_path / "up.sock")
    taken = socket.create_server(("127.0.0.1", 0))
    named = {"up": server.address, "dir": str(tmp_path), "taken": taken.getsockname()[1]}
    with (
        taken,
        pytest.raises(proxy.ProxyError, match=why) as caught,
        proxy.running(upstream.format(**named), FAULT, listen.format(**named)),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # nor does gRPC say it in lines of its own


def test_a_dead_socket_makes_way_and_none_remains(server: Server, tmp_path: Path) -> None:
    listen = tmp_path / "p.sock"
    for _ in range(2):
        with proxy.running(server.address, FAULT, f"unix://{listen}"):
            assert listen.is_socket()
            os.link(listen, tmp_path / "kept.sock")
        assert not listen.exists()
        (tmp_path / "kept.sock").rename(listen)


_SERVE = """
import sys
from cri_conformance.faults import proxy
from cri_conformance.faults.fault import fault
from cri_conformance.faults.operators import drop_messages, second_call_fails
found = fault("RuntimeService.StopContainer.idempotent", second_call_fails("StopContainer"))
proxy.faults = lambda: {found.id: found}
sys.exit(proxy.serve(*sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_good_order_when_told(server: Server, tmp_path: Path, number: int) -> None:
    listen = tmp_path / "p.sock"
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE, server.address, FAULT.id, f"unix://{listen}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stdout
        assert FAULT.id in served.stdout.readline()
        assert listen.is_socket()
        served.send_signal(number)
        _, errors = served.communicate(timeout=10)
    assert served.returncode == 0
    assert errors == ""
    assert not listen.exists()


def test_an_unknown_fault_is_a_user_error(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert proxy.serve(server.address, "nonsense", f"unix://{tmp_path}/p.sock") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cri-conformance: there is no fault 'nonsense'")
