# SPDX-License-Identifier: Apache-2.0
"""The command ``cri-conformance benchmark``: measure a runtime, or compare two results.

A command and no option of a judging run: a benchmark judges no clause, wants the machine for
itself and no test framework around its calls, and its result has a document of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cri_conformance
from cri_conformance.arguments import Parser, from_none, from_one, share
from cri_conformance.benchmark import compare, document, measure, words
from cri_conformance.benchmark.scenarios import SCENARIOS, Bench
from cri_conformance.pulling import RegistryError, open_registry
from cri_conformance.report.environment import environment
from cri_conformance.settings import DEFAULT_TIMEOUT, Settings
from cri_conformance.target import Preparation, TargetError, connect
from cri_conformance.wire import endpoint
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed

PROGRAM = "cri-conformance benchmark"


def main(words_given: Sequence[str]) -> int:
    """Returns 0; 1 if a comparison found something slower; 2 for what can't be done."""
    words_given = list(words_given)
    try:
        if words_given[:1] == ["compare"]:
            return _compare(_compare_parser().parse_args(words_given[1:]))
        return _measure(_parser().parse_args(words_given), words_given)
    except (
        document.BenchmarkError,
        endpoint.EndpointError,
        RegistryError,
        TargetError,
        RuntimeGone,
        SetupFailed,
    ) as error:
        return _refuse(str(error))
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{what}{error.strerror or error}")


def _refuse(why: str) -> int:
    print(f"cri-conformance: {why}", file=sys.stderr)
    return 2


def _measure(options: argparse.Namespace, given: Sequence[str]) -> int:
    started, load = time.time(), os.getloadavg()[0]
    try:
        # Before minutes are spent on what can't be written.
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        told = f"--out: {options.out} can't be made: {error.strerror}"
        raise document.BenchmarkError(told) from None
    settings = Settings(
        endpoint=_endpoint(options.cri_endpoint),
        image_endpoint=options.cri_image_endpoint,
        handler=options.cri_runtime_handler,
        timeout=DEFAULT_TIMEOUT * 6,
        test_image=options.cri_test_image,
        image_loader=options.cri_image_loader,
    )
    chosen = list(dict.fromkeys(options.only))
    with _prepared(settings) as bench:
        facts = bench.target.facts
        print(
            f"{facts.runtime_name} {facts.runtime_version} at {settings.endpoint}", file=sys.stderr
        )
        if bench.registry is None and "image" in chosen:
            print("the runtime does not pull from here: image is left out", file=sys.stderr)
            chosen.remove("image")
        found = measure.rounds(
            bench,
            chosen,
            dict.fromkeys((1, options.workers)),
            iterations=options.iterations,
            warmup=options.warmup,
            times=options.rounds,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    made = document.Document(
        kind=document.KIND,
        schema_version=document.SCHEMA_VERSION,
        about=document.About(
            version=cri_conformance.__version__,
            command=shlex.join([*PROGRAM.split(), *given]),
            started=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            seconds=round(time.time() - started, 3),
            endpoint=settings.endpoint,
            runtime_name=facts.runtime_name,
            runtime_version=facts.runtime_version,
            handler=facts.handler,
            load_before=round(load, 2),
            load_after=round(os.getloadavg()[0], 2),
            iterations=options.iterations,
            warmup=options.warmup,
            rounds=options.rounds,
            workers=options.workers,
            confidence=options.confidence,
        ),
        environment=environment(),
        latencies=measure.latencies(found, options.confidence),
        throughputs=measure.throughputs(found, options.confidence),
    )
    document.write(made, options.out / "benchmark.json")
    _page(made, options.out / "benchmark.html")
    print("\n".join(words.result(made)))
    print(f"\nwritten: {options.out / 'benchmark.json'}, {options.out / 'benchmark.html'}")
    return 0


def _page(made: document.Document, path: Path, old: document.Document | None = None) -> None:
    # The template engine is not light, and a comparison without a page has no use for it.
    from cri_conformance.benchmark import page

    page.write(made, path, old)


def _compare(options: argparse.Namespace) -> int:
    old, new = document.read(options.old), document.read(options.new)
    found = compare.compare(old, new, options.threshold)
    if not found:
        raise document.BenchmarkError("the two have measured nothing in common")
    for caution in compare.cautions(old, new):
        print(f"caution: {caution}")
    print("\n".join(words.changes(found)))
    if options.html:
        _page(new, options.html, old)
    return 1 if any(one.verdict == "slower" for one in found) else 0


@contextlib.contextmanager
def _prepared(settings: Settings) -> Iterator[Bench]:
    with Preparation(settings, pulls=True) as preparation, contextlib.ExitStack() as undo:
        target = connect(settings, preparation.facts)
        undo.callback(preparation.clean)
        undo.callback(target.client.close)
        registry = None if preparation.facts.no_pulls else open_registry(settings)
        if registry:
            undo.callback(registry.close)
        yield Bench(target, registry)


def _endpoint(name: str) -> str:
    if name == endpoint.AUTO:
        return endpoint.from_crictl()[0]
    if name != endpoint.REFERENCE:
        endpoint.parse(name)
    return name


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description="How fast a runtime is. To compare two results: "
        f"{PROGRAM} compare OLD.json NEW.json",
    )
    parser.add_argument("--cri-endpoint", required=True, metavar="ENDPOINT", help="the runtime")
    parser.add_argument("--cri-image-endpoint", default="", metavar="ENDPOINT")
    parser.add_argument("--cri-runtime-handler", default="", metavar="NAME")
    parser.add_argument("--cri-test-image", default="", metavar="REF", help="one that it has")
    parser.add_argument("--cri-image-loader", default="", metavar="COMMAND")
    parser.add_argument(
        "--only",
        type=_scenarios,
        default=list(SCENARIOS),
        metavar="NAMES",
        help=f"some of {','.join(SCENARIOS)} (default: all)",
    )
    parser.add_argument("--rounds", type=from_one, default=5, help="of everything (default: 5)")
    parser.add_argument("--iterations", type=from_one, default=12, help="a round (default: 12)")
    parser.add_argument("--warmup", type=from_none, default=2, help="each worker's (default: 2)")
    parser.add_argument("--workers", type=from_one, default=4, help="in parallel (default: 4)")
    parser.add_argument("--confidence", type=share, default=0.95, help="(default: 0.95)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("reports/benchmark"),
        metavar="DIR",
        help="for benchmark.json and benchmark.html (default: reports/benchmark)",
    )
    return parser


def _compare_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{PROGRAM} compare", description="What became slower or faster; 1 if slower."
    )
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument(
        "--threshold",
        type=float,
        default=compare.THRESHOLD,
        help="what is not worth a word (default: 0.1, a tenth)",
    )
    parser.add_argument("--html", type=Path, metavar="PATH", help="a page with both")
    return parser


def _scenarios(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - SCENARIOS.keys():
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(SCENARIOS)}")
    return chosen
