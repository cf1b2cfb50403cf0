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
WITHOUT = ("-p", "no:cri_conformance")
GROUP = "plugin in a pytest run that does not use it"


def plugin(*, rounds: int) -> list[Figure]:
    """A pytest run on one empty test with the plugin and without, in turns, and its import."""
    say("pytest with and without the plugin")
    with tempfile.TemporaryDirectory(prefix="cri-bench-") as folder:
        test = Path(folder) / "test_empty.py"
        test.write_text("def test_nothing():\n    pass\n", encoding="utf-8")
        for options in ((), WITHOUT):
            _run(folder, options)
        walls: dict[tuple[str, ...], list[float]] = {(): [], WITHOUT: []}
        cpus: dict[tuple[str, ...], list[float]] = {(): [], WITHOUT: []}
        for turn in range(rounds):
            for options in ((), WITHOUT) if turn % 2 else (WITHOUT, ()):
                wall, cpu = _run(folder, options)
                walls[options].append(wall * 1000)
                cpus[options].append(cpu * 1000)
        imports = [_import_time(folder) for _ in range(max(3, rounds // 2))]
    return [
        Figure(GROUP, "import, as -X importtime tells", "ms", imports, IMPORT_GOAL),
        Figure(GROUP, "pytest without it, wall", "ms", walls[WITHOUT]),
        Figure(GROUP, "more with it, wall, in pairs", "ms", _paired(walls)),
        Figure(GROUP, "more with it, CPU, in pairs", "ms", _paired(cpus), IMPORT_GOAL),
    ]


def _paired(by_options: dict[tuple[str, ...], list[float]]) -> list[float]:
    pairs = zip(by_options[()], by_options[WITHOUT], strict=True)
    return [more - less for more, less in pairs]


def _run(folder: str, options: tuple[str, ...]) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "."]
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system
    return wall, cpu - before.children_user - before.children_system


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
