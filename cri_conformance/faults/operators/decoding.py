# SPDX-License-Identifier: Apache-2.0
"""Operators on the bytes of a call: a runtime whose decoder, or what trusts it, gives way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.message import DecodeError, Message

from cri_conformance.api.rpcs import RPCS
from cri_conformance.api.status import StatusError
from cri_conformance.faults.fault import Call, Operator, Proceed

#: Whether some bytes are such that the fault strikes: (call, bytes, message or None if they are no
#: message).
Trigger = Callable[[str, bytes, Message | None], bool]
#: What it does then. May raise StatusError.
Effect = Callable[["Decoder", str, bytes, threading.Event], None]


class Decoder:
    """One session. A runtime that crashed answers no more."""

    def __init__(self, rpcs: frozenset[str], trigger: Trigger, effect: Effect) -> None:
        self._rpcs, self._trigger, self._effect = rpcs, trigger, effect
        self._dead = threading.Event()
        self._hung = threading.Event()

    def __call__(self, call: Call, proceed: Proceed) -> Any:
        return proceed(call.request)

    def decode(self, rpc: str, data: bytes, ended: threading.Event) -> None:
        """Do its worst where these bytes call for it."""
        if not self._dead.is_set() and not self._hung.is_set() and rpc in self._rpcs:
            try:
                message: Message | None = RPCS[rpc].request.FromString(data)
            except DecodeError:
                message = None
            if self._trigger(rpc, data, message):
                self._effect(self, rpc, data, ended)
        if self._dead.is_set():
            raise StatusError("UNAVAILABLE", "Socket closed")
        if self._hung.is_set():
            ended.wait()

    def die(self) -> None:
        """From now on there is nobody."""
        self._dead.set()

    def hang(self) -> None:
        """From now on nothing is answered."""
        self._hung.set()


def decodes(
    name: str, trigger: Trigger, effect: Effect, says: str, rpcs: Iterable[str] = ()
) -> Operator:
    """Breaks "it lives on", in all calls unless some are named."""
    concerned = frozenset(rpcs) or frozenset(RPCS)
    return Operator(name, concerned, says, lambda: Decoder(concerned, trigger, effect))


def crashes(decoder: Decoder, rpc: str, data: bytes, ended: threading.Event) -> None:
    """The process is gone."""
    decoder.die()


def hangs(decoder: Decoder, rpc: str, data: bytes, ended: threading.Event) -> None:
    """This one call is never answered; others are."""
    ended.wait()


def hangs_altogether(decoder: Decoder, rpc: str, data: bytes, ended: threading.Event) -> None:
    """A lock was taken and never given back."""
    decoder.hang()


def says(code: str, text: str) -> Effect:
    """It answers with an error of this text."""

    def effect(decoder: Decoder, rpc: str, data: bytes, ended: threading.Event) -> None:
        raise StatusError(code, text)

    return effect
