# SPDX-License-Identifier: Apache-2.0
"""Whose an object is, and whether its owner still lives."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from cri_conformance.wire.identity import OWNER_LABEL, RUN_LABEL, Run, owner_alive, owner_of, whose


def test_labels_are_values_that_kubernetes_admits() -> None:
    labels = Run.new().labels()
    assert labels.keys() == {RUN_LABEL, OWNER_LABEL}
    for value in labels.values():
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", value)


def test_this_process_is_alive_and_one_that_ended_is_not() -> None:
    assert owner_alive(owner_of(os.getpid()))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owner_of(child.pid)
    assert owner_alive(owner)
    child.communicate(b"\n")
    assert not owner_alive(owner)


def test_a_pid_that_came_round_again_is_another_process() -> None:
    host, pid, started = owner_of(os.getpid()).rsplit(".", 2)
    assert not owner_alive(f"{host}.{pid}.{int(started) - 1}")


def test_another_host_cannot_be_looked_at_so_its_run_counts_as_alive() -> None:
    assert owner_alive("another-host.1.1")


@pytest.mark.parametrize("owner", ["", "nonsense", "host.x.y"])
def test_what_names_no_process_is_nobody(owner: str) -> None:
    assert not owner_alive(owner)


def test_an_owner_is_told_in_words() -> None:
    assert whose(owner_of(os.getpid())) == f"process {os.getpid()}"
    assert whose("another-host.17.1") == "process 17 of another-host, if it is still there"
