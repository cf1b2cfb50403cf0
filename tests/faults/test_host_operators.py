# SPDX-License-Identifier: Apache-2.0
"""Operators that do something to a path which a request names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults.fault import Call, Operator
from cri_conformance.faults.operators.host import touches, writes_then_fails


def _mark(path: Path) -> None:
    (path / "mark").touch()


def _call(operator: Operator, path: str, error: StatusError | None = None) -> Any:
    request = types.CheckpointPodRequest(output_path=path)

    def proceed(_: Any) -> Any:
        if error:
            raise error
        return types.CheckpointPodResponse()

    # Neither operator asks upstream.
    return operator.make()(Call("CheckpointPod", request, proceed), proceed)


def test_touches_whatever_the_answer_is(tmp_path: Path) -> None:
    operator = touches("mark", "CheckpointPod", "output_path", "marks", _mark)
    assert _call(operator, str(tmp_path)) == types.CheckpointPodResponse()
    assert (tmp_path / "mark").exists()
    (tmp_path / "mark").unlink()
    with pytest.raises(StatusError, match="no"):
        _call(operator, str(tmp_path), StatusError("UNKNOWN", "no"))
    assert (tmp_path / "mark").exists()


def test_writes_only_when_it_fails(tmp_path: Path) -> None:
    operator = writes_then_fails("mark", "CheckpointPod", "output_path", "marks", _mark)
    _call(operator, str(tmp_path))
    assert not (tmp_path / "mark").exists()
    with pytest.raises(StatusError, match="no"):
        _call(operator, str(tmp_path), StatusError("UNKNOWN", "no"))
    assert (tmp_path / "mark").exists()


def test_what_is_no_path_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    operator = touches("mark", "CheckpointPod", "output_path", "marks", _mark)
    for path in ("", ".", f"{tmp_path}/missing"):
        _call(operator, path)
    assert list(tmp_path.iterdir()) == []
