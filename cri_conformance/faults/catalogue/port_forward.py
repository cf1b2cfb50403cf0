# SPDX-License-Identifier: Apache-2.0
"""Faults of PortForward. Most are tampers on a session that goes through the relay."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable

from cri_conformance.api import types
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When, status_of
from cri_conformance.faults.fault import Call, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter,
    alter_request,
    altered_at,
    answer_error,
    divert,
    lost_after,
    served_instead,
    silenced,
    unnoticed_end,
    zero,
)
from cri_conformance.faults.relay import MakeTamper, Move, Relay, Tamper, moved
from cri_conformance.streaming.events import WEBSOCKET, StreamingError
from cri_conformance.streaming.server import FOREVER, ServerTunnel, port_forward

_CALL = "RuntimeService.PortForward"
_ID, _PORT = "PortForwardRequest.pod_sandbox_id", "PortForwardRequest.port"
_URL = "PortForwardResponse.url"
#: Beyond what other clauses' tests send over one connection.
_FAR = 5 * 1024 * 1024
#: From where on two directions get in each other's way.
_BUSY = 1024 * 1024


# -- tampers ----------------------------------------------------------------------------------


def _on_websocket(make: MakeTamper) -> MakeTamper:
    return lambda relay: make(relay) if relay.kind == WEBSOCKET else lambda move: (move,)


def _one_way_at_a_time(relay: Relay) -> Tamper:
    """When much has passed both ways, what comes waits for the end of what goes."""
    passed = {"client": 0, "server": 0}
    waiting: list[Move] = []

    def tamper(move: Move) -> Iterable[Move]:
        if move.what == "data" and move.kind == "data":
            passed[move.toward] += len(move.data)
            if move.toward == "client" and min(passed.values()) > _BUSY:
                waiting.append(move)
                return ()
        elif move.of("server", "data", what="end"):
            late, waiting[:] = list(waiting), []
            return (move, *late)
        return (move,)

    return tamper


def _at_the_ports_end(change: Callable[[Move], Iterable[Move]]) -> MakeTamper:
    """``change`` of the end of a data stream on which something came."""

    def make(relay: Relay) -> Tamper:
        used: set[str] = set()

        def tamper(move: Move) -> Iterable[Move]:
            if move.of("client", "data"):
                used.add(move.stream)
            elif move.of("client", "data", what="end") and move.stream in used:
                return change(move)
            return (move,)

        return tamper

    return make


def _with_a_word(move: Move) -> Iterable[Move]:
    said = Move("client", move.stream.replace("data", "error"), "data", b"connection closed")
    return (said, move)


def _crossed_when_many(relay: Relay) -> Tamper:
    """With four connections or more, bytes come on the one that is the oldest."""
    open_now: dict[str, None] = {}
    lock = threading.Lock()

    def tamper(move: Move) -> Iterable[Move]:
        with lock:
            if move.of("server", "data", what="open"):
                open_now[move.stream] = None
            elif move.kind == "data" and move.what == "end" and move.reset:
                open_now.pop(move.stream, None)
            elif move.of("client", "data") and len(open_now) >= 4:
                return (moved(move, stream=next(iter(open_now))),)
        return (move,)

    return tamper


def _many_hang(relay: Relay) -> Tamper:
    """With four connections or more, errors and ends don't come."""
    opened: set[str] = set()

    def tamper(move: Move) -> Iterable[Move]:
        if move.of("server", "data", what="open"):
            opened.add(move.stream)
        elif move.of("server", "data", what="end") and move.reset:
            opened.discard(move.stream)
        elif len(opened) >= 4 and (move.of("client", what="end") or move.of("client", "error")):
            return ()
        return (move,)

    return tamper


def _no_more_after(count: int) -> MakeTamper:
    """A session takes so many connections and refuses the rest."""

    def make(relay: Relay) -> Tamper:
        opened: list[str] = []

        def tamper(move: Move) -> Iterable[Move]:
            if move.what == "open":
                opened.append(move.stream)
                if len(opened) > 2 * count:
                    return (Move("client", move.stream, "end", reset=True),)
            return (move,)

        return tamper

    return make


