# SPDX-License-Identifier: Apache-2.0
"""Whether a server of ours can listen somewhere, asked before gRPC tries: that writes lines of its
own when it can't.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


class CannotListen(Exception):
    """Nobody can listen there; the message says why."""


def free(path: Path) -> None:
    """Make way for a socket: take away a dead one, and nothing else. Raises CannotListen."""
    if not path.parent.is_dir():
        raise CannotListen(f"there is no folder {path.parent}")
    if path.exists() and not path.is_socket():
        raise CannotListen("a file is there that is no socket")
    try:
        if path.is_socket() and _answered(path):
            raise CannotListen("another program listens there")
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(os.fspath(path))
        path.unlink()
    except OSError as error:
        raise CannotListen(_why(error)) from None


def free_port(host: str, port: int) -> None:
    """See that a port of this host is free. Raises CannotListen."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise CannotListen(_why(error)) from None


def _answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
    return True


def _why(error: OSError) -> str:
    # Python's own text has the address as well; names that aren't known have numbers below 0.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)
