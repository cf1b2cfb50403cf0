# SPDX-License-Identifier: Apache-2.0
"""DEADLINE_EXCEEDED: of our own deadline, or of the runtime's making."""

from __future__ import annotations

import grpc
import pytest

from cri_conformance.wire.client import Client
from cri_conformance.wire.outcome import Refused, Unknown


class _Exceeded(grpc.RpcError):  # type: ignore[misc]
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        return "Stream removed (Deadline Exceeded)"


@pytest.mark.parametrize("seconds", [0.3, 0.2991, 0.4])
def test_ours_may_come_a_little_early(seconds: float) -> None:
    assert isinstance(Client.outcome_of(_Exceeded(), seconds, 0.3), Unknown)


@pytest.mark.parametrize("seconds", [0.001, 0.25])
def test_a_runtime_may_have_one_of_its_own(seconds: float) -> None:
    outcome = Client.outcome_of(_Exceeded(), seconds, 0.3)
    assert isinstance(outcome, Refused)
    assert outcome.code == "DEADLINE_EXCEEDED"
