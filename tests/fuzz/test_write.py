# SPDX-License-Identifier: Apache-2.0
"""The files of a finding."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.fuzz import write
from cri_conformance.fuzz.finding import Finding, Kind
from cri_conformance.settings import Settings
from cri_conformance.wire.client import request_of
from cri_conformance.wire.history import Call, StreamRecord
from cri_conformance.wire.outcome import Ok


def test_what_a_stream_brought_is_told_in_words():
    container = "c" * 64
    opened = StreamRecord()
    opened.add(types.ContainerEventResponse(container_id=container))
    events = request_of("GetContainerEvents")
    created = types.CreateContainerResponse(container_id=container)
    first, _, last = write.calls(
        [
            Call(1, 0.0, 0.1, "GetContainerEvents", events, opened, 1),
            Call(2, 0.2, 0.1, "CreateContainer", request_of("CreateContainer"), Ok(created), 1),
            Call(3, 0.3, 0.1, "GetContainerEvents", events, opened.ended(Ok(None)), 1),
        ]
    )
    assert first["outcome"] == "OPENED"
    assert first["brought"]["messages"] == 1
    assert first["brought"]["0"]["container_id"] == "${container1}"
    assert (last["outcome"], last["brought"]) == ("OK", {"messages": 1})


@pytest.mark.parametrize(("mode", "said"), [("lives", True), ("wire", False)])
def test_what_is_below_a_client_has_no_crictl_script(tmp_path: Path, mode: str, said: bool):
    settings = Settings("reference", fuzz_dir=tmp_path)
    facts: Any = SimpleNamespace(runtime_name="r", runtime_version="1")
    request = request_of("RemoveContainer", container_id="c" * 64)
    answer = Ok(types.RemoveContainerResponse())
    found = Finding(Kind.LEAK, mode, "", "cause", "nothing is left", "a sandbox", 0)
    found.raw = [Call(1, 0.0, 0.1, "RemoveContainer", request, answer, 1)]
    # As an earlier version left it.
    folder = tmp_path / "findings" / f"r-1-{found.name}"
    folder.mkdir(parents=True)
    (folder / "crictl.sh").write_text("old")
    write.finding(found, facts, settings)
    script = Path(found.folder, "crictl.sh")
    assert script.exists() is said
    assert not said or "crictl rm -f" in script.read_text()
