# SPDX-License-Identifier: Apache-2.0
"""Frames that no gRPC library writes: what a runtime must live through, for all its clients' sake.

No clause speaks of them: what counts is that old connections and new ones are served afterwards,
by the same process. How the one that misbehaves is got rid of is the runtime's own business.
"""

from __future__ import annotations

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.malformed import siege
from cri_conformance.malformed.attacks import ATTACKS, mangled
from cri_conformance.malformed.siege import Siege
from cri_conformance.settings import Settings
from cri_conformance.target import Target

#: Proper requests with some bytes changed.
MANGLED = 50
_NIGHTLY_FACTOR = 40


@pytest.fixture(scope="module")
def besieged(cri_target: Target) -> Siege:
    if not siege.possible():
        raise NotExercised(Reason.NOT_INSTALLED, "install cri-conformance[fuzz]")
    return Siege(cri_target.client)


@pytest.mark.parametrize("family", sorted({name.partition("-")[0] for name in ATTACKS}))
def test_frames_do_no_harm(besieged: Siege, family: str) -> None:
    for name, attack in ATTACKS.items():
        if name.partition("-")[0] == family:
            besieged.run(name, attack)


def test_mangled_requests_do_no_harm(besieged: Siege, chosen: Settings) -> None:
    count = MANGLED * (_NIGHTLY_FACTOR if chosen.nightly else 1)
    for number in range(count):
        seed = chosen.seed * 1_000_003 + number
        besieged.run(f"mangled request {seed}", mangled(seed))
