# SPDX-License-Identifier: Apache-2.0
"""``python -m cri_conformance.reference``: serve until told to end."""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from cri_conformance.arguments import Parser
from cri_conformance.listening import CannotListen, free
from cri_conformance.reference import sweep
from cri_conformance.reference.process import READY

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from cri_conformance.reference.runtime import Runtime
    from cri_conformance.reference.server import Decoder, Layer, Proceed

_SCHEME = "unix://"
_LONGEST_SOCKET_PATH = 107


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 after an orderly end, 2 for what can't be done as it was asked for,
    1 if it could not start all the same."""
    options = _options(arguments)
    for path in sweep.sweep():
        print(f"swept what a killed runtime left in {path}", file=sys.stderr)
    try:
        trust = _trust(options.registry_ca)
        directory = sweep.claim(options.state)
    except (sweep.StateError, OSError) as error:
        return _refuse(error)
    try:
        listen = _free(options.listen or directory.socket)
        directory.own(listen)
    except (sweep.StateError, OSError) as error:
        directory.remove()
        return _refuse(error)
    return _serve(
        directory, listen, trust, faults=options.with_faults, until_eof=options.exit_on_eof
    )


def _refuse(error: Exception) -> int:
    why = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        why = f"{error.filename}: {error.strerror}"
    print(f"cri-conformance: {why}", file=sys.stderr)
    return 2


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="cri-conformance serve",
        description="An embedded CRI runtime: containers are processes of this host, not isolated.",
    )
    parser.add_argument(
        "--listen", type=_socket, metavar="unix:///PATH", help="default: in the state directory"
    )
    parser.add_argument(
        "--state",
        type=lambda text: Path(text).absolute(),
        metavar="DIR",
        help="where sockets and containers' directories go; default: a new temporary one",
    )
    parser.add_argument(
        "--registry-ca",
        type=lambda text: Path(text).absolute(),
        metavar="FILE",
        help="trust this certificate when pulling; loopback registries are asked by TLS then",
    )
    parser.add_argument("--with-faults", action="store_true", help="offer the built-in faults")
    parser.add_argument(
        "--exit-on-eof", action="store_true", help="end when the standard input is closed"
    )
    return parser.parse_args(arguments)


def _trust(certificate: Path | None) -> ssl.SSLContext | None:
    """Raises OSError that tells which file is none."""
    try:
        return ssl.create_default_context(cafile=certificate) if certificate else None
    except OSError as error:
        raise OSError(f"--registry-ca {certificate}: {error.strerror or error}") from None


def _socket(text: str) -> Path:
    path = text.removeprefix(_SCHEME)
    if not path.startswith("/"):
        raise argparse.ArgumentTypeError(f"give unix:///path.sock, not {text!r}")
    return Path(path)


def _free(listen: Path) -> Path:
    """The path, on which nobody listens. Raises StateError."""
    if len(os.fsencode(listen)) > _LONGEST_SOCKET_PATH:
        raise sweep.StateError(
            f"no socket can have a path of more than {_LONGEST_SOCKET_PATH} bytes: {listen}; "
            "give a shorter one with --listen, or a shorter TMPDIR"
        )
    try:
        free(listen)
    except CannotListen as error:
        raise sweep.StateError(f"can't listen at {_SCHEME}{listen}: {error}") from None
    return listen


class End:
    """What a signal sets, and the main thread waits for. A handler runs amid whatever that does:
    in the wait for an Event it could need the lock that the wait has just taken, for ever."""

    def __init__(self) -> None:
        self._came: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """From a handler, or another thread."""
        self._came.put(None)

    def wait(self, looks_again: float = 1.0) -> None:
        """Until it is set. A signal that comes right before a wait without an end is not seen in
        it, so none is."""
        while True:
            try:
                return self._came.get(timeout=looks_again)
            except Empty:
                pass


def _serve(
    directory: sweep.StateDirectory,
    listen: Path,
    trust: ssl.SSLContext | None,
    *,
    faults: bool,
    until_eof: bool,
) -> int:
    end = End()
    _set_signals(end)
    # A thread that pumps megabytes would keep the others, which look at hundreds of files in
    # /proc, waiting for 5 ms at each of them.
    sys.setswitchinterval(0.0005)
    # Containers inherit it.
    os.umask(0o022)
    # Else grpc would have a say in every fork. Read when grpc is imported, so that comes late.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    from cri_conformance.reference.runtime import Runtime
    from cri_conformance.reference.server import Server

    runtime = Runtime(directory, trust)
    server = Server(runtime, *(_fault_layer(runtime) if faults else ()))
    runtime.start()
    try:
        try:
            server.start(listen)
        except (RuntimeError, OSError) as error:
            print(f"cri-conformance reference runtime: {error}", file=sys.stderr)
            return 1
        print(f"{READY}{_SCHEME}{listen}", flush=True)
        if until_eof:
            threading.Thread(target=_await_eof, args=(end,), daemon=True).start()
        end.wait()
        return 0
    finally:
        wait_for_calls = server.stop()
        runtime.kill()
        wait_for_calls()
        runtime.close()


def _fault_layer(runtime: Runtime) -> tuple[Layer, Decoder]:
    from cri_conformance.faults.layer import FaultLayer
    from cri_conformance.reference.server import copy_of

    faults = FaultLayer(lambda rpc, request: copy_of(runtime.call(rpc, lambda _: None)(request)))

    def layer(
        rpc: str, request: Message, context: grpc.ServicerContext, proceed: Proceed
    ) -> Message:
        answer: Message = faults.handle(rpc, request, _metadata(context), proceed, _ended(context))
        return answer

    def decoder(rpc: str, data: bytes, context: grpc.ServicerContext) -> None:
        faults.decode(rpc, data, _metadata(context), lambda: _ended(context))

    return layer, decoder


def _metadata(context: grpc.ServicerContext) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in context.invocation_metadata())


def _ended(context: grpc.ServicerContext) -> threading.Event:
    ended = threading.Event()
    context.add_callback(ended.set)
    return ended


def _set_signals(end: End) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    # A signal that we were started to ignore (nohup, a shell's &) would be ignored in every
    # container as well; one with a handler is not inherited.
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def _await_eof(end: End) -> None:
    while os.read(0, 4096):
        pass
    end.set()


if __name__ == "__main__":
    sys.exit(main())
