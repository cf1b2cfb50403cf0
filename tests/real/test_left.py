# SPDX-License-Identifier: Apache-2.0
"""What runs leave on a node: nothing of theirs, and all of others as it was; also cut short."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cri_conformance.wire.client import Client
from cri_conformance.wire.endpoint import parse
from tests.real.foreign import NONCE, Foreign, foreign
from tests.real.node import STUCK, Node, node

pytestmark = pytest.mark.timeout(2 * STUCK)

#: Of each family something, with all calls that destroy.
WIDE = "-k", "short_ids or idempotency or container_end or stats_filters or image_removal"
#: With one container for all tests, then images.
BRIEF = "-k", "exec_sync or image_pull"


@dataclass(frozen=True)
class Shared:
    """A node, who else uses it, and how all was before."""

    node: Node
    others: Foreign
    before: dict[str, Any]

    def under_way(self) -> bool:
        """Whether a run has containers and has pulled something."""
        now = self.others.seen(briefly=True)
        images = [now["images"][one] for one in now["images"].keys() - self.before["images"]]
        return "/pull-" in str(images) and now["containers"] > self.before["containers"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("node")
    # Named as folders of runs are; nothing in it says whose it is.
    theirs = folder / f"cri-conformance-{NONCE}-logs"
    with node(folder) as found:
        client = Client(parse(found.endpoint))
        with foreign(client, theirs, found.image) as others:
            yield Shared(found, others, others.seen())
        client.close()


def test_a_run_that_comes_to_its_end(shared: Shared) -> None:
    shared.node.run(*WIDE)
    assert shared.others.seen() == shared.before


def test_a_campaign(shared: Shared) -> None:
    # The reference runtime is tried in a moment. What it finds is no matter here.
    seconds = 2 if shared.node.image else 10
    shared.node.run(f"--cri-fuzz={seconds}s", "--cri-seed=7", ends=(0, 1, 8))
    assert shared.others.seen() == shared.before


def test_ctrl_c(shared: Shared) -> None:
    assert shared.node.cut_short(signal.SIGINT, shared.under_way, *BRIEF) == 2
    assert shared.others.seen() == shared.before


def test_a_run_that_was_killed_and_a_sweep(shared: Shared) -> None:
    shared.node.cut_short(signal.SIGKILL, shared.under_way, *BRIEF)
    assert shared.others.theirs().items() <= shared.before.items()
    said = shared.node.sweep()
    assert shared.others.seen() == shared.before, said
