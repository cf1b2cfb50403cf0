# SPDX-License-Identifier: Apache-2.0
"""Operators on answers that come as a stream: what is sent, how often, in which order, how it ends.

Of a streaming call ``proceed`` gives an iterator of responses, and so does a middleware. To
alter what each message says the operators on answers do (``alter``, ``drop``, ``edit`` …).
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api.rpcs import RPCS
from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When, always
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import aside, copy_of, named, operator, pause

#: Picks among the messages of a stream.
Picks = Callable[[Any], bool]
#: No fault holds a call longer than this (seconds).
LONGEST = 60.0


def edit_stream(
    name: str,
    rpc: str,
    says: str,
    work: Callable[[Iterator[Any], Call, Memory], Iterator[Any]],
    *,
    when: When = always,
) -> Operator:
    """Breaks any promise on a stream: ``work`` makes another one of it."""
    if not RPCS[rpc].server_streaming:
        raise ValueError(f"{rpc} answers with one message")

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        strikes = when(call, memory)
        messages = iter(proceed(call.request))
        return work(messages, call, memory) if strikes else messages

    return operator(name, rpc, says, step)


# -- messages ------------------------------------------------------------------------------


def drop_messages(rpc: str, name: str, picks: Picks, *, when: When = always) -> Operator:
    """Breaks "all are told": some messages are not sent."""
    return edit_stream(
        named("drop-message", rpc, "", name, when=when),
        rpc,
        f"{rpc} leaves messages out: {name}",
        lambda messages, c, m: (one for one in messages if not picks(one)),
        when=when,
    )


def repeat_messages(rpc: str, name: str, picks: Picks, *, when: When = always) -> Operator:
    """Breaks "once": some messages are sent twice."""

    def work(messages: Iterator[Any], call: Call, memory: Memory) -> Iterator[Any]:
        for one in messages:
            yield one
            if picks(one):
                yield one

    says = f"{rpc} sends messages twice: {name}"
    return edit_stream(named("repeat-message", rpc, "", name, when=when), rpc, says, work)


def hold_back(
    rpc: str, name: str, picks: Picks, until: Callable[[Any, Any], bool], *, when: When = always
) -> Operator:
    """Breaks "in order": a message waits until one has been sent that passes ``until(it, one)``."""

    def work(messages: Iterator[Any], call: Call, memory: Memory) -> Iterator[Any]:
        held: list[Any] = []
        for one in messages:
            if picks(one):
                held.append(one)
                continue
            yield one
            yield from [late for late in held if until(late, one)]
            held = [late for late in held if not until(late, one)]

    says = f"{rpc} sends messages too late: {name}"
    return edit_stream(named("hold-back", rpc, "", name, when=when), rpc, says, work, when=when)


def add_messages(
    rpc: str, name: str, more: Callable[[Any, Call], Iterable[Any]], *, when: When = always
) -> Operator:
    """Breaks "nothing else": after each message come those that ``more(message, call)`` makes."""

    def work(messages: Iterator[Any], call: Call, memory: Memory) -> Iterator[Any]:
        for one in messages:
            yield one
            yield from more(one, call)

    says = f"{rpc} sends messages that nothing stands behind: {name}"
    return edit_stream(named("add-message", rpc, "", name, when=when), rpc, says, work, when=when)


def shared_out(rpc: str) -> Operator:
    """Breaks "each client gets all": of clients at the same time one gets a message."""

    def work(messages: Iterator[Any], call: Call, memory: Memory) -> Iterator[Any]:
        for one in messages:
            if memory.count(("shared", one.SerializeToString(deterministic=True))) == 0:
                yield one

    return edit_stream(named("share-out", rpc), rpc, f"{rpc} gives each message away once", work)


# -- parts of a list -----------------------------------------------------------------------


def lists_in_parts(
    rpc: str,
    path: str,
    name: str,
    change: Callable[[list[Any]], Iterable[list[Any]]],
    *,
    when: When = always,
) -> Operator:
    """Breaks a promise on a streamed list: ``change`` makes other parts of all its items."""

    def work(messages: Iterator[Any], call: Call, memory: Memory) -> Iterator[Any]:
        items = [copy_of(item) for one in messages for item in getattr(one, path)]
        for part in change(items):
            yield RPCS[rpc].response(**{path: part})

    says = f"{rpc} sends its items otherwise: {name}"
    return edit_stream(named("repart", rpc, "", name, when=when), rpc, says, work, when=when)


# -- how long it goes on -------------------------------------------------------------------


def ends_after(rpc: str, messages: int, *, when: When = always) -> Operator:
    """Breaks "goes on" or "complete": it ends after so many messages as if all were said."""
    return edit_stream(
        named("end-after", rpc, "", messages, when=when),
        rpc,
        f"{rpc} ends after {messages} messages",
        lambda stream, c, m: itertools.islice(stream, messages),
        when=when,
    )


def fails_at_end(rpc: str, code: str = "INTERNAL", *, when: When = always) -> Operator:
    """Breaks "ends well": all messages come, then an error."""

    def work(messages: Iterator[Any], call: Call, memory: Memory) -> Iterator[Any]:
        yield from messages
        raise StatusError(code, "seeded fault")

    says = f"{rpc} fails after all has been sent"
    return edit_stream(named("fail-at-end", rpc, "", code, when=when), rpc, says, work, when=when)


def never_ends(rpc: str, *, when: When = always) -> Operator:
    """Breaks "ends": nothing more comes, and the stream stays open."""

    def work(messages: Iterator[Any], call: Call, memory: Memory) -> Iterator[Any]:
        yield from messages
        pause(call, LONGEST)

    says = f"{rpc} does not end"
    return edit_stream(named("never-end", rpc, when=when), rpc, says, work, when=when)


def silent(rpc: str, *, when: When = always) -> Operator:
    """Breaks "tells": the stream is open and nothing comes."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not when(call, memory):
            return proceed(call.request)
        return _nothing(call)

    return operator(named("silent", rpc, when=when), rpc, f"{rpc} sends nothing", step)


