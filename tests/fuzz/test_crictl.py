# SPDX-License-Identifier: Apache-2.0
"""A sequence as a crictl script: where it can be said, a shell takes it; else there is none."""

from __future__ import annotations

import subprocess
from typing import Any

from cri_conformance.api import types
from cri_conformance.fuzz.crictl import script
from cri_conformance.wire.client import request_of
from cri_conformance.wire.history import Call
from cri_conformance.wire.outcome import Ok

_POD, _CONTAINER = "a" * 64, "b" * 64


def _call(number: int, rpc: str, response: Any, **fields: Any) -> Call:
    return Call(number, float(number), 0.1, rpc, request_of(rpc, **fields), Ok(response), 1)


def _life() -> list[Call]:
    odd = {"odd": "a $(touch owned) `b` \"c\" 'd' \\e ü"}
    made = types.RunPodSandboxResponse(pod_sandbox_id=_POD)
    created = types.CreateContainerResponse(container_id=_CONTAINER)
    started = types.StartContainerResponse()
    config = types.ContainerConfig(image=types.ImageSpec(image="i:1"), annotations=odd)
    pod = types.PodSandboxConfig(labels=odd)
    return [
        _call(1, "RunPodSandbox", made, config=pod),
        _call(2, "CreateContainer", created, pod_sandbox_id=_POD, config=config),
        _call(3, "StartContainer", started, container_id=_CONTAINER),
    ]


def test_what_can_be_said_a_shell_takes() -> None:
    said = script("a title", _life())
    subprocess.run(["sh", "-n"], input=said, text=True, check=True)
    assert 'crictl create "$S1" ctr1.json' in said
    assert said.endswith('crictl start "$C1"\n')
    assert "\\$(touch owned) \\`b\\`" in said


def test_what_can_not_be_said_has_no_script() -> None:
    reopened = types.ReopenContainerLogResponse()
    more = _call(4, "ReopenContainerLog", reopened, container_id=_CONTAINER)
    assert script("a title", [*_life(), more]) == ""
