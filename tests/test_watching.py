# SPDX-License-Identifier: Apache-2.0
"""Streams of events: none is opened where it could take events away from a kubelet's, and one that
tells of things late is not taken for one that tells of nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
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


class _Late:
    """A stream of events, and a runtime that tells of each container when the next one is made."""

    outcome = None

    def __init__(self) -> None:
        self.messages: list[types.ContainerEventResponse] = []
        self._made = 0

    def container(self, place: Any) -> Any:
        if self._made:
            self.messages.append(types.ContainerEventResponse(container_id=f"c{self._made}"))
        self._made += 1
        return SimpleNamespace(id=f"c{self._made}")

    def get(self, rpc: str, container_id: str) -> None:
        assert rpc == "RemoveContainer"

    def wait_until(self, test: Callable[[Any], object], within: float) -> bool:
        return bool(test(self.messages))


def test_a_stream_that_is_late_is_no_silent_one() -> None:
    late: Any = _Late()
    assert watching.lit(late, None, [watching.Watch(late)])  # type: ignore[arg-type]
