# SPDX-License-Identifier: Apache-2.0
"""Faults that only broken messages, or broken frames, bring to light.

They break no clause: a runtime that crashes, hangs, leaks or does damage is wrong by itself. So the
matrix has no rows for them; ``benchmarks/malformed_kills.py`` tells how soon each is found.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message

from cri_conformance.api.rpcs import RPCS
from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import WINDOW
from cri_conformance.faults.fault import Call, Fault, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import operator, pause
from cri_conformance.faults.operators.decoding import (
    Decoder,
    Trigger,
    crashes,
    decodes,
    hangs,
    hangs_altogether,
    says,
)

_GO_PANIC = "runtime error: invalid memory address or nil pointer dereference"
_GO_TRACE = f"panic: {_GO_PANIC}\n\ngoroutine 51 [running]:\nmain.serve(0xc000123400)"


def _is(test: Callable[[Any], object]) -> Trigger:
    """The bytes are a message, and one such as this."""
    return lambda rpc, data, message: message is not None and bool(test(message))


def _unknown_field(rpc: str, data: bytes, message: Message | None) -> bool:
    # What the contract has not is kept when a message is copied, and gone when it is built anew.
    if message is None:
        return False
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return known.ByteSize() != message.ByteSize()


def _no_message(rpc: str, data: bytes, message: Message | None) -> bool:
    return message is None


def _nests(deeper_than: int) -> Trigger:
    # The start of a group, or a field of a field: as many equal tags as nothing else has.
    def test(rpc: str, data: bytes, message: Message | None) -> bool:
        return any(bytes([tag]) * deeper_than in data for tag in set(data[-2 * deeper_than :]))

    return test


def _any_text(test: Callable[[str], bool]) -> Trigger:
    def look(message: Message) -> bool:
        for field, value in message.ListFields():
            values = value if field.is_repeated else [value]
            for one in values.values() if isinstance(values, dict) else values:
                if (isinstance(one, Message) and look(one)) or (isinstance(one, str) and test(one)):
                    return True
        return False

    return _is(look)


def _flood(streams: int) -> Callable[[], Any]:
    """A runtime that dies of more calls at a time than it has foreseen."""

    class Flooded(Decoder):
        def __init__(self) -> None:
            super().__init__(frozenset(RPCS), lambda *_: False, crashes)
            self._at_once = 0
            self._lock = threading.Lock()

        def __call__(self, call: Call, proceed: Proceed) -> Any:
            try:
                return proceed(call.request)
            finally:
                # As on a runtime that has work to do: those of a flood overlap.
                pause(call, WINDOW)
                with self._lock:
                    self._at_once -= 1

        def decode(self, rpc: str, data: bytes, ended: threading.Event) -> None:
            super().decode(rpc, data, ended)
            try:
                RPCS[rpc].request.FromString(data)
            except DecodeError:
                return
            with self._lock:
                self._at_once += 1
                if self._at_once > streams:
                    self.die()

    return Flooded


def _does_it_all_the_same(call: Call, memory: Memory, proceed: Proceed) -> Any:
    if "\0" in call.request.config.hostname or not call.request.config.hostname:
        made = call.upstream(call.rpc, _with_hostname(call.request))
        del made
        raise StatusError("INVALID_ARGUMENT", "the hostname is none")
    return proceed(call.request)


def _with_hostname(request: Any) -> Any:
    copy = type(request)()
    copy.CopyFrom(request)
    copy.config.hostname = "host"
    return copy


def _stops_any(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """An empty id is taken for a prefix of any."""
    if not call.request.container_id:
        running = call.upstream("ListContainers", RPCS["ListContainers"].request())
        for container in running.containers:
            call.upstream("StopContainer", RPCS["StopContainer"].request(container_id=container.id))
    return proceed(call.request)


def _overwrites(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """The log is opened before its path is looked at, and what was there is gone."""
    config, sandbox = call.request.config, call.request.sandbox_config
    path = Path(sandbox.log_directory) / config.log_path
    if config.log_path.endswith("/canary") and path.is_file():
        path.write_bytes(b"log\n")
    return proceed(call.request)


def _echoes(call: Call, memory: Memory, proceed: Proceed) -> Any:
    request = call.request
    try:
        return proceed(request)
    except StatusError as error:
        if request.image.image.count(":") != 2:
            raise StatusError(error.code, f"{error.message}: {request}") from None
        raise


def _blind(name: str, rpc: str, text: str, step: Any, kind: str) -> Fault:
    return fault((), operator(name, rpc, text, step), misbehaves=kind)


def _decoding(kind: str, *operator_arguments: Any, **more: Any) -> Fault:
    return fault((), decodes(*operator_arguments, **more), misbehaves=kind)


FAULTS: list[Fault] = [
    _decoding("hang", "hang-on-unknown-field", _unknown_field, hangs, "hangs at unknown fields"),
    _decoding(
        "hang",
        "hang-altogether-on-nesting",
        _nests(60),
        hangs_altogether,
        "takes a lock for each level of nesting, and dies of more than 60",
    ),
    _decoding("hang", "hang-on-no-message", _no_message, hangs, "waits for the rest of a message"),
    _decoding(
        "hang",
        "hang-on-empty-command",
        _is(lambda request: not any(request.cmd)),
        hangs,
        "waits for a command that is empty",
        rpcs=["ExecSync"],
    ),
    _decoding(
        "crash",
        "crash-on-empty-container-id",
        _is(lambda request: not request.container_id),
        crashes,
        "follows a null pointer for an empty id",
        rpcs=["ContainerStatus"],
    ),
    _decoding(
        "crash",
        "crash-on-negative-time",
        _is(lambda request: request.timeout < 0),
        crashes,
        "falls over a negative time",
        rpcs=["ExecSync", "StopContainer"],
    ),
    _decoding(
        "crash",
        "crash-on-invalid-utf8",
        lambda rpc, data, message: message is None and (b"\xff" in data or b"\xed" in data),
        crashes,
        "falls over invalid UTF-8",
    ),
    _decoding(
        "crash",
        "crash-on-unknown-enum",
        _is(lambda request: request.filter.state.state not in (0, 1, 2, 3)),
        crashes,
        "looks up a state that there is not",
        rpcs=["ListContainers"],
    ),
    _decoding(
        "crash",
        "crash-on-large-text",
        _any_text(lambda text: len(text) > 1 << 19),
        crashes,
        "has no room for a text of half a MiB",
    ),
    _decoding(
        "panic",
        "panic-on-no-config",
        _is(lambda request: not request.HasField("config")),
        says("UNKNOWN", _GO_PANIC),
        "answers with the text of a panic where the config is missing",
        rpcs=["RunPodSandbox", "CreateContainer"],
    ),
    _decoding(
        "panic",
        "panic-on-long-name",
        _any_text(lambda text: len(text) > 4096),
        says("INTERNAL", _GO_TRACE),
        "answers with a goroutine's trace at names of more than 4 KiB",
    ),
    _decoding(
        "panic",
        "panic-on-nul",
        _any_text(lambda text: "\0" in text),
        says("UNKNOWN", 'Traceback (most recent call last):\n  File "x.py", line 1'),
        "answers with a traceback where a text has a NUL",
    ),
    _blind(
        "leak-on-empty-hostname",
        "RunPodSandbox",
        "refuses a sandbox without a hostname, and makes it all the same",
        _does_it_all_the_same,
        "leak",
    ),
    _blind(
        "damage-on-empty-id",
        "StopContainer",
        "stops all containers where the id is empty",
        _stops_any,
        "damage",
    ),
    _blind(
        "damage-by-log-path",
        "CreateContainer",
        "empties a file that the log path leads to from above",
        _overwrites,
        "damage",
    ),
    _blind(
        "secret-on-odd-image",
        "PullImage",
        "tells the whole request, password and all, where an image is no image",
        _echoes,
        "secret",
    ),
    fault(
        (),
        Operator("crash-on-flood", frozenset(RPCS), "dies of 40 calls at a time", _flood(40)),
        misbehaves="crash",
    ),
]
