# SPDX-License-Identifier: Apache-2.0
"""Which tests of the packaged suite judge which clauses.

Asked of pytest itself: ids may stand in constants and parameters, so only a
collection knows them all. Nothing is run and no runtime is needed.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "suite"


class BindingsError(Exception):
    """The suite can't be collected; the first lines of pytest's own words."""


class _Collected:
    """A pytest plugin that writes down the clause marks of everything collected."""

    def __init__(self) -> None:
        self.bound: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            ids = (name for mark in item.iter_markers("clause") for name in mark.args)
            for clause in dict.fromkeys(ids):
                self.bound[clause].append(item.nodeid)


def bound() -> dict[str, list[str]]:
    """Clause id → node ids of the tests bound to it. Raises BindingsError."""
    if not any(SUITE.glob("test_*.py")):
        return {}
    collected, said = _Collected(), io.StringIO()
    # Neither the user's pytest.ini nor plugins that happen to be installed have a say.
    options = ["--collect-only", "-q", "-c", os.devnull, f"--rootdir={SUITE}"]
    options += ["-p", "no:cacheprovider", "-p", "cri_conformance.plugin"]
    settings = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": ""}
    with (
        _environment(settings),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        status = pytest.main([*options, str(SUITE)], plugins=[collected])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        errors = [line for line in said.getvalue().splitlines() if line.startswith("E ")]
        raise BindingsError(f"the suite can't be collected: {' '.join(errors[:1]) or status}")
    return dict(collected.bound)


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