def _nothing(call: Call) -> Iterator[Message]:
    pause(call, LONGEST)
    yield from ()


# -- clients beside each other -------------------------------------------------------------


def not_again(rpc: str) -> Operator:
    """Breaks "can be opened again": once a client has left, every new stream ends at once."""
    left = ("left for good", rpc)

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if memory.kept(left, lambda: False):
            return iter(())

        def note() -> None:
            call.ended.wait(LONGEST)
            memory.keep(left, True)

        aside(note)
        return proceed(call.request)

    return operator(named("not-again", rpc), rpc, f"{rpc} can't be opened again", step)


def ends_with_another(rpc: str) -> Operator:
    """Breaks "clients don't concern each other": when one leaves, those beside it hear no more."""

    key = ("left", rpc)

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        since = memory.kept(key, lambda: 0)

        def leave() -> None:
            call.ended.wait(LONGEST)
            memory.keep(key, memory.kept(key, lambda: 0) + 1)

        aside(leave)
        messages = iter(proceed(call.request))
        return (one for one in messages if memory.kept(key, lambda: 0) == since)

    says = f"{rpc} falls silent for all when one client leaves"
    return operator(named("leave-together", rpc), rpc, says, step)


def blocked_by_slow_reader(rpc: str, others: Iterable[str], room: int) -> Operator:
    """Breaks "a slow client is no burden": ``others`` wait while it leaves ``room`` unread."""
    waiting = frozenset(others)

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        queues: list[_Queue] = memory.kept(("queues", rpc), list)
        if call.rpc == rpc:
            queue = _Queue(iter(proceed(call.request)), call.ended)
            queues.append(queue)
            return queue.messages()
        response = proceed(call.request)
        # Copied, as streams come and go meanwhile.
        for queue in list(queues):
            queue.await_room(room)
        return response

    says = f"{', '.join(sorted(waiting))} wait for slow clients of {rpc}"
    return operator(named("slow-reader", rpc, "", "blocks"), {rpc, *waiting}, says, step)


class _Queue:
    """Messages on their way to one client: those that wait, and the one being sent."""

    def __init__(self, source: Iterator[Any], ended: threading.Event) -> None:
        self._unsent = 0
        self._changed = threading.Condition()
        self._waiting: collections.deque[Any] = collections.deque()
        self._over = self._gone = False
        threading.Thread(target=self._fill, args=(source,), daemon=True).start()
        threading.Thread(target=self._close, args=(ended,), daemon=True).start()

    def _fill(self, source: Iterator[Any]) -> None:
        with contextlib.suppress(StatusError):
            for message in source:
                with self._changed:
                    self._waiting.append(message)
                    self._unsent += 1
                    self._changed.notify_all()
        self._end(gone=False)

    def _close(self, ended: threading.Event) -> None:
        ended.wait(LONGEST)
        self._end(gone=True)

    def _end(self, *, gone: bool) -> None:
        with self._changed:
            self._over, self._gone = True, self._gone or gone
            self._changed.notify_all()

    def messages(self) -> Iterator[Any]:
        """What comes, as fast as it is taken."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._over)
                if not self._waiting:
                    return
                message = self._waiting.popleft()
            yield message
            with self._changed:
                self._unsent -= 1
                self._changed.notify_all()

    def await_room(self, room: int) -> None:
        """Wait until no more than ``room`` messages wait, or the client has gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._unsent <= room or self._gone, LONGEST)
