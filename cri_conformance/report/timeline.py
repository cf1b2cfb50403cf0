# SPDX-License-Identifier: Apache-2.0
"""A transcript as a diagram: time runs to the right, a lane for each thread and each stream.

Calls take microseconds and minutes in one transcript. So the axis is stretched where much
happens: between two moments at which something began or ended lies the more room the longer it
took, but never none. What came first and what ran at the same time is true; lengths are hints,
and the times stand with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cri_conformance.wire.history import CallRecord

#: All sizes are in the units of the picture, which is scaled to the page's width.
WIDTH, LEFT, LANE, BAR, AXIS = 1100.0, 92.0, 20.0, 14.0, 18.0
#: Lanes shown at most, and the least that a bar is wide.
LANES, THINNEST = 24, 2.0
#: A letter's width, for what fits into a bar.
LETTER = 5.6
#: Room between two labels of the axis.
BETWEEN = 70.0
#: Seconds that make as much room as the least there is between two moments.
UNIT = 0.0005


@dataclass(frozen=True, slots=True)
class Bars:
    """All calls that ended alike, as one outline: a page has thousands of them.

    ``rows`` are their places in the transcript, in the order of the outline.
    """

    tone: str
    outline: str
    rows: str


@dataclass(frozen=True, slots=True)
class Name:
    """The RPC of a call, where there is room for it."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """A picture, ready to be drawn."""

    width: float
    height: float
    lanes: list[Lane]
    bars: list[Bars]
    names: list[Name]
    ticks: list[Tick]
    hidden: int


def timeline(calls: Sequence[CallRecord]) -> Timeline | None:
    """The diagram of a transcript; None if there is nothing to see in it."""
    if len(calls) < 2:
        return None
    order = list(dict.fromkeys(call["thread"] for call in sorted(calls, key=lambda c: c["at"])))
    places = {thread: place for place, thread in enumerate(order[:LANES])}
    scale = _Scale([moment for call in calls for moment in (call["at"], _end(call))])
    outlines: dict[str, list[str]] = {}
    rows: dict[str, list[str]] = {}
    names = []
    for row, call in enumerate(calls):
        if call["thread"] not in places:
            continue
        x, end = scale.x(call["at"]), scale.x(_end(call))
        y = places[call["thread"]] * LANE + (LANE - BAR) / 2
        width = max(end - x, THINNEST)
        tone = _tone(call["outcome"])
        outlines.setdefault(tone, []).append(f"M{x:.1f} {y:g}h{width:.1f}v{BAR:g}h-{width:.1f}z")
        rows.setdefault(tone, []).append(str(row))
        if len(call["rpc"]) * LETTER < width - 4:
            names.append(Name(round(x + 3, 1), y + 10.5, call["rpc"]))
    lanes = [Lane(place * LANE, _lane(thread, calls)) for thread, place in places.items()]
    return Timeline(
        width=WIDTH,
        height=len(lanes) * LANE + AXIS,
        lanes=lanes,
        bars=[Bars(tone, "".join(parts), " ".join(rows[tone])) for tone, parts in outlines.items()],
        names=names,
        ticks=scale.ticks(),
        hidden=len(order) - len(lanes),
    )


class _Scale:
    """From moments to places, in the same order."""

    def __init__(self, moments: list[float]) -> None:
        self._moments = sorted(set(moments))
        room, self._rooms = 0.0, [0.0]
        for before, after in zip(self._moments, self._moments[1:], strict=False):
            room += 1 + math.log1p((after - before) / UNIT)
            self._rooms.append(room)
        self._factor = (WIDTH - LEFT - 4) / (room or 1.0)
        self._place = dict(zip(self._moments, self._rooms, strict=True))

    def x(self, moment: float) -> float:
        return LEFT + self._place[moment] * self._factor

    def ticks(self) -> list[Tick]:
        """Labels at moments that are far enough from each other."""
        found: list[Tick] = []
        for moment in self._moments:
            x = self.x(moment)
            if (not found or x - found[-1].x >= BETWEEN) and x <= WIDTH - BETWEEN / 2:
                found.append(Tick(round(x, 1), f"{moment:.3f} s"))
        return found


def _end(call: CallRecord) -> float:
    return call["at"] + max(call["seconds"], 0.0)


def _tone(outcome: str) -> str:
    if outcome in ("OK", "OPENED"):
        return "ok"
    return "lost" if outcome == "UNKNOWN-OUTCOME" else "refused"


def _lane(thread: int, calls: Sequence[CallRecord]) -> str:
    """A thread by its number; the one that reads a stream by the stream's name."""
    names = {call["rpc"] for call in calls if call["thread"] == thread}
    (name, *more) = names
    if not more and (name.startswith("Stream") or name == "GetContainerEvents"):
        return name if len(name) <= 16 else f"{name[:15]}…"
    return f"thread {thread}"
