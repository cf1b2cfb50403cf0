# SPDX-License-Identifier: Apache-2.0
"""A restart is what costs time, so that as much as can be goes through one: a container of each
kind, made before it and looked after when the runtime is back, and calls of each kind that it
breaks off."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from cri_conformance.fuzz.restarting import CALLS, CODE, MOMENTS, RestartRules
from cri_conformance.fuzz.speaking import SpeakSteps
from cri_conformance.suite.restart_life import ENDS_AFTER
from cri_conformance.wire.outcome import Ok

#: Methods of CrowdSteps that are steps of a story.
TOLD = ("restart_crowded",)
#: Says this as it ends, with a code that is no stop's.
_LAST_WORDS = "its last words"
_LEAVING = ["/bin/sh", "-c", f"printf '{_LAST_WORDS}'; exit 3"]

Going = Iterator[None]
"""What one of the crowd does: all before the restart up to a yield, then the rest."""


class CrowdSteps(SpeakSteps):
    """Its steps, each followed by a look at everything."""

    def restart_crowded(
        self, kinds: list[str], calls: list[str], seconds: float = 0.0, ends_after: float = 0.0
    ) -> None:
        """A restart with one of each of these KINDS, amid these calls, and with one that ends by
        itself ``ends_after`` seconds after it was started right before, if that is not 0.

        The calls are those of several pod workers, each about an object of its own.
        """
        stepper = self.stepper
        before = set(stepper.sandboxes)
        pod = stepper.run(self._sandbox_config())
        if not pod:
            return
        going = [KINDS[kind](self, pod) for kind in kinds]
        for one in going:
            next(one, None)
        ending = self._ending(pod, ends_after) if ends_after else ""
        begun = {call: self._begun(call, pod) for call in calls}
        stepper.look()
        if ending:
            stepper.container_call("StartContainer", ending)
        if begun:
            stepper.break_off({call: request for call, (request, _) in begun.items()}, seconds)
        else:
            stepper.restart()
        for _, go_on in begun.values():
            go_on()
        stepper.look()
        stepper.measured()
        for one in going:
            next(one, None)
        if ending:
            stepper.ended_meanwhile(ending)
        stepper.look()
        for made in stepper.sandboxes.keys() - before:
            stepper.sandbox_call("RemovePodSandbox", made)
        stepper.look()

    def _ending(self, pod: str, seconds: float) -> str:
        config = self._container_config(pod)
        config.command[:] = ["/bin/sh", "-c", f"sleep {seconds}; exit {CODE}"]
        return self.stepper.create(pod, config, mortal=True)

    # -- kinds -----------------------------------------------------------------------

    def _created(self, pod: str) -> Going:
        made = self.stepper.create(pod, self._container_config(pod))
        yield
        if made:
            self.stepper.create_again(made)
            self.stepper.look()
            self.stepper.container_call("StartContainer", made)

    def _running(self, pod: str) -> Going:
        made = self.stepper.create(pod, self._container_config(pod))
        if made:
            self.stepper.container_call("StartContainer", made)
        yield
        if made:
            self.stepper.container_call("ExecSync", made)
            self.stepper.create_again(made)

    def _ended(self, pod: str) -> Going:
        """One whose log is still there."""
        config, log = self._logging(pod)
        config.command[:] = _LEAVING
        made = self.stepper.create(pod, config, mortal=True)
        if made:
            self.stepper.container_call("StartContainer", made)
            self.stepper.await_exit(made)
            self._last_words(made, log)
        yield
        if made:
            self._last_words(made, log)

    def _last_words(self, container_id: str, log: Path | None) -> None:
        if log:
            clause = "ContainerConfig.log_path.unfinished-line"
            self.stepper.logged(container_id, log, _LAST_WORDS.split(), clause)

    def _prompt(self, pod: str) -> Going:
        """One that ends on its signal, and still gets it."""
        made = self.create_prompt(pod)
        if made:
            self.stepper.start_prompt(made)
        yield
        if made:
            self.stepper.stop_prompted(made)

    def _speaker(self, pod: str) -> Going:
        """One that speaks on, and events tell of its end."""
        made, log = self.create_speaker(pod)
        if made:
            self.stepper.begin(made, log)
        yield
        if made and isinstance(self.stepper.container_call("ExecSync", made), Ok):
            self.stepper.goes_on(made, log)

    def _stopped_pod(self, pod: str) -> Going:
        """Another pod, which is stopped with what ran in it."""
        stopped = self.stepper.run(self._sandbox_config())
        made = self.stepper.create(stopped, self._container_config(stopped)) if stopped else ""
        if made:
            self.stepper.container_call("StartContainer", made)
            self.stepper.sandbox_call("StopPodSandbox", stopped)
        yield
        if made:
            self.stepper.sandbox_call("StopPodSandbox", stopped)


KINDS: dict[str, Callable[[Any, str], Going]] = {
    "created": CrowdSteps._created,
    "running": CrowdSteps._running,
    "ended": CrowdSteps._ended,
    "prompt": CrowdSteps._prompt,
    "speaker": CrowdSteps._speaker,
    "stopped_pod": CrowdSteps._stopped_pod,
}


def _most(of: Collection[str]) -> st.SearchStrategy[list[str]]:
    return st.sets(st.sampled_from(sorted(of)), max_size=3).map(
        lambda without: [one for one in of if one not in without]
    )


class CrowdRules(RestartRules):
    """The same as rules of a state machine."""

    @precondition(RestartRules._may)
    @rule(
        kinds=_most(KINDS),
        calls=_most(CALLS),
        seconds=st.sampled_from(MOMENTS),
        ends_after=st.sampled_from([*ENDS_AFTER, 0.0]),
    )
    def restart_crowded(
        self, kinds: list[str], calls: list[str], seconds: float, ends_after: float
    ) -> None:
        self.restarts += 1
        self.steps.restart_crowded(kinds, calls, seconds, ends_after)
