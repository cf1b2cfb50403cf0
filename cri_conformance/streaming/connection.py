# SPDX-License-Identifier: Apache-2.0
"""A link put on a transport: a thread that reads, and writes from any thread.

``Pump`` gives events to a function, ``Connection`` keeps what came by stream. What must be
sent waits in the link; whoever holds the pen sends it all, so the reader, which answers
pings, never waits for a writer that waits for the other side to read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from cri_conformance.streaming.events import (
    Accepted,
    Closed,
    Data,
    Ended,
    Event,
    Link,
    Opened,
    ProtocolError,
    Replied,
    StreamingError,
)
from cri_conformance.streaming.transport import Stalled, Transport

T = TypeVar("T")

#: Seconds that the other side gets to close its end after an orderly end of ours.
LINGER = 5.0
#: Bytes sent to a stream at a time: others get their turn in between.
CHUNK = 32 * 1024
#: Bytes of all streams of a connection that are kept without a bound of their own, and streams
#: that the other side may open: more than anything asks for, and no harm.
MOST_KEPT, MOST_STREAMS = 128 * 1024 * 1024, 4096
#: Bytes of answers (to pings and the like) that wait because the other side reads none.
MOST_WAITING = 16 * 1024 * 1024


class Pump:
    """Runs one side of a connection. ``sink`` is called by the reading thread alone."""

    def __init__(self, link: Link, transport: Transport, sink: Callable[[Event], None]) -> None:
        self.link = link
        self.transport = transport
        self._sink = sink
        self._lock = threading.Lock()
        self._pen = threading.Lock()
        self._pending: list[bytes] = []
        self._finished = False
        self._last_call = threading.Timer(LINGER, transport.abort)
        self._last_call.daemon = True
        #: Set when the last event was given to the sink.
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def upgrade(self, deadline: float) -> tuple[Accepted, list[Event]]:
        """A client's first exchange: what was agreed, and what came with it.

        Before ``start``. Raises StreamingError, Refused among them.
        """
        try:
            self._flush()
            while True:
                data = self.transport.receive(deadline)
                events = self.link.receive(data)
                if events and isinstance(events[0], Accepted):
                    return events[0], events[1:]
                if not data:
                    raise StreamingError("the server closed the connection before its answer")
        except BaseException:
            self.transport.close()
            raise

    def start(self, early: list[Event] | None = None) -> None:
        """Begin to read; ``early`` events are given first."""
        self._early = early or []
        self._flush()
        self.thread.start()

    def do(self, work: Callable[[Link], T]) -> T:
        """Have the link do something and send what comes of it. Raises StreamingError."""
        with self._lock:
            done = work(self.link)
        self._flush()
        return done

    def write(self, stream: int, data: bytes) -> None:
        """Send bytes on a stream. Raises StreamingError."""
        view = memoryview(data)
        for at in range(0, len(data), CHUNK):
            with self._lock:
                self.link.send(stream, bytes(view[at : at + CHUNK]))
            self._flush()
            if self.over.is_set():
                raise StreamingError("the connection is over")

    def finish(self) -> None:
        """End in good order: what was sent arrives. Once; never raises."""
        with self._lock:
            if self._finished:
                return
            self._finished = True
        try:
            self.do(lambda link: link.end())
        except StreamingError:
            self.abort()
        # Closing while there are bytes unread would make the kernel take back ours.
        self.transport.shut()
        if not self.over.is_set():
            self._last_call.start()

    def abort(self, *, reset: bool = False) -> None:
        """Go away without a word. Never raises."""
        self.transport.abort(reset=reset)

    def _flush(self, wait: bool = True) -> None:
        with self._lock:
            if data := self.link.to_send():
                self._pending.append(data)
            if not wait and sum(map(len, self._pending)) > MOST_WAITING:
                raise ProtocolError("the other side asks and asks, and reads no answer")
        while self._pending:
            if not self._pen.acquire(blocking=wait):
                return  # who holds the pen looks again after it was given back
            try:
                with self._lock:
                    data = b"".join(self._pending)
                    self._pending.clear()
                if data:
                    self.transport.send(data)
            finally:
                self._pen.release()

    def _run(self) -> None:
        ended = Ended(False, "given up")
        try:
            for event in self._early:
                ended = self._give(event) or ended
            while not self.over.is_set():
                data = self.transport.receive()
                with self._lock:
                    events = self.link.receive(data)
                self._flush(wait=False)
                for event in events:
                    if last := self._give(event):
                        ended = last
                        return
                if not data:
                    return
        except StreamingError as error:
            ended = Ended(False, str(error))
        finally:
            self.over.set()
            self._last_call.cancel()
            try:
                self._sink(ended)
            finally:
                self.transport.close()

    def _give(self, event: Event) -> Ended | None:
        if isinstance(event, Ended):
            return event
        self._sink(event)
        return None


class Stream:
    """One stream of a connection. Reading and writing are safe from any thread."""

    def __init__(self, connection: Connection, number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = dict(headers)
        self._connection = connection
        self._buffer = bytearray()
        #: Bytes that have come so far.
        self.received = 0
        #: How the other side's direction ended: "", "closed", "reset", "lost".
        self.end = ""
        self.replied = False

    def read(self, seconds: float, most: int = 1 << 20) -> bytes:
        """What has come, b"" at the end. Raises Stalled if nothing comes in time."""
        changed = self._connection.changed
        with changed:
            if not changed.wait_for(lambda: self._buffer or self.end, seconds):
                raise Stalled(f"nothing came on stream {self.number} within {seconds:g} s")
            data = bytes(self._buffer[:most])
            del self._buffer[:most]
            changed.notify_all()
            return data

    def read_all(self, seconds: float) -> bytes:
        """All that comes until the end. Raises Stalled, which loses nothing."""
        changed = self._connection.changed
        with changed:
            if not changed.wait_for(lambda: self.end, seconds):
                raise Stalled(
                    f"stream {self.number} did not end within {seconds:g} s "
                    f"({self.received} bytes came)"
                )
            data = bytes(self._buffer)
            self._buffer.clear()
            return data

    def read_exactly(self, size: int, seconds: float) -> bytes:
        """So many bytes, or fewer if the stream ends. Raises Stalled, which loses nothing."""
        changed = self._connection.changed
        with changed:
            if not changed.wait_for(lambda: self.end or len(self._buffer) >= size, seconds):
                raise Stalled(
                    f"{len(self._buffer)} of {size} bytes came on stream {self.number} "
                    f"within {seconds:g} s"
                )
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            return data

    def wait_end(self, seconds: float) -> bool:
        """Whether the other side's direction ended within this time."""
        with self._connection.changed:
            return bool(self._connection.changed.wait_for(lambda: self.end, seconds))

    def write(self, data: bytes) -> None:
        """Send bytes. Raises StreamingError."""
        self._connection.pump.write(self.number, data)

    def close(self) -> None:
        """Send no more, where the protocol can say so. Raises StreamingError."""
        self._connection.pump.do(lambda link: link.close(self.number))

    def reset(self) -> None:
        """Send and take no more. Raises StreamingError."""
        self._connection.pump.do(lambda link: link.reset(self.number))
        with self._connection.changed:
            self.end = self.end or "reset"
            self._connection.changed.notify_all()


