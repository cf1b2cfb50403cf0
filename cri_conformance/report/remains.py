# SPDX-License-Identifier: Apache-2.0
"""What is left on the node when a run ends, by who can take it back."""

from __future__ import annotations

from cri_conformance.report.schema import EARLIER, FORGOTTEN, Results
from cri_conformance.report.text import sweep_command


def own(results: Results) -> list[str]:
    """What the run made and could not remove: ``sweep`` does."""
    return [name for name in results["leftovers"] if not name.startswith((EARLIER, FORGOTTEN))]


def forgotten(results: Results) -> list[str]:
    """What the runtime has forgotten on its host of objects that are gone: no call removes it."""
    found = results["leftovers"]
    return [name.removeprefix(FORGOTTEN) for name in found if name.startswith(FORGOTTEN)]


def sweep(results: Results) -> str:
    """Removes ``own``, for a shell."""
    target = results["target"]
    return sweep_command(target["endpoint"], target["image_endpoint"])
