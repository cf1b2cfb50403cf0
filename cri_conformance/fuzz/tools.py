# SPDX-License-Identifier: Apache-2.0
"""What modes share beside the runtime: our registry of images, a folder with files.

Each is made when it is first asked for, and removed with ``close``.
"""

from __future__ import annotations

import contextlib
from functools import cached_property
from pathlib import Path

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.pulling import RegistryError, open_registry
from cri_conformance.suite.image_variants import Variant, variants
from cri_conformance.suite.programs import program
from cri_conformance.suite.pulls import Pulls
from cri_conformance.suite.restart import Restarter
from cri_conformance.target import Target
from cri_conformance.wire.runtime import Runtime


class Tools:
    """Closed with the campaign, or with the story that is played again."""

    def __init__(self, target: Target, process: int = 0) -> None:
        """``process`` is the number of this process among those of a run."""
        self._target, self._process = target, process
        self._stack = contextlib.ExitStack()
        #: Digests of parts of images that a pull which failed may have left half or wrong.
        self.doubtful: set[str] = set()

    @cached_property
    def pulls(self) -> Pulls:
        """Images served by our registry. Raises NotExercised if the runtime can't get at it."""
        facts = self._target.facts
        if facts.no_pulls:
            raise NotExercised(Reason.NO_REGISTRY, facts.no_pulls)
        try:
            registry = open_registry(self._target.settings, self._process)
        except RegistryError as error:
            raise NotExercised(Reason.SWITCHED_OFF, str(error)) from None
        self._stack.callback(registry.close)
        runtime = Runtime(self._target.client, self._target.workshop)
        made = Pulls(runtime, registry, facts.architecture)
        self._stack.callback(made.close)
        return made

    @cached_property
    def images(self) -> list[Variant]:
        """Images of ours, which our registry can serve."""
        try:
            runs = program(self.pulls.architecture, isolates=self._target.facts.isolates)
        except NotExercised:
            runs = None
        return variants(self.pulls, runs)

    @property
    def host_root(self) -> str:
        """Where the files of the runtime's host are; "" for nowhere."""
        return self._target.facts.host_root

    @cached_property
    def folder(self) -> str:
        """A folder on the runtime's host with a file in it; "" if there is none."""
        root = self._target.workshop.log_root
        seen = self._target.facts.host_root
        if not root or not seen:
            return ""
        there = f"{root}/fuzzed"
        here = Path(seen) / there.lstrip("/")
        here.mkdir(parents=True, exist_ok=True)
        (here / "file").write_text("ours\n", encoding="utf-8")
        return there

    @property
    def restarter(self) -> Restarter:
        """Restarts the runtime; nothing where no command is given."""
        return Restarter(self._target.settings.restart_command)

    def close(self) -> None:
        """Take away what was made."""
        self._stack.close()
