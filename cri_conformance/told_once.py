# SPDX-License-Identifier: Apache-2.0
"""One broken clause, one block on the terminal, however many tests find it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cri_conformance.contract.verdict import Verdict
from cri_conformance.report.text import count, visible

NAME = "cri-conformance-told-once"
#: Tests that are named below a block; the report has them all.
_NAMED = 5


@dataclass
class _Told:
    """The failure that is shown whole, and the tests that found the same."""

    shown: pytest.TestReport
    others: list[str] = field(default_factory=list)


class ToldOnce:
    """Hooks of the process that leads."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    # After everybody else, who may write the whole text into a file of their own.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not (clause := _broken(report)):
            return
        if (told := self._told.setdefault(clause, _Told(report))).shown is report:
            return
        told.others.append(report.nodeid)
        (found,) = (c for c in report.cri["clauses"] if c["clause"] == clause)
        report.longrepr = (
            f"{clause} is broken, as told at {visible(told.shown.nodeid)}\n"
            f"  got: {visible(found['actual'])}"
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self) -> Generator[None, Any, Any]:
        for told in self._told.values():
            if others := told.others:
                named = "".join(f"\n    {visible(test)}" for test in others[:_NAMED])
                more = f"\n    and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
                told.shown.longrepr = (
                    f"{told.shown.longrepr}\n\n  found by {count(len(others), 'other test')} too:"
                    f"{named}{more}"
                )
        return (yield)


def _broken(report: pytest.TestReport) -> str:
    """The clause that a test failed of; "" for none."""
    record = getattr(report, "cri", None)
    if not record or not report.failed or record["blame"] != "runtime":
        return ""
    broken = [c["clause"] for c in record["clauses"] if c["verdict"] == Verdict.BROKEN]
    # One violation ends a test.
    return broken[0] if len(broken) == 1 else ""
