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
from cri_conformance.registry import oci
from cri_conformance.registry.server import Registry
from cri_conformance.suite.pulls import Pulls
from cri_conformance.suite.restart import Restarter
from cri_conformance.target import Target
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime


class Tools:
    """Closed with the campaign, or with the story that is played again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._stack = contextlib.ExitStack()

    @cached_property
    def pulls(self) -> Pulls:
        """Images served by our registry. Raises NotExercised if the runtime can't get at it."""
        host, port = self._target.settings.registry
        try:
            registry = Registry(host, port)
        except OSError as error:
            raise NotExercised(Reason.SWITCHED_OFF, f"--cri-registry: {error.strerror}") from None
        self._stack.callback(registry.close)
        runtime = Runtime(self._target.client, self._target.workshop)
        made = Pulls(runtime, registry, oci.architecture_here())
        self._stack.callback(made.close)
        probe = made.serve()
        if not isinstance(made.pull(probe.reference), Ok) and not registry.seen(probe.repository):
            raise NotExercised(Reason.NO_REGISTRY, "the runtime does not come to our registry")
        return made

    @cached_property
    def images(self) -> list[oci.Image]:
        """A few images of ours, which our registry can serve."""
        return [self.pulls.image() for _ in range(4)]

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
