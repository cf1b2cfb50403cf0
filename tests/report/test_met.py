# SPDX-License-Identifier: Apache-2.0
"""What campaigns met, as tables."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from cri_conformance.report import html
from cri_conformance.report.met import met

from .test_again import campaign


def _met(call: str, state: str, code: str, times: int) -> dict[str, Any]:
    return {"call": call, "state": state, "code": code, "times": times}


ONE = [
    _met("RemoveContainer", "container removed", "OK", 1),
    _met("StartContainer", "container running", "FAILED_PRECONDITION", 2),
    _met("StartContainer", "container created", "OK", 3),
    _met("StartContainer", "container not known", "NOT_FOUND", 1),
    _met("Version", "", "OK", 7),
]
OTHER = [
    _met("StartContainer", "container running", "FAILED_PRECONDITION", 1),
    _met("StartContainer", "container running", "UNKNOWN", 9),
    _met("CreateContainer", "sandbox ready", "OK", 4),
    _met("PullImage", "image absent", "OK", 1),
    _met("PullImage", "broken message", "UNAVAILABLE", 1),
]


def _two() -> Any:
    made = campaign()
    first = made["campaigns"][0]
    made["campaigns"] = [{**first, "met": ONE}, {**first, "worker": "gw1", "met": OTHER}]
    return made


def test_processes_are_taken_together_by_object():
    tables = met(_two()["campaigns"])
    assert [table.object for table in tables] == ["sandbox", "container", "image", ""]
    container = tables[1]
    assert container.states == ["not known", "created", "running", "removed"]
    assert container.calls == ["StartContainer", "RemoveContainer"]
    assert container.cells["StartContainer", "running"] == {"FAILED_PRECONDITION": 3, "UNKNOWN": 9}
    assert tables[3].states == ["no object", "broken message"]


def test_the_page_shows_them():
    page = unescape(html.render(_two()))
    section = page.partition('<section id="campaign">')[2].partition("</section>")[0]
    cells = [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in section.split("<tr>")]
    assert "container not known created running removed" in cells
    assert "StartContainer NOT_FOUND 1 OK 3 UNKNOWN 9 FAILED_PRECONDITION 3" in cells
    assert "Version OK 7" in cells
