# SPDX-License-Identifier: Apache-2.0
"""What the plugin costs those who have it installed and don't use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from samples import Figure, Goal, say

IMPORT_GOAL = Goal("<=", 10.0)
GROUP = "plugin in a pytest run that does not use it"

#: pytest without the plugin, with it, and with that of Hypothesis, on which we depend. The latter
#: imports all of Hypothesis at the end of every run: in the first two it would drown our own cost.
_OURS, _HYPOTHESIS = "no:cri_conformance", "no:hypothesispytest"
SIDES = {
    "without": ("-p", _OURS, "-p", _HYPOTHESIS),
    "with": ("-p", _HYPOTHESIS),
    "hypothesis": ("-p", _OURS),
}


def plugin(*, rounds: int) -> list[Figure]:
    """A pytest run on one empty test with the plugin and without, in turns, and its import."""
    say("pytest with and without the plugin")
    walls: dict[str, list[float]] = {side: [] for side in SIDES}
    cpus: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory(prefix="cri-bench-") as folder:
        test = Path(folder) / "test_empty.py"
        test.write_text("def test_nothing():\n    pass\n", encoding="utf-8")
        for side in SIDES:
            _run(folder, side)
        for turn in range(rounds):
            for side in list(SIDES)[:: 1 if turn % 2 else -1]:
                wall, cpu = _run(folder, side)
                walls[side].append(wall * 1000)
                cpus[side].append(cpu * 1000)
        imports = [_import_time(folder) for _ in range(max(3, rounds // 2))]
    return [
        Figure(GROUP, "import, as -X importtime tells", "ms", imports, IMPORT_GOAL),
        Figure(GROUP, "pytest without it, wall", "ms", walls["without"]),
        Figure(GROUP, "more with it, wall, in pairs", "ms", _more(walls, "with")),
        Figure(GROUP, "more with it, CPU, in pairs", "ms", _more(cpus, "with"), IMPORT_GOAL),
        Figure(GROUP, "more with Hypothesis's plugin, CPU", "ms", _more(cpus, "hypothesis")),
    ]


def _more(spent: dict[str, list[float]], side: str) -> list[float]:
    return [more - less for more, less in zip(spent[side], spent["without"], strict=True)]


def _run(folder: str, side: str) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SIDES[side], "."]
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{' '.join(command)} failed"
    return wall, usage.ru_utime + usage.ru_stime


def _import_time(folder: str) -> float:
    """Milliseconds that the plugin's import takes once pytest is there."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import pytest, cri_conformance.plugin"],
        cwd=folder,
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    ).stderr
    lines = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \| +(\S+)$", told, re.MULTILINE)
    last = [name for _, name in lines].index("pytest")
    return sum(int(microseconds) for microseconds, _ in lines[last + 1 :]) / 1000
