# SPDX-License-Identifier: Apache-2.0
"""The container that does what it is told: no order is refused or lost, however quickly they come.

Its shell runs here without a container, and the orders are written more quickly than any
runtime can: so they meet it in every moment of its loop.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from cri_conformance.suite.sessions import PUPPET
from cri_conformance.wire.runtime import poll

_ORDERS = 1000


def test_every_order_is_taken(tmp_path: Path) -> None:
    with (
        (tmp_path / "said").open("wb") as said,
        subprocess.Popen(["/bin/sh", "-c", PUPPET], cwd=tmp_path, stdout=said) as puppet,
    ):
        try:
            poll((tmp_path / "ready").exists, bool, 10.0, "the puppet to be ready")
            for number in range(_ORDERS):
                # Opened for each, as every one is given by a command of its own.
                (tmp_path / "strings").write_bytes(b"echo %d\n" % number)
            wanted = "".join(f"{number}\n" for number in range(_ORDERS))
            poll((tmp_path / "said").read_text, lambda text: text == wanted, 10.0, "all orders")
            puppet.terminate()
            assert puppet.wait(10.0) == 0
        finally:
            puppet.kill()
