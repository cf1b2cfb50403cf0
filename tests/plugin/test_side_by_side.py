# SPDX-License-Identifier: Apache-2.0
"""Runs beside each other on one server, and beside what is somebody else's."""

from __future__ import annotations

from .conftest import Place, Ran, Served

#: A good part of the suite that takes a second or two.
PART = "--cri-clause=*PodSandbox*s.*"


def test_two_runs_and_two_workers_find_the_same(served: Served, places: list[Place]) -> None:
    theirs = served.foreign_sandbox("theirs-too")
    before = served.objects()
    started = [
        places[0].start(*served.options, PART),
        places[1].start(*served.options, PART, "-n2"),
    ]
    one, other = (place.end(process) for place, process in zip(places, started, strict=True))
    assert one.status == 0, one.output
    assert other.status == 0, other.output
    # Calls that could mean somebody else's object are rather not sent: by chance, as ids are.
    unsafe = _left_for_safety(one) | _left_for_safety(other)
    assert _but(one, unsafe) == _but(other, unsafe)
    assert len(_but(one, unsafe)) > 20
    assert len({test["worker"] for test in other.results["tests"]}) == 2
    assert served.objects() == before
    assert [place.left() for place in places] == [[], []]
    served.client.call("RemovePodSandbox", pod_sandbox_id=theirs)


def _left_for_safety(ran: Ran) -> set[str]:
    return {
        clause["id"]
        for clause in ran.results["clauses"]
        if "others use the node" in clause["reason"]
    }


def _but(ran: Ran, unsafe: set[str]) -> dict[str, str]:
    return {name: verdict for name, verdict in ran.verdicts.items() if name not in unsafe}
