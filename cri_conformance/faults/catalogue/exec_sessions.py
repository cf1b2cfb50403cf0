# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for Exec: bytes, sizes, codes and ends that do not come through as they should."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from cri_conformance.api.rpcs import RPCS
from cri_conformance.api.status import StatusError
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.catalogue.exec_sync import elsewhere
from cri_conformance.faults.changes import Change
from cri_conformance.faults.fault import Call, Fault, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter,
    alter_request,
    altered,
    altered_at,
    change_code,
    divert,
    each,
    gives_same_answer,
    lost_after,
    never_closed,
    operator,
    restated,
    silenced,
    with_code,
    without_end,
    zero,
)
from cri_conformance.faults.operators.core import copy_of
from cri_conformance.faults.operators.pretence import pretends, refuses_spdy
from cri_conformance.faults.relay import MakeTamper, Move, Relay, Tamper, relayed
from cri_conformance.streaming import status
from cri_conformance.streaming.status import Status

_EXEC = "Exec"
_STREAMS = ("stdin", "stdout", "stderr")

no_stream = when.When(
    "no-stream", lambda call, memory: not any(getattr(call.request, name) for name in _STREAMS)
)
both = when.given("tty") & when.given("stderr")
relative = Change("relative", lambda url: urlsplit(url).path)
misspelt = Change("misspelt", lambda url: f"{url}x")


def _wrapped(name: str, script: str) -> Change:
    """The command is run by a shell that puts something between it and its streams."""
    return Change(name, lambda words: ["/bin/sh", "-c", script, "sh", *words])


_in_a_terminal = Change(
    "in-a-terminal",
    lambda words: [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *words],
)


def _runs(name: str, words: str) -> when.When:
    """The command has these words somewhere in it."""
    return when.When(name, lambda call, memory: any(words in word for word in call.request.cmd))


#: The command that the suite leaves running in a container which it stops.
_stopped = _runs("runs-on", "sleep 3600")


def _endless(move: Move) -> Iterable[Move]:
    """Output goes on its way; that it is over does not."""
    ends = move.what in ("end", "over") or move.kind == "error"
    return () if move.toward == "client" and ends else (move,)


endless: MakeTamper = each(_endless)


def _not_the_last(move: Move) -> Iterable[Move]:
    return () if move.of("server", "resize") and b'"Height": 47' in move.data else (move,)


not_the_last: MakeTamper = each(_not_the_last)


def copied(stream: str, into: str) -> MakeTamper:
    """What belongs on one stream comes on another as well."""

    def tamper(move: Move) -> Iterable[Move]:
        if not move.of("client", stream):
            return (move,)
        return (move, Move("client", into, "data", move.data))

    return each(tamper)


