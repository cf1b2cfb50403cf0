# SPDX-License-Identifier: Apache-2.0
"""Memory of a campaign over time: the resident MiB of the suite's own process, every 10 s.

    python -m benchmarks.memory [--modes wire] [--seconds 300] [--endpoint reference]

What a campaign keeps is bounded: after a warm-up the figure should stay where it is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from cri_conformance.contract.clause import Minor
from cri_conformance.contract.register import register
from cri_conformance.expect.judge import Rules
from cri_conformance.fuzz.campaign import Campaign, CampaignFailed
from cri_conformance.fuzz.modes import chosen
from cri_conformance.settings import Budget, Settings
from cri_conformance.target import Preparation, connect


def main() -> int:
    """Returns the exit code: 1 if the campaign found something."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--modes", default="")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--endpoint", default="reference")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            options.endpoint,
            fuzz=Budget(seconds=options.seconds),
            fuzz_modes=tuple(filter(None, options.modes.split(","))),
            fuzz_dir=Path(folder),
            report=Path(folder),
        )
        with Preparation(settings) as preparation:
            target = connect(settings, preparation.facts)
            rules = Rules(register(), Minor.parse(preparation.facts.minor))
            campaign = Campaign(target, rules, chosen(settings.fuzz_modes), said=_say)
            try:
                campaign.run()
            except CampaignFailed as error:
                print(error)
                return 1
            finally:
                _say("the end")
                target.client.close()
                preparation.clean()
    return 0


def _say(line: str) -> None:
    print(f"{_resident():6.1f} MiB  {line}", flush=True)


def _resident() -> float:
    """What /proc says of this process, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