class Connection:
    """Streams over one connection, each with a buffer of its own.

    ``most`` bytes of a stream are kept; then nothing more is read from the connection before
    some are taken (a client that wants no deadlock leaves it unbounded). ``opened`` is called
    with each stream that the other side opens, ``ended`` once at the end, by the reader.
    """

    def __init__(
        self,
        link: Link,
        transport: Transport,
        *,
        most: int = 0,
        opened: Callable[[Stream], None] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        self.pump = Pump(link, transport, self._sink)
        self.changed = threading.Condition()
        self.streams: dict[int, Stream] = {}
        self.subprotocol = ""
        self.over: Ended | None = None
        self._most = most
        self._leaving = False
        self.on_open = opened
        self.on_end = ended

    @property
    def half_close(self) -> bool:
        """Whether one direction of a stream can be closed alone."""
        return self.pump.link.half_close

    def declare(self, number: int, headers: Mapping[str, str] | None = None) -> Stream:
        """A stream that is there from the start."""
        stream = self.streams[number] = Stream(self, number, headers or {})
        return stream

    def forget(self, *streams: Stream) -> None:
        """Streams that nobody looks at any more, so that a long connection doesn't grow."""
        with self.changed:
            for stream in streams:
                self.streams.pop(stream.number, None)

    def open(self, headers: Mapping[str, str], seconds: float) -> Stream:
        """Open a stream and wait for it to be taken. Raises StreamingError."""
        # Known before it is sent, so that no answer can come too early.
        stream = self.pump.do(lambda link: self.declare(link.open(headers), headers))
        with self.changed:
            if not self.changed.wait_for(lambda: stream.replied or stream.end, seconds):
                raise Stalled(f"a stream was not taken within {seconds:g} s")
            if not stream.replied:
                raise StreamingError("a stream was refused")
        return stream

    def finish(self) -> None:
        """End in good order. What comes from now on and can't be kept is dropped."""
        self.pump.finish()
        self._let_go()

    def abort(self, *, reset: bool = False) -> None:
        """Go away without a word."""
        self.pump.abort(reset=reset)
        self._let_go()

    def _let_go(self) -> None:
        """Have the reader wait for nobody any more."""
        with self.changed:
            self._leaving = True
            self.changed.notify_all()

    def wait_over(self, seconds: float) -> bool:
        """Whether the connection is over within this time."""
        return self.pump.over.wait(seconds)

    def _sink(self, event: Event) -> None:
        if isinstance(event, Opened):
            with self.changed:
                if len(self.streams) >= MOST_STREAMS:
                    raise ProtocolError(f"more than {MOST_STREAMS} streams")
                stream = self.declare(event.stream, event.headers)
            if self.on_open is not None:
                self.on_open(stream)
            return
        with self.changed:
            if isinstance(event, Ended):
                self.over = event
                for stream in list(self.streams.values()):
                    stream.end = stream.end or ("reset" if event.orderly else "lost")
            elif not isinstance(event, Accepted) and (known := self.streams.get(event.stream)):
                self._on(known, event)
            self.changed.notify_all()
        if isinstance(event, Ended) and self.on_end is not None:
            self.on_end()

    def _on(self, stream: Stream, event: Replied | Data | Closed | Opened) -> None:
        if isinstance(event, Replied):
            stream.replied = True
        elif isinstance(event, Closed):
            stream.end = stream.end or ("reset" if event.reset else "closed")
        elif isinstance(event, Data) and not stream.end:
            if self._leaving and self._most and len(stream._buffer) > self._most:
                return
            if not self._most:
                kept = sum(len(one._buffer) for one in self.streams.values())
                if kept + len(event.data) > MOST_KEPT:
                    raise ProtocolError(f"more than {MOST_KEPT} bytes came that nobody read")
            stream._buffer += event.data
            stream.received += len(event.data)
            self.changed.notify_all()
            if self._most:
                self.changed.wait_for(
                    lambda: len(stream._buffer) <= self._most or stream.end or self._leaving
                )
