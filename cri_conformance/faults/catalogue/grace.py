# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for grace periods: not given, sat out, or never over."""

from __future__ import annotations

from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.fault import fault
from cri_conformance.faults.operators import (
    alter_request,
    delay,
    returns_early,
    set_request,
    skip_effect,
    waits_for,
)

_STOP, _TIMEOUT = "RuntimeService.StopContainer", "StopContainerRequest.timeout"


def _with(seconds: int) -> when.When:
    return when.requested("timeout", seconds)


FAULTS = [
    fault(f"{_TIMEOUT}.grace-period", set_request("StopContainer", "timeout", 0, when=_with(60))),
    fault(f"{_TIMEOUT}.early-return", delay("StopContainer", 7, when=_with(60), after=True)),
    fault(
        f"{_TIMEOUT}.seconds",
        alter_request("StopContainer", "timeout", changes.seconds, when=_with(1)),
    ),
    fault(f"{_STOP}.killed-after-grace", returns_early("StopContainer", when=_with(1))),
    # containerd/cri#75: no grace is taken for some.
    fault(f"{_TIMEOUT}.zero-immediate", skip_effect("StopContainer", _with(0))),
    fault(
        f"{_TIMEOUT}.negative-bounded", set_request("StopContainer", "timeout", 60, when=_with(-1))
    ),
    # cri-o/cri-o#8030: the first stop holds a lock.
    fault(
        f"{_TIMEOUT}.shortened",
        set_request("StopContainer", "timeout", 60, when=when.overlapping),
    ),
    fault(
        f"{_TIMEOUT}.zero-during-stop",
        set_request("StopContainer", "timeout", 60, when=when.overlapping & _with(0)),
    ),
    # Thirty-two bits of seconds.
    fault(
        f"{_TIMEOUT}.very-long",
        set_request("StopContainer", "timeout", 0, when=_with(5_000_000_000)),
    ),
    # Who takes a container away waits for one who is patient with it.
    *(
        fault(f"RuntimeService.{rpc}.during-stop", waits_for(rpc, "StopContainer"))
        for rpc in ("RemoveContainer", "StopPodSandbox")
    ),
    fault(f"{_STOP}.during-exec", waits_for("StopContainer", "ExecSync")),
]
