# SPDX-License-Identifier: Apache-2.0
"""The last test under every fault: plain use of every core call (see ``sentinels``)."""

from __future__ import annotations

import pytest

from cri_conformance.faults import sentinels
from cri_conformance.target import Target


def test_sentinels(cri_target: Target, request: pytest.FixtureRequest) -> None:
    """Passes whatever it finds: that is no verdict on the runtime, but on the fault."""
    with cri_target.scope() as runtime:
        request.node.stash[sentinels.FINDINGS] = sentinels.Walk(runtime).run()
