# SPDX-License-Identifier: Apache-2.0
"""Generated examples inside an ordinary test.

Hypothesis's own ``@given`` takes its seed from the test's source, or from chance; a
gate must try the same examples tomorrow, so the seed is ours (``--cri-seed``). And the
fixtures of the test stay: costly objects are shared between examples.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

from cri_conformance.expect.judge import Judge
from cri_conformance.expect.violation import Ended, NotExercised, SuiteMistake, Violation
from cri_conformance.wire.outcome import RuntimeGone, SetupFailed
from cri_conformance.wire.runtime import Runtime

#: Examples of one property: the gate's, and how many times more the nightly tries.
GATE_EXAMPLES = 25
NIGHTLY_FACTOR = 20
#: Under a seeded fault fewer do: what takes more to notice is no gate.
MATRIX_EXAMPLES = 15
#: Seconds that shrinking one violation may take; after that the smallest so far is shown.
SHRINK_SECONDS = 20.0
#: Seconds that one property may take, by whether the run is nightly.
BUDGET = {False: 150.0, True: 3600.0}


@dataclass(frozen=True)
class Depth:
    """How hard to look. ``database`` is a folder for found examples, None for none."""

    seed: int
    nightly: bool = False
    matrix: bool = False
    database: Path | None = None


class Explorer:
    """Runs a property, or a state machine, over generated examples."""

    def __init__(self, depth: Depth, judge: Judge, runtime: Runtime) -> None:
        """``runtime``: the test's scope; what an example makes in it goes with the example."""
        self.depth = depth
        self._judge = judge
        self._runtime = runtime
        self._kept: frozenset[str] = frozenset()
        self._until = 0.0

    def __call__(
        self,
        check: Callable[..., None],
        *,
        examples: int = GATE_EXAMPLES,
        tried: tuple[dict[str, Any], ...] = (),
        **strategies: SearchStrategy[Any],
    ) -> None:
        """Run ``check`` on examples drawn from ``strategies``, given by keyword.

        ``examples`` is the gate's number; ``tried`` are examples always run first. Raises
        what the smallest failing example raises.
        """

        def example(**values: Any) -> None:
            self._begin()
            try:
                check(**values)
            except _FINAL as error:
                raise _Stop(error) from None

        property_ = hypothesis.given(**strategies)(_with_signature(example, list(strategies)))
        for values in reversed(tried):
            property_ = hypothesis.example(**values)(property_)
        self._run(self._settings(examples)(hypothesis.seed(self.depth.seed)(property_)))

    def machine(
        self,
        machine: type[RuleBasedStateMachine],
        *,
        examples: int = GATE_EXAMPLES,
        steps: int = 20,
        **attributes: Any,
    ) -> None:
        """Run a state machine; ``attributes`` are set on its class (runtime, judge …)."""
        begin = self._begin

        class Begun(machine):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                begin()
                try:
                    super().__init__()
                except _FINAL as error:
                    raise _Stop(error) from None

            def teardown(self) -> None:
                # Called in a finally clause of Hypothesis's: what ended the steps is on its way.
                ended = sys.exc_info()[1]
                try:
                    super().teardown()
                except _FINAL as error:
                    ended = ended or error
                if isinstance(ended, _FINAL):
                    raise _Stop(ended) from None

        Begun.__name__ = Begun.__qualname__ = machine.__name__
        for name, value in attributes.items():
            setattr(Begun, name, value)
        settings = self._settings(examples, stateful_step_count=steps)
        seeded = hypothesis.seed(self.depth.seed)(Begun)
        self._run(lambda: run_state_machine_as_test(seeded, settings=settings))

    def _run(self, explored: Callable[[], None]) -> None:
        """Run it, and let what a test failed of come out whatever Hypothesis makes of it.

        Raises SetupFailed when the time for one property is over: a time-out of pytest's would
        be taken for a failing example, and replayed.
        """
        self._kept = self._runtime.made()
        self._until = time.monotonic() + BUDGET[self.depth.nightly]
        try:
            with tamed():
                explored()
        except _Stop as stop:
            raise stop.cause from None
        except Exception as error:
            if self._judge.broken and not isinstance(error, Violation):
                raise self._judge.broken from error
            raise
        finally:
            self._runtime.close(keep=self._kept)

    def _begin(self) -> None:
        """The start of an example: what the last one made goes, its story begins."""
        self._runtime.close(keep=self._kept)
        now = time.monotonic()
        if self._judge.broken and self._until > now + SHRINK_SECONDS:
            self._until = now + SHRINK_SECONDS
        if now > self._until:
            slow = SetupFailed("the time for one property is over: the runtime is too slow")
            raise _Stop(self._judge.broken or slow)
        self._judge.mark = self._runtime.client.history.mark()

    def _settings(self, examples: int, **more: Any) -> hypothesis.settings:
        phases = [Phase.explicit, Phase.generate]
        if self.depth.database:
            phases.append(Phase.reuse)
        if not self.depth.matrix:
            phases.append(Phase.shrink)
        if self.depth.nightly:
            examples *= NIGHTLY_FACTOR
        elif self.depth.matrix:
            examples = min(examples, MATRIX_EXAMPLES)
        return hypothesis.settings(
            max_examples=examples,
            database=DirectoryBasedExampleDatabase(self.depth.database)
            if self.depth.database
            else None,
            deadline=None,  # every RPC has its own
            derandomize=False,
            phases=phases,
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            **more,
        )


#: Errors with nothing to shrink: no other example would tell more.
_FINAL = (RuntimeGone, SetupFailed, NotExercised, Ended, SuiteMistake)


class _Stop(BaseException):
    """Ends an exploration at once: Hypothesis shrinks what is an Exception."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


@contextlib.contextmanager
def tamed() -> Iterator[None]:
    """Around a run of Hypothesis: it draws no constants, and an interrupt ends it.

    It reads constants from "local" source files, whatever happens to be loaded, so the same seed
    would try other examples in a checkout, in a wheel, and beside a vendor's own tests. Interrupted
    before it has begun it fails by an assertion of its own, which nobody would take for Ctrl-C.
    """
    reads = "_get_local_constants"
    if not hasattr(providers, reads):
        raise SuiteMistake(f"this Hypothesis has no {reads}: its seeds must be tamed another way")
    kept = getattr(providers, reads)
    nothing = Constants()
    setattr(providers, reads, lambda: nothing)
    try:
        yield
    except Exception as error:
        if _came_of_interrupt(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        setattr(providers, reads, kept)


def _came_of_interrupt(error: BaseException | None) -> bool:
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _with_signature(example: Callable[..., None], names: list[str]) -> Callable[..., None]:
    """A function with these keywords: Hypothesis reads them from the signature."""

    def signed(**values: Any) -> None:
        example(**values)

    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    signed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return signed
