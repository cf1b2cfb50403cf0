# SPDX-License-Identifier: Apache-2.0
"""Sessions of Exec and Attach as tests use them, and a container that does what it is told.

What goes wrong while a session is opened is trouble of the set-up, as whether it opens
is judged by tests of its own. What goes wrong afterwards never raises: a test gets what
came and why no more did, and judges that.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from cri_conformance.api import types
from cri_conformance.expect import Judge
from cri_conformance.streaming.client import Session, open_session
from cri_conformance.streaming.connection import Stream
from cri_conformance.streaming.events import StreamingError
from cri_conformance.streaming.status import Status
from cri_conformance.streaming.transport import Stalled
from cri_conformance.wire.outcome import Ok, Outcome, Refused, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

FLAGS = ("stdin", "stdout", "stderr", "tty")
#: Bytes sent at a time: how far a long input has come is seen by them.
_PIECE = 256 * 1024
#: Seconds of a session that is to come to its end by itself, whatever goes on in it.
LONGEST = 60.0


def call(runtime: Runtime, rpc: str, container_id: str, *cmd: str, **flags: Any) -> Outcome:
    """Exec or Attach itself. Without a command Exec runs ``true``."""
    fields: dict[str, Any] = {"cmd": cmd or ("true",)} if rpc == "Exec" else {}
    return runtime.call(rpc, container_id=container_id, **fields, **flags)


def address(runtime: Runtime, rpc: str, container: Container, *cmd: str, **flags: Any) -> str:
    """The URL of a session. Raises SetupFailed."""
    outcome = call(runtime, rpc, container.id, *cmd, **flags)
    if not isinstance(outcome, Ok):
        raise SetupFailed(f"{rpc} was needed to set up this test: {outcome}")
    url: str = outcome.response.url
    return url


@contextlib.contextmanager
def opened(
    runtime: Runtime, rpc: str, container: Container, *cmd: str, **options: Any
) -> Iterator[Session]:
    """A session, which is broken off after the block if it is not over. Raises SetupFailed.

    ``options`` are the flags of the request, and those of ``open_session``.
    """
    flags = {name: value for name, value in options.items() if name in FLAGS}
    url = address(runtime, rpc, container, *cmd, **flags)
    try:
        session = open_session(url, **options)
    except StreamingError as error:
        raise SetupFailed(f"{rpc} gave {url}, and no session opened there: {error}") from None
    try:
        yield session
    finally:
        session.abort()


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a session. ``trouble`` is why not all did, "" if it came to its end.

    ``over``: whether it ended at all, with a status or broken off.
    """

    stdout: bytes
    stderr: bytes
    status: Status | None
    trouble: str
    over: bool = True

    def __str__(self) -> str:
        said = self.trouble or str(self.status)
        return f"{_brief(self.stdout)} on stdout, {_brief(self.stderr)} on stderr, {said}"


def _brief(data: bytes) -> str:
    return repr(data) if len(data) <= 60 else f"{len(data)} bytes that end {data[-20:]!r}"


def to_the_end(
    session: Session, data: bytes | None = None, *, quiet: float, close: bool = True
) -> Came:
    """Send input (and its end, where that can be said); take all until the session ends.

    Given up when for ``quiet`` seconds nothing came and nothing could be sent.
    """
    sent = [0]
    end_sent = threading.Event()
    trouble = ""

    def write() -> None:
        assert session.stdin is not None
        with contextlib.suppress(StreamingError):
            for at in range(0, len(data or b""), _PIECE):
                piece = (data or b"")[at : at + _PIECE]
                session.stdin.write(piece)
                sent[0] += len(piece)
            if close:
                session.stdin.close()
                if session.half_close:
                    end_sent.set()

    if data is not None:
        threading.Thread(target=write, daemon=True).start()
    streams = [one for one in (session.stdout, session.stderr, session.error) if one]
    changed = session.connection.changed

    def ended() -> bool:
        return all(stream.end for stream in streams)

    def progress() -> tuple[int, ...]:
        return (sent[0], *(stream.received for stream in streams), *(bool(s.end) for s in streams))

    def moved(before: tuple[int, ...]) -> bool:
        return ended() or progress() != before

    until = time.monotonic() + LONGEST
    with changed:
        while not ended():
            if time.monotonic() > until:
                trouble = f"not over after {LONGEST:g} s, and it goes on and on"
                break
            before = progress()
            changed.wait_for(partial(moved, before), quiet)
            if not moved(before):
                trouble = f"not over, and nothing came for {quiet:g} s"
                break
    if trouble and data is not None:
        # Whether it waits for something of ours is the first question.
        trouble += f"; sent were {sent[0]} bytes of input{' and their end' * end_sent.is_set()}"
    status = None
    try:
        status = session.status(0.01)
    except StreamingError as error:
        said = session.error.received
        # A server may end the error stream in silence, which stands for success.
        if not trouble and (said or session.error.end != "closed"):
            trouble = f"no status: {error}"
        elif not trouble:
            status = Status(True, 0)
    return Came(_rest(session.stdout), _rest(session.stderr), status, trouble, ended())


def _rest(stream: Stream | None) -> bytes:
    data = b""
    with contextlib.suppress(StreamingError):
        while stream and (more := stream.read(0.0)):
            data += more
    return data


def until(stream: Stream | None, wanted: bytes, quiet: float) -> bytes:
    """What comes up to (and maybe beyond) ``wanted``; less if that doesn't come in time."""
    assert stream is not None
    came = bytearray()
    with contextlib.suppress(Stalled):
        while wanted not in came and (more := stream.read(quiet)):
            came += more
    return bytes(came)


