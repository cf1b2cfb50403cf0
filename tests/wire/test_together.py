# SPDX-License-Identifier: Apache-2.0
"""Calls at the same time: all at work at once, results in order, errors not lost."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from cri_conformance.wire.together import together


def test_all_are_at_work_at_once() -> None:
    met = threading.Barrier(4, timeout=10)

    def call(number: int) -> int:
        met.wait()
        return number

    assert together(*[partial(call, number) for number in range(4)]) == [0, 1, 2, 3]


def test_spread_starts_one_after_the_other() -> None:
    began = time.monotonic()
    starts = together(*[time.monotonic] * 4, spread=0.02)
    assert starts[-1] - began >= 3 * 0.02


def test_error_is_raised_when_all_have_ended() -> None:
    ended = threading.Event()

    def fail() -> None:
        raise ValueError("no")

    def succeed() -> None:
        threading.Event().wait(0.05)
        ended.set()

    with pytest.raises(ValueError, match="no"):
        together(fail, succeed)
    assert ended.is_set()
