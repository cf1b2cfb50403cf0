# SPDX-License-Identifier: Apache-2.0
"""One turn of a Hypothesis state machine: some sequences with one seed, until one fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from cri_conformance.expect.explore import tamed
from cri_conformance.fuzz.story import Story

#: Sequences of one turn, and the most steps of one.
EXAMPLES, STEPS = 6, 30


class Halt(BaseException):
    """Ends a turn at once: Hypothesis takes what is an Exception for a failing example."""


def turn(
    machine: type[RuleBasedStateMachine],
    *,
    seed: int,
    database: Path | None,
    reuse: bool,
    begin: Callable[[Callable[[], Story]], None],
    ended: Callable[[Any, Exception], None],
    **attributes: Any,
) -> None:
    """Run some sequences of a machine. ``reuse``: those that failed in earlier campaigns first.

    ``begin`` is called before each, with what gives its story as far as it has come. After the
    first that raises the turn is over, and ``ended`` gets the machine and what it raised. Raises
    what these two raise, and what is no Exception.
    """

    class Begun(machine):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            if found:
                # Hypothesis runs a failing example once more. It has been written down.
                raise Halt
            begin(lambda: self.recorder.story if hasattr(self, "recorder") else [])
            super().__init__()

        def teardown(self) -> None:
            # Called in a finally clause of Hypothesis's: what ended the steps is on its way.
            error = sys.exc_info()[1]
            try:
                super().teardown()
            except Exception as late:
                error = error or late
            if isinstance(error, Exception):
                found.append((self, error))

    found: list[tuple[Any, Exception]] = []
    Begun.__name__ = Begun.__qualname__ = machine.__name__
    for name, value in attributes.items():
        setattr(Begun, name, value)
    settings = hypothesis.settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        database=DirectoryBasedExampleDatabase(database) if database else None,
        deadline=None,  # every RPC has its own
        derandomize=False,
        # What earlier campaigns found is tried once: an example that no longer fails, as its
        # finding is known by now, would be dropped from the database.
        phases=[Phase.reuse, Phase.generate] if reuse and database else [Phase.generate],
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        with tamed():
            run_state_machine_as_test(hypothesis.seed(seed)(Begun), settings=settings)
    except Flaky:
        # The runtime did not answer twice alike (what ends by itself has ended or not), so that
        # other steps were possible than the last time. The next turn begins afresh.
        pass
    except (Halt, Exception):
        if not found:
            raise
    if found:
        ended(*found[0])
