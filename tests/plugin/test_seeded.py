# SPDX-License-Identifier: Apache-2.0
"""The red run of docs/faults.md: that it goes as it is told there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import IMAGE, ROOT, Place, Served, command, stop

PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")


def _of_page(pattern: str) -> str:
    found = re.search(pattern, PAGE)
    assert found is not None, pattern
    return found[1]


@pytest.mark.timeout(300)
def test_the_red_run_of_the_page(place: Place, served: Served, short: Callable[[], Path]) -> None:
    fault, clauses = _of_page(r"--fault (\S+) &"), _of_page(r"\n  --cri-clause='(.*)'\n")
    broken = f"unix://{short()}/broken.sock"
    proxy = command("fault", "--upstream", served.url, "--fault", fault, "--listen", broken)
    assert proxy.stdout is not None
    proxy.stdout.readline()
    try:
        red = place.run(
            f"--cri-endpoint={broken}", f"--cri-test-image={IMAGE}", f"--cri-clause={clauses}"
        )
        assert red.status == 1, red.output
        assert red.line(f"^{_of_page('`(the contract is broken in [0-9] clauses)`')}$")
        _, *again = shlex.split(red.line(r"^ +pytest .*--cri-report=reports/replay"))
        replayed = place.run(*again)
        assert replayed.status == 1, replayed.output
        assert replayed.line("^the contract is broken in 1 clause$")
        healthy = [word.replace(broken, served.url) for word in again]
        assert place.run(*healthy).status == 0
    finally:
        stop(proxy)
