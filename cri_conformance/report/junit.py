# SPDX-License-Identifier: Apache-2.0
"""junit.xml for build servers: a case for each clause, as that is what they follow from run to run.

A server shows a case by its name and a failure by the first line of its message, cuts what is
long and keeps the history by class and name. So a case is named by its clause, which does not
change when a test moves; the message begins with clause, permitted and seen; the calls and the
log stand in system-out. What is known, and what was not exercised, is skipped with its reason.
What a campaign found beyond the clauses is a suite of its own, and so are tests that judge no
clause (a vendor's own).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict
from xml.etree import ElementTree

from cri_conformance.contract.verdict import Verdict
from cri_conformance.report.files import write_text
from cri_conformance.report.findings import distinct, is_breach, of_clauses
from cri_conformance.report.schema import ClauseResult, Finding, Results, TestRecord
from cri_conformance.report.text import because, one_line, visible
from cri_conformance.wire.history import CallRecord
from cri_conformance.wire.lines import in_lines

#: What a case says at most: a file of some MiB is refused by some servers.
CALLS, LOG, DETAILS = 60, 8_000, 20_000


class Foreign(TypedDict):
    """A test that judged no clause."""

    test: str
    seconds: float
    outcome: str
    details: str


def write(results: Results, path: Path, foreign: Iterable[Foreign] = ()) -> None:
    """Write the file, whole or not at all. Raises OSError."""
    write_text(path, render(results, foreign))


def render(results: Results, foreign: Iterable[Foreign] = ()) -> str:
    """The document."""
    about, target = results["suite"], results["target"]
    suites = ElementTree.Element("testsuites")
    name = f"CRI conformance: {target['runtime_name']} {target['runtime_version']}"
    suite = _suite(suites, one_line(name, 200), results)
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in (
        ("endpoint", target["endpoint"]),
        ("judged by", f"CRI {target['minor']}"),
        ("depth", about["depth"]),
        ("seed", str(about["seed"])),
        ("suite", about["version"]),
        ("command", about["command"]),
    ):
        ElementTree.SubElement(properties, "property", name=key, value=_text(value, 1000))
    speaking, times = _speaking(results["tests"])
    findings = of_clauses(results["campaigns"])
    for clause in results["clauses"]:
        if not clause["reason"].endswith("not selected"):
            spoken = speaking.get((clause["id"], clause["verdict"]))
            _clause(suite, clause, spoken, findings.get(clause["id"], []), times)
    _counted(suite)
    if found := [one for one in distinct(results["campaigns"]) if not is_breach(one)]:
        suite = _suite(suites, "found by the campaign", results)
        for finding in found:
            _finding(suite, finding)
        _counted(suite)
    others = [*_without_clauses(results["tests"]), *foreign]
    if others:
        suite = _suite(suites, "tests without a clause", results)
        for test in others:
            _other(suite, test)
        _counted(suite)
    ElementTree.indent(suites, " ")
    text = ElementTree.tostring(suites, "unicode")
    # The two characters that XML has not and that are not invisible to anybody else.
    text = text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _suite(parent: ElementTree.Element, name: str, results: Results) -> ElementTree.Element:
    return ElementTree.SubElement(
        parent,
        "testsuite",
        name=visible(name),
        timestamp=results["suite"]["started"],
        hostname=_text(results["environment"]["hostname"], 200),
    )


def _counted(suite: ElementTree.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for tag, key in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(key, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.attrib['time']) for case in cases):.3f}")


def _speaking(
    tests: Iterable[TestRecord],
) -> tuple[dict[tuple[str, str], TestRecord], dict[str, float]]:
    """The test that speaks for a clause's verdict; a clause's part of its tests' time."""
    speaking: dict[tuple[str, str], TestRecord] = {}
    times: dict[str, float] = {}
    for test in tests:
        for record in test["clauses"]:
            speaking.setdefault((record["clause"], record["verdict"]), test)
            share = test["seconds"] / len(test["clauses"])
            times[record["clause"]] = times.get(record["clause"], 0.0) + share
    return speaking, times