def exactly(stream: Stream | None, size: int, quiet: float) -> bytes:
    """So many bytes, or fewer if nothing more comes for ``quiet`` seconds."""
    assert stream is not None
    came = bytearray()
    with contextlib.suppress(Stalled):
        while len(came) < size and (more := stream.read(quiet, size - len(came))):
            came += more
    return bytes(came)


def run(
    runtime: Runtime,
    container: Container,
    *cmd: str,
    data: bytes | None = None,
    quiet: float,
    **options: Any,
) -> Came:
    """A command through Exec, to its end; with ``data`` for its input."""
    options.setdefault("stdout", True)
    with opened(runtime, "Exec", container, *cmd, stdin=data is not None, **options) as session:
        return to_the_end(session, data, quiet=quiet)


def standing(runtime: Runtime, container: Container) -> tuple[str, int, int]:
    """What must stay as it is while clients come and go: state, start, exit code."""
    status = runtime.container_status(container.id)
    return types.ContainerState.Name(status.state), status.started_at, status.exit_code


def same(
    judge: Judge,
    clause_id: str,
    came: bytes,
    sent: bytes,
    why: object = "",
    about: Iterable[str] = (),
) -> None:
    """Bytes that came must be those that were sent; says where they begin to differ."""
    at = 0
    if came != sent:
        pairs = zip(came, sent, strict=False)
        at = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(came), len(sent)))
    judge.that(
        clause_id,
        came == sent,
        permitted=f"{len(sent)} bytes, with {sent[at : at + 20]!r} at {at}",
        actual=f"{len(came)} bytes, with {came[at : at + 20]!r} at {at}"
        + (f" ({why})" if why else ""),
        about=about,
    )


# -- a container that does what it is told ---------------------------------------------------

#: Does what is written to the pipe `strings`, line by line. Its own input stays its own. It holds
#: the pipe open for both: one that it opened anew for each writer would lose who comes meanwhile.
PUPPET = (
    "trap 'exit 0' TERM; mkfifo strings; : > ready; "
    'while IFS= read -r line <&9; do eval "$line"; done 9<> strings'
)


def puppet(runtime: Runtime, sandbox: Sandbox, **config: Any) -> Container:
    """A running container that waits for orders; ``config`` sets fields of its config."""
    made = runtime.container_config(sandbox, command=["/bin/sh", "-c", PUPPET])
    for name, value in config.items():
        setattr(made, name, value)
    container = runtime.container(sandbox, made)
    runtime.get("StartContainer", container_id=container.id)
    script = (
        "i=0; until [ -e ready ] || [ $i = 200 ]; do i=$((i+1)); sleep 0.05; done; test -e ready"
    )
    if runtime.exec(container, "/bin/sh", "-c", script, timeout=20).exit_code != 0:
        raise SetupFailed("a container did not begin to wait for orders")
    return container


def pull(runtime: Runtime, container: Container, order: str, *, ends: bool = False) -> None:
    """Have a puppet run a line of shell. Raises SetupFailed if it does not take it.

    ``ends``: the order ends the container, and with it whoever has just written it, who may not
    have come to say that it was taken.
    """
    cmd = ("/bin/sh", "-c", 'printf "%s\\n" "$1" > strings', "sh", order)
    outcome = runtime.call("ExecSync", container_id=container.id, cmd=cmd, timeout=10, deadline=20)
    if isinstance(outcome, Ok) and outcome.response.exit_code == 0:
        return
    if not ends:
        raise SetupFailed(f"a container took no order: {outcome}")
    runtime.wait_exited(container.id)


#: Seconds to wait for a sign of output, and then again, before it is given up.
_ATTEMPTS = (0.5, 1.0, 2.0, 4.0, 15.0)
#: No sign is given twice: one that is still under way must not be taken for a later one.
_SIGNS = itertools.count()


def connected(runtime: Runtime, container: Container, stream: Stream | None, quiet: float) -> bytes:
    """Wait until a puppet's output reaches a client that has just attached to it.

    A session may open before the output is connected, and what comes "from then on" only
    counts from a moment that both sides know. What came until then is returned, b"" if no
    output reaches the client.
    """
    came = b""
    for seconds in _ATTEMPTS:
        word = f"<sync {next(_SIGNS)}>".encode()
        pull(runtime, container, f"echo '{word.decode()}'; echo '{word.decode()}' >&2")
        came += until(stream, word + b"\n", min(quiet, seconds))
        if word in came:
            return came
    return b""


def attached(runtime: Runtime, container: Container, stream: Stream | None, quiet: float) -> bytes:
    """As ``connected``. Raises SetupFailed if no output reaches the client."""
    if not (came := connected(runtime, container, stream, quiet)):
        raise SetupFailed("no output reached a client that attached")
    return came


def refusal(runtime: Runtime, rpc: str, container_id: str, *cmd: str, **flags: Any) -> str:
    """How a request fails, by the call or on opening its session; "" if it doesn't.

    A session fails that does not open, or that ends without output and without success.
    """
    outcome = call(runtime, rpc, container_id, *cmd, **flags)
    if isinstance(outcome, Refused):
        served = outcome.code not in ("UNIMPLEMENTED", "UNAVAILABLE")
        return f"the call answers {outcome}" if served else ""
    if not isinstance(outcome, Ok):
        return ""
    try:
        session = open_session(outcome.response.url, **flags)
    except Stalled:
        return ""
    except StreamingError as error:
        return f"the session does not open: {error}"
    try:
        came = to_the_end(session, quiet=5.0)
    finally:
        session.abort()
    over = session.error.end != ""
    if not over or came.stdout or came.stderr or (came.status and came.status.success):
        return ""
    return f"the session ends with {came.status or came.trouble}"
