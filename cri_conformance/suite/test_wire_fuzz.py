# SPDX-License-Identifier: Apache-2.0
"""Messages that no client's types can say: of each call some dozens, the same in every gate.

No clause speaks of them, so none is bound: what counts is that the runtime lives, answers, tells
nothing of a panic or a password, makes nothing that it refused, and leaves alone what it was not
told of. Which error it answers with is its own business.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cri_conformance.api.rpcs import RPCS
from cri_conformance.malformed.assay import SURVIVES, Assay
from cri_conformance.malformed.yard import Yard
from cri_conformance.session import session_of
from cri_conformance.settings import Settings
from cri_conformance.target import Target

#: Messages of one call, and of one that is carried out to the end, which takes time; of a stream
#: that may rightly say nothing, which takes time, too.
MESSAGES, FULL, SILENT = 30, 4, 6
_NIGHTLY_FACTOR = 20


@pytest.fixture(scope="module")
def assay(cri_target: Target, pytestconfig: pytest.Config) -> Iterator[Assay]:
    """Objects to send broken messages about, and a look at what becomes of them."""
    with cri_target.scope() as runtime:
        yard = Yard(runtime)
        # A runtime that dies takes the node with it: tried only where it can be brought back.
        known = SURVIVES in session_of(pytestconfig).rules.known
        yield Assay(
            yard,
            cri_target.client,
            log=cri_target.settings.runtime_log,
            complete=known or not cri_target.settings.restart_command,
        )
        yard.close()


@pytest.mark.parametrize("rpc", list(RPCS))
def test_broken_messages_do_no_harm(assay: Assay, chosen: Settings, rpc: str) -> None:
    for name in [name for name, base in assay.yard.bases.items() if base.rpc == rpc]:
        count = FULL if name.endswith(".full") else MESSAGES
        if rpc == "GetContainerEvents":
            count = SILENT
        assay.batch(
            assay.yard.bases[name],
            chosen.seed,
            count * (_NIGHTLY_FACTOR if chosen.nightly else 1),
            ends=chosen.nightly,
        )
