# SPDX-License-Identifier: Apache-2.0
"""PortForward: connections to ports of a sandbox.

There are no network namespaces here, so the ports of every sandbox are those of the host's
loopback. The rest is as it should be: an end of one direction is passed on alone, and a port
that takes no connection is told on the error stream.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import validate
from cri_conformance.reference.state import Sandbox, Store
from cri_conformance.streaming.events import Refused, StreamingError
from cri_conformance.streaming.server import FOREVER, ServerTunnel, Service, port_forward

#: Seconds for a port to take a connection.
_CONNECT_WITHIN = 5.0
#: Seconds that a client may go on sending to a port that sends no more.
_GRACE = 1.0
_CHUNK = 64 * 1024

#: Hands out the address at which a client gets a session.
Offer = Callable[[Service, str], str]


class Forwarding:
    """The call PortForward."""

    def __init__(self, store: Store, offer: Offer) -> None:
        self._store = store
        self._offer = offer

    def PortForward(self, request: types.PortForwardRequest) -> types.PortForwardResponse:
        """Ports may be left out: then the streams of a SPDY client name them."""
        sandbox_id = validate.object_id("pod_sandbox_id", request.pod_sandbox_id)
        sandbox = self._store.sandbox(sandbox_id)
        if wrong := [port for port in request.port if not 0 < port < 1 << 16]:
            validate.invalid(f"there is no port {wrong[0]}")
        if not sandbox.ready:
            raise StatusError("FAILED_PRECONDITION", f"sandbox {sandbox_id} is not ready")

        def begin() -> None:
            if not sandbox.ready:
                raise Refused(409, f"sandbox {sandbox_id} is not ready any more")

        service = port_forward(
            lambda tunnel: _forward(sandbox, tunnel), list(request.port), begin=begin
        )
        return types.PortForwardResponse(url=self._offer(service, "portforward"))


def _forward(sandbox: Sandbox, tunnel: ServerTunnel) -> None:
    """Serve one connection, in a thread of its own."""
    if not sandbox.ready:
        tunnel.fail(f"sandbox {sandbox.id} is not ready any more")
        return
    try:
        port = _connect(tunnel.port)
    except OSError as error:
        tunnel.fail(f"can't connect to port {tunnel.port}: {error}")
        return
    with port:
        sender = threading.Thread(target=_send, args=(tunnel, port), name="to-port", daemon=True)
        sender.start()
        try:
            while data := port.recv(_CHUNK):
                tunnel.data.write(data)
            tunnel.data.close()
        except OSError as error:
            if not tunnel.gone.is_set() and not tunnel.data.end:
                tunnel.fail(f"the connection to port {tunnel.port} broke: {error}")
        sender.join(_GRACE)


def _send(tunnel: ServerTunnel, port: socket.socket) -> None:
    """Pass on what the client sends, and its end."""
    with contextlib.suppress(OSError, StreamingError):
        while data := tunnel.data.read(FOREVER):
            port.sendall(data)
        # A stream that was reset, or lost, has nobody left to answer to.
        port.shutdown(socket.SHUT_WR if tunnel.data.end == "closed" else socket.SHUT_RDWR)


def _connect(number: int) -> socket.socket:
    """A connection to a port of loopback. Raises OSError."""
    try:
        made = socket.create_connection(("127.0.0.1", number), _CONNECT_WITHIN)
    except ConnectionRefusedError:
        made = socket.create_connection(("::1", number), _CONNECT_WITHIN)
    made.settimeout(None)
    return made
