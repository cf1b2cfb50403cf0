# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for Attach, and for the input that it is for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.faults import conditions as when
from cri_conformance.faults.catalogue.exec_sessions import harms, of_both
from cri_conformance.faults.fault import Call, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    altered,
    divert,
    ignore_request,
    lost_after,
    never_closed,
    operator,
    set_request,
    silenced,
)
from cri_conformance.faults.operators.core import copy_of
from cri_conformance.faults.relay import Move, Relay, Tamper, relayed

_ATTACH = "Attach"
_CREATE = "CreateContainer"


def _one_for_all() -> Operator:
    """The first client that leaves takes the output of all others along."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        left: threading.Event = memory.kept("somebody left", threading.Event)
        response = copy_of(proceed(call.request))

        def make(relay: Relay) -> Tamper:
            def tamper(move: Move) -> Iterable[Move]:
                if move.of("server", what="over"):
                    left.set()
                return () if left.is_set() and move.of("client") else (move,)

            return tamper

        response.url = relayed(response.url, make)
        return response

    return operator("one-for-all", _ATTACH, "one client that leaves silences all", step)


def _loses_its_log(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """An attached client gets the output in the log's place."""
    response = proceed(call.request)
    request = types.ContainerStatusRequest(container_id=call.request.container_id)
    status = call.upstream("ContainerStatus", request).status
    if status.log_path:
        Path(status.log_path).unlink(missing_ok=True)
    return response


FAULTS = [
    *of_both(_ATTACH),
    fault(
        "AttachRequest.stderr.joined-with-tty",
        divert(
            _ATTACH,
            "without-stderr",
            altered("client", "stdout", lambda data: re.sub(rb"e\d\r?\n", b"", data)),
            when=when.given("tty"),
        ),
    ),
    fault(
        "RuntimeService.Attach.output-only",
        divert(_ATTACH, "no-output", silenced("client", "stdout"), when=when.missing("stdin")),
    ),
    # Clients that share one channel: each byte goes to one of them.
    fault(
        "RuntimeService.Attach.every-client",
        divert(_ATTACH, "shares", lost_after("client", "stdout", 50_000), when=when.from_time(2)),
    ),
    fault("RuntimeService.Attach.others-unharmed", _one_for_all()),
    fault("RuntimeService.Attach.detach-unharmed", harms(_ATTACH)),
    fault(
        "RuntimeService.Attach.logged-too",
        operator("instead-of-the-log", _ATTACH, "what a client gets is not logged", _loses_its_log),
    ),
    fault(
        "RuntimeService.Attach.last-words",
        divert(_ATTACH, "no-last-words", lost_after("client", "stdout", 149_000)),
    ),
    fault(
        "ContainerConfig.stdin.attach-reaches",
        divert(_ATTACH, "no-input", silenced("server", "stdin")),
    ),
    fault(
        ["ContainerConfig.stdin_once.closed-after-first", "ContainerConfig.stdin_once.half-close"],
        ignore_request(_CREATE, "config.stdin_once"),
    ),
    fault(
        "ContainerConfig.stdin_once.half-close",
        divert(_ATTACH, "input-never-ends", never_closed("server", "stdin")),
    ),
    fault(
        "ContainerConfig.stdin_once.unset-stays-open",
        set_request(_CREATE, "config.stdin_once", True, when=when.given("config.stdin")),
    ),
]
