# SPDX-License-Identifier: Apache-2.0
"""Processes below one, whatever else the host runs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from cri_conformance.reference import procfs


@pytest.mark.parametrize("walk", [True, False])
def test_descendants_are_those_that_the_whole_table_has(
    monkeypatch: pytest.MonkeyPatch, walk: bool
) -> None:
    children: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        children.append(
            subprocess.Popen(
                ["sh", "-c", "sleep 60 & echo; wait"], start_new_session=True, stdout=-1
            )
        )

    # Each thread of a process has children of its own.
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    start()
    try:
        for child in children:
            assert child.stdout
            child.stdout.readline()
        if not walk:
            monkeypatch.setattr(Path, "exists", lambda path: False)
        found = procfs.descendants(os.getpid())
        assert {child.pid for child in children} < found.keys()
        whole = procfs.below(procfs.table(), {os.getpid()})
        assert found.keys() == whole.keys() - {os.getpid()}
        assert procfs.descendants(2**22 + 1) == {}
    finally:
        for child in children:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
