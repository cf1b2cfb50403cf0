# SPDX-License-Identifier: Apache-2.0
"""A runtime that breaks its promises: what a run says of it, and how it ends."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .conftest import Place, Ran, Served, behind

STABLE = "RuntimeService.Version.stable"
FAULT = "drift-Version.runtime_version-suffixed-_1"
#: A SHOULD that one test of no cost can break: a vendor's own.
SHOULD = "ContainerStatusResponse.info.json-values"
NARROW = "--cri-clause=RuntimeService.Version.*"


@pytest.fixture(scope="module")
def faulty(served: Served, short: Callable[[], Path]) -> Iterator[list[str]]:
    """Options that lead to a runtime behind a fault."""
    with behind(FAULT, served, short()) as options:
        yield options


@pytest.fixture(scope="module")
def broken(
    faulty: list[str], short: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    """A run that met the fault."""
    return Place(tmp_path_factory.mktemp("broken"), short()).run(*faulty, NARROW)


def test_exit_status_and_verdicts(broken: Ran) -> None:
    assert broken.status == 1, broken.output
    assert broken.verdicts.pop(STABLE) == "broken"
    assert {v for name, v in broken.verdicts.items() if name != STABLE} == {"held"}


def test_failure_tells_all(broken: Ran) -> None:
    shown = broken.output.partition("= FAILURES =")[2].partition("generated xml file")[0]
    assert f"{STABLE} (" in shown
    assert "permitted: " in shown
    assert "got:       " in shown
    assert "calls, the last one last" in shown
    assert shown.count("Version(") >= 2
    assert "see it again with:" in shown
    assert "Traceback" not in shown
    assert "judge.equal" not in shown


def test_replay_reproduces(broken: Ran, place: Place) -> None:
    record = next(test for test in broken.results["tests"] if test["outcome"] == "failed")
    program, *words = shlex.split(record["replay"])
    assert program == "pytest"
    again = place.run(*words)
    assert again.status == 1, again.output
    # The report that somebody reads is not written over.
    replayed = place.folder / "reports/replay/results.json"
    clauses = json.loads(replayed.read_text(encoding="utf-8"))["clauses"]
    verdicts = {c["id"]: c["verdict"] for c in clauses}
    assert verdicts.pop(STABLE) == "broken"
    assert {*verdicts.values()} == {"not exercised"}
    assert not (place.folder / "reports/latest").exists()


def test_a_clause_that_several_tests_find_broken_is_told_once(
    faulty: list[str], place: Place
) -> None:
    place.write(
        test_own__py=f"""
            import pytest

            @pytest.mark.parametrize("turn", range(8))
            @pytest.mark.clause({STABLE!r})
            def test_own(cri_runtime, judge, turn):
                seen = {{cri_runtime.get("Version").runtime_version for _ in range(3)}}
                judge.that({STABLE!r}, len(seen) == 1, permitted="one", actual=sorted(seen))
        """
    )
    ran = place.run(*faulty, "test_own.py")
    assert ran.status == 1, ran.output
    shown = ran.output.partition("= FAILURES =")[2].partition("= contract =")[0]
    assert shown.count("see it again with:") == 1
    assert shown.count("is broken, as told at test_own.py::test_own[0]") == 7
    assert "found by 7 other tests too:\n    test_own.py::test_own[1]\n" in shown
    assert "\n    and 2 more\n" in shown
    # The report has each of them whole.
    details = [test["details"] for test in ran.results["tests"]]
    assert all("see it again with:" in one for one in details)


def test_reports_are_written(broken: Ran) -> None:
    results = broken.results
    assert results["schema_version"] == 1
    assert results["suite"]["complete"] is True
    assert results["summary"]["broken"] == 1
    record = next(test for test in results["tests"] if test["outcome"] == "failed")
    assert record["blame"] == "runtime"
    assert [call["rpc"] for call in record["transcript"]] == ["Version"] * len(record["transcript"])
    page = broken.report("index.html")
    assert STABLE in page
    assert not re.search(r'(src|href)="https?://[^"]+\.(js|css)"', page)


def test_junit_names_the_clause(broken: Ran) -> None:
    cases = ElementTree.fromstring(broken.report("junit.xml")).iter("testcase")
    case = next(case for case in cases if case.find("failure") is not None)
    assert STABLE in case.attrib["name"]
    failure = case.find("failure")
    assert failure is not None
    assert STABLE in failure.attrib["message"]
    properties = {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")}
    assert properties["clause"] == f"{STABLE}: broken"


def test_workers_find_the_same(broken: Ran, faulty: list[str], place: Place) -> None:
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(place.folder / "step.md")}
    ran = place.run(*faulty, NARROW, "-n2", **github)
    assert ran.status == 1, ran.output
    assert f"::error title={STABLE} (" in ran.output
    assert STABLE in (place.folder / "step.md").read_text(encoding="utf-8")
    (measured,) = ran.results["latencies"]
    assert (measured["rpc"], measured["answered"] > 1) == ("Version", True)
    assert ran.verdicts == broken.verdicts
    cases = list(ElementTree.fromstring(ran.report("junit.xml")).iter("testcase"))
    named = [p.attrib["value"] for case in cases for p in case.iter("property")]
    assert f"{STABLE}: broken" in named
    one, several = broken.results, ran.results
    assert [test["test"] for test in several["tests"]] == [test["test"] for test in one["tests"]]
    assert [test["clauses"][0]["verdict"] for test in several["tests"]] == [
        test["clauses"][0]["verdict"] for test in one["tests"]
    ]


# -- what is known ---------------------------------------------------------------------


def _expect(place: Place, clause: str) -> str:
    place.write(known__toml=f'[[known]]\nclause = "{clause}"\nreason = "until 2.0"\n')
    return "--cri-expectations=known.toml"


def test_known_violation_and_stale_expectation(
    places: list[Place], faulty: list[str], served: Served
) -> None:
    known, stale = (
        place.start(*target, NARROW, _expect(place, STABLE))
        for place, target in zip(places, (faulty, served.options), strict=True)
    )
    ran = places[0].end(known)
    assert ran.status == 0, ran.output
    assert ran.verdicts[STABLE] == "known"
    assert "until 2.0" in ran.line(f"^known +{STABLE}")
    ran = places[1].end(stale)
    assert ran.status == 1, ran.output
    assert "remove its entry" in ran.line(f"^STALE +{STABLE} held")


# -- levels, minors --------------------------------------------------------------------

_LEVELS = f"""
    import pytest
    from cri_conformance.expect import clause

    @clause("{SHOULD}")
    def test_should(judge):
        judge.that("{SHOULD}", False, permitted="json", actual="none")

    @clause("{STABLE}")
    def test_must(judge):
        judge.that("{STABLE}", True, permitted="", actual="")

    @clause("ContainerStatus.stop_signal.reported")
    def test_younger(judge):
        judge.that("ContainerStatus.stop_signal.reported", False, permitted="", actual="")
"""


def test_should_and_younger(places: list[Place], served: Served) -> None:
    older = [*served.options, "--cri-version=1.30", "test_levels.py"]
    for place in places:
        place.write(test_levels__py=_LEVELS)
    warns, strict = places[0].start(*older), places[1].start(*older, "--cri-strict")
    ran = places[0].end(warns)
    assert ran.status == 0, ran.output
    assert ran.verdicts == {SHOULD: "warned", STABLE: "held"}
    assert ran.reason("ContainerStatus.stop_signal.reported").endswith("holds since 1.33")
    ran = places[1].end(strict)
    assert ran.status == 1, ran.output
    assert ran.verdicts == {SHOULD: "broken", STABLE: "held"}


def test_levels_and_clauses_are_selected(place: Place, served: Served) -> None:
    place.write(test_levels__py=_LEVELS)
    selected = ["--cri-level=MUST,FIELD,KUBELET", "--cri-clause=*Version*"]
    ran = place.run(*served.options, *selected, "test_levels.py")
    assert ran.status == 0, ran.output
    assert ran.verdicts == {STABLE: "held"}
    assert ran.reason(SHOULD).startswith("switched off by option")
