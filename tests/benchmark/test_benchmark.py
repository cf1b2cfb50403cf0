# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: figures that can be trusted, comparisons that don't cry wolf, and a run."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import get_type_hints

import pytest

from cri_conformance import cli
from cri_conformance.benchmark import compare, document, figures, measure, page, scenarios
from cri_conformance.wire.outcome import SetupFailed
from tests.report.test_html import HOSTILE, Page

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def samples(seed: int, typical: float = 0.05, count: int = 60) -> list[float]:
    rng = random.Random(seed)
    return [typical * rng.lognormvariate(0, 0.3) for _ in range(count)]


def made(seed: int, typical: float = 0.05, **about: object) -> document.Document:
    found = measure.Found("sandbox", 1, {"RunPodSandbox": samples(seed, typical)}, [3.0, 4.0])
    return document.Document(
        kind=document.KIND,
        schema_version=document.SCHEMA_VERSION,
        about={  # type: ignore[typeddict-item]
            **dict.fromkeys(get_type_hints(document.About), "x"),
            "load_before": 0.1,
            "load_after": 0.2,
            "confidence": 0.95,
            **about,
        },
        environment={"hostname": "h", "kernel": "k", "cpus": 2},  # type: ignore[typeddict-item]
        latencies=measure.latencies([found], 0.95),
        throughputs=measure.throughputs([found], 0.95),
    )


def test_quantiles():
    assert figures.quantile([3, 1, 2], 0.5) == 2
    assert figures.quantile(range(1, 101), 0.99) == 99
    assert figures.quantile([7], 0.99) == 7


def test_an_interval_holds_what_it_says_about_as_often_as_it_says():
    hit = 0
    for seed in range(40):
        low, high = figures.interval(samples(seed, count=40), 0.5, 0.95)
        hit += low <= 0.05 <= high
    assert hit >= 34


def test_a_comparison_sees_a_third_more_and_nothing_in_the_same():
    (slower,) = compare.compare(made(1), made(2, 0.07))
    assert slower.verdict == "slower"
    assert slower.low < 1.4 < slower.high
    (faster,) = compare.compare(made(1, 0.07), made(2, 0.045))
    assert faster.verdict == "faster"
    verdicts = [compare.compare(made(n), made(n + 100))[0].verdict for n in range(20)]
    assert set(verdicts) <= {"same", "unclear"}


def test_a_comparison_says_what_is_odd_about_it():
    other = made(2, load_after=9.0)
    other["environment"]["hostname"] = "elsewhere"
    told = list(compare.cautions(made(1), other))
    assert told == [
        "another machine: h and elsewhere",
        "the new one was measured at a load of 9.0 on 2 processors",
    ]


def test_the_command_compares(tmp_path, capsys):
    for name, one in (("old", made(1)), ("new", made(2, 0.09))):
        document.write(one, tmp_path / f"{name}.json")
    old, new = str(tmp_path / "old.json"), str(tmp_path / "new.json")
    assert cli.main(["benchmark", "compare", old, old]) == 0
    assert cli.main(["benchmark", "compare", old, new, "--html", str(tmp_path / "x.html")]) == 1
    assert "| slower | sandbox: RunPodSandbox, serial" in capsys.readouterr().out
    assert "slower" in (tmp_path / "x.html").read_text(encoding="utf-8")
    (tmp_path / "new.json").write_text('{"kind": "else"}', encoding="utf-8")
    assert cli.main(["benchmark", "compare", old, new]) == 2
    assert "no result of" in capsys.readouterr().err


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text):
    one = made(1, runtime_name=text, endpoint=text)
    one["throughputs"][0] |= {"failed": 1, "message": text}
    read, plain = Page(page.render(one, one)), Page(page.render(made(1), made(1)))
    assert read.tags == plain.tags
    assert "script" not in read.tags


def test_failed_iterations_are_counted_and_not_timed():
    @contextlib.contextmanager
    def fails_every_other(_bench, count):
        def good(lap):
            lap("step", lambda: None)

        def bad(_lap):
            raise SetupFailed("no such thing")

        yield [good, bad] * (count // 2)

    into = measure.Found("x", 2)
    measure._round(None, fails_every_other, into, 4, 2)  # type: ignore[arg-type]
    assert (into.failed, into.message) == (4, "no such thing")
    assert len(into.steps["step"]) == len(into.steps[""]) == 4
    assert len(into.rates) == 1


def test_a_scenario_that_can_not_begin_ends_the_run():
    @contextlib.contextmanager
    def never(_bench, _count):
        raise SetupFailed("no sandbox")
        yield []

    with pytest.raises(SetupFailed, match="no sandbox"):
        measure._round(None, never, measure.Found("x", 3), 4, 2)  # type: ignore[arg-type]


def test_a_run_on_the_reference_runtime(tmp_path):
    words = ["--rounds=1", "--iterations=2", "--warmup=0", "--workers=2", f"--out={tmp_path}"]
    assert cli.main(["benchmark", "--cri-endpoint=reference", *words]) == 0
    found = document.read(tmp_path / "benchmark.json")
    assert {one["scenario"] for one in found["throughputs"]} == set(scenarios.SCENARIOS)
    assert {one["workers"] for one in found["throughputs"]} == {1, 2}
    assert not [one for one in found["throughputs"] if one["failed"]]
    steps = {one["step"] for one in found["latencies"]}
    assert {"RunPodSandbox", "ExecSync", "PullImage", "until it runs", ""} <= steps
    Page((tmp_path / "benchmark.html").read_text(encoding="utf-8"))


def test_where_nothing_can_be_written_nothing_is_measured(tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert cli.main(["benchmark", "--cri-endpoint", "unix:///nowhere", "--out", str(out)]) == 2
    assert f"--out: {out} can't be made" in capsys.readouterr().err


def test_the_document_is_described_key_by_key():
    text = DOCUMENT.read_text(encoding="utf-8")
    kinds = (document.Document, document.About, document.Latency, document.Throughput)
    keys = {key for kind in kinds for key in get_type_hints(kind)}
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]
    assert not [name for name in scenarios.SCENARIOS if f"`{name}`" not in text]
    assert json.loads(json.dumps(made(1)))["kind"] in text
