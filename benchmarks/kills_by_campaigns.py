# SPDX-License-Identifier: Apache-2.0
"""How soon a campaign on the reference runtime finds a seeded fault."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.faults.cutting import cutting
from cri_conformance.faults.fault import Fault
from cri_conformance.faults.layer import METADATA_KEY
from cri_conformance.fuzz.campaign import Campaign, CampaignFailed
from cri_conformance.fuzz.finding import Finding
from cri_conformance.fuzz.judging import Key
from cri_conformance.fuzz.modes import chosen
from cri_conformance.fuzz.story import Story
from cri_conformance.settings import Budget, Settings
from cri_conformance.target import Preparation, connect


class _Until(Campaign):
    """Ends at the first finding of one of these clauses."""

    clauses: frozenset[str] = frozenset()
    #: What it does where no clause is named: a kind of finding.
    misbehaves = ""
    killed = ""
    #: Metadata that chooses the fault, but for the number of the session.
    fault = ""
    sessions = False

    def begin(self, story: Callable[[], Story] = list) -> None:
        if self.sessions:
            # What it has made stuck is removed past the fault.
            self.target.client.metadata = ()
        super().begin(story)
        session = self.meter.examples if self.sessions else 0
        self.target.client.metadata = ((METADATA_KEY, f"{self.fault}{session}"),)

    def try_again(self, finding: Finding, *, once: bool = False) -> bool:
        """What was left behind would be played again for minutes."""
        return True

    def add(self, key: Key, finding: Finding, *, again: bool = True) -> None:
        self.judge.mute(key)
        self.findings[key] = finding
        if finding.clause in self.clauses or str(finding.kind) == self.misbehaves:
            self.killed = f"{self.meter.examples} / {self.meter.steps}"
            self._stopped = "killed"


def killed(fault: Fault, seed: int, seconds: float, *, mode: str, restarts: bool = False) -> str:
    """After how many sequences / steps it was found; "" if it was not.

    ``restarts``: as with a restart command, which here cuts all connections. Each sequence meets a
    fault that remembers nothing of the ones before, as faults of restarts strike once.
    """
    with ExitStack() as stack:
        # Of its own: what another one found would be tried first.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = Settings(
            "reference",
            seed=seed,
            fuzz=Budget(seconds=seconds),
            fuzz_modes=(mode,),
            fuzz_dir=folder,
            report=folder,
        )
        preparation = stack.enter_context(Preparation(settings, faults=True))
        facts = preparation.facts
        if restarts:
            front, command = stack.enter_context(cutting(facts.endpoint))
            settings = replace(settings, restart_command=command)
            facts = replace(facts, endpoint=front)
        target = connect(settings, facts)
        # A fault for a SHOULD counts as killed when it warns.
        rules = Rules(register(), Minor.parse(facts.minor), strict=True)
        made = _Until(target, rules, chosen(settings.fuzz_modes))
        made.clauses = frozenset(fault.clauses)
        made.misbehaves = fault.misbehaves
        # What is stuck here is so for ever.
        made.patience = 3.0
        made.fault, made.sessions = f"{fault.id}@{facts.run_nonce}-", restarts
        try:
            with suppress(CampaignFailed):
                made.run()
        finally:
            target.client.close()
            preparation.clean()
        return made.killed