def harms(rpc: str) -> Operator:
    """Breaks "the container runs on": a client that breaks off takes it along."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        response = copy_of(proceed(call.request))

        def make(relay: Relay) -> Tamper:
            def tamper(move: Move) -> Iterable[Move]:
                if move.of("server", what="over") and move.reset:
                    request = RPCS["StopContainer"].request(container_id=call.request.container_id)
                    with contextlib.suppress(StatusError):
                        call.upstream("StopContainer", request)
                return (move,)

            return tamper

        response.url = relayed(response.url, make)
        return response

    return operator(f"harm-{rpc}", rpc, "a client that breaks off stops the container", step)


def of_both(rpc: str) -> list[Fault]:
    """What Exec and Attach promise in the same words."""
    return [
        fault(
            f"{rpc}Request.no-stream",
            pretends(rpc, no_stream),
            also=[f"{rpc}Request.no-stream-code"],
        ),
        fault(f"{rpc}Request.no-stream-code", change_code(rpc, "UNKNOWN", when=no_stream)),
        fault(
            f"{rpc}Request.stderr.not-with-tty",
            pretends(rpc, both),
            also=[f"{rpc}Request.stderr.not-with-tty-code"],
        ),
        fault(f"{rpc}Request.stderr.not-with-tty-code", change_code(rpc, "UNKNOWN", when=both)),
        fault(f"{rpc}Response.url.not-empty", zero(rpc, "url")),
        fault(f"{rpc}Response.url.absolute", alter(rpc, "url", relative)),
        fault(f"{rpc}Response.url.opens", alter(rpc, "url", misspelt)),
        fault(f"RuntimeService.{rpc}.spdy", refuses_spdy(rpc)),
        fault(f"RuntimeService.{rpc}.absent-error", pretends(rpc, when.unknown)),
        fault(f"RuntimeService.{rpc}.empty-id", pretends(rpc, when.empty_id)),
        fault(
            f"RuntimeService.{rpc}.{'exited' if rpc == _EXEC else 'not-running'}-error",
            pretends(rpc, when.in_state("CONTAINER_EXITED")),
        ),
        fault(
            f"RuntimeService.{rpc}.ends-with-container",
            divert(
                rpc,
                "outlives",
                endless,
                when=_stopped if rpc == _EXEC else when.always,
            ),
            name=f"{rpc}-outlives-the-container",
        ),
        fault(
            [f"{rpc}Request.tty.resize"],
            divert(rpc, "no-sizes", silenced("server", "resize")),
            also=[f"{rpc}Request.tty.resize-last", "ExecRequest.tty.resize-signal"],
        ),
        fault(f"{rpc}Request.tty.resize-last", divert(rpc, "size-before", not_the_last)),
        fault(
            f"{rpc}Request.stdout.exact",
            divert(
                rpc,
                "as-text",
                altered("client", "stdout", lambda data: data.decode("utf-8", "replace").encode()),
            ),
        ),
        fault(
            f"{rpc}Request.stderr.exact",
            divert(rpc, "loses-64-KiB-of-stderr", lost_after("client", "stderr", 65_536)),
        ),
        fault(
            f"{rpc}Request.stdout.separate",
            divert(rpc, "stderr-in-stdout", copied("stderr", "stdout")),
        ),
        fault(
            f"{rpc}Request.stderr.separate",
            divert(rpc, "stdout-in-stderr", copied("stdout", "stderr")),
        ),
        fault(
            f"{rpc}Request.stdin.exact",
            divert(rpc, "one-byte-of-input", altered_at("server", "stdin", 50_000)),
        ),
        fault(
            f"{rpc}Request.container_id.only-that-one",
            operator(f"elsewhere-{rpc}", rpc, "it is about another container", elsewhere),
        ),
    ]


def _failed_with_zero(said: Status) -> Status:
    if not said.success:
        return said
    return Status(False, 0, "command terminated with exit code 0", "NonZeroExitCode")


FAULTS = [
    *of_both(_EXEC),
    fault(
        "ExecRequest.cmd.exact-argv",
        alter_request(
            _EXEC, "cmd", Change("no-empty-words", lambda words: [w for w in words if w])
        ),
    ),
    fault("ExecRequest.cmd.no-shell", alter_request(_EXEC, "cmd", changes.as_shell)),
    fault(
        "ExecRequest.tty.terminal",
        alter_request(
            _EXEC,
            "cmd",
            _wrapped("through-pipes", 'true | "$@" 2>&1 | cat'),
            when=when.given("tty"),
        ),
    ),
    fault(
        "ExecRequest.tty.unset-none",
        alter_request(_EXEC, "cmd", _in_a_terminal, when=when.missing("tty")),
    ),
    # What was ignored when a shell began stays so.
    fault(
        "ExecRequest.tty.resize-signal",
        alter_request(_EXEC, "cmd", _wrapped("without-SIGWINCH", "trap '' WINCH; exec \"$@\"")),
    ),
    fault(
        ["ExecRequest.stdin.half-close", "ExecRequest.stdin.half-close-v5"],
        divert(_EXEC, "input-never-ends", never_closed("server", "stdin")),
        also=["ExecRequest.stdin.exact"],
    ),
    fault(
        "ExecRequest.stdin.unset-ends",
        alter_request(
            _EXEC,
            "cmd",
            _wrapped("waits-for-input", 'sleep 60 | "$@"'),
            when=when.missing("stdin"),
        ),
    ),
    fault(
        "ExecRequest.stdout.exact",
        divert(
            _EXEC,
            "line-ends",
            altered("client", "stdout", lambda data: data.replace(b"\n", b"\r\n")),
        ),
    ),
    fault(
        "ExecRequest.stdin.exact",
        divert(_EXEC, "input-cut-at-192-KiB", lost_after("server", "stdin", 196_608)),
    ),
    fault(
        "ExecRequest.stdout.complete-at-end",
        divert(_EXEC, "no-last-words", without_end("client", "stdout", 100)),
        also=["ExecRequest.stdout.exact"],
    ),
    fault(
        "ExecRequest.stdout.unset-dropped",
        alter_request(
            _EXEC, "cmd", _wrapped("all-to-stderr", '"$@" >&2'), when=when.missing("stdout")
        ),
    ),
    fault(
        "ExecRequest.stderr.joined-with-tty",
        alter_request(
            _EXEC, "cmd", _wrapped("without-stderr", '"$@" 2>/dev/null'), when=when.given("tty")
        ),
    ),
    fault("ExecResponse.url.own", gives_same_answer(_EXEC)),
    fault(
        "RuntimeService.Exec.success-status",
        divert(_EXEC, "fails-with-0", restated(_failed_with_zero)),
    ),
    fault(
        "RuntimeService.Exec.exit-status",
        divert(_EXEC, "signed-code", with_code(lambda c: c & 127)),
    ),
    fault(
        "RuntimeService.Exec.exit-status",
        divert(
            _EXEC,
            "code-in-words-only",
            restated(lambda said: said if said.success else status.failed(said.message)),
        ),
    ),
    fault(
        "RuntimeService.Exec.killed-status",
        divert(_EXEC, "signals-are-fine", with_code(lambda code: 0 if code > 128 else code)),
        also=["RuntimeService.Exec.exit-status"],
    ),
    fault(
        "RuntimeService.Exec.missing-command",
        pretends(_EXEC, when=_runs("missing", "/no/such/command")),
    ),
    fault(
        "RuntimeService.Exec.ends-with-command",
        divert(_EXEC, "never-over", endless, when=_runs("echo", "echo")),
    ),
    fault("RuntimeService.Exec.container-unharmed", harms(_EXEC)),
    fault(
        "RuntimeService.Exec.concurrent",
        divert(_EXEC, "mixed-up", altered_at("client", "stdout", 100), when=when.in_company),
    ),
]
