# SPDX-License-Identifier: Apache-2.0
"""How soon campaigns find the faults of kills.tsv, over three seeds, as tables in Markdown.

    python benchmarks/kills.py [--seconds 120] [--seeds 0,1,2] [--jobs 2] [--write docs/kills.md]
        [MODE…] [--fault PATTERN]

Runs on the reference runtime, two faults at a time. A fault is killed when a finding names the
clause that it is seeded for, or is what it does where that is no matter of clauses: a crash, a
leak. Ends with 1 if one survived. kills.tsv names the faults that a mode of campaigns looks for:
others are the suite's alone to find, which its matrix shows.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import kills_by_campaigns
import kills_by_messages

from cri_conformance.faults.catalogue import faults
from cri_conformance.faults.fault import Fault

#: (fault, seed, seconds) → when it was found, "" for never.
Killed = Callable[[Fault, int, float], str]


@dataclass(frozen=True)
class Kind:
    """A table. ``counts`` is what a figure counts."""

    title: str
    counts: str
    killed: Killed


KINDS = {
    "restarts": Kind(
        "`lives`, with a restart command, which here cuts all connections",
        "sequences / steps",
        partial(kills_by_campaigns.killed, mode="lives", restarts=True),
    ),
    "lives": Kind("`lives`", "sequences / steps", partial(kills_by_campaigns.killed, mode="lives")),
    "histories": Kind(
        "`histories`", "histories / steps", partial(kills_by_campaigns.killed, mode="histories")
    ),
    "messages": Kind(
        "`messages`", "turns / requests", partial(kills_by_campaigns.killed, mode="messages")
    ),
    "images": Kind(
        "`images`", "sequences / steps", partial(kills_by_campaigns.killed, mode="images")
    ),
    "wire": Kind("`wire`", "messages; of `crash-on-flood` attacks", kills_by_messages.killed),
}
_LIST = Path(__file__).with_suffix(".tsv")


def listed() -> list[tuple[str, str]]:
    """Kind and fault of each line."""
    with _LIST.open(encoding="utf-8", newline="") as file:
        return [(kind, fault) for kind, fault in csv.reader(file, delimiter="\t")][1:]


def _one(kind: str, fault: str, seed: int, seconds: float) -> str:
    return KINDS[kind].killed(faults()[fault], seed, seconds)


def main() -> int:
    """Returns the exit code: 1 if one survived."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120.0, help="how long one is looked for")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    parser.add_argument("--write", type=Path, help="a file for the tables")
    parser.add_argument("--fault", default="*", metavar="PATTERN")
    parser.add_argument("modes", nargs="*", metavar="MODE", help=f"of {', '.join(KINDS)}")
    options = parser.parse_args()
    if unknown := set(options.modes) - set(KINDS):
        parser.error(f"no such mode: {', '.join(unknown)}")
    seeds = [int(seed) for seed in options.seeds.split(",")]
    wanted = [
        (kind, fault)
        for kind, fault in listed()
        if (not options.modes or kind in options.modes) and fnmatch.fnmatch(fault, options.fault)
    ]
    began, told = time.monotonic(), dict[tuple[str, str], list[str]]()
    # Each from the start: what a process held of the fault before must not count.
    with ProcessPoolExecutor(
        options.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        running = {
            (kind, fault, seed): pool.submit(_one, kind, fault, seed, options.seconds)
            for kind, fault in wanted
            for seed in seeds
        }
        for kind, fault in wanted:
            found = [running[kind, fault, seed].result() or "survived" for seed in seeds]
            told[kind, fault] = found
            print(f"{kind:10} {fault}: {', '.join(found)}", file=sys.stderr, flush=True)
    survived = sum(found.count("survived") for found in told.values())
    minutes = (time.monotonic() - began) / 60
    summary = (
        f"{len(told)} faults with {len(seeds)} seeds, {survived} survived {options.seconds:g} s; "
        f"{minutes:.0f} minutes, {options.jobs} at a time on {os.cpu_count()} cores, "
        f"load average {os.getloadavg()[2]:.1f} at the end."
    )
    page = "\n".join([*_page(told, seeds), summary, ""])
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    else:
        print(page)
    return 1 if survived else 0


def _page(told: dict[tuple[str, str], list[str]], seeds: Sequence[int]) -> Iterator[str]:
    yield "# How soon campaigns find seeded faults\n"
    yield "Made by `python benchmarks/kills.py --write docs/kills.md`: what a campaign on the"
    yield "reference runtime needs until it names the clause that the fault is seeded for.\n"
    for kind, table in KINDS.items():
        rows = [(fault, found) for (of, fault), found in told.items() if of == kind]
        if rows:
            yield f"## {table.title}\n"
            yield f"| fault: {table.counts} | {' | '.join(f'seed {seed}' for seed in seeds)} |"
            yield "|---" * (len(seeds) + 1) + "|"
            yield from (f"| `{fault}` | {' | '.join(found)} |" for fault, found in rows)
            yield ""


if __name__ == "__main__":
    sys.exit(main())
