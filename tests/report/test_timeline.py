# SPDX-License-Identifier: Apache-2.0
"""The diagram of a transcript: order and overlap are true, whatever the lengths."""

from __future__ import annotations

import re
from typing import Any

from cri_conformance.report.timeline import LANES, LEFT, WIDTH, timeline

from .fakes import call


def made(*calls: tuple[int, float, float], **more: Any) -> list[dict[str, Any]]:
    return [
        call("Version", at=at, thread=thread, **more) | {"seconds": seconds}
        for thread, at, seconds in calls
    ]


def bars(calls: list[dict[str, Any]]) -> dict[int, tuple[float, float, float]]:
    """Row → (beginning, end, y)."""
    picture = timeline(calls)
    assert picture
    found = {}
    for one in picture.bars:
        outlines = re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)", one.outline)
        for row, (x, y, width) in zip(one.rows.split(), outlines, strict=True):
            found[int(row)] = (float(x), float(x) + float(width), float(y))
    return found


def test_microseconds_and_minutes_are_both_seen_in_their_order():
    calls = made((0, 1.0, 0.0003), (0, 1.001, 60.0), (0, 61.5, 0.0002))
    found = bars(calls)
    assert found[0][1] <= found[1][0] < found[1][1] <= found[2][0]
    assert all(LEFT <= x < end <= WIDTH + 2 for x, end, _ in found.values())


def test_calls_of_two_threads_that_ran_at_once_overlap_and_have_lanes_of_their_own():
    found = bars(made((7, 1.0, 0.5), (9, 1.2, 0.5), (7, 2.0, 0.1)))
    assert found[0][0] < found[1][0] < found[0][1] < found[1][1]
    assert found[0][2] == found[2][2] != found[1][2]


def test_a_streams_lane_has_its_name():
    calls = made((0, 1.0, 0.1), (0, 1.2, 0.1)) + made((1, 1.0, 5.0))
    calls[2]["rpc"] = "GetContainerEvents"
    picture = timeline(calls)
    assert picture
    assert [lane.label for lane in picture.lanes] == ["thread 0", "GetContainerEve…"]


def test_what_was_refused_or_lost_is_told_apart():
    calls = made((0, 1.0, 0.1), (0, 2.0, 0.1), (0, 3.0, 0.1))
    calls[1]["outcome"], calls[2]["outcome"] = "NOT_FOUND", "UNKNOWN-OUTCOME"
    picture = timeline(calls)
    assert picture
    assert {(one.tone, one.rows) for one in picture.bars} == {
        ("ok", "0"),
        ("refused", "1"),
        ("lost", "2"),
    }


def test_a_hundred_threads_make_no_endless_picture():
    picture = timeline(made(*((n, 1.0 + n, 0.1) for n in range(100))))
    assert picture
    assert len(picture.lanes) == LANES
    assert picture.hidden == 100 - LANES


def test_one_call_or_one_moment():
    assert timeline(made((0, 1.0, 0.1))) is None
    assert timeline(made((0, 1.0, 0.0), (0, 1.0, 0.0)))
