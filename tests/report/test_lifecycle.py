# SPDX-License-Identifier: Apache-2.0
"""The lifecycle tables."""

from __future__ import annotations

import pytest

from cri_conformance.report.lifecycle import tables

STOP = "RuntimeService.StopContainer.idempotent"


def row(call="StopContainer", state="container exited", permitted="ok", clause=STOP, seen="OK"):
    return {"call": call, "state": state, "permitted": permitted, "clause": clause, "seen": seen}


def test_one_table_for_each_kind_of_object_in_the_order_of_a_life():
    made = tables(
        [
            row(state="container removed"),
            row(state="container created, sandbox stopped"),
            row(state="container never known"),
            row(state="sandbox removed", call="RemovePodSandbox"),
            row(state="sandbox ready", call="StopPodSandbox"),
            row(state="container created", call="Unheard"),
            row(state="odd"),
        ],
        [],
    )
    assert [table.object for table in made] == ["sandbox", "", "container"]
    assert made[0].calls == ["StopPodSandbox", "RemovePodSandbox"]
    assert made[0].states == ["ready", "removed"]
    assert made[2].states == ["never known", "created", "created, sandbox stopped", "removed"]
    assert made[2].calls == ["StopContainer", "Unheard"]


@pytest.mark.parametrize(
    ("permitted", "seen", "verdict", "shown"),
    [
        ("ok", "OK", "broken", "held"),
        ("ok", "NOT_FOUND", "broken", "broken"),
        ("ok", "NOT_FOUND", "known", "known"),
        ("ok", "NOT_FOUND", "warned", "warned"),
        ("ok", "NOT_FOUND", "not exercised", ""),
        ("refused", "NOT_FOUND", "held", "held"),
        ("refused", "OK", "broken", "broken"),
        ("refused", "UNIMPLEMENTED", "broken", "broken"),
        ("either", "OK", "broken", ""),
    ],
)
def test_a_cell_says_what_the_judge_said(permitted, seen, verdict, shown):
    clauses = [{"id": STOP, "verdict": verdict}]
    made = tables([row(permitted=permitted, seen=seen)], clauses)
    assert made[0].cells["exited", "StopContainer"][0].verdict == shown


def test_no_rows_no_tables():
    assert tables([], []) == []


def test_a_list_shows_or_does_not():
    made = tables([row(call="ListContainers", permitted="refused", seen="not listed")], [])
    (answer,) = made[0].cells["exited", "ListContainers"]
    assert (answer.permitted, answer.verdict) == ("must not be listed", "held")