class _Together:
    """Sessions of one fault that are open at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Relay] = []

    def at_most(self, count: int) -> MakeTamper:
        """In sessions beyond so many, every connection is refused."""

        def make(relay: Relay) -> Tamper:
            beyond = self._join(relay) > count

            def tamper(move: Move) -> Iterable[Move]:
                if beyond and move.what == "open":
                    return (Move("client", move.stream, "end", reset=True),)
                return (move,)

            return tamper

        return make

    def end_with_one(self, relay: Relay) -> Tamper:
        """All sessions end with a client that breaks off."""
        self._join(relay)

        def tamper(move: Move) -> Iterable[Move]:
            if move.of("server", what="over") and move.reset:
                with self._lock:
                    others = [one for one in self._open if one is not relay]
                for other in others:
                    other.send(Move("client", "", "over", reset=True))
            return (move,)

        return tamper

    def _join(self, relay: Relay) -> int:
        with self._lock:
            self._open = [one for one in self._open if not one.gone.is_set()]
            self._open.append(relay)
            return len(self._open)


def _first_port_of_many(relay: Relay) -> Tamper:
    """With three ports or more, every connection leads to the first."""

    def tamper(move: Move) -> Iterable[Move]:
        if move.what == "open" and len(relay.ports) > 2:
            return (moved(move, headers={**move.headers, "port": str(relay.ports[0])}),)
        return (move,)

    return tamper


def _kept_open(relay: Relay) -> Tamper:
    """The runtime does not learn that the client ended a connection."""
    return lambda move: () if move.of("server", "data", what="end") else (move,)


def _refused(relay: Relay) -> Tamper:
    def tamper(move: Move) -> Iterable[Move]:
        if move.what == "open":
            return (Move("client", move.stream, "end", reset=True),)
        return (move,)

    return tamper


def _never_ending(relay: Relay) -> Tamper:
    """The client does not learn that a connection, or the session, is over."""
    return lambda move: () if move.toward == "client" and move.what in ("end", "over") else (move,)


# -- services of the relay's own --------------------------------------------------------------

#: Takes every connection, and closes it without a word.
_takes_all = port_forward(lambda tunnel: None)


def _from_the_host(tunnel: ServerTunnel) -> None:
    """Connects where the relay runs."""
    try:
        port = socket.create_connection(("127.0.0.1", tunnel.port), 5.0)
    except OSError as error:
        tunnel.fail(str(error))
        return

    def send() -> None:
        with contextlib.suppress(OSError, StreamingError):
            while data := tunnel.data.read(FOREVER):
                port.sendall(data)
            port.shutdown(socket.SHUT_RDWR)

    with port, contextlib.suppress(OSError, StreamingError):
        port.settimeout(None)
        threading.Thread(target=send, daemon=True).start()
        while data := port.recv(1 << 16):
            tunnel.data.write(data)


# -- conditions -------------------------------------------------------------------------------


def _network(mode: types.NamespaceMode.ValueType) -> Callable[[Call, Memory], bool]:
    def test(call: Call, memory: Memory) -> bool:
        status = status_of(call)
        return status is not None and status.linux.namespaces.options.network == mode

    return test


_host_network = When("host-network", _network(types.NODE))


def _misled() -> Change:
    """A Change that puts the first sandbox asked for in place of later ones."""
    seen: list[str] = []

    def change(sandbox_id: str) -> str:
        seen.append(sandbox_id)
        return seen[-2] if len(seen) > 1 else sandbox_id

    return Change("the-one-before", change)


FAULTS = [
    # -- the address
    fault(f"{_URL}.not-empty", zero("PortForward", "url")),
    fault(
        f"{_URL}.absolute",
        alter("PortForward", "url", Change("path-alone", lambda url: "/" + url.split("/", 3)[-1])),
    ),
    fault(
        f"{_URL}.opens", alter("PortForward", "url", Change("other-path", lambda url: url + "x"))
    ),
    fault(
        f"{_CALL}.spdy",
        divert("PortForward", "unnamed-protocol", answers=lambda name: ""),
    ),
    # -- bytes
    fault(
        f"{_CALL}.exact-to-port",
        divert("PortForward", "flips-a-byte-to-the-port", altered_at("server", "data", _FAR)),
    ),
    fault(
        f"{_CALL}.exact-to-client",
        divert("PortForward", "flips-a-byte-to-the-client", altered_at("client", "data", _FAR)),
    ),
    fault(
        f"{_CALL}.exact-to-client",
        divert("PortForward", "loses-the-end", lost_after("client", "data", _FAR)),
    ),
    fault(
        f"{_CALL}.websocket-exact",
        divert(
            "PortForward",
            "flips-a-byte-on-a-websocket",
            _on_websocket(altered_at("server", "data", 200_000)),
        ),
    ),
    fault(f"{_CALL}.both-ways", divert("PortForward", "one-way-at-a-time", _one_way_at_a_time)),
    fault(
        f"{_CALL}.ends-with-port",
        divert("PortForward", "hides-the-ports-end", _at_the_ports_end(lambda move: ())),
    ),
    fault(
        f"{_CALL}.nothing-wrong",
        divert("PortForward", "calls-an-end-an-error", _at_the_ports_end(_with_a_word)),
    ),
    fault(
        f"{_CALL}.closed-port",
        divert("PortForward", "says-nothing-of-errors", silenced("client", "error")),
    ),
    # -- many
    fault(
        f"{_CALL}.connections-apart",
        divert("PortForward", "crosses-connections", _crossed_when_many),
    ),
    fault(
        f"{_CALL}.one-after-another",
        divert("PortForward", "thirty-connections-at-most", _no_more_after(30)),
    ),
    fault(f"{_CALL}.ended-freed", divert("PortForward", "keeps-what-ended", _kept_open)),
    fault(f"{_CALL}.failing-at-once", divert("PortForward", "hangs-when-many-fail", _many_hang)),
    fault(
        f"{_CALL}.sessions-apart",
        divert("PortForward", "two-sessions-at-most", _Together().at_most(2)),
    ),
    fault(
        f"{_CALL}.client-gone",
        divert("PortForward", "all-end-with-one", _Together().end_with_one),
    ),
    fault(
        f"{_CALL}.client-gone-ends",
        divert("PortForward", "keeps-connections-of-the-gone", unnoticed_end),
    ),
    # -- which sandbox
    fault(
        f"{_CALL}.absent-error",
        served_instead("PortForward", "takes", _takes_all, when=when.unknown),
    ),
    fault(
        f"{_CALL}.stopped-error",
        served_instead("PortForward", "takes", _takes_all, when=when.in_state("SANDBOX_NOTREADY")),
    ),
    fault(f"{_ID}.empty", served_instead("PortForward", "takes", _takes_all, when=when.empty_id)),
    fault(
        f"{_CALL}.stopped-meanwhile",
        divert("PortForward", "never-ends", _never_ending),
        also=[f"{_CALL}.ends-with-port"],
        isolated=True,
    ),
    fault(
        f"{_ID}.only-that-one",
        alter_request("PortForward", "pod_sandbox_id", _misled()),
        isolated=True,
    ),
    fault(
        f"{_ID}.pod-network",
        served_instead("PortForward", "from-the-host", port_forward(_from_the_host)),
        isolated=True,
    ),
    fault(
        f"{_ID}.host-network",
        divert("PortForward", "refuses", _refused, when=_host_network),
    ),
    # -- which port
    fault(f"{_PORT}.each", divert("PortForward", "leads-to-the-first-port", _first_port_of_many)),
    fault(f"{_PORT}.none", answer_error("PortForward", when.missing("port"), "INVALID_ARGUMENT")),
]
