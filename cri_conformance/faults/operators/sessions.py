# SPDX-License-Identifier: Apache-2.0
"""Operators on what is streamed: ``divert`` sends a session through a relay with a tamper.

A tamper sees each move of a session and says what becomes of it (see ``faults.relay``).
Those here break one promise each; they are made with the names of streams: stdin, stdout,
stderr, error and resize, or data and error in a port-forward.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable
from typing import Any

from cri_conformance.faults.conditions import When, always
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import copy_of, default_response, named, operator
from cri_conformance.faults.relay import (
    MakeTamper,
    Move,
    Relay,
    Side,
    Tamper,
    moved,
    offered,
    relayed,
    untouched,
)
from cri_conformance.streaming import status
from cri_conformance.streaming.server import Service
from cri_conformance.streaming.status import Status


def divert(
    rpc: str,
    name: str,
    tamper: MakeTamper = untouched,
    *,
    says: str = "",
    when: When = always,
    answers: Callable[[str], str] = str,
) -> Operator:
    """Breaks any promise on a session: the URL in the answer leads through a relay.

    ``answers`` may change the stream protocol that the client is told.
    """

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        strikes = when(call, memory)
        response = proceed(call.request)
        if strikes and response.url:
            response = copy_of(response)
            ports = list(call.request.port) if rpc == "PortForward" else None
            response.url = relayed(response.url, tamper, ports=ports, answers=answers)
        return response

    return operator(
        named(name, rpc, when=when), rpc, says or f"{name.replace('-', ' ')} in {rpc}", step
    )


def served_instead(
    rpc: str, name: str, service: Service, *, says: str = "", when: When = always
) -> Operator:
    """Breaks "this is refused", or "this session": the URL leads to a service of the relay's own,
    without asking the runtime."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)
        response = default_response(rpc)
        response.url = offered(service)
        return response

    return operator(
        named(name, rpc, when=when), rpc, says or f"{name.replace('-', ' ')} in {rpc}", step
    )


def each(change: Callable[[Move], Iterable[Move]]) -> MakeTamper:
    """A tamper without a memory."""
    return lambda relay: change


def altered(toward: Side, stream: str, change: Callable[[bytes], bytes]) -> MakeTamper:
    """What is sent on a stream comes changed, piece by piece."""

    def tamper(move: Move) -> Iterable[Move]:
        if move.of(toward, stream):
            return (moved(move, data=change(move.data)),)
        return (move,)

    return each(tamper)


def altered_at(toward: Side, stream: str, at: int) -> MakeTamper:
    """One byte of a stream, counted from its beginning, comes inverted."""

    def make(relay: Relay) -> Tamper:
        passed: dict[str, int] = {}

        def tamper(move: Move) -> Iterable[Move]:
            if move.of(toward, stream):
                here = at - passed.get(move.stream, 0)
                passed[move.stream] = passed.get(move.stream, 0) + len(move.data)
                if 0 <= here < len(move.data):
                    data = bytearray(move.data)
                    data[here] ^= 0xFF
                    return (moved(move, data=bytes(data)),)
            return (move,)

        return tamper

    return make


def lost_after(toward: Side, stream: str, size: int) -> MakeTamper:
    """Of a stream only the first ``size`` bytes come."""

    def make(relay: Relay) -> Tamper:
        passed: dict[str, int] = {}

        def tamper(move: Move) -> Iterable[Move]:
            if move.of(toward, stream):
                room = max(0, size - passed.get(move.stream, 0))
                passed[move.stream] = passed.get(move.stream, 0) + len(move.data)
                return (moved(move, data=move.data[:room]),) if room else ()
            return (move,)

        return tamper

    return make


def without_end(toward: Side, stream: str, size: int) -> MakeTamper:
    """The last ``size`` bytes of a stream never come (none of a shorter one)."""

    def make(relay: Relay) -> Tamper:
        kept: dict[str, bytes] = {}

        def tamper(move: Move) -> Iterable[Move]:
            if move.of(toward, stream):
                data = kept.get(move.stream, b"") + move.data
                kept[move.stream] = data[-size:]
                return (moved(move, data=data[:-size]),) if len(data) > size else ()
            return (move,)

        return tamper

    return make


def repeated(toward: Side, stream: str) -> MakeTamper:
    """Each piece of a stream comes twice."""
    return each(lambda move: (move, move) if move.of(toward, stream) else (move,))


def swapped(toward: Side, one: str, other: str) -> MakeTamper:
    """What belongs on one stream comes on another, and the other way round."""

    def tamper(move: Move) -> Iterable[Move]:
        if move.of(toward, one, other):
            return (moved(move, stream=other if move.stream == one else one),)
        return (move,)

    return each(tamper)


def joined(toward: Side, stream: str, into: str) -> MakeTamper:
    """What belongs on one stream comes on another."""

    def tamper(move: Move) -> Iterable[Move]:
        return (moved(move, stream=into),) if move.of(toward, stream) else (move,)

    return each(tamper)


def never_closed(toward: Side, stream: str) -> MakeTamper:
    """The end of a stream is not passed on."""

    def tamper(move: Move) -> Iterable[Move]:
        return () if move.of(toward, stream, what="end") and not move.reset else (move,)

    return each(tamper)


def silenced(toward: Side, stream: str) -> MakeTamper:
    """Nothing comes on a stream, though it ends as it should."""
    return each(lambda move: () if move.of(toward, stream) else (move,))


def held(toward: Side, stream: str, seconds: float, *, what: str = "data") -> MakeTamper:
    """What comes first on a stream waits, and everything behind it."""

    def make(relay: Relay) -> Tamper:
        done = threading.Event()

        def tamper(move: Move) -> Iterable[Move]:
            if move.of(toward, stream, what=what) and not done.is_set():
                done.set()
                relay.gone.wait(seconds)
            return (move,)

        return tamper

    return make


def cut_off(toward: Side, stream: str, size: int) -> MakeTamper:
    """The session breaks off when so much has come on a stream."""

    def make(relay: Relay) -> Tamper:
        passed = 0

        def tamper(move: Move) -> Iterable[Move]:
            nonlocal passed
            if move.of(toward, stream):
                passed += len(move.data)
                if passed > size:
                    sides: tuple[Side, Side] = ("client", "server")
                    return [Move(side, "", "over", reset=True) for side in sides]
            return (move,)

        return tamper

    return make


def unnoticed_end(relay: Relay) -> Tamper:
    """The server never learns that the client went away."""

    def tamper(move: Move) -> Iterable[Move]:
        # What it had open is reset first, as the protocols say.
        if move.of("server", what="over") or (move.of("server", what="end") and move.reset):
            return ()
        return (move,)

    return tamper


def restated(change: Callable[[Status], Status | None]) -> MakeTamper:
    """Another status than the command's comes on the error stream; None for none at all."""

    def make(relay: Relay) -> Tamper:
        came = bytearray()

        def tamper(move: Move) -> Iterable[Move]:
            if not move.of("client", "error"):
                return (move,)
            came.extend(move.data)
            try:
                said = status.parse(bytes(came))
            except ValueError:
                return ()
            other = change(said)
            return (moved(move, data=status.render(other)),) if other else ()

        return tamper

    return make


def with_code(change: Callable[[int], int]) -> MakeTamper:
    """Another exit code than the command's."""

    def restate(said: Status) -> Status | None:
        return said if said.exit_code is None else status.ended(change(said.exit_code))

    return restated(restate)


def unexplained(said: Status) -> Status | None:
    """A failure without its message."""
    return dataclasses.replace(said, message="") if not said.success else said
