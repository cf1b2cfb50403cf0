# SPDX-License-Identifier: Apache-2.0
"""How soon broken messages and frames find the faults that are seeded for them.

    python -m benchmarks.malformed_kills [--most 6000] [--seeds 0,1,2] [PATTERN]

Runs on the reference runtime. Prints a line for each fault: after how many messages (or attacks)
it was found with each seed, and as what.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys

from cri_conformance.faults.catalogue import faults
from cri_conformance.faults.fault import Fault
from cri_conformance.malformed.assay import Assay
from cri_conformance.malformed.attacks import ATTACKS
from cri_conformance.malformed.draws import Draws
from cri_conformance.malformed.mutations import by_chance
from cri_conformance.malformed.oracle import Misbehaviour
from cri_conformance.malformed.siege import Siege
from cri_conformance.malformed.yard import Yard
from cri_conformance.settings import Settings
from cri_conformance.target import Preparation, Target, connect
from cri_conformance.wire.runtime import Runtime

#: Seconds that are waited for an answer: on our own machine, of a runtime that hangs on purpose.
WITHIN, PATIENCE = 1.0, (1.0, 1.5)
#: Messages between two looks at everything.
ROUND = 40


def main() -> int:
    """Returns the exit code: 1 if one survived."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=6000)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("pattern", nargs="?", default="*")
    options = parser.parse_args()
    wanted = [
        fault
        for fault in faults().values()
        if fault.misbehaves and fnmatch.fnmatch(fault.id, options.pattern)
    ]
    survived = 0
    with Preparation(Settings("reference"), faults=True) as preparation:
        for fault in wanted:
            told = []
            for seed in map(int, options.seeds.split(",")):
                session = f"{fault.id}@{preparation.facts.run_nonce}-{seed}"
                target = connect(preparation.settings, preparation.facts, (("cri-fault", session),))
                told.append(_one(target, fault, seed, options.most))
                target.client.close()
            survived += sum(not one for one in told)
            print(f"{fault.id:30} {'  '.join(one or 'survived' for one in told)}", flush=True)
    return 1 if survived else 0


def _one(target: Target, fault: Fault, seed: int, most: int) -> str:
    """How many it took, and what it was taken for; "" if it was not found."""
    if "flood" in fault.id:
        return _besieged(target)
    # Past the fault: what is left of its session goes.
    clean = connect(target.settings, target.facts)
    runtime = Runtime(target.client, target.workshop)
    sent = 0
    try:
        yard = Yard(runtime)
        assay = Assay(yard, target.client, within=WITHIN, patience=PATIENCE)
        choose, draws = by_chance(seed), Draws(yard.bases, seed)
        while sent < most:
            for _ in range(ROUND):
                name, mutations = draws.one(yard.bases, choose)
                sent += 1
                assay.send(yard.bases[name], mutations)
            assay.settle()
    except Misbehaviour as error:
        return f"{sent} ({error.kind})" if str(error.kind) == fault.misbehaves else f"! {error}"
    finally:
        runtime.client = clean.client
        runtime.close()
        clean.client.close()
    return ""


def _besieged(target: Target) -> str:
    siege = Siege(target.client, PATIENCE)
    for number, (name, attack) in enumerate(ATTACKS.items(), 1):
        try:
            siege.run(name, attack)
        except Misbehaviour as error:
            return f"{number} ({error.kind} by {name})"
    return ""


if __name__ == "__main__":
    sys.exit(main())
