# SPDX-License-Identifier: Apache-2.0
"""What is found out of pulls before the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cri_conformance.pulling import RegistryError, check, open_registry
from cri_conformance.reference import process
from cri_conformance.registry.oci import architecture_here
from cri_conformance.settings import Settings
from cri_conformance.wire.client import Client
from cri_conformance.wire.endpoint import parse
from cri_conformance.wire.identity import Run
from cri_conformance.wire.outcome import answer


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    started = process.start()
    client = Client(parse(started.endpoint))
    yield client
    client.close()
    started.stop()


def _images(client: Client) -> int:
    return len(answer(client.call("ListImages"), "ListImages").images)


def test_the_runtime_chooses_its_machine(client: Client) -> None:
    before = _images(client)
    found = check(client, Settings("x"), Run.new())
    assert (found.architecture, found.why_not) == (architecture_here(), "")
    assert _images(client) == before


def test_a_runtime_that_does_not_trust_us(client: Client, tmp_path: Path) -> None:
    pytest.importorskip("trustme")
    found = check(client, Settings("x", registry_tls=tmp_path), Run.new())
    assert found.why_not.startswith("the runtime does not pull from the suite's registry at 127.")
    assert "--cri-image-loader" in found.why_not
    assert "\n" not in found.why_not


def test_a_registry_that_can_not_be_opened(client: Client) -> None:
    first = open_registry(Settings("x"))
    port = int(first.address.rpartition(":")[2])
    try:
        with pytest.raises(RegistryError, match=f"--cri-registry 127.0.0.1:{port}: Address"):
            check(client, Settings("x", registry=("127.0.0.1", port)), Run.new())
    finally:
        first.close()
