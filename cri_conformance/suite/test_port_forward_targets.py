# SPDX-License-Identifier: Apache-2.0
"""PortForward: to which sandbox and which port a session leads, and what is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.streaming.client import open_forward
from cri_conformance.streaming.events import StreamingError
from cri_conformance.suite.ports import (
    Ports,
    ask,
    attempt,
    exchanged,
    forwarded,
    in_container,
    in_this_process,
    same,
    taken,
)
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime, UnsafeCall

_CALL = "RuntimeService.PortForward"
_ID, _PORT = "PortForwardRequest.pod_sandbox_id", "PortForwardRequest.port"


# -- which sandbox ----------------------------------------------------------------------------


@pytest.mark.usefixtures("isolation")
@clause(f"{_ID}.only-that-one")
def test_session_leads_to_the_sandbox_that_is_named(
    runtime: Runtime, ports: Ports, judge: Judge
) -> None:
    other = in_container(runtime, runtime.sandbox())
    words = {made.sandbox.id: made.sandbox.id.encode() for made in (ports, other)}
    for made in (ports, other):
        with forwarded(runtime, made, "watch") as forward:
            port = made.number["watch"]
            with forward.connected(port) as tunnel:
                taken(tunnel, words[made.sandbox.id] + b"\n", 3)
    for made in (ports, other):
        found = made.left(made.sandbox.id, 10.0)
        judge.that(
            f"{_ID}.only-that-one",
            found,
            permitted="the connection arrives in the sandbox that was named",
            actual="it did not arrive there",
            about=(made.sandbox.id,),
        )


@pytest.mark.usefixtures("isolation")
@clause(f"{_ID}.pod-network")
def test_port_is_one_of_the_sandbox(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    name, one = f"{_ID}.pod-network", ports.number["one"]
    with forwarded(runtime, ports, "one") as forward:
        same(judge, name, exchanged(forward, one, b"", 4), b"one\n", (ports.sandbox.id,))
    with in_this_process(ports.sandbox) as on_host:
        tried = attempt(runtime, ports.sandbox.id, on_host.number["one"])
        judge.that(
            name,
            tried.data != b"one\n",
            permitted="a port that is open on the host alone is not reached",
            actual=tried,
            about=(ports.sandbox.id,),
        )


@clause(f"{_ID}.host-network")
def test_port_is_one_of_the_host(runtime: Runtime, host: Host, judge: Judge) -> None:
    sandbox = runtime.sandbox(runtime.sandbox_config(network=types.NODE))
    with in_this_process(sandbox) as on_host, forwarded(runtime, on_host, "one") as forward:
        came = exchanged(forward, on_host.number["one"], b"", 4)
        same(judge, f"{_ID}.host-network", came, b"one\n", (sandbox.id,))


@clause(f"{_ID}.empty")
def test_empty_id_is_refused(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    try:
        tried = attempt(runtime, "", ports.number["echo"])
    except UnsafeCall as refused:
        judge.skip(Reason.OTHERS, f"{refused}")
    judge.that(f"{_ID}.empty", tried.failed, permitted="an error", actual=tried)


@clause(f"{_CALL}.closed-port")
def test_sandbox_without_containers_has_no_open_port(
    runtime: Runtime, ports: Ports, judge: Judge
) -> None:
    sandbox = runtime.sandbox()
    became = attempt(runtime, sandbox.id, ports.closed)
    judge.that(
        f"{_CALL}.closed-port",
        became.failed,
        permitted="an error before any data",
        actual=became,
        about=(sandbox.id,),
    )


@clause(f"{_CALL}.absent-error", f"{_CALL}.stopped-error", f"{_CALL}.error-place")
def test_sandbox_that_is_not_there_is_refused(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    echo = ports.number["echo"]
    sandbox = runtime.sandbox()
    runtime.get("StopPodSandbox", pod_sandbox_id=sandbox.id)
    stopped = attempt(runtime, sandbox.id, echo)
    runtime.get("RemovePodSandbox", pod_sandbox_id=sandbox.id)
    absent = {
        "removed": attempt(runtime, sandbox.id, echo),
        "unknown": attempt(runtime, secrets.token_hex(32), echo),
    }
    places = {"stopped": stopped, **absent}
    judge.record(f"{_CALL}.error-place", ", ".join(f"{k} {v}" for k, v in places.items()))
    permitted = "an error before any data"
    for tried in absent.values():
        judge.that(f"{_CALL}.absent-error", tried.failed, permitted=permitted, actual=tried)
    judge.that(
        f"{_CALL}.stopped-error",
        stopped.failed,
        permitted=permitted,
        actual=stopped,
        about=(sandbox.id,),
    )


@pytest.mark.usefixtures("isolation")
@clause(f"{_CALL}.stopped-meanwhile")
def test_stop_ends_connections(
    runtime: Runtime, judge: Judge, patience: Callable[[float], float]
) -> None:
    made, seconds = in_container(runtime, runtime.sandbox()), patience(15.0)
    with forwarded(runtime, made, "echo") as forward:
        tunnel = forward.connect(made.number["echo"])
        taken(tunnel, b"before", 6)
        runtime.get("StopPodSandbox", pod_sandbox_id=made.sandbox.id)
        judge.that(
            f"{_CALL}.stopped-meanwhile",
            tunnel.data.wait_end(seconds),
            permitted=f"the data stream ends within {seconds:g} s",
            actual="it does not end",
            about=(made.sandbox.id,),
        )


# -- which port -------------------------------------------------------------------------------


@clause(f"{_PORT}.each", f"{_PORT}.unasked")
def test_each_port_is_reached(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    with forwarded(runtime, ports, "two", "echo", "one") as forward:
        for name in ("one", "two", "one"):
            word = name.encode() + b"\n"
            came = exchanged(forward, ports.number[name], b"", len(word))
            same(judge, f"{_PORT}.each", came, word, (ports.sandbox.id,))
    with forwarded(runtime, ports, "one") as forward:
        data, why = exchanged(forward, ports.number["two"], b"", 4)
        judge.record(
            f"{_PORT}.unasked", "it is reached" if data == b"two\n" else f"it is not: {why}"
        )


@clause(f"{_PORT}.none")
def test_request_without_ports(runtime: Runtime, ports: Ports, judge: Judge) -> None:
    name = f"{_PORT}.none"
    response = judge.response(name, ask(runtime, ports.sandbox.id), about=(ports.sandbox.id,))
    try:
        with open_forward(response.url) as forward:
            came = exchanged(forward, ports.number["one"], b"", 4)
    except StreamingError as error:
        came = b"", str(error)
    same(judge, name, came, b"one\n", (ports.sandbox.id,))


@clause(f"{_PORT}.out-of-range")
def test_numbers_that_are_no_ports_are_recorded(
    runtime: Runtime, ports: Ports, judge: Judge
) -> None:
    seen = {}
    for number in (0, -1, 65536, 2**31 - 1):
        outcome = ask(runtime, ports.sandbox.id, number)
        seen[number] = "an address" if isinstance(outcome, Ok) else str(outcome)
    judge.record(f"{_PORT}.out-of-range", seen)
