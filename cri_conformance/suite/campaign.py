# SPDX-License-Identifier: Apache-2.0
"""A campaign as a test of pytest's: one for each process. Collected only with --cri-fuzz."""

from __future__ import annotations

import pytest

from cri_conformance import records
from cri_conformance.fuzz.campaign import Campaign
from cri_conformance.fuzz.modes import chosen
from cri_conformance.session import session_of
from cri_conformance.target import Target


def test_campaign(
    part: int, cri_target: Target, request: pytest.FixtureRequest, pytestconfig: pytest.Config
) -> None:
    session = session_of(pytestconfig)
    worker = records.worker_of(pytestconfig)
    campaign = Campaign(
        cri_target,
        session.rules,
        chosen(cri_target.settings.fuzz_modes),
        worker=worker,
        said=session.say,
        progress=session.progress_file(worker),
        expected=session.known,
    )
    request.node.stash[records.JUDGE] = campaign.judge
    campaign.run()
