# SPDX-License-Identifier: Apache-2.0
"""The record of every call, and the transcript that a failure shows.

Recording must cost next to nothing: messages are kept as they are and only put
into words when somebody asks. Old calls fall out, so a long run stays flat.
"""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, NotRequired, TypedDict

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from cri_conformance.wire.latency import Latencies
from cri_conformance.wire.outcome import Ok, Outcome, Refused
from cri_conformance.wire.redacted import redacted

#: Calls kept: more than a gate makes. A transcript reaches no further back. Lists of dozens of
#: containers take 50 KiB each, so that this is some hundred MiB at worst.
CAPACITY = 8_000
#: Bytes of a command's output that are kept where there are more than ``LARGE_OUTPUT``: enough
#: for a transcript, which cuts values anyway. Whole ones would fill the memory of a long run.
KEPT_OUTPUT, LARGE_OUTPUT = 300, 64 * 1024
#: Bytes of a response, and items of a list in it, from which on it is kept in words alone, and
#: the bytes of all that are kept: a runtime may answer everything with megabytes.
LARGE_RESPONSE, MANY_ITEMS, MOST_KEPT = 256 * 1024, 2_000, 64 * 1024 * 1024
#: Calls shown before the test's own, of those that concern its objects.
EARLIER = 40
#: A transcript longer than this leaves calls out in its midst.
SHOWN = 120


#: What stands in a code's place where no answer came.
UNANSWERED = "UNKNOWN-OUTCOME"

#: Messages of one stream that are kept: so many from its beginning, so many from its end.
KEPT_FIRST, KEPT_LAST = 4, 16


class StreamRecord:
    """What a stream brought: the record of its opening, which grows with it, or of its end."""

    def __init__(self) -> None:
        self.count = 0
        self.outcome: Outcome | None = None
        self._first: list[Message] = []
        self._last: deque[Message] = deque(maxlen=KEPT_LAST)

    def add(self, message: Message) -> None:
        """Note one more message."""
        self.count += 1
        if len(self._first) < KEPT_FIRST:
            self._first.append(message)
        else:
            self._last.append(message)

    def ended(self, outcome: Outcome) -> StreamRecord:
        """The record of its end, which holds no message."""
        record = StreamRecord()
        record.count, record.outcome = self.count, outcome
        return record

    def in_words(self) -> dict[str, Any]:
        """How many messages came, and those that are kept, by their place."""
        # Copied: the stream may go on meanwhile.
        first, last, count = list(self._first), list(self._last), self.count
        kept = [*enumerate(first), *enumerate(last, count - len(last))]
        return {
            "messages": count,
            **{str(n): as_dict(message, answered=True) for n, message in kept},
        }


class Call(NamedTuple):
    """One call. ``at`` is seconds since the history began, ``seconds`` how long it took.

    A stream makes two: its opening and its end. ``sizes`` has the fields of the response of
    which only the beginning is kept, with their bytes.
    """

    number: int
    at: float
    seconds: float
    rpc: str
    request: Message
    outcome: Outcome | StreamRecord
    thread: int
    sizes: Mapping[str, int] = MappingProxyType({})
    #: A large response in words, whose message is not kept.
    words: dict[str, Any] | None = None
    size: int = 0

    def ids(self) -> set[str]:
        """The sandbox and container ids that the call named or got."""
        return self._values("pod_sandbox_id") | self._values("container_id")

    def subjects(self) -> set[str]:
        """What the call is about: containers if it names any, else sandboxes.

        That another container was made in the same sandbox does not lead to what one did.
        """
        return self._values("container_id") or self._values("pod_sandbox_id")

    def _values(self, field: str) -> set[str]:
        messages = [self.request]
        if isinstance(self.outcome, Ok):
            messages.append(self.outcome.response)
        return {value for message in messages if (value := getattr(message, field, ""))}


class CallRecord(TypedDict):
    """A call in words, as it stands in results.json (times in seconds)."""

    at: float
    seconds: float
    thread: int
    rpc: str
    request: dict[str, Any]
    outcome: str
    response: dict[str, Any] | None
    message: str
    left_out: NotRequired[int]  # so many calls before this one are not shown


