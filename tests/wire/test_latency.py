# SPDX-License-Identifier: Apache-2.0
"""How long calls took: figures that are right within the histogram's buckets."""

from __future__ import annotations

import random
import statistics

import pytest

from cri_conformance.wire.latency import BUCKETS, Latencies, merged


def test_figures_are_right_within_a_bucket():
    rng = random.Random(3)
    took = [rng.lognormvariate(-6, 1) for _ in range(5000)]
    measured = Latencies()
    for seconds in took:
        measured.add("Version", seconds)
    (found,) = merged([measured.plain()])
    assert found["answered"] == 5000
    assert found["median"] == pytest.approx(statistics.median(took), rel=0.035)
    assert found["p99"] == pytest.approx(statistics.quantiles(took, n=100)[98], rel=0.06)
    assert found["longest"] == pytest.approx(max(took), abs=1e-6)
    assert sum(count for _, count in found["buckets"]) == 5000


def test_workers_add_up():
    parts = [Latencies(), Latencies()]
    parts[0].add("Version", 0.001)
    parts[0].add("Status", 0.5)
    parts[1].add("Version", 0.002)
    parts[1].add_other("StopContainer")
    found = {one["rpc"]: one for one in merged([*(part.plain() for part in parts), {}])}
    assert found["Version"]["answered"] == 2
    assert found["Version"]["longest"] == 0.002
    assert (found["StopContainer"]["answered"], found["StopContainer"]["others"]) == (0, 1)
    assert found["StopContainer"]["median"] == 0.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9])
def test_no_duration_is_too_odd(seconds):
    measured = Latencies()
    measured.add("Version", seconds)
    (found,) = merged([measured.plain()])
    assert found["answered"] == 1
    assert len(found["buckets"]) == 1 <= BUCKETS
