# SPDX-License-Identifier: Apache-2.0
"""What build servers read: junit.xml to the letter of the schema, the summary, annotations."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from cri_conformance.contract.expectations import Expectation
from cri_conformance.report import github, junit, markdown

from .fakes import broken, call, found, large, record, results, small_register
from .test_html import HOSTILE

STOP = "RuntimeService.StopPodSandbox.idempotent"
RUN = "RuntimeService.RunPodSandbox.ready"
TWO = small_register((STOP, "MUST"), (RUN, "SHOULD"))

#: Element → (attributes it must have, attributes it may have, children in their order).
SCHEMA: dict[str, tuple[set[str], set[str], list[str]]] = {
    "testsuites": (set(), set(), ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
        set(),
        ["properties", "testcase"],
    ),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, set(), []),
    "testcase": (
        {"classname", "name", "time"},
        set(),
        ["properties", "skipped", "error", "failure", "system-out"],
    ),
    "skipped": ({"type", "message"}, set(), []),
    "error": ({"type", "message"}, set(), []),
    "failure": ({"type", "message"}, set(), []),
    "system-out": (set(), set(), []),
}
ONCE = {"properties", "skipped", "error", "failure", "system-out"}


def valid(text: str) -> ElementTree.Element:
    """The document, which must be to the schema."""
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert root.tag == "testsuites"
    for element in root.iter():
        must, may, children = SCHEMA[element.tag]
        assert must <= element.attrib.keys() <= must | may, element.tag
        places = [children.index(child.tag) for child in element]
        assert places == sorted(places), f"{element.tag}: wrong order"
        for tag in ONCE:
            assert len(element.findall(tag)) <= 1
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\+00:00)?", suite.attrib["timestamp"])
        for tag, key in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.attrib[key]) == sum(c.find(tag) is not None for c in cases)
        assert len({(c.attrib["classname"], c.attrib["name"]) for c in cases}) == len(cases)
    return root


def test_a_large_run_is_to_the_schema_and_says_what_the_page_says():
    made = large()
    root = valid(junit.render(made))
    suite = root[0]
    assert int(suite.attrib["failures"]) == made["summary"]["broken"]
    assert int(suite.attrib["errors"]) == made["summary"]["error"]
    spent = sum(test["seconds"] for test in made["tests"] if test["clauses"])
    assert float(suite.attrib["time"]) == pytest.approx(spent, abs=1)


def test_a_broken_clause_tells_its_story():
    case = valid(junit.render(results(TWO, broken("t", STOP, log="level=error")))).find(
        ".//testcase[failure]"
    )
    assert case is not None
    assert case.attrib["name"] == STOP
    assert case.attrib["classname"] == "RuntimeService.StopPodSandbox"
    (failure,) = case.findall("failure")
    assert failure.attrib["message"].startswith(f"{STOP}: permitted the call succeeds; got NOT_FO")
    said = case.findtext("system-out") or ""
    for part in ("StopPodSandbox()", "--cri-clause", "level=error", "found by t"):
        assert part in said


def test_of_a_long_story_only_calls_are_counted():
    calls = [call("Status", at=float(number)) for number in range(junit.CALLS + 20)]
    calls[-junit.CALLS]["left_out"] = 7
    case = valid(junit.render(results(TWO, broken("t", STOP, transcript=calls)))).find(
        ".//testcase[failure]"
    )
    said = (case.findtext("system-out") or "") if case is not None else ""
    assert "the calls that led there (20 earlier ones stand in results.json):" in said
    assert said.count("Status() → OK") == junit.CALLS
    assert "… 7 calls left out …" in said


def test_known_and_unexercised_are_skipped_and_the_unselected_left_out():
    made = results(
        TWO,
        record("t", found(STOP, "known", reason="until 1.7")),
        known={STOP: Expectation(STOP, "until 1.7", "")},
        bound={RUN: ["u"]},
    )
    cases = list(valid(junit.render(made)).iter("testcase"))
    assert [case.attrib["name"] for case in cases] == [STOP]
    skipped = cases[0].find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"].startswith("known: until 1.7")


def test_tests_of_a_vendors_own_are_a_suite_beside():
    foreign = junit.Foreign(
        test="tests/test_own.py::test_x", seconds=0.5, outcome="failed", details="x\nE  assert 0"
    )
    root = valid(junit.render(results(TWO, record("t", found(STOP, "held"))), [foreign]))
    (case,) = root[1].findall("testcase")
    assert (case.attrib["classname"], case.attrib["name"]) == ("tests.test_own", "test_x")
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "assert 0"


MORE = ["::error::x\n::add-mask::y", "``` `", "@team #1 $x$ |", "\ufffe\uffff]]>", "\r\n::stop::"]


@pytest.mark.parametrize("text", [*HOSTILE, *MORE])
def test_hostile_text_is_text_everywhere(text):
    made = results(
        TWO,
        broken(text, STOP, permitted=text, actual=text, log=text, replay=text, details=text),
        record("u", found(RUN, "warned", actual=text)),
        record("v", blame="environment", message=text, details=text),
    )
    made["tests"][0]["transcript"].append(call(text, text, message=text))
    valid(junit.render(made, [junit.Foreign(test=text, seconds=0, outcome="failed", details=text)]))
    for line in github.lines(made):
        assert re.fullmatch(r"::(error|warning) title=[^:,\n\r]*::[^\n\r]*", line)
    summary = markdown.render(made)
    assert not set(summary) & set("\x00\x1b\u202e\r")
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", summary)
    assert text.strip() not in outside


def test_annotations_are_few():
    many = small_register(*((f"RuntimeService.Version.c{n}", "MUST") for n in range(30)))
    made = results(many, *(broken(f"t{n}", name) for n, name in enumerate(many.clauses)))
    told = github.lines(made)
    assert len(told) == github.SHOWN
    assert "and 21 more" in told[-1]


def test_the_summary_of_a_large_run_fits():
    text = markdown.render(large())
    assert len(text.encode()) < 64 * 1024
    assert text.startswith("## CRI conformance: BROKEN 5\n")
    assert "RuntimeService.StopContainer.idempotent" in text
    assert "--cri-clause" in text


def test_the_summary_is_added_to_what_is_there(tmp_path):
    path = tmp_path / "step"
    path.write_text("before\n", encoding="utf-8")
    markdown.append(results(TWO), path)
    assert path.read_text(encoding="utf-8").startswith("before\n\n## CRI conformance")