class History:
    """Calls in the order in which they ended. Safe to use from several threads."""

    def __init__(self, began: float) -> None:
        self.began = began
        self._calls: deque[Call] = deque(maxlen=CAPACITY)
        self._lock = threading.Lock()
        self._count = 0
        self._kept = 0
        #: How long calls took, of all there ever were.
        self.latencies = Latencies()
        #: Who is told of each answer, one at a time.
        self.heard: Callable[[str, Message, Outcome], None] = lambda rpc, request, outcome: None

    def add(
        self,
        rpc: str,
        request: Message,
        outcome: Outcome | StreamRecord,
        start: float,
        seconds: float,
    ) -> None:
        """Record one call; ``start`` on the clock of ``began``."""
        thread = threading.get_ident()
        came = outcome.outcome if isinstance(outcome, StreamRecord) else outcome
        sizes: Mapping[str, int] = MappingProxyType({})
        if rpc == "ExecSync" and isinstance(outcome, Ok):
            outcome, sizes = _without_large_output(outcome)
        words = None
        size = request.ByteSize()
        if isinstance(outcome, Ok) and isinstance(outcome.response, Message):
            answered = outcome.response.ByteSize()
            if answered > LARGE_RESPONSE or (answered > 8192 and _many(outcome.response)):
                words = as_dict(outcome.response, answered=True)
                outcome = Ok(type(outcome.response)())
                answered = LARGE_RESPONSE // 4
            size += answered
        with self._lock:
            self._count += 1
            at = start - self.began
            if isinstance(outcome, Ok):
                self.latencies.add(rpc, seconds)
            elif not isinstance(outcome, StreamRecord):
                self.latencies.add_other(rpc)
            self._calls.append(
                Call(self._count, at, seconds, rpc, request, outcome, thread, sizes, words, size)
            )
            if came is not None:
                self.heard(rpc, request, came)
            self._kept += size
            while self._kept > MOST_KEPT and len(self._calls) > 1:
                self._kept -= self._calls.popleft().size

    def mark(self) -> int:
        """A point in the history, for ``since``."""
        return self._count

    def forget(self, mark: int) -> None:
        """Let go of the calls up to a mark."""
        with self._lock:
            while self._calls and self._calls[0].number <= mark:
                self._calls.popleft()

    def since(self, mark: int) -> list[Call]:
        """All calls after a mark that are still kept."""
        with self._lock:
            return [call for call in self._calls if call.number > mark]

    def transcript(
        self, mark: int, about: Iterable[str] = (), until: int | None = None
    ) -> list[CallRecord]:
        """The calls between two marks, led by the earlier ones about the same objects."""
        with self._lock:
            calls = [call for call in self._calls if until is None or call.number <= until]
        own = [call for call in calls if call.number > mark]
        ids = set(about).union(*(call.ids() for call in own))
        earlier = [call for call in calls if call.number <= mark and call.subjects() & ids]
        led = earlier[-EARLIER:] + own
        chosen = _telling(led, set(about))
        threads = {ident: n for n, ident in enumerate(dict.fromkeys(c.thread for c in chosen))}
        ids.update(*(call.ids() for call in chosen))
        places = {call.number: n for n, call in enumerate(led)}
        told, before = [], -1
        for call in chosen:
            words = _in_words(call, threads[call.thread], ids)
            if missing := places[call.number] - before - 1:
                words["left_out"] = missing
            told.append(words)
            before = places[call.number]
        return told


def _telling(calls: list[Call], ids: set[str]) -> list[Call]:
    """Of many calls the first and the last ones, and between them those that lead to the end.

    Those are about the same objects, ``ids`` or those of the last call that has any. What was
    refused goes first: often it is the same call over and over.
    """
    if len(calls) <= SHOWN:
        return calls
    ids = ids or next((found for call in reversed(calls) if (found := call.subjects())), set())
    first, last = SHOWN // 4, len(calls) - SHOWN // 2

    def rank(place: int) -> tuple[bool, bool, int]:
        call = calls[place]
        return not call.ids() & ids, isinstance(call.outcome, Refused), -place

    between = sorted(sorted(range(first, last), key=rank)[: last - len(calls) + SHOWN - first])
    return [*calls[:first], *(calls[place] for place in between), *calls[last:]]


def _without_large_output(outcome: Ok) -> tuple[Ok, Mapping[str, int]]:
    """ExecSync's answer with the beginning of what is large in it, and how large that was."""
    response = outcome.response
    output: dict[str, bytes] = {name: getattr(response, name) for name in ("stdout", "stderr")}
    sizes = {name: len(data) for name, data in output.items() if len(data) > LARGE_OUTPUT}
    if not sizes:
        return outcome, sizes
    kept = {name: data[:KEPT_OUTPUT] if name in sizes else data for name, data in output.items()}
    # Another message: the original is the test's.
    small = type(response)(exit_code=response.exit_code, **kept)
    return Ok(small), sizes


def _in_words(call: Call, thread: int, ids: set[str]) -> CallRecord:
    ending = call.outcome
    if isinstance(ending, StreamRecord):
        response: dict[str, Any] | None = ending.in_words()
        code, said = ("OPENED", "") if ending.outcome is None else _in_code(ending.outcome)
    else:
        response = as_dict(ending.response, ids, answered=True) if isinstance(ending, Ok) else None
        if call.words is not None:
            response = call.words
        code, said = _in_code(ending)
    if response is not None:
        for name, size in call.sizes.items():
            response[name] = f"{response[name]}… ({size} bytes)"
    return CallRecord(
        at=round(call.at, 6),
        seconds=round(call.seconds, 6),
        thread=thread,
        rpc=call.rpc,
        request=as_dict(call.request),
        outcome=code,
        response=response,
        message=said,
    )


