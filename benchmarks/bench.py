#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast the suite is. Ratios of one run on one machine, medians of several samples.

    python benchmarks/bench.py                          # the embedded reference runtime, all of it
    python benchmarks/bench.py --only client --endpoint unix:///run/containerd/containerd.sock
    python benchmarks/bench.py --only suite --endpoint unix:///… --critest /usr/local/bin/critest

A script and no test: goals are told and not enforced, as other load on the machine decides, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from importlib.metadata import version

import costs
import rates
import walls
from samples import Figure, table

from cri_conformance.target import TargetError
from cri_conformance.wire import endpoint

PARTS = {
    "client": "calls per second of the suite's client against bare grpcio",
    "broken": "broken messages per second against bare grpcio",
    "generated": "generated requests per second, with their oracles, against bare grpcio",
    "lives": "steps per second of sequences, with all that is judged after each",
    "reference": "start and rate of the reference runtime against a bare grpcio server",
    "plugin": "what the plugin costs a pytest run that does not use it",
    "suite": "wall time of the suite, and of critest if there is one, beside what judges the same",
}


def main() -> int:
    """Returns the exit code: 0 whatever the figures are, 4 if there is no runtime."""
    options = _options()
    load = os.getloadavg()
    try:
        figures = _measure(options)
    except TargetError as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 4
    about = {
        "endpoint": options.endpoint,
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load_before": [round(value, 2) for value in load],
        "load_after": [round(value, 2) for value in os.getloadavg()],
    }
    if options.json:
        print(json.dumps({**about, "figures": [one.plain() for one in figures]}, indent=1))
        return 0
    print("\n".join(table(figures)).lstrip("\n"))
    print("\n" + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items()))
    return 0


def _measure(options: argparse.Namespace) -> list[Figure]:
    figures: list[Figure] = []
    if "client" in options.only:
        with rates.prepared(options.endpoint, options.test_image, options.image_loader) as target:
            figures += rates.client(target, rounds=options.rounds, calls=options.calls)
    if "broken" in options.only:
        with rates.prepared(options.endpoint, options.test_image, options.image_loader) as target:
            figures += rates.broken(target, rounds=options.rounds, calls=options.calls)
    if "generated" in options.only:
        with rates.prepared(options.endpoint, options.test_image, options.image_loader) as target:
            figures += rates.generated(target, rounds=options.rounds, calls=options.calls)
    if "lives" in options.only:
        with rates.prepared(options.endpoint, options.test_image, options.image_loader) as target:
            figures += rates.lives(target, rounds=options.rounds, steps=options.calls // 2)
    if "reference" in options.only:
        figures += rates.reference(rounds=options.rounds, calls=options.calls)
    if "plugin" in options.only:
        figures += costs.plugin(rounds=options.rounds * 2)
    if "suite" in options.only:
        more = []
        if options.test_image:
            more += ["--cri-test-image", options.test_image]
        if options.image_loader:
            more += ["--cri-image-loader", options.image_loader]
        figures += walls.walls(
            options.endpoint,
            more,
            repeat=options.repeat,
            workers=options.workers,
            critest=options.critest or shutil.which("critest") or "",
        )
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="How fast the suite is: "
        + "; ".join(f"{part}: {what}" for part, what in PARTS.items()),
    )
    parser.add_argument(
        "--endpoint",
        default=endpoint.REFERENCE,
        help="the runtime for client and suite, as for --cri-endpoint (default: reference)",
    )
    parser.add_argument("--test-image", default="", metavar="REF", help="as --cri-test-image")
    parser.add_argument("--image-loader", default="", metavar="COMMAND", help="as that option")
    parser.add_argument(
        "--only",
        type=_parts,
        default=list(PARTS),
        metavar="PARTS",
        help=f"some of {','.join(PARTS)} (default: all)",
    )
    parser.add_argument("--rounds", type=_positive, default=7, help="samples (default: 7)")
    parser.add_argument("--calls", type=_positive, default=1000, help="a sample (default: 1000)")
    parser.add_argument("--repeat", type=_positive, default=1, help="runs of suite (default: 1)")
    parser.add_argument("--workers", type=_positive, default=4, help="in parallel (default: 4)")
    parser.add_argument(
        "--critest", default="", metavar="PATH", help="critest (default: the one in PATH, if any)"
    )
    parser.add_argument("--json", action="store_true", help="a JSON document with all samples")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _parts(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - PARTS.keys():
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(PARTS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
