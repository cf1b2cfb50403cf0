# SPDX-License-Identifier: Apache-2.0
"""Calls per second: the suite's client, and the reference runtime, each against bare grpcio."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from samples import Figure, Goal, duel, say

from cri_conformance.api.rpcs import RPCS
from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.fuzz.campaign import Campaign
from cri_conformance.fuzz.lives import LivesMode
from cri_conformance.fuzz.requests import RequestsMode
from cri_conformance.malformed.assay import Assay
from cri_conformance.malformed.mutations import apply, by_chance
from cri_conformance.malformed.yard import Base, Yard
from cri_conformance.reference import process
from cri_conformance.settings import DEFAULT_REPORT, DEFAULT_TIMEOUT, LOOPBACK, Budget, Settings
from cri_conformance.target import Preparation, Target, connect
from cri_conformance.wire import endpoint
from cri_conformance.wire.client import LARGEST_MESSAGE
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Container

CLIENT_GOAL = Goal(">=", 0.8)
REFERENCE_GOAL = Goal(">=", 0.6)
BROKEN_GOAL = Goal(">=", 0.5)
GENERATED_GOAL = Goal(">=", 0.15)
STEPS_GOAL = Goal(">=", 60.0)
START_GOAL = Goal("<=", 1.0)

#: What there is to list.
SANDBOXES, CONTAINERS = 3, 30


@contextlib.contextmanager
def prepared(name: str, image: str = "", loader: str = "") -> Iterator[Target]:
    """The runtime at an endpoint, ready to be used; what is made in it is removed."""
    settings = Settings(
        endpoint=name,
        image_endpoint="",
        handler="",
        timeout=DEFAULT_TIMEOUT,
        levels=frozenset(),
        strict=False,
        depth="gate",
        clause="",
        seed=0,
        version=None,
        test_image=image,
        image_loader=loader,
        host_root=None,
        runtime_log=None,
        expectations="",
        report=Path(DEFAULT_REPORT),
        registry=(LOOPBACK, 0),
        restart_command="",
    )
    with Preparation(settings) as preparation:
        target = connect(settings, preparation.facts)
        try:
            yield target
        finally:
            target.client.close()
            preparation.clean()


def client(target: Target, *, rounds: int, calls: int) -> list[Figure]:
    """The suite's client against a loop that sends one ready request again and again.

    The bare loop builds no request, sets no deadline, keeps no record.
    """
    name = target.settings.endpoint
    say(f"client against bare grpcio on {name}")
    group = f"client of the suite, {target.facts.runtime_name} at {name}"
    figures = []
    with _channel(target.facts.endpoint) as channel, target.scope() as runtime:
        homes = [runtime.sandbox() for _ in range(SANDBOXES)]
        made: list[Container] = [runtime.running(homes[0])]
        made += [runtime.container(homes[n % SANDBOXES]) for n in range(1, CONTAINERS)]
        requests: dict[str, dict[str, Any]] = {
            "Version": {"version": "v1"},
            "ContainerStatus": {"container_id": made[0].id},
            "ListContainers": {},
        }
        for rpc, fields in requests.items():
            bare = _bare(channel, rpc, RPCS[rpc].request(**fields))

            def ours(rpc: str = rpc, fields: dict[str, Any] = fields) -> object:
                return target.client.call(rpc, **fields)

            outcome = ours()
            assert isinstance(outcome, Ok), f"{rpc}: {outcome}"
            listed = len(getattr(outcome.response, "containers", ()))
            told = f"{rpc} of {listed}" if listed else rpc
            found = duel(ours, bare, rounds=rounds, calls=calls)
            figures += [
                Figure(group, f"{told}, bare", "/s", found.bare),
                Figure(group, f"{told}, ours", "/s", found.ours),
                Figure(group, f"{told}, ours / bare", "", found.ratios, CLIENT_GOAL),
            ]
    return figures


def broken(target: Target, *, rounds: int, calls: int) -> list[Figure]:
    """Broken messages, with all that is judged of each, against a loop of one proper request.

    What is broken answers sooner or later than what is not: the ratio is of the two together.
    """
    name = target.settings.endpoint
    say(f"broken messages against bare grpcio on {name}")
    group = f"broken messages, {target.facts.runtime_name} at {name}"
    figures = []
    with _channel(target.facts.endpoint) as channel, target.scope() as runtime:
        yard = Yard(runtime)
        assay = Assay(yard, target.client)
        choose = by_chance(0)
        for rpc in ("Version", "ContainerStatus", "ListContainers"):
            base = yard.bases[f"{rpc}.plain"]
            request = RPCS[rpc].request.FromString(apply(base.tree, ()))
            bare = _bare(channel, rpc, request)

            def ours(base: Base = base) -> object:
                return assay.send(base, base.mutator.some(choose))

            found = duel(ours, bare, rounds=rounds, calls=calls)
            figures += [
                Figure(group, f"{rpc}, bare", "/s", found.bare),
                Figure(group, f"{rpc}, broken", "/s", found.ours),
                Figure(group, f"{rpc}, broken / bare", "", found.ratios, BROKEN_GOAL),
            ]
        yard.close()
    return figures


def generated(target: Target, *, rounds: int, calls: int) -> list[Figure]:
    """Generated requests with their oracles, as the mode ``messages`` plays them.

    The bare loop asks for the version. A request may take several calls: what it is about is made,
    a container is created, started, looked at and removed. So the share of the time in which the
    runtime had the word is told, too.
    """
    name = target.settings.endpoint
    say(f"generated requests against bare grpcio on {name}")
    group = f"generated requests, {target.facts.runtime_name} at {name}"
    found: dict[str, list[float]] = {"bare": [], "requests": [], "calls": []}
    shares = []
    settings = replace(target.settings, fuzz=Budget(steps=sys.maxsize))
    own = connect(settings, target.facts)
    campaign = Campaign(own, Rules(register(), Minor.parse(target.facts.minor)), [])
    player = RequestsMode().open(campaign)
    with _channel(target.facts.endpoint) as channel:
        bare = _bare(channel, "Version", RPCS["Version"].request())
        for number in range(rounds + 1):
            history, steps = own.client.history, campaign.meter.steps
            sent, turn, spent, answering = history.mark(), 0, 0.0, 0.0
            while campaign.meter.steps < steps + calls:
                mark, start = history.mark(), time.perf_counter()
                player.turn(number << 16 | turn, turn)
                spent += time.perf_counter() - start
                answering += sum(call.seconds for call in history.since(mark))
                turn += 1
            start = time.perf_counter()
            for _ in range(calls):
                bare()
            if number:  # the first round warms up
                found["requests"].append((campaign.meter.steps - steps) / spent)
                found["calls"].append((history.mark() - sent) / spent)
                shares.append(answering / spent)
                found["bare"].append(calls / (time.perf_counter() - start))
    campaign.runtime.close()
    campaign.tools.close()
    own.client.close()
    figures = [Figure(group, what, "/s", rates) for what, rates in found.items()]
    for what, goal in (("requests", GENERATED_GOAL), ("calls", None)):
        ratios = [one / bare for one, bare in zip(found[what], found["bare"], strict=True)]
        figures.append(Figure(group, f"{what} / bare", "", ratios, goal))
    figures.append(Figure(group, "of the time in calls", "", shares))
    return figures


def lives(target: Target, *, rounds: int, steps: int) -> list[Figure]:
    """Steps of the mode ``lives``, each with a look at everything and all that is judged of it."""
    name = target.settings.endpoint
    say(f"steps of lives on {name}")
    group = f"steps of lives, {target.facts.runtime_name} at {name}"
    settings = replace(target.settings, fuzz=Budget(steps=sys.maxsize))
    own = connect(settings, target.facts)
    campaign = Campaign(own, Rules(register(), Minor.parse(target.facts.minor)), [])
    player = LivesMode().open(campaign)
    rates, calls, shares = [], [], []
    for number in range(rounds + 1):
        history, before = own.client.history, campaign.meter.steps
        turn, sent, answering = 0, history.mark(), 0.0
        start = time.perf_counter()
        while campaign.meter.steps < before + steps:
            mark = history.mark()
            # The first of all tries old examples.
            player.turn(number << 16 | turn, turn + 1)
            answering += sum(
                call.seconds for call in history.since(mark) if call.rpc != "GetContainerEvents"
            )
            turn += 1
        spent = time.perf_counter() - start
        if number:  # the first round warms up
            rates.append((campaign.meter.steps - before) / spent)
            calls.append((history.mark() - sent) / spent)
            shares.append(answering / spent)
    campaign.runtime.close()
    campaign.tools.close()
    own.client.close()
    return [
        Figure(group, "steps", "/s", rates, STEPS_GOAL),
        Figure(group, "calls", "/s", calls),
        Figure(group, "of the time in calls", "", shares),
    ]


def reference(*, rounds: int, calls: int) -> list[Figure]:
    """The reference runtime's ContainerStatus against the same message from memory."""
    say("reference runtime against a bare grpcio server")
    group = "reference runtime"
    starts = []
    for _ in range(max(3, rounds)):
        start = time.perf_counter()
        started = process.start()
        starts.append(time.perf_counter() - start)
        started.stop()
    with prepared(endpoint.REFERENCE) as target, target.scope() as runtime:
        container = runtime.running(runtime.sandbox())
        request = RPCS["ContainerStatus"].request(container_id=container.id)
        with _channel(target.facts.endpoint) as one:
            ours = _bare(one, "ContainerStatus", request)
            message = ours()
            with _bare_server("ContainerStatus", message) as address, _channel(address) as other:
                bare = _bare(other, "ContainerStatus", request)
                assert ours() == bare(), "both must answer the same"
                found = duel(ours, bare, rounds=rounds, calls=calls)
    return [
        Figure(group, "start", "s", starts, START_GOAL),
        Figure(group, "ContainerStatus, bare server", "/s", found.bare),
        Figure(group, "ContainerStatus, reference", "/s", found.ours),
        Figure(group, "ContainerStatus, reference / bare", "", found.ratios, REFERENCE_GOAL),
    ]


@contextlib.contextmanager
def _channel(address: str) -> Iterator[grpc.Channel]:
    options = [
        # Go servers refuse what grpcio sends of itself.
        ("grpc.default_authority", "localhost"),
        ("grpc.max_receive_message_length", LARGEST_MESSAGE),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    with grpc.insecure_channel(endpoint.parse(address).target, options=options) as channel:
        yield channel


def _bare(channel: grpc.Channel, name: str, request: Message) -> Callable[[], Message]:
    rpc = RPCS[name]
    stub: Callable[[Message], Message] = channel.unary_unary(
        rpc.path,
        request_serializer=rpc.request.SerializeToString,
        response_deserializer=rpc.response.FromString,
    )
    return lambda: stub(request)


@contextlib.contextmanager
def _bare_server(rpc: str, message: Message) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="cri-bench-") as folder:
        socket = f"{folder}/s.sock"
        script = Path(__file__).with_name("bare_server.py")
        with subprocess.Popen(
            [sys.executable, str(script), socket, rpc],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdin
            assert server.stdout
            server.stdin.write(message.SerializeToString().hex() + "\n")
            server.stdin.flush()
            assert server.stdout.readline() == "ready\n", "the bare server did not start"
            yield f"unix://{socket}"
            server.stdin.close()
