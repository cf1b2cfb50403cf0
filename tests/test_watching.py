# SPDX-License-Identifier: Apache-2.0
"""No stream of events is opened where it could take events away from a kubelet's."""

from __future__ import annotations

from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.suite import watching


class _Runtime:
    """Answers Status; whatever else is asked of it is a mistake."""

    def __init__(self, status: types.StatusResponse) -> None:
        self._status = status
        self.opened = 0

    def get(self, rpc: str) -> Any:
        assert rpc == "Status"
        return self._status

    def stream(self, rpc: str, deadline: float) -> Any:
        self.opened += 1
        raise RuntimeError("opened")


def test_a_runtime_without_a_sign_of_1_30_is_not_listened_to() -> None:
    old: Any = _Runtime(types.StatusResponse())
    with pytest.raises(watching.Unavailable):
        watching.listen(old, None)  # type: ignore[arg-type]
    assert old.opened == 0


@pytest.mark.parametrize(
    "sign",
    [
        {"features": types.RuntimeFeatures()},
        {"runtime_handlers": [types.RuntimeHandler()]},
    ],
)
def test_either_sign_is_enough(sign: dict[str, Any]) -> None:
    young: Any = _Runtime(types.StatusResponse(**sign))
    with pytest.raises(RuntimeError, match="opened"):
        watching.listen(young, None)  # type: ignore[arg-type]