def _clause(
    suite: ElementTree.Element,
    clause: ClauseResult,
    test: TestRecord | None,
    findings: list[Finding],
    times: Mapping[str, float],
) -> None:
    verdict = clause["verdict"]
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=clause["call"] or clause["element"],
        name=clause["id"],
        time=f"{times.get(clause['id'], 0.0):.3f}",
    )
    properties = ElementTree.SubElement(case, "properties")
    for key, value in (
        ("clause", f"{clause['id']}: {verdict}"),
        ("level", clause["level"]),
        ("kind", clause["kind"]),
    ):
        ElementTree.SubElement(properties, "property", name=key, value=value)
    against = (
        f"{clause['id']}: permitted {one_line(clause['permitted'], 300)}; "
        f"got {one_line(clause['actual'], 300)}"
    )
    if verdict == Verdict.BROKEN:
        failure = ElementTree.SubElement(
            case, "failure", type=f"{clause['level']} {clause['kind']}", message=visible(against)
        )
        details = test["details"] if test and not findings else ""
        failure.text = _text(f"{clause['text']}\n\n{details or against}", DETAILS)
    elif verdict == Verdict.ERROR:
        told = test["message"] if test and test["message"] else clause["reason"]
        error = ElementTree.SubElement(
            case,
            "error",
            type=(test["blame"] if test else "") or "no verdict",
            message=visible(f"{clause['id']}: no verdict: {one_line(told, 600)}"),
        )
        error.text = _text(test["details"] if test else told, DETAILS)
    elif verdict == Verdict.KNOWN:
        told = f"known: {clause['reason']}; {against}"
        ElementTree.SubElement(case, "skipped", type="known", message=one_line(told, 900))
    elif verdict == Verdict.NOT_EXERCISED:
        told = one_line(clause["reason"], 600)
        ElementTree.SubElement(case, "skipped", type="not exercised", message=told)
    said = _story(clause, test, findings, against)
    if said:
        ElementTree.SubElement(case, "system-out").text = _text(said, 4 * DETAILS)


def _story(
    clause: ClauseResult, test: TestRecord | None, findings: list[Finding], against: str
) -> str:
    if clause["verdict"] == Verdict.RECORDED:
        return f"seen: {clause['actual']}"
    if clause["verdict"] in (Verdict.HELD, Verdict.NOT_EXERCISED):
        return ""
    if findings:
        return "\n\n".join([clause["text"], *map(_told, findings)])
    if test is None:
        return ""
    lines = [clause["text"], against, f"found by {test['test']}"]
    lines += _seen_again(test["replay"], test["transcript"])
    if test["log"]:
        lines += ["", "the runtime's log meanwhile:", test["log"][-LOG:]]
    return "\n".join(lines)


def _told(finding: Finding) -> str:
    """A campaign's finding: what came, how to see it again, the calls that led there."""
    what = one_line(finding["clause"] or finding["kind"])
    permitted, actual = (one_line(finding[key], 300) for key in ("permitted", "actual"))
    lines = [f"{what}: permitted {permitted}; got {actual}"]
    lines += _seen_again(finding["replay"], finding["transcript"])
    return "\n".join([*lines, *finding["sent"]])


def _seen_again(replay: str, calls: list[CallRecord]) -> list[str]:
    lines = ["", "see it again with:", replay] if replay else []
    if calls:
        earlier = len(calls) - CALLS
        more = f" ({earlier} earlier ones stand in results.json)" if earlier > 0 else ""
        lines += ["", f"the calls that led there{more}:", *in_lines(calls[-CALLS:], 240)]
    return lines


def _finding(suite: ElementTree.Element, finding: Finding) -> None:
    """A case for what no clause's case tells of."""
    name = one_line(f"{finding['clause'] or finding['kind']}: {finding['cause']}")
    case = ElementTree.SubElement(suite, "testcase", classname="campaign", name=name, time="0.000")
    said = _told(finding)
    against = said.partition("\n")[0]
    if finding["counts"]:
        kind = one_line(finding["kind"])
        failure = ElementTree.SubElement(case, "failure", type=kind, message=against)
        failure.text = _text("\n".join([against, *_seen_again(finding["replay"], [])]), DETAILS)
    elif finding["reason"]:
        told = f"known: {because(finding['reason'], finding['link'])}; {against}"
        ElementTree.SubElement(case, "skipped", type="known", message=one_line(told, 900))
    ElementTree.SubElement(case, "system-out").text = _text(said, 4 * DETAILS)


def _without_clauses(tests: Iterable[TestRecord]) -> Iterable[Foreign]:
    for test in tests:
        if not test["clauses"]:
            yield Foreign(
                test=test["test"],
                seconds=test["seconds"],
                outcome=test["outcome"],
                details=test["details"] or test["message"],
            )


def _other(suite: ElementTree.Element, test: Foreign) -> None:
    place, _, name = test["test"].partition("::")
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_text(place.removesuffix(".py").replace("/", "."), 300),
        name=_text(name or place, 300),
        time=f"{test['seconds']:.3f}",
    )
    if test["outcome"] == "passed":
        return
    lines = test["details"].strip().splitlines()
    # pytest's own failures say what was wrong in lines that begin with E.
    message = next((line[1:] for line in lines if line.startswith("E ")), lines[0] if lines else "")
    tag = "failure" if test["outcome"] == "failed" else "skipped"
    made = ElementTree.SubElement(case, tag, type=test["outcome"], message=one_line(message, 600))
    made.text = _text(test["details"], DETAILS)


def _text(text: str, longest: int) -> str:
    """What XML can hold: all else is shown as escapes."""
    return visible(text, longest)
