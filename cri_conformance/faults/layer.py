# SPDX-License-Identifier: Apache-2.0
"""The layer between gRPC and a runtime: picks the fault that a call's metadata names.

One server serves all faults at once. A client says ``cri-fault: ID@SESSION`` and sees
that fault alone; what the fault remembers is the session's own. Without the key a call
goes straight through.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api.status import StatusError
from cri_conformance.faults.catalogue import faults
from cri_conformance.faults.fault import Call, Decoding, Fault, Middleware, Proceed, Upstream

METADATA_KEY = "cri-fault"
#: Sessions remembered. One that falls out begins anew when it is used again.
CAPACITY = 256


class FaultLayer:
    """Serves every fault of a catalogue. Safe to use from several threads."""

    def __init__(self, call_upstream: Upstream, catalogue: Mapping[str, Fault] | None = None):
        self._upstream = call_upstream
        self._given = catalogue
        self._sessions: OrderedDict[str, Middleware] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def _catalogue(self) -> Mapping[str, Fault]:
        return faults() if self._given is None else self._given

    def handle(
        self,
        rpc: str,
        request: Message,
        metadata: Iterable[tuple[str, str | bytes]],
        proceed: Proceed,
        ended: threading.Event | None = None,
    ) -> Any:
        """Answer a call under the fault that it names, if any.

        ``ended`` may be set when the client gives the call up. Raises StatusError.
        """
        for key, value in metadata or ():
            if key == METADATA_KEY:
                middleware = self._session(str(value))
                call = Call(rpc, request, self._upstream, ended or threading.Event())
                return middleware(call, proceed)
        return proceed(request)

    def decode(
        self,
        rpc: str,
        data: bytes,
        metadata: Iterable[tuple[str, str | bytes]],
        ended: Callable[[], threading.Event],
    ) -> None:
        """Show the bytes of a call, whatever they are, to the fault that it names.

        Raises StatusError where the fault answers already.
        """
        for key, value in metadata or ():
            if key == METADATA_KEY:
                session: object = self._session(str(value))
                if isinstance(session, Decoding):
                    session.decode(rpc, data, ended())
                return

    def _session(self, named: str) -> Middleware:
        with self._lock:
            if (known := self._sessions.get(named)) is not None:
                self._sessions.move_to_end(named)
                return known
            fault = self._catalogue.get(named.partition("@")[0])
            if fault is None:
                raise StatusError(
                    "INVALID_ARGUMENT", f"{METADATA_KEY}: there is no fault {named!r}"
                )
            made = self._sessions[named] = fault.make()
            if len(self._sessions) > CAPACITY:
                self._sessions.popitem(last=False)
            return made
