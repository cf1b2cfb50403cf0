# SPDX-License-Identifier: Apache-2.0
"""Attacks one after the other, and whether the runtime stands: for old connections and new ones."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence

from cri_conformance.malformed import oracle
from cri_conformance.malformed.assay import Pulse
from cri_conformance.malformed.attacks import Attack
from cri_conformance.malformed.http2 import Connection, Heard
from cri_conformance.malformed.oracle import Kind, Misbehaviour
from cri_conformance.wire.client import PATIENCE, Client
from cri_conformance.wire.raw import RawClient


def possible() -> bool:
    """Whether the library for headers is installed: cri-conformance[fuzz]."""
    return importlib.util.find_spec("hpack") is not None


class Siege:
    """Attacks on one runtime."""

    def __init__(self, client: Client, patience: Sequence[float] = PATIENCE) -> None:
        self._endpoint, self._metadata = client.endpoint, client.metadata
        self._patience = patience
        self.pulse = Pulse(client, RawClient(client), patience)
        #: How often the other side took which way out.
        self.ends: Counter[str] = Counter()

    def run(self, name: str, attack: Attack) -> Heard:
        """One attack: what was heard. Raises Misbehaviour."""
        try:
            with Connection(self._endpoint, self._metadata) as connection:
                attack(connection)
                heard = connection.heard
                # While it is still there: half-open streams must not block others.
                self._stands(name)
        except OSError as error:
            self.pulse.check(name)
            raise Misbehaviour(Kind.CRASH, name, f"no connection before {name}: {error}") from None
        if line := oracle.panic_in(heard.text()):
            raise Misbehaviour(Kind.PANIC, f"{name} {oracle.cause_of(line)}", f"{name}: {line!r}")
        self.ends[end_of(heard)] += 1
        return heard

    def _stands(self, name: str) -> None:
        self.pulse.check(name)
        for seconds in self._patience:
            with Connection(self._endpoint, self._metadata, seconds) as other:
                other.start()
                stream = other.request()
                answer = other.listen(stream, seconds).answers.get(stream)
                if answer and answer.headers.get("grpc-status") == "0":
                    return
        raise Misbehaviour(
            Kind.HANG, name, f"after {name} a new connection gets no answer to Version"
        )


def end_of(heard: Heard) -> str:
    """How the other side took it, in a word or two."""
    for answer in heard.answers.values():
        if answer.reset is not None:
            return f"stream reset {answer.reset}"
        if status := answer.headers.get("grpc-status"):
            return f"grpc-status {status}"
        if (status := answer.headers.get(":status", "200")) != "200":
            return f"status {status}"
    if heard.goaway:
        return "goaway"
    if heard.junk:
        return "no HTTP/2"
    return "hung up" if heard.closed else "no word"
