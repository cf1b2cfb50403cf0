# SPDX-License-Identifier: Apache-2.0
"""Compiles native/helper.c when a wheel is built, for as many machines as can be had.

With the ``ziglang`` package in the build environment for all of them, else with the host's ``cc``
for the host's own. Without either the wheel is built without: no build fails or fetches anything
for want of a compiler.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: OCI's name of an architecture → what uname calls it, which is what zig calls it too.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
FOLDER = "cri_conformance/build/native"
FLAGS = (
    *("-static", "-nostdlib", "-ffreestanding", "-Os", "-s"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fno-pie", "-no-pie"),
)
#: Seconds; each takes less than one.
WITHIN = 60


class CustomBuildHook(BuildHookInterface[Any]):
    """hatchling looks for it by its base class."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = Path(self.root, FOLDER)
        for architecture, machine in MACHINES.items():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                made = compile_for(machine, Path(self.root, "native", "helper.c"))
                place = folder / f"helper-{architecture}"
                # One that an earlier build left may be of another source.
                place.unlink(missing_ok=True)
                if made:
                    _put(place, made)
            except OSError as error:
                self.app.display_warning(f"no helper for {architecture}: {error}")


def compile_for(machine: str, source: Path) -> bytes:
    """The program, or nothing where no compiler for this machine is at hand."""
    with tempfile.TemporaryDirectory(prefix="helper-") as folder:
        for command in _compilers(machine):
            made = Path(folder, "helper")
            words = [*command, *FLAGS, "-o", str(made), str(source)]
            # zig's own cache goes with the folder.
            variables = {
                **os.environ,
                "ZIG_GLOBAL_CACHE_DIR": folder,
                "ZIG_LOCAL_CACHE_DIR": folder,
            }
            try:
                done = subprocess.run(
                    words, env=variables, capture_output=True, timeout=WITHIN, check=False
                )
            except (OSError, subprocess.TimeoutExpired):
                continue
            if done.returncode == 0 and made.exists():
                return made.read_bytes()
    return b""


def _compilers(machine: str) -> list[list[str]]:
    found = []
    if importlib.util.find_spec("ziglang"):
        found.append([sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-none"])
    if sys.platform == "linux" and platform.machine() == machine:
        found.append(["cc"])
    return found


def _put(place: Path, program: bytes) -> None:
    """Under its name only when it is whole: somebody may be running the one before."""
    partial = place.with_name(f"{place.name}.{os.getpid()}")
    partial.write_bytes(program)
    partial.chmod(0o755)
    partial.replace(place)
