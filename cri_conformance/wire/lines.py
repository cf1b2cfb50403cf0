# SPDX-License-Identifier: Apache-2.0
"""A transcript as lines, for a terminal and for files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, NotRequired, cast

from cri_conformance.wire import brief
from cri_conformance.wire.history import CallRecord

#: Characters that a line leaves to the request at least: a field with an id.
_REQUEST = 28
#: How far the items of an answer stand to the right.
_INDENT = " " * 8


class Told(CallRecord):
    """A call as a terminal tells of it."""

    alike: NotRequired[int]  # so many of its thread that came after it, and say the same
    left_out_there: NotRequired[int]  # so many calls between these are not known to say it too


def folded(transcript: Iterable[CallRecord]) -> list[Told]:
    """A transcript for a terminal: of calls of a thread that are all alike the first and the last.

    One that is repeated for a minute would hide those that tell why.
    """
    calls = [cast("Told", call.copy()) for call in transcript]
    runs: dict[int, list[Told]] = defaultdict(list)
    hidden: set[int] = set()

    def over(run: list[Told]) -> None:
        if len(run) > 3:
            run[0]["alike"] = len(run) - 2
            run[0]["left_out_there"] = sum(call.get("left_out", 0) for call in run[1:-1])
            hidden.update(map(id, run[1:-1]))
        run.clear()

    for call in calls:
        run = runs[call["thread"]]
        if run and _says(run[0]) != _says(call):
            over(run)
        run.append(call)
    for run in runs.values():
        over(run)
    return [call for call in calls if id(call) not in hidden]


def _says(call: CallRecord) -> tuple[Any, ...]:
    return call["rpc"], call["request"], call["outcome"], call["response"], call["message"]


def told(transcript: Iterable[Told]) -> int:
    """How many calls a transcript for a terminal tells of."""
    return sum(1 + call.get("alike", 0) for call in transcript)


def in_lines(transcript: Iterable[CallRecord], width: int = 100) -> list[str]:
    """One call a line, below it the items of its answer; where calls are left out how many.

    A list that answers what it did the last time is not told again.
    """
    calls = list(transcript)
    about = named(calls)
    before: dict[tuple[str, str], Any] = {}
    lines = []
    for call in calls:
        if left_out := call.get("left_out"):
            lines.append(f"… {_left_out(left_out)} …")
        asked = call["rpc"], str(call["request"])
        same = call["response"] and before.get(asked) == call["response"]
        before[asked] = call["response"]
        lines += _in_lines(call, width, about, same=bool(same))
        if alike := cast("Told", call).get("alike"):
            left_out = cast("Told", call).get("left_out_there", 0)
            also = f", {_left_out(left_out)}" if left_out else ""
            lines.append(f"{_thread(call)}… {alike} more like it{also} …")
    return lines


def named(calls: Iterable[CallRecord]) -> frozenset[str]:
    """The ids that calls are about."""
    return frozenset(one for call in calls for one in brief.ids_in(call["request"]))


def _left_out(number: int) -> str:
    return f"{number} {'call' if number == 1 else 'calls'} left out"


def _in_lines(call: CallRecord, width: int, about: Collection[str], *, same: bool) -> list[str]:
    """A call, cut to ``width``, but not its outcome."""
    when = f"{_thread(call)}{call['at']:9.3f}s {call['seconds'] * 1000:8.1f}ms "
    lead, result = f"{when}{call['rpc']}(", f") → {call['outcome']}"
    room = width - len(lead) - len(result) - 1
    message = " ".join(brief.short_ids(call["message"][: 8 * width]).split())
    response = brief.Response(call["response"], about)
    size = len(message) or response.size
    # A long request leaves room for the answer, or its first words.
    request = brief.text(call["request"], max(room - min(size, room // 2), _REQUEST))
    answer = response.told(max(room - len(request), 0), width - len(_INDENT))
    said, lines = message or brief.said(answer.head), answer.lines
    if same and response.lists:
        said, lines = f"{said}, as before", []
    line = _cut(f"{lead}{request}{result} {said}".rstrip(), width)
    return [line, *(f"{_INDENT}{brief.said(one)}" for one in lines)]


def _thread(call: CallRecord) -> str:
    return f"[thread {call['thread']}] " if call["thread"] else ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
