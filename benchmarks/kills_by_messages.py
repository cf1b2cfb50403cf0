# SPDX-License-Identifier: Apache-2.0
"""How soon broken messages and frames find a fault that is seeded in the reference runtime."""

from __future__ import annotations

import time

from cri_conformance.faults.fault import Fault
from cri_conformance.faults.layer import METADATA_KEY
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


def killed(fault: Fault, seed: int, seconds: float) -> str:
    """After how many messages (of a flood: attacks) it was found; "" if it was not."""
    with Preparation(Settings("reference"), faults=True) as preparation:
        session = f"{fault.id}@{preparation.facts.run_nonce}-{seed}"
        target = connect(preparation.settings, preparation.facts, ((METADATA_KEY, session),))
        try:
            if "flood" in fault.id:
                return _besieged(target, fault)
            return _assayed(target, fault, seed, seconds)
        finally:
            target.client.close()


def _assayed(target: Target, fault: Fault, seed: int, seconds: float) -> str:
    # Past the fault: what is left of its session goes.
    clean = connect(target.settings, target.facts)
    runtime = Runtime(target.client, target.workshop)
    sent, until = 0, time.monotonic() + seconds
    try:
        yard = Yard(runtime)
        assay = Assay(yard, target.client, within=WITHIN, patience=PATIENCE)
        choose, draws = by_chance(seed), Draws(yard.bases, seed)
        while time.monotonic() < until:
            for _ in range(ROUND):
                name, mutations = draws.one(yard.bases, choose)
                sent += 1
                assay.send(yard.bases[name], mutations)
            assay.settle()
    except Misbehaviour as error:
        return str(sent) if str(error.kind) == fault.misbehaves else ""
    finally:
        runtime.client = clean.client
        runtime.close()
        clean.client.close()
    return ""


def _besieged(target: Target, fault: Fault) -> str:
    siege = Siege(target.client, PATIENCE)
    for number, (name, attack) in enumerate(ATTACKS.items(), 1):
        try:
            siege.run(name, attack)
        except Misbehaviour as error:
            return str(number) if str(error.kind) == fault.misbehaves else ""
    return ""
