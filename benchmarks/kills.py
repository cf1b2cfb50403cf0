# SPDX-License-Identifier: Apache-2.0
"""How soon a campaign finds seeded faults: sequences and steps until killed, over three seeds.

    python -m benchmarks.kills [--modes lives] [--restarts] [--seconds 60] [--seeds 0,1,2]
        [--of stateful] [--table] FAULT…

FAULT is an id of ``cri-conformance faults --list``; ``--of`` adds all of a file of the catalogue,
``--table`` writes lines of Markdown. A fault counts as killed when a finding names
the clause that it is seeded for, or what it does where that is no matter of clauses (a crash, a
leak). Runs on the reference runtime. Prints one line for each fault.

``--restarts``: as with a restart command, which here cuts all connections. Each sequence meets a
fault that remembers nothing of the ones before, as faults of restarts strike once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.faults.catalogue import faults
from cri_conformance.faults.cutting import cutting
from cri_conformance.faults.fault import Fault
from cri_conformance.faults.layer import METADATA_KEY
from cri_conformance.fuzz import campaign as campaigns
from cri_conformance.fuzz.finding import Finding
from cri_conformance.fuzz.judging import Key
from cri_conformance.fuzz.modes import chosen
from cri_conformance.fuzz.story import Story
from cri_conformance.settings import Budget, Settings
from cri_conformance.target import Preparation, connect


class _Until(campaigns.Campaign):
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

    def add(self, key: Key, finding: Finding, *, again: bool = True) -> None:
        self.judge.mute(key)
        self.findings[key] = finding
        if finding.clause in self.clauses or str(finding.kind) == self.misbehaves:
            self.killed = f"{self.meter.examples}/{self.meter.steps}"
            self._stopped = "killed"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--modes", default="")
    parser.add_argument("--restarts", action="store_true")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--of", default="")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("faults", nargs="*")
    options = parser.parse_args()
    known = faults()
    if options.of:
        file = importlib.import_module(f"cri_conformance.faults.catalogue.{options.of}")
        options.faults += [fault.id for fault in file.FAULTS]
    wanted = {name: known[name] for name in options.faults if name in known}
    for unknown in set(options.faults) - set(wanted):
        print(f"no fault {unknown}", file=sys.stderr)
    survived = 0
    for name, fault in wanted.items():
        told = []
        for seed in map(int, options.seeds.split(",")):
            # Of its own: what another one found would be tried first.
            with tempfile.TemporaryDirectory() as folder:
                settings = Settings(
                    "reference",
                    seed=seed,
                    fuzz=Budget(seconds=options.seconds),
                    fuzz_modes=tuple(filter(None, options.modes.split(","))),
                    fuzz_dir=Path(folder),
                    report=Path(folder),
                )
                told.append(_one(settings, name, fault, restarts=options.restarts))
        survived += told.count("")
        shown = [one or "survived" for one in told]
        if options.table:
            print(
                f"| `{name}` | {' | '.join(one.replace('/', ' / ') for one in shown)} |", flush=True
            )
        else:
            print(f"{name}  {'  '.join(shown)}", flush=True)
    return 1 if survived else 0


def _one(settings: Settings, name: str, fault: Fault, *, restarts: bool) -> str:
    with ExitStack() as stack:
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
        made.fault, made.sessions = f"{name}@{facts.run_nonce}-", restarts
        try:
            made.run()
        except campaigns.CampaignFailed:
            pass
        finally:
            target.client.close()
            preparation.clean()
        return made.killed


if __name__ == "__main__":
    sys.exit(main())
