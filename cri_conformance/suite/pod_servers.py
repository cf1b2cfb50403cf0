# SPDX-License-Identifier: Apache-2.0
"""Servers in a sandbox's network, run by this process: it opens their sockets in that namespace.

So a test image needs no tools for them, and a test knows at once that they listen. Needs root
on the runtime's host.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import SetupFailed

_CLONE_NEWNET = 0x40000000
#: Below the ports that the kernel gives to clients, so that none of those is in the way.
_PORTS = range(20000, 32000)
#: Seconds in which a server next door must have answered. Where none is, that shows at once.
ANSWERS_WITHIN = 10.0

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "sctp": socket.SOCK_STREAM}
_SCTP = 132


def _open(kind: str, address: str = "") -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, KINDS[kind], _SCTP if kind == "sctp" else 0)


def _open_inside(namespace: int, kind: str, address: str) -> socket.socket:
    """In a thread that ends with this: it has entered the namespace, and its socket stays there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return _open(kind, address)


class PodServers:
    """The servers of one sandbox. Each answers with its word."""

    def __init__(self, host: Host, pid: int) -> None:
        """``pid`` is that of a process in the sandbox. Raises SetupFailed."""
        self._sockets: list[socket.socket] = []
        self._ending = threading.Event()
        try:
            self._namespace = os.open(host.path(f"/proc/{pid}/ns/net"), os.O_RDONLY)
        except OSError as error:
            raise SetupFailed(f"can't find the network of process {pid}: {error}") from None

    def serve(self, kind: str, port: int, word: str, address: str = "0.0.0.0") -> None:
        """Listen on a port of ``tcp``, ``udp`` or ``sctp``. Raises SetupFailed."""
        try:
            # A pool of its own: the thread must not be one that anything else runs in later.
            with ThreadPoolExecutor(1) as pool:
                opened = pool.submit(_open_inside, self._namespace, kind, address).result()
            self._sockets.append(opened)
            opened.bind((address, port))
            if kind != "udp":
                opened.listen(16)
        except OSError as error:
            raise SetupFailed(f"can't open {kind} port {port} in the sandbox: {error}") from None
        serve = _answer_datagrams if kind == "udp" else _answer_connections
        answers = (opened, word.encode(), self._ending)
        threading.Thread(target=serve, args=answers, daemon=True).start()

    def close(self) -> None:
        """End them, and let go of the namespace."""
        self._ending.set()
        for opened in self._sockets:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        os.close(self._namespace)


def _answer_connections(listener: socket.socket, word: bytes, ending: threading.Event) -> None:
    while not ending.is_set():
        try:
            client, _ = listener.accept()
        except OSError:
            continue
        with client, contextlib.suppress(OSError):
            client.sendall(word)


def _answer_datagrams(opened: socket.socket, word: bytes, ending: threading.Event) -> None:
    while not ending.is_set():
        with contextlib.suppress(OSError):
            _, sender = opened.recvfrom(1024)
            # Nobody has sent what comes when the socket is shut down.
            if sender:
                opened.sendto(word, sender)


@contextlib.contextmanager
def pod_servers(host: Host, pid: int) -> Iterator[PodServers]:
    """The servers of a sandbox for the time of the block."""
    servers = PodServers(host, pid)
    try:
        yield servers
    finally:
        servers.close()


def ask(kind: str, address: str, port: int) -> str:
    """The word of the server that answers there; "" if none does."""
    with contextlib.suppress(OSError), _open(kind, address) as client:
        client.settimeout(ANSWERS_WITHIN)
        client.connect((address, port))
        if client.getsockname() == client.getpeername():
            return ""  # a client that happened to call itself
        if kind == "udp":
            client.send(b"?")
        return client.recv(1024).decode(errors="replace")
    return ""


def host_address() -> str:
    """An address of this host that is not the loopback. Raises NotExercised."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: the kernel only looks up the way there.
        probe.connect(("203.0.113.1", 9))
        address = str(probe.getsockname()[0])
        if not address.startswith("127."):
            return address
    raise NotExercised(Reason.NEEDS_HOST, "it has no address but the loopback")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on here, by TCP or UDP. Raises SetupFailed."""
    found = [port for port in random.sample(_PORTS, 20 * count) if _free(port)][:count]
    if len(found) < count:
        raise SetupFailed("there are no free ports")
    return found


def _free(port: int) -> bool:
    for kind in ("tcp", "udp"):
        with _open(kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True
