# SPDX-License-Identifier: Apache-2.0
"""The modes of a campaign, by name. A new one is entered here."""

from __future__ import annotations

from collections.abc import Iterable

from cri_conformance.fuzz.broken import BrokenMode
from cri_conformance.fuzz.histories import HistoriesMode
from cri_conformance.fuzz.image_lives import ImagesMode
from cri_conformance.fuzz.lives import LivesMode
from cri_conformance.fuzz.mode import Mode
from cri_conformance.fuzz.requests import RequestsMode

MODES: dict[str, Mode] = {
    mode.name: mode
    for mode in (LivesMode(), RequestsMode(), ImagesMode(), HistoriesMode(), BrokenMode())
}


class UnknownMode(ValueError):
    """There is no mode of that name; one line that says which there are."""


def chosen(names: Iterable[str]) -> list[Mode]:
    """The modes of these names, all for none. Raises UnknownMode."""
    wanted = list(names)
    for name in wanted:
        if name not in MODES:
            raise UnknownMode(f"there is no mode {name!r}, but {', '.join(MODES)}")
    return [mode for name, mode in MODES.items() if not wanted or name in wanted]
