# SPDX-License-Identifier: Apache-2.0
"""When a runtime that still answers Version counts as gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cri_conformance.wire import endpoint
from cri_conformance.wire.client import MOST_UNANSWERED, Client
from cri_conformance.wire.outcome import Ok, Outcome, Refused, RuntimeGone, Unknown

SILENT = Unknown("the deadline of 2 s passed")


@pytest.fixture
def client() -> Iterator[Client]:
    """One that calls nobody."""
    with Client(endpoint.parse("unix:///nobody.sock")) as made:
        yield made


def _one_after_the_other(client: Client, *outcomes: Outcome) -> None:
    for at, outcome in enumerate(outcomes):
        client._count_silence("RunPodSandbox", outcome, float(at), at + 0.5)


def test_calls_one_after_the_other(client: Client) -> None:
    _one_after_the_other(client, *[SILENT] * (MOST_UNANSWERED - 1))
    with pytest.raises(RuntimeGone, match=r"no longer answers RunPodSandbox: 5 calls, .* of 2 s"):
        client._count_silence("RunPodSandbox", SILENT, 100.0, 102.0)
    with pytest.raises(RuntimeGone, match="no longer answers RunPodSandbox"):
        client.call("Version")


@pytest.mark.parametrize("answer", [Ok(None), Refused("INTERNAL", "not today")])
def test_an_answer_between_them(client: Client, answer: Outcome) -> None:
    silence = [SILENT] * (MOST_UNANSWERED - 1)
    _one_after_the_other(client, *silence, answer, *silence)


def test_calls_beside_each_other_count_as_one(client: Client) -> None:
    for _ in range(3 * MOST_UNANSWERED):
        client._count_silence("RunPodSandbox", SILENT, 0.0, 2.0)


def test_each_call_by_itself(client: Client) -> None:
    for at in range(MOST_UNANSWERED - 1):
        for rpc in ("RunPodSandbox", "CreateContainer", "StartContainer"):
            client._count_silence(rpc, SILENT, float(at), at + 0.5)
