# SPDX-License-Identifier: Apache-2.0
"""What all of the project's own tests share.

pytest's own test bed (pytester), with which the plugin is tested as its users run it, is asked
for in pytest.ini: only there, because in a checkout this file also stands above the suite, and
pytest takes plugins from no conftest.py but the topmost of a run.
"""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep crictl's settings on this machine, and options meant for another run, out of tests."""
    for name in ("CONTAINER_RUNTIME_ENDPOINT", "IMAGE_SERVICE_ENDPOINT", "CRI_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
