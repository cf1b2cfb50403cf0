# SPDX-License-Identifier: Apache-2.0
"""How long it takes to judge a runtime, and how long critest takes, in one run.

Beside critest the suite is measured twice: as a whole, and with the clauses alone that judge what
critest looks at, as ``critest.tsv`` has them.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from samples import Figure, Goal, say

from cri_conformance.wire import endpoint

ONE_PROCESS_GOAL = Goal("<=", 60.0)
#: What each spec of critest looks at, with our clauses for it; tests/test_critest_table.py has it.
SPECS = Path(__file__).with_name("critest.tsv")
#: Verdicts that stand for an assertion which ran.
JUDGED = ("held", "broken", "known", "warned")


def walls(
    name: str, options: list[str], *, repeat: int, workers: int, critest: str
) -> list[Figure]:
    """The suite in one process and in several, beside critest if it is there."""
    runs: dict[str, list[float]] = defaultdict(list)
    notes: dict[str, str] = {}
    verdicts: list[dict[str, str]] = []
    asserted: dict[str, int] = {}
    peaks: list[float] = []

    def suite(who: str, more: list[str], processes: int) -> tuple[float, dict[str, Any]]:
        say(f"{who} on {name}")
        wall, peak, results = _suite(name, [*options, *more], processes)
        runs[who].append(wall)
        summary: dict[str, int] = results["summary"]
        notes[who] = ", ".join(f"{n} {verdict}" for verdict, n in summary.items() if n)
        asserted[who] = sum(summary[verdict] for verdict in JUDGED)
        return peak, results

    for _ in range(repeat):
        for processes in (1, workers):
            peak, results = suite(_suite_name(processes), [], processes)
            verdicts.append({clause["id"]: clause["verdict"] for clause in results["clauses"]})
            if processes == 1:
                peaks.append(peak)
        if critest and name != endpoint.REFERENCE:
            for processes in (1, workers):
                suite(_part_name(processes), [f"--cri-clause={_clauses_of_critest()}"], processes)
                who = _critest_name(processes)
                if processes > 1 and not shutil.which("ginkgo", path=_path(critest)):
                    notes[who] = "left out: no ginkgo beside critest or in PATH"
                    continue
                say(f"{who} on {name}")
                wall, asserted[who], notes[who] = _critest(critest, name, processes)
                runs[who].append(wall)
    group = f"wall time of judging {name}"
    figures = []
    for who, taken in runs.items():
        goal = ONE_PROCESS_GOAL if (name, who) == (endpoint.REFERENCE, _suite_name(1)) else None
        figures.append(Figure(group, who, "s", taken, goal, notes[who]))
        each = [seconds / asserted[who] for seconds in taken if asserted[who]]
        if each:
            what = "clause judged" if who.startswith("suite") else "spec run"
            figures.append(Figure(group, f"{who}, per {what}", "s", each))
    for processes in (1, workers):
        if theirs := runs.get(_critest_name(processes)):
            for who in (_suite_name(processes), _part_name(processes)):
                ratios = [a / b for a, b in zip(runs[who], theirs, strict=True)]
                figures.append(Figure(group, f"{who} / critest", "", ratios))
    differing = {
        clause
        for seen in verdicts
        for clause in seen
        if any(other.get(clause) != seen[clause] for other in verdicts)
    }
    note = f"of {len(verdicts)} runs: {', '.join(sorted(differing)[:3]) or 'all the same'}"
    figures += [
        Figure(group, "clauses with differing verdicts", "", [len(differing)], Goal("<=", 0), note),
        Figure(group, "most memory of the one process", "MiB", peaks),
    ]
    return figures


def _processes(number: int) -> str:
    return "one process" if number == 1 else f"{number} processes"


def _suite_name(processes: int) -> str:
    return f"suite, {_processes(processes)}"


def _part_name(processes: int) -> str:
    return f"suite of critest's promises, {_processes(processes)}"


def _critest_name(processes: int) -> str:
    return f"critest, {_processes(processes)}"


def _clauses_of_critest() -> str:
    """As --cri-clause takes them."""
    with SPECS.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return ",".join(dict.fromkeys(name for row in rows for name in row["clauses"].split()))


def _suite(name: str, options: list[str], processes: int) -> tuple[float, float, dict[str, Any]]:
    """Seconds, MiB, and results.json of one run."""
    with tempfile.TemporaryDirectory(prefix="cri-bench-") as folder:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["--cri-endpoint", name, *options, "--cri-report", f"{folder}/report"]
        if processes > 1:
            command += ["-n", str(processes)]
        output = Path(folder) / "output"
        with output.open("wb") as file:
            start = time.perf_counter()
            child = subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
            # Its own memory, not the largest of all children so far.
            _, status, usage = os.wait4(child.pid, 0)
            wall = time.perf_counter() - start
            child.returncode = os.waitstatus_to_exitcode(status)
        results = Path(folder) / "report" / "results.json"
        if not results.exists():
            raise SystemExit(f"{' '.join(command)}:\n{output.read_text(errors='replace')[-2000:]}")
        loaded: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
    return wall, usage.ru_maxrss / 1024, loaded


def _path(critest: str) -> str:
    """PATH, led by the folder of critest: it runs ginkgo for several processes."""
    return f"{Path(critest).resolve().parent}{os.pathsep}{os.environ.get('PATH', '')}"


def _critest(critest: str, name: str, processes: int) -> tuple[float, int, str]:
    """Seconds, specs run, and what came of them."""
    address = f"unix://{name}" if name.startswith("/") else name
    command = [critest, f"-runtime-endpoint={address}", f"-image-endpoint={address}"]
    if processes > 1:
        command.append(f"-parallel={processes}")
    with tempfile.TemporaryDirectory(prefix="cri-bench-") as folder:
        start = time.perf_counter()
        said = subprocess.run(
            [*command, "-ginkgo.no-color"],
            cwd=folder,
            env={**os.environ, "PATH": _path(critest)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ).stdout
        wall = time.perf_counter() - start
    ran = re.search(r"Ran (\d+) of (\d+) Specs", said)
    if not ran:
        raise SystemExit(f"{' '.join(command)} ran no specs:\n{said[-2000:]}")
    counts = re.search(r"(\d+) Passed \| (\d+) Failed", said)
    note = f"{counts[1]} passed, {counts[2]} failed" if counts else ""
    return wall, int(ran[1]), f"{ran[0].lower()}: {note}"
