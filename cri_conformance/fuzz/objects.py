# SPDX-License-Identifier: Apache-2.0
"""Ids of a campaign's objects: of the sequence that is played, of what outlives it, and of what is
gone."""

from __future__ import annotations

from cri_conformance.wire.runtime import Runtime

#: Ids of objects that are looked for in the end at most.
MOST_IDS = 20_000


class Objects:
    """``runtime`` is that on which sequences are played."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._workshop = runtime.workshop
        self._shared = set(self._workshop.ids)
        #: What outlives sequences, and where its logs are.
        self._kept: dict[Runtime, str] = {}
        #: Ids of what can't be removed, which is a finding already.
        self.stuck: set[str] = set()
        #: The last ids that were given to us.
        self._made: dict[str, None] = {}

    def keep(self, runtime: Runtime, folder: str) -> None:
        """What this holds outlives sequences, and so do logs in that folder."""
        self._kept = {one: where for one, where in self._kept.items() if one.made()}
        self._kept[runtime] = folder

    def alive(self) -> set[str]:
        """Ids of what is there."""
        held = (runtime.made() for runtime in (self._runtime, *self._kept))
        return self.stuck.union(*held)

    def folders(self) -> set[str]:
        """Where logs of what outlives sequences are."""
        return {where for one, where in self._kept.items() if where and one.made()}

    def new(self) -> set[str]:
        """Ids that were given to us since they were noted."""
        return self._workshop.ids - self._shared - self._made.keys()

    def note(self) -> None:
        """Those that were given to us are old from now on."""
        # Of a long campaign no id is kept that is of no use any more.
        ids = self._workshop.ids
        self._made.update(dict.fromkeys(ids - self._shared))
        for old in list(self._made)[:-MOST_IDS]:
            del self._made[old]
        ids.intersection_update(self._shared | self.alive())

    def gone(self) -> set[str]:
        """Ids of what has been removed, when all is over."""
        return self._made.keys() - self._shared - self.stuck
