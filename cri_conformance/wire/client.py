# SPDX-License-Identifier: Apache-2.0
"""The client: every call has a deadline, every call is recorded."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from cri_conformance.api.rpcs import RPCS
from cri_conformance.wire import bounds
from cri_conformance.wire.endpoint import Endpoint
from cri_conformance.wire.history import History
from cri_conformance.wire.outcome import Ok, Outcome, Refused, RuntimeGone, Unknown
from cri_conformance.wire.stream import Stream

#: The kubelet takes 16 MiB, grpcio 4 by default. Ours is wider, so that a refusal is the runtime's:
#: ExecSync may return 16 MB on each of two streams.
LARGEST_MESSAGE = 64 * 1024 * 1024
#: Seconds within which a living runtime answers Version.
ALIVE_WITHIN = 2.0
#: Deadlines of one Version after the other, in seconds, before a silent runtime counts as gone.
PATIENCE = (ALIVE_WITHIN, 5.0, 8.0)
#: Calls that nearly all tests begin with, and how many of one of them, each begun after the last
#: one's end, bring no answer before a runtime that still answers Version counts as gone too.
NEEDED, MOST_UNANSWERED = frozenset({"RunPodSandbox", "CreateContainer", "StartContainer"}), 5
#: Seconds between two attempts at a runtime that is away.
_BETWEEN = 0.05
#: Seconds for which a thread of grpcio's goes on looking at a connection that was waited for: found
#: closed it would end with a traceback.
_WATCHES = 0.3
#: Seconds that a connection is given to be closed.
_CLOSES_WITHIN = 5.0

_OPTIONS = [
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    # What is said with an error comes as metadata. Beyond it grpcio puts words of its own.
    ("grpc.max_metadata_size", 4 * 1024 * 1024),
    ("grpc.absolute_max_metadata_size", 8 * 1024 * 1024),
    # Without it grpcio sends the socket's path as authority, which Go servers refuse.
    ("grpc.default_authority", "localhost"),
    # One test's failure must not make the next wait for a back-off.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_retries", 0),
    # Channels with equal arguments would share connections, also with a vendor's own.
    ("grpc.use_local_subchannel_pool", 1),
]
#: Without it the window grows to some MiB by itself.
_NARROW = [("grpc.http2.bdp_probe", 0)]
_IMAGE_SERVICE = "ImageService"


class Client:
    """A connection to one runtime. Safe to use from several threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        image_endpoint: Endpoint | None = None,
        *,
        timeout: float = 10.0,
        metadata: tuple[tuple[str, str], ...] = (),
        history: History | None = None,
        narrow: bool = False,
    ) -> None:
        """``timeout`` in seconds holds for each call that names no deadline of its own.

        A ``narrow`` one lets no more than 64 KiB of a stream be on the way: what it does not
        take is soon felt by the runtime.
        """
        self.endpoint = endpoint
        self.timeout = timeout
        self.metadata = metadata
        self.history = history or History(time.monotonic())
        options = [*_OPTIONS, *(_NARROW if narrow else [])]
        self._channels = {"": grpc.insecure_channel(endpoint.target, options=options)}
        if image_endpoint and image_endpoint != endpoint:
            self._channels[_IMAGE_SERVICE] = grpc.insecure_channel(
                image_endpoint.target, options=options
            )
        self._gone = ""
        self._watched_until = 0.0
        #: Of the calls that are needed: how many had no answer in a row, and when the last ended.
        self._unanswered: dict[str, tuple[int, float]] = {}
        self._stubs = {rpc.name: self._stub(rpc.name) for rpc in RPCS.values()}

    def _stub(self, name: str) -> Callable[..., Any]:
        rpc = RPCS[name]
        channel = self.channel(rpc.service)
        kind = channel.unary_stream if rpc.server_streaming else channel.unary_unary
        stub: Callable[..., Any] = kind(
            rpc.path,
            request_serializer=rpc.request.SerializeToString,
            response_deserializer=_reader(rpc.response, weighed=rpc.server_streaming),
        )
        return stub

    def channel(self, service: str) -> grpc.Channel:
        """The connection to one of the two services."""
        return self._channels.get(service, self._channels[""])

    def call(
        self,
        rpc: str,
        request: Message | None = None,
        /,
        *,
        deadline: float | None = None,
        cancel_after: float | None = None,
        **fields: Any,
    ) -> Outcome:
        """One unary call; the request as a message or by its fields, ``deadline`` in seconds.

        ``cancel_after`` so many seconds we break it off, if it has not been answered by then.
        Never raises for what the runtime answers; raises RuntimeGone if it is no longer there.
        """
        request = self._prepared(rpc, request, fields, streams=False)
        limit = self.timeout if deadline is None else deadline
        start = time.monotonic()
        outcome: Outcome
        try:
            if cancel_after is None:
                response = self._stubs[rpc](request, timeout=limit, metadata=self.metadata)
            else:
                response = self._cancelled(rpc, request, limit, cancel_after)
            unread = isinstance(response, Unreadable)
            outcome = Unknown(response.why) if unread else Ok(response)
            seconds = time.monotonic() - start
        except grpc.RpcError as error:
            seconds = time.monotonic() - start
            outcome = self.outcome_of(error, seconds, limit)
        self.history.add(rpc, request, outcome, start, seconds)
        if isinstance(outcome, Unknown) or (
            isinstance(outcome, Refused) and outcome.code == "UNAVAILABLE"
        ):
            outcome = self.after_silence(rpc, outcome)
        # That what we break off ourselves has no answer says nothing.
        if rpc in NEEDED and cancel_after is None and (seconds < limit or limit >= self.timeout):
            self._count_silence(rpc, outcome, start, start + seconds)
        return outcome

    def _count_silence(self, rpc: str, outcome: Outcome, start: float, end: float) -> None:
        """Give a runtime up that answers no call of this kind. Raises RuntimeGone."""
        if not isinstance(outcome, Unknown):
            self._unanswered.pop(rpc, None)
            return
        count, ended = self._unanswered.get(rpc, (0, 0.0))
        if start < ended:
            # Many at a time may all be slow: together they count as one.
            return
        self._unanswered[rpc] = count + 1, end
        if count + 1 >= MOST_UNANSWERED:
            self._gone = (
                f"{self.endpoint.text} no longer answers {rpc}: {count + 1} calls, one after the "
                f"other, had no answer ({outcome.why}); see the runtime's log"
            )
            raise RuntimeGone(self._gone)

    def _cancelled(self, rpc: str, request: Message, limit: float, seconds: float) -> Any:
        """The response if it comes in time. Raises RpcError, with CANCELLED if it does not."""
        future = getattr(self._stubs[rpc], "future")(  # noqa: B009 - of unary calls only
            request, timeout=limit, metadata=self.metadata
        )
        try:
            return future.result(timeout=seconds)
        except grpc.FutureTimeoutError:
            future.cancel()
            raise _Cancelled from None

    def stream(
        self,
        rpc: str,
        request: Message | None = None,
        /,
        *,
        deadline: float | None = None,
        lazy: bool = False,
        **fields: Any,
    ) -> Stream:
        """Open a stream of answers, which ends at its ``deadline`` at the latest (in seconds).

        Returns at once: what the runtime says, be it UNIMPLEMENTED, comes with the first
        message or the end. ``lazy``: messages are taken only when asked for.
        """
        request = self._prepared(rpc, request, fields, streams=True)
        limit = self.timeout if deadline is None else deadline
        incoming = self._stubs[rpc](request, timeout=limit, metadata=self.metadata)
        return Stream(self, rpc, request, incoming, limit, lazy=lazy)

    def _prepared(
        self, rpc: str, request: Message | None, fields: dict[str, Any], *, streams: bool
    ) -> Message:
        if self._gone:
            raise RuntimeGone(self._gone)
        if request is None:
            request = request_of(rpc, **fields)
        if RPCS[rpc].server_streaming is not streams:
            raise ValueError(f"{rpc} is {'no' if streams else 'a'} streaming call")
        return request

    def glimpse(self, rpc: str, /, *, deadline: float, **fields: Any) -> Outcome:
        """As ``call``, of a runtime that may be away: nothing follows from its silence."""
        request = request_of(rpc, **fields)
        start = time.monotonic()
        outcome: Outcome
        try:
            outcome = Ok(self._stubs[rpc](request, timeout=deadline, metadata=self.metadata))
            seconds = time.monotonic() - start
        except grpc.RpcError as error:
            seconds = time.monotonic() - start
            outcome = self.outcome_of(error, seconds, deadline)
        self.history.add(rpc, request, outcome, start, seconds)
        return outcome

    def after_silence(self, rpc: str, outcome: Outcome) -> Outcome:
        """Tell an answer 'unavailable' and a slow call from a runtime that died."""
        if not self.alive():
            self._gone = (
                f"{self.endpoint.text} no longer answers (seen at {rpc}: {outcome}); "
                "see the runtime's log"
            )
            raise RuntimeGone(self._gone)
        return outcome

    def alive(self, patience: Sequence[float] = PATIENCE) -> bool:
        """Whether the runtime answers Version, be it with an error.

        Asks again, more patiently, while it takes connections: a loaded runtime is slow, not dead.
        """
        away_until = time.monotonic() + ALIVE_WITHIN
        pause = threading.Event()
        waits = iter(patience)
        seconds = next(waits)
        while True:
            try:
                self._stubs["Version"](RPCS["Version"].request(), timeout=seconds)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    # It may be starting again in this moment, or the connection that has ended
                    # with it may still be taken for one.
                    left = away_until - time.monotonic()
                    if left <= 0 or not self.wait_ready(left):
                        return False
                    pause.wait(_BETWEEN)
                    continue
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    return True
            else:
                return True
            seconds = next(waits, 0.0)
            if not seconds:
                return False

    def revived(self, seconds: float) -> bool:
        """Whether a runtime that was gone answers again, within ``seconds``: then calls go on."""
        if not self.wait_ready(seconds) or not self.alive():
            return False
        self._gone = ""
        self._unanswered.clear()
        return True

    def wait_ready(self, seconds: float) -> bool:
        """Wait until the endpoint takes connections, at most ``seconds``."""
        ready = grpc.channel_ready_future(self._channels[""])
        try:
            ready.result(timeout=seconds)
        except grpc.FutureTimeoutError:
            ready.cancel()
            return False
        finally:
            self._watched_until = time.monotonic() + _WATCHES
        return True

    @staticmethod
    def outcome_of(error: grpc.RpcError, seconds: float, limit: float) -> Outcome:
        """What came of a call that took ``seconds`` of the ``limit`` that it had."""
        return _outcome_of(error, seconds, limit)

    def another(self, *, narrow: bool = False) -> Client:
        """A client with a connection of its own, to the same runtime and with the same history."""
        return Client(
            self.endpoint,
            timeout=self.timeout,
            metadata=self.metadata,
            history=self.history,
            narrow=narrow,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Further calls raise ValueError, as grpcio has it."""
        if (left := self._watched_until - time.monotonic()) > 0:
            threading.Event().wait(left)
        for channel in self._channels.values():
            # An interrupt that comes while a call is begun may have grpcio wait here, and for
            # ever, for a thread that was never started.
            closing = threading.Thread(target=channel.close, daemon=True)
            closing.start()
            closing.join(_CLOSES_WITHIN)


class Unreadable:
    """A response that is none, or is not taken; ``why`` in words."""

    def __init__(self, why: str) -> None:
        self.why = why


def _reader(response: Any, *, weighed: bool) -> Callable[[bytes], Any]:
    """What makes a message of the bytes that came. Raises nothing: grpcio would log it.

    ``weighed``: with the memory that it takes, about.
    """

    def read(data: bytes) -> Any:
        if why := bounds.too_much(response.DESCRIPTOR, data):
            return Unreadable(why)
        try:
            made = response.FromString(data)
            return (made, bounds.closely(response.DESCRIPTOR, data)) if weighed else made
        except DecodeError:
            return Unreadable(
                "the response is no message of this call (wrong types, or invalid UTF-8)"
            )

    return read


class _Cancelled(grpc.RpcError):
    """What came of a call that we broke off."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        return "we broke it off"


def request_of(rpc: str, /, **fields: Any) -> Message:
    """The request of a call by its fields. Raises ValueError for what the CRI has not."""
    if rpc not in RPCS:
        raise ValueError(f"the CRI has no call {rpc!r}")
    return RPCS[rpc].request(**fields)


def _outcome_of(error: grpc.RpcError, seconds: float, limit: float) -> Outcome:
    code: grpc.StatusCode = error.code()
    details: str = error.details() or ""
    if len(details) > bounds.MOST_SAID:
        details = f"{details[: bounds.MOST_SAID]}… ({len(details)} characters)"
    # A runtime may itself answer DEADLINE_EXCEEDED (an ExecSync that timed out):
    # only our own clock tells the two apart.
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and seconds >= limit - _EARLY:
        return Unknown(f"the deadline of {limit:g} s passed")
    if code is grpc.StatusCode.CANCELLED:
        return Unknown("the call was cancelled")
    if code is grpc.StatusCode.UNAVAILABLE and _BROKEN_OFF.search(details):
        return Unknown(f"the connection broke: {details}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "CLIENT: Received message" in details:
        return Unknown(f"the response has more than {LARGEST_MESSAGE} bytes")
    return Refused(code.name, details)


#: Seconds before a deadline in which it may already count as over. grpcio counts in whole
#: milliseconds, and so does a runtime, which is told the deadline and may be the first to say so.
_EARLY = 0.02
#: What grpcio itself says when a connection fails; a runtime's own words are others.
_BROKEN_OFF = re.compile(
    r"failed to connect|socket closed|connection (reset|refused)|broken pipe|goaway|recvmsg"
    r"|stream removed|transport",
    re.IGNORECASE,
)
