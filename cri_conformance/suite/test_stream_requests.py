# SPDX-License-Identifier: Apache-2.0
"""Exec and Attach as calls: which requests are refused, and where the address leads.

An error may come from the call or from the session: runtimes differ in it, and the
contract leaves it open.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.streaming.client import open_session
from cri_conformance.streaming.events import V4, V5, WEBSOCKET, Refused, StreamingError
from cri_conformance.suite.sessions import address, call, refusal, to_the_end
from cri_conformance.wire.outcome import Outcome
from cri_conformance.wire.outcome import Refused as RefusedCall
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, UnsafeCall

RPCS = ("Exec", "Attach")
#: Seconds without a byte after which nothing more is expected.
QUIET = 15.0

Patience = Callable[[float], float]


def by_rpc(*promises: str) -> pytest.MarkDecorator:
    """Run a test for both calls, bound to clauses such as ``{rpc}Response.url.absolute``."""
    return pytest.mark.parametrize(
        "rpc",
        [
            pytest.param(
                rpc, marks=clause(*(one.replace("{rpc}", rpc) for one in promises)), id=rpc
            )
            for rpc in RPCS
        ],
    )


# -- the address -----------------------------------------------------------------------------


@by_rpc("{rpc}Response.url.not-empty", "{rpc}Response.url.absolute")
def test_the_address_is_whole(runtime: Runtime, idle: Container, judge: Judge, rpc: str) -> None:
    name = f"{rpc}Response.url"
    outcome = call(runtime, rpc, idle.id, stdout=True)
    url = judge.response(f"{name}.not-empty", outcome, about=[idle.id]).url
    judge.that(
        f"{name}.not-empty", url, permitted="an address", actual="an empty one", about=[idle.id]
    )
    parts = urlsplit(url)
    judge.that(
        f"{name}.absolute",
        parts.scheme in ("http", "https") and parts.hostname and parts.path.strip("/"),
        permitted="a URL with scheme (http or https), host and path",
        actual=url,
        about=[idle.id],
    )


@by_rpc("{rpc}Response.url.opens", "RuntimeService.{rpc}.spdy", "{rpc}Response.url.again")
def test_the_address_leads_to_a_session(
    runtime: Runtime, idle: Container, judge: Judge, rpc: str
) -> None:
    url = address(runtime, rpc, idle, "sleep", "2", stdout=True)

    def attempt() -> tuple[str, Exception | None]:
        try:
            session = open_session(url, stdout=True)
        except StreamingError as error:
            return "", error
        session.abort()
        return session.subprotocol, None

    spoken, error = attempt()
    # What an HTTP server says to the upgrade is about the protocol; all else is the address.
    judge.that(
        f"RuntimeService.{rpc}.spdy",
        spoken == V4 or not (error is None or _about_upgrade(error)),
        permitted=f"SPDY/3.1 with {V4}",
        actual=error or f"the stream protocol {spoken!r}",
        about=[idle.id],
    )
    judge.that(
        f"{rpc}Response.url.opens",
        error is None or _about_upgrade(error),
        permitted="a session",
        actual=error,
        about=[idle.id],
    )
    spoken, error = attempt()
    judge.record(f"{rpc}Response.url.again", error or "a second session opens")


def _about_upgrade(error: Exception) -> bool:
    return isinstance(error, Refused) and error.status not in (404, 410)


@by_rpc("RuntimeService.{rpc}.websocket")
def test_websockets_are_recorded(runtime: Runtime, idle: Container, judge: Judge, rpc: str) -> None:
    def attempt(name: str) -> str:
        url = address(runtime, rpc, idle, "true", stdout=True)
        try:
            session = open_session(url, stdout=True, protocol=WEBSOCKET, subprotocols=(name,))
        except StreamingError as error:
            return str(error)
        session.abort()
        return "served" if session.subprotocol == name else f"answered with {session.subprotocol!r}"

    names = (V5, V4, "channel.k8s.io")
    judge.record(f"RuntimeService.{rpc}.websocket", {name: attempt(name) for name in names})


@clause("ExecResponse.url.own", "ExecResponse.url.guessable", "RuntimeService.Exec.unopened")
def test_each_address_has_its_own_command(
    runtime: Runtime, idle: Container, judge: Judge, patience: Patience
) -> None:
    name = runtime.name("unopened")
    address(runtime, "Exec", idle, "/bin/sh", "-c", f": > {name}", stdout=True)
    urls = [address(runtime, "Exec", idle, "echo", str(n), stdout=True) for n in range(6)]
    judge.record("ExecResponse.url.guessable", _differing(urls))
    for n, url in reversed(list(enumerate(urls[:2]))):
        with open_session(url, stdout=True) as session:
            came = to_the_end(session, quiet=patience(QUIET))
        judge.equal(
            "ExecResponse.url.own", came.stdout, f"{n}\n".encode(), f"command {n}", about=[idle.id]
        )
    ran = runtime.exec(idle, "test", "-e", name).exit_code == 0
    judge.record("RuntimeService.Exec.unopened", "it runs" if ran else "it does not run")


def _differing(urls: list[str]) -> str:
    shared = 0
    while shared < len(min(urls)) and len({url[: shared + 1] for url in urls}) == 1:
        shared += 1
    tails = [url[shared:] for url in urls]
    hexadecimal = set("".join(tails)) <= set(string.hexdigits)
    kind = "hexadecimal digits" if hexadecimal else "letters, digits and signs"
    return f"about {max(map(len, tails))} {kind} differ from call to call"


# -- which streams ---------------------------------------------------------------------------


def _refused_by_call(judge: Judge, clause_id: str, outcome: Outcome, container: Container) -> None:
    judge.that(
        clause_id,
        isinstance(outcome, RefusedCall) and outcome.code == "INVALID_ARGUMENT",
        permitted="INVALID_ARGUMENT from the call",
        actual=outcome,
        about=[container.id],
    )


@by_rpc("{rpc}Request.no-stream", "{rpc}Request.no-stream-code")
def test_no_stream_is_refused(runtime: Runtime, idle: Container, judge: Judge, rpc: str) -> None:
    judge.that(
        f"{rpc}Request.no-stream",
        refusal(runtime, rpc, idle.id),
        permitted="an error, by the call or in the session",
        actual="a session without stdin, stdout and stderr",
        about=[idle.id],
    )
    outcome = call(runtime, rpc, idle.id)
    _refused_by_call(judge, f"{rpc}Request.no-stream-code", outcome, idle)


@pytest.fixture(scope="module")
def with_terminal(module_runtime: Runtime, shared_sandbox: Sandbox) -> Container:
    """A running container whose main process has a terminal."""
    config = module_runtime.container_config(shared_sandbox, command=["sleep", "3600"])
    config.tty = config.stdin = True
    container = module_runtime.container(shared_sandbox, config)
    module_runtime.get("StartContainer", container_id=container.id)
    return container


@by_rpc("{rpc}Request.stderr.not-with-tty", "{rpc}Request.stderr.not-with-tty-code")
def test_stderr_beside_a_terminal_is_refused(
    runtime: Runtime, with_terminal: Container, judge: Judge, rpc: str
) -> None:
    name = f"{rpc}Request.stderr"
    flags = {"tty": True, "stdout": True, "stderr": True}
    judge.that(
        f"{name}.not-with-tty",
        refusal(runtime, rpc, with_terminal.id, **flags),
        permitted="an error, by the call or in the session",
        actual="a session with a terminal and stderr",
        about=[with_terminal.id],
    )
    outcome = call(runtime, rpc, with_terminal.id, **flags)
    _refused_by_call(judge, f"{name}.not-with-tty-code", outcome, with_terminal)


# -- which container -------------------------------------------------------------------------


@by_rpc("RuntimeService.{rpc}.empty-id")
def test_an_empty_id_is_refused(runtime: Runtime, idle: Container, judge: Judge, rpc: str) -> None:
    try:
        failed = refusal(runtime, rpc, "", stdout=True)
    except UnsafeCall as unsafe:
        judge.skip(Reason.OTHERS, f"{unsafe}")
    judge.that(
        f"RuntimeService.{rpc}.empty-id",
        failed,
        permitted="an error, by the call or in the session",
        actual="a session",
        about=[idle.id],
    )


@pytest.fixture(scope="module")
def lifeless(module_runtime: Runtime, shared_sandbox: Sandbox) -> dict[str, str]:
    """Ids of containers that are not there, or do not run."""
    removed = module_runtime.container(shared_sandbox)
    module_runtime.get("RemoveContainer", container_id=removed.id)
    return {
        "unknown": secrets.token_hex(32),
        "removed": removed.id,
        "exited": module_runtime.exited(shared_sandbox).id,
        "created": module_runtime.container(shared_sandbox).id,
    }


_ABSENT = ("unknown", "removed")


@pytest.mark.xdist_group("lifeless")
@pytest.mark.parametrize(
    ("rpc", "not_running"),
    [
        pytest.param(
            rpc,
            promise,
            marks=clause(
                *(
                    f"RuntimeService.{rpc}.{name}"
                    for name in ("absent-error", promise, "error-place")
                )
            ),
            id=rpc,
        )
        for rpc, promise in (("Exec", "exited-error"), ("Attach", "not-running-error"))
    ],
)
def test_what_does_not_run_gives_no_session(
    runtime: Runtime, judge: Judge, lifeless: dict[str, str], rpc: str, not_running: str
) -> None:
    failed = {kind: refusal(runtime, rpc, name, stdout=True) for kind, name in lifeless.items()}
    shown = {kind: failed[kind].replace(name, "ID")[:80] for kind, name in lifeless.items()}
    judge.record(f"RuntimeService.{rpc}.error-place", shown)
    for promise, kinds in (("absent-error", _ABSENT), (not_running, ("exited",))):
        for kind in kinds:
            judge.that(
                f"RuntimeService.{rpc}.{promise}",
                failed[kind],
                permitted="an error, by the call or in the session",
                actual=f"a session with a container that is {kind}",
                about=[lifeless[kind]],
            )
