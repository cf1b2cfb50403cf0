# SPDX-License-Identifier: Apache-2.0
"""One reference runtime, which all hostile ones stand in front of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .runs import started


@pytest.fixture(scope="package")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL."""
    folder = tmp_path_factory.mktemp("r")
    url = f"unix://{folder}/cri.sock"
    with started(folder, "-m", "cri_conformance.cli", "serve", "--listen", url):
        yield url