def _in_code(outcome: Outcome) -> tuple[str, str]:
    """An outcome's code, and what was said with it."""
    if isinstance(outcome, Ok):
        return "OK", ""
    if isinstance(outcome, Refused):
        return outcome.code, outcome.message
    return UNANSWERED, outcome.why


#: Characters of all values in a transcript, and of one message of an error.
MOST_TOLD, LONGEST_MESSAGE = 512 * 1024, 64 * 1024


def bounded(transcript: list[CallRecord]) -> list[CallRecord]:
    """The same calls, the older ones without what they said where that is too much."""
    left = MOST_TOLD
    made = []
    for call in reversed(transcript):
        kept = call.copy()
        if left <= 0:
            kept["request"], kept["response"] = {"…": "left out"}, None
        kept["message"] = call["message"][:LONGEST_MESSAGE]
        left -= len(str(kept["request"])) + len(str(kept["response"])) + len(kept["message"])
        made.append(kept)
    return made[::-1]


#: Longest string kept in a transcript's values; ids are shorter and stay whole.
_LONGEST = 512
_MOST_ITEMS = 32


#: Characters of a message's values, all together.
_MOST_TEXT = 64 * 1024


def as_dict(
    message: Message, about: Collection[str] = (), *, answered: bool = False
) -> dict[str, Any]:
    """A message as plain data with the contract's field names; long values cut, ids whole.

    As protobuf's JSON has it, but never more than is shown: a list may have millions of items. Of
    many those are kept that are ``about`` these ids. Of what was ``answered`` an enum's first
    value is told too, which is not sent: a container without a state is CONTAINER_CREATED.
    """
    return _fields(redacted(message), _Room(_MOST_TEXT, about, answered))


@dataclass
class _Room:
    """What is left for values, in characters, and what is told of them."""

    left: int
    about: Collection[str]
    answered: bool


def _fields(message: Message, room: _Room) -> dict[str, Any]:
    made: dict[str, Any] = {}
    given = {field.name: (field, value) for field, value in message.ListFields()}
    fields = message.DESCRIPTOR.fields
    for field in fields:
        if field.name in given:
            told = _field(*given[field.name], room) if room.left > 0 else "…"
            made[field.name] = told
        elif (
            field.enum_type is not None
            and not (field.is_repeated or field.has_presence)
            # A message that has nothing else is sent for its sake, as the state of a filter.
            and (room.answered or len(fields) == 1)
        ):
            made[field.name] = _field(field, field.default_value, room)
    return made


def _field(field: Any, value: Any, room: _Room) -> Any:
    if isinstance(value, Message):
        return _fields(value, room)
    if field.message_type is not None and hasattr(value, "items"):
        inner = field.message_type.fields_by_name["value"]
        made = {}
        for number, key in enumerate(value):
            if number == _MOST_ITEMS or room.left <= 0:
                made["…"] = f"{len(value)} entries"
                break
            made[_text(str(key), room)] = _field(inner, value[key], room)
        return made
    if not isinstance(value, str | bytes) and hasattr(value, "extend"):
        items = []
        for number, item in enumerate(_first(value, room.about)):
            if number == _MOST_ITEMS or room.left <= 0:
                items.append(f"… ({len(value)} items)")
                break
            items.append(_field(field, item, room))
        return items
    room.left -= 8
    if isinstance(value, str):
        return _text(value, room)
    if isinstance(value, bytes):
        return _text(base64.b64encode(value[:_LONGEST]).decode(), room, len(value))
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named is not None else value
    if field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64):
        return str(value)
    return value


def _text(value: str, room: _Room, size: int = 0) -> str:
    room.left -= min(len(value), _LONGEST)
    if len(value) > _LONGEST or size > _LONGEST:
        unit = f"{size} bytes" if size else f"{len(value)} characters"
        return f"{value[:_LONGEST]}… ({unit})"
    return value


def _first(items: Any, about: Collection[str]) -> Any:
    """Of more items than are kept those before the others that are about these ids."""
    if len(items) <= _MOST_ITEMS or not about:
        return items
    return sorted(items, key=lambda item: not any(one in about for one in _ids_of(item)))


def _ids_of(item: Any) -> Iterator[str]:
    """The ids of an item of a list, and of the sandbox that it is in."""
    for name in ("id", "pod_sandbox_id"):
        yield getattr(item, name, "")
    if (attributes := getattr(item, "attributes", None)) is not None:
        yield getattr(attributes, "id", "")


def _many(message: Message) -> bool:
    """Whether a message has a list of very many items."""
    return any(
        not isinstance(value, str | bytes | Message | int | float)
        and hasattr(value, "__len__")
        and len(value) > MANY_ITEMS
        for _, value in message.ListFields()
    )
