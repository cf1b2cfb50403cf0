# SPDX-License-Identifier: Apache-2.0
"""What a run says at its start: which runtime, how it is judged, and what to know of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cri_conformance.contract.expectations import Applied, parted
from cri_conformance.contract.profiles import NAMES
from cri_conformance.report.text import count, known_words, one_line
from cri_conformance.settings import Settings
from cri_conformance.target import Facts
from cri_conformance.wire.identity import whose


def lines(
    config: pytest.Config,
    chosen: Settings,
    facts: Facts,
    known: Applied,
    leftovers: list[str],
    others: list[str],
) -> list[str]:
    """For pytest's header. ``leftovers`` are objects of earlier runs, in words; ``others`` are
    the owners of runs that may go on."""
    told = [
        f"cri: {chosen.endpoint}"
        + ("" if chosen.endpoint == facts.endpoint else f" ({facts.endpoint})")
        + f", {one_line(facts.runtime_name, 80)} {one_line(facts.runtime_version, 80)}"
        f", judged by CRI {facts.minor} ({facts.minor_source}), depth {chosen.depth}"
        f", seed {chosen.seed}"
    ]
    if better := _taken_for_tests(config):
        told.append(
            f"cri: rootdir is {config.rootpath}: pytest takes a path that stands alone "
            f"for a file of tests, and looks for pytest.ini there; write {better}"
        )
    if chosen.fuzz and (processes := int(getattr(config.option, "numprocesses", 0) or 0)):
        told.append(
            f"cri: a campaign by {count(processes, 'process', 'processes')}: "
            f"each draws seeds of its own from {chosen.seed}"
        )
        if chosen.restart_command:
            told.append(
                "cri: with -n nothing is restarted but a runtime that is gone: "
                "--cri-restart-command counts in full only without it"
            )
    if facts.no_pulls:
        told.append(f"cri: {facts.no_pulls}")
    if others:
        lead = "another run goes" if len(others) == 1 else f"{len(others)} other runs go"
        told.append(f"cri: {lead} on beside this one: {_some([whose(one) for one in others])}")
    if leftovers:
        told.append(
            f"cri: earlier runs left {count(len(leftovers), 'object')} behind "
            f"({_some(leftovers)}); "
            f"remove with: {facts.sweep_command}"
        )
    if known.source:
        told.append(f"cri: {expected(known)}")
    if chosen.profiles:
        named = ", ".join(name for name in NAMES if name in chosen.profiles)
        told.append(f"cri: only the profiles that are claimed: {named}")
    if chosen.as_of:
        told.append(f"cri: judged by the clauses as of cri-conformance {chosen.as_of}")
    return told


def expected(known: Applied) -> str:
    """What a file of expectations expects here, and what else is in it."""
    here = known_words(*parted(known.all)) or count(0, "known violation")
    told = f"{here} expected by {known.source}"
    if known.of_campaigns:
        verb = "is" if len(known.of_campaigns) == 1 else "are"
        told += f", {known_words(*parted(known.of_campaigns))} {verb} of campaigns alone"
    if known.elsewhere:
        verb = "is" if known.elsewhere == 1 else "are"
        told += f", {known.elsewhere} more {verb} about other versions"
    return told


def _some(texts: list[str]) -> str:
    return ", ".join(one_line(text, 100) for text in texts[:3]) + " …" * (len(texts) > 3)


def _taken_for_tests(config: pytest.Config) -> str:
    """The option whose value led pytest astray, better written; "" if none did.

    pytest settles on its rootdir before it knows our options.
    """
    here = config.invocation_params.dir
    if config.inipath or config.rootpath == here:
        return ""
    for option, value in pairwise(map(str, config.invocation_params.args)):
        if option.startswith("--cri-") and "=" not in option and (here / value).exists():
            return f"{option}={value}"
    return ""
