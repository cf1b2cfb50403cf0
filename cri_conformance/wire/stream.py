# SPDX-License-Identifier: Apache-2.0
"""A call that is answered by a stream of messages.

A thread of its own takes the messages as they come, so that a test can wait for one with
a bound. A lazy stream takes them only when asked: what was not taken stays with the runtime,
as it does with a slow client.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message

from cri_conformance.wire import bounds
from cri_conformance.wire.history import StreamRecord
from cri_conformance.wire.outcome import Ok, Outcome, Refused, Unknown

if TYPE_CHECKING:
    from cri_conformance.wire.client import Client

#: Seconds that the reading thread gets to notice that its stream was cancelled.
_CANCEL_TAKES = 5.0


#: Messages that are taken of one stream, and the memory that they may all take at most. A stream
#: that brings more, far more than a test waits for, is broken off.
MOST_MESSAGES, MOST_MEMORY = 50_000, 2 * bounds.MOST_MEMORY


class Stream:
    """One stream, from ``Client.stream``. Safe to use from several threads.

    ``messages`` are all that were received. As a context manager it is cancelled at the end.
    """

    def __init__(
        self,
        client: Client,
        rpc: str,
        request: Message,
        incoming: Any,
        limit: float,
        *,
        lazy: bool,
    ) -> None:
        self.rpc = rpc
        self.request = request
        self._client = client
        self._incoming = incoming
        self._limit = limit
        self._changed = threading.Condition()
        self._messages: list[Any] = []
        self._taken = 0
        #: How many messages may be received by now; None for all.
        self._wanted: int | None = 0 if lazy else None
        self._cancelled = False
        self._outcome: Outcome | None = None
        self._start = time.monotonic()
        self._record = StreamRecord()
        client.history.add(rpc, request, self._record, self._start, 0.0)
        self._thread = threading.Thread(target=self._receive, name=rpc, daemon=True)
        self._thread.start()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    # -- what came -----------------------------------------------------------------

    @property
    def messages(self) -> list[Any]:
        """All messages so far."""
        with self._changed:
            return list(self._messages)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended: Ok with all messages, or the error. None while it is open.

        Raises RuntimeGone if it ended because the runtime is no longer there.
        """
        outcome = self._outcome
        if not self._cancelled and (
            isinstance(outcome, Unknown)
            or (isinstance(outcome, Refused) and outcome.code == "UNAVAILABLE")
        ):
            self._client.after_silence(self.rpc, outcome)
        return outcome

    @property
    def open(self) -> bool:
        """Whether it still goes on."""
        return self.outcome is None

    # -- waiting -------------------------------------------------------------------

    def accepted(self, within: float) -> bool:
        """Wait until the runtime has answered at all; some do so only with the first message."""
        seen = threading.Event()
        threading.Thread(target=self._await_header, args=(seen,), daemon=True).start()
        return seen.wait(within)

    def _await_header(self, seen: threading.Event) -> None:
        with contextlib.suppress(grpc.RpcError):
            self._incoming.initial_metadata()
            seen.set()

    def next(self, within: float) -> Any:
        """The next message not yet taken by ``next``; None if none came, or it has ended."""
        with self._changed:
            if self._wanted is not None:
                self._wanted = max(self._wanted, self._taken + 1)
                self._changed.notify_all()
            self._changed.wait_for(
                lambda: len(self._messages) > self._taken or self._outcome is not None, within
            )
            if len(self._messages) > self._taken:
                self._taken += 1
                return self._messages[self._taken - 1]
        return None

    def wait_until(self, test: Callable[[Sequence[Any]], object], within: float) -> bool:
        """Wait until all messages so far pass ``test``; whether they do, at the latest at the end.

        Takes whatever comes, also if the stream is lazy.
        """
        with self._changed:
            self._take_all()
            self._changed.wait_for(
                lambda: bool(test(self._messages)) or self._outcome is not None, within
            )
            return bool(test(self._messages))

    def finish(self, within: float) -> Outcome | None:
        """Take all that comes until the end: how it ended, None if it has not."""
        with self._changed:
            self._take_all()
            self._changed.wait_for(lambda: self._outcome is not None, within)
        return self.outcome

    def __iter__(self) -> Iterator[Any]:
        """Messages in order until the end, which the stream's deadline bounds."""
        while (message := self.next(self._limit)) is not None:
            yield message

    def cancel(self) -> None:
        """Leave. The runtime learns of it; what it has sent until then may be lost."""
        with self._changed:
            if self._outcome is None:
                self._cancelled = True
            self._take_all()
        self._incoming.cancel()
        self._thread.join(_CANCEL_TAKES)

    def _take_all(self) -> None:
        self._wanted = None
        self._changed.notify_all()

    # -- the reading thread --------------------------------------------------------

    def _receive(self) -> None:
        outcome: Outcome
        unread, memory = "", 0
        try:
            while self._may_receive():
                came = next(self._incoming, None)
                if came is None:
                    break
                if isinstance(came, tuple):
                    message, takes = came
                    memory += takes
                    if len(self._messages) >= MOST_MESSAGES or memory > MOST_MEMORY:
                        unread = f"it goes on after {len(self._messages)} messages"
                else:
                    unread = came.why
                if unread:
                    self._incoming.cancel()
                    break
                with self._changed:
                    self._messages.append(message)
                    self._record.add(message)
                    self._changed.notify_all()
            outcome = Unknown(unread) if unread else Ok(self._messages)
        except grpc.RpcError as error:
            seconds = time.monotonic() - self._start
            outcome = self._client.outcome_of(error, seconds, self._limit)
        seconds = time.monotonic() - self._start
        ended = self._record.ended(outcome)
        self._client.history.add(self.rpc, self.request, ended, self._start, seconds)
        with self._changed:
            self._outcome = outcome
            self._changed.notify_all()

    def _may_receive(self) -> bool:
        with self._changed:
            self._changed.wait_for(
                lambda: self._wanted is None or len(self._messages) < self._wanted
            )
        return True
