# SPDX-License-Identifier: Apache-2.0
"""Streams as a client sees them: bounded, lazy where asked, in the history."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.wire.client import Client
from cri_conformance.wire.endpoint import parse
from cri_conformance.wire.outcome import Ok, Refused, Unknown

RPC = RPCS["GetContainerEvents"]
Answer = Callable[[Any, grpc.ServicerContext], Iterator[Any]]


class Peer:
    """A server with one streaming call, which a test gives; counts what was taken of it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answer: Answer = _few
        self.sent = 0

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for event in self.answer(request, context):
            self.sent += 1
            yield event


def _few(_: Any, __: grpc.ServicerContext) -> Iterator[Any]:
    for n in range(30):
        yield types.ContainerEventResponse(container_id=f"c{n}", created_at=n)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    address = f"unix://{tmp_path}/peer.sock"
    client = Client(parse(address), timeout=10)
    made = Peer(client)
    handler = grpc.unary_stream_rpc_method_handler(
        made, RPC.request.FromString, RPC.response.SerializeToString
    )
    version = grpc.unary_unary_rpc_method_handler(
        lambda request, context: types.VersionResponse(version="0.1.0"),
        RPCS["Version"].request.FromString,
        RPCS["Version"].response.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(8))
    service = RPC.path.split("/")[1]
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {RPC.name: handler, "Version": version}),)
    )
    server.add_insecure_port(address)
    server.start()
    yield made
    client.close()
    server.stop(0).wait()


def test_messages_come_in_order_and_the_end_is_ok(peer: Peer) -> None:
    with peer.client.stream(RPC.name) as stream:
        assert [event.container_id for event in stream] == [f"c{n}" for n in range(30)]
        assert isinstance(stream.outcome, Ok)
        assert not stream.open
        assert stream.next(within=5) is None


def test_waiting_is_bounded_and_ends_with_what_was_waited_for(peer: Peer) -> None:
    go = threading.Event()

    def slowly(_: Any, __: grpc.ServicerContext) -> Iterator[Any]:
        yield types.ContainerEventResponse(container_id="first")
        go.wait(10)
        yield types.ContainerEventResponse(container_id="second")

    peer.answer = slowly
    with peer.client.stream(RPC.name) as stream:
        assert stream.next(within=5).container_id == "first"
        assert stream.next(within=0.05) is None
        assert stream.open
        assert not stream.wait_until(lambda messages: len(messages) == 2, within=0.05)
        go.set()
        assert stream.wait_until(lambda messages: len(messages) == 2, within=5)
        assert isinstance(stream.finish(within=5), Ok)


def test_an_error_comes_with_the_end(peer: Peer) -> None:
    def refuse(_: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")
        yield

    peer.answer = refuse
    with peer.client.stream(RPC.name) as stream:
        assert stream.next(within=5) is None
        assert stream.outcome == Refused("UNIMPLEMENTED", "not here")


def test_the_deadline_ends_it_whatever_the_runtime_does(peer: Peer) -> None:
    end = threading.Event()

    def never(_: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(end.set)
        end.wait(10)
        yield from ()

    peer.answer = never
    with peer.client.stream(RPC.name, deadline=0.3) as stream:
        assert isinstance(stream.finish(within=5), Unknown)
    assert end.wait(5)


def test_a_lazy_stream_leaves_with_the_runtime_what_was_not_asked_for(peer: Peer) -> None:
    large = "x" * 1_000_000

    def many(_: Any, __: grpc.ServicerContext) -> Iterator[Any]:
        for n in range(200):
            yield types.ContainerEventResponse(container_id=large, created_at=n)

    peer.answer = many
    with peer.client.stream(RPC.name, lazy=True) as stream:
        assert stream.next(within=5).created_at == 0
        assert peer.sent < 200
        assert isinstance(stream.finish(within=20), Ok)
        assert len(stream.messages) == 200


def test_leaving_is_told_to_the_runtime_and_is_no_death_of_it(peer: Peer) -> None:
    gone = threading.Event()

    def listen(_: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(gone.set)
        yield types.ContainerEventResponse(container_id="first")
        gone.wait(10)

    peer.answer = listen
    stream = peer.client.stream(RPC.name)
    assert stream.next(within=5)
    stream.cancel()
    assert gone.wait(5)
    assert isinstance(stream.outcome, Unknown)


def test_the_history_tells_opening_messages_and_end(peer: Peer) -> None:
    with peer.client.stream(RPC.name) as stream:
        stream.finish(within=5)
    opened, ended = peer.client.history.transcript(0)
    assert (opened["outcome"], ended["outcome"]) == ("OPENED", "OK")
    assert opened["response"] is not None
    assert ended["response"] == {"messages": 30}
    kept = [int(place) for place in opened["response"] if place != "messages"]
    assert kept == [0, 1, 2, 3, *range(14, 30)]
    assert opened["response"]["29"]["container_id"] == "c29"


def test_calls_and_streams_are_told_apart(peer: Peer) -> None:
    with pytest.raises(ValueError, match="streaming"):
        peer.client.call("GetContainerEvents")
    with pytest.raises(ValueError, match="streaming"):
        peer.client.stream("Version")
