# SPDX-License-Identifier: Apache-2.0
"""What stands on the terminal: under a failing test, and at the end of the run."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

from cri_conformance.contract.clause import Clause
from cri_conformance.contract.verdict import Reason, Verdict
from cri_conformance.report import again, campaigns, reasons, remains
from cri_conformance.report.exit import Ending, ending, failures, known
from cri_conformance.report.findings import distinct
from cri_conformance.report.profiles import State, too_short
from cri_conformance.report.schema import (
    ClauseResult,
    Finding,
    ProfileResult,
    Results,
    TestRecord,
)
from cri_conformance.report.text import because, count, known_words, one_line, tried, visible
from cri_conformance.wire.history import CallRecord
from cri_conformance.wire.lines import folded, in_lines, told

#: Columns that prose is wrapped at. Calls and commands stay on lines of their own.
WIDTH = 100
#: Lines of one sort that a summary shows unless asked for more.
SHOWN = 20

Line = tuple[str, dict[str, bool]]


#: Calls that a failure shows on the terminal; the report has them all.
TRANSCRIPT_CALLS = 30


def failure_text(
    clause: Clause, permitted: str, actual: str, transcript: Sequence[CallRecord], replay: str
) -> str:
    """What a failing test shows in place of a traceback.

    In the order in which a reader asks: which promise, what it says, what came, which
    calls led there, how to see it again.
    """
    lines = [f"{clause.id} ({clause.level}, {clause.kind}; {clause.source})"]
    lines += _wrapped(clause.text, "  ", "  ")
    if clause.evidence:
        lines += _wrapped(f"The kubelet relies on it: {clause.evidence}", "  ", "  ")
    lines += ["", *_wrapped(visible(permitted), "  permitted: ", " " * 13)]
    lines += _wrapped(visible(actual), "  got:       ", " " * 13)
    if transcript:
        shown = folded(transcript)[-TRANSCRIPT_CALLS:]
        earlier = len(transcript) - told(shown)
        more = f" ({earlier} earlier ones stand in the report)" if earlier else ""
        lines += ["", f"  {count(told(shown), 'call')}, the last one last{more}:"]
        lines += [f"    {visible(line)}" for line in in_lines(shown)]
    lines += ["", "  see it again with:", f"    {visible(replay)}"]
    return "\n".join(lines)


def summary_lines(results: Results, verbose: int) -> list[Line]:
    """The end of a run, what is broken first: (text, markup for pytest's writer).

    ``verbose`` is pytest's: below 0 only what is wrong, above 0 everything.
    """
    most = 0 if verbose > 0 else SHOWN
    of = {
        verdict: [clause for clause in results["clauses"] if clause["verdict"] == verdict]
        for verdict in Verdict
    }
    lines = _broken(of[Verdict.BROKEN], results, most)
    if verbose >= 0:
        known = [
            (f"{'flaky   ' if c['flaky'] else 'known   '} {c['id']}: {_because(c)}", _YELLOW)
            for c in of[Verdict.KNOWN]
        ]
        warned = [
            (f"warned   {c['id']} ({c['level']}): {_came(c)}", _YELLOW) for c in of[Verdict.WARNED]
        ]
        lines += _some(known, most, "known") + _some(warned, most, "warned")
    lines += [
        (f"STALE    {clause} held: remove its entry from the expectations file", _RED)
        for clause in results["stale"]
    ]
    lines += [
        (f"MISSING  {profile['name']}: {what}", _RED)
        for profile in results["profiles"]
        for what in profile["missing"]
    ]
    lines += _review(results)
    lines += _some(_no_verdict(results["tests"]), most, "without a verdict")
    if verbose > 0:
        lines += [
            (f"recorded {c['id']}: {one_line(c['actual'])}", {}) for c in of[Verdict.RECORDED]
        ]
        lines += _not_exercised(
            [c for c in of[Verdict.NOT_EXERCISED] if not _left_out_on_purpose(c["reason"])]
        )
    lines += _campaigns(results)
    lines += _left(results)
    if verbose >= 0:
        lines += _baseline(results) + _profiles(results, verbose)
    return [*lines, *_end(results)]


def _left_out_on_purpose(reason: str) -> bool:
    """What nobody wonders about: no test yet, or not what the user chose."""
    chosen = reason.endswith(("not selected", "not among the tests that were named"))
    return chosen or reason.startswith(Reason.UNTESTED)


_RED = {"red": True, "bold": True}
_YELLOW = {"yellow": True}
_GREEN = {"green": True, "bold": True}


def _review(results: Results) -> list[Line]:
    """Expectations that should be looked at again, and what else is to be known of them."""
    expected = results["expectations"]
    lines: list[Line] = [
        (
            f"review   {one['clause'] or one['finding']}: its entry in "
            f"{one_line(expected['source'], 100)} was to be looked at again by {one['review']}",
            _YELLOW,
        )
        for one in expected["overdue"]
    ]
    return lines + [(f"expectations: {one_line(note)}", _YELLOW) for note in expected["notes"]]


def _profiles(results: Results, verbose: int) -> list[Line]:
    """One line for each profile that is not conformant; with -v for all."""
    if results["suite"]["selection"]:
        # Of a part no profile can be said to be kept; what broke stands above.
        return []
    lines: list[Line] = []
    good = []
    for one in results["profiles"]:
        if one["verdict"] == State.CONFORMANT and verbose <= 0:
            good.append(one["name"])
        if one["verdict"] in (State.BROKEN, State.PARTIAL) or verbose > 0:
            lines.append((f"profile  {profile_words(one)}", _TONE.get(one["verdict"], {})))
    if good:
        lines.append((f"profiles conformant: {', '.join(good)}", {"green": True}))
    return lines


def profile_words(profile: ProfileResult) -> str:
    """A profile in one line."""
    words = [f"{profile['judged']} of {profile['asked']} judged"]
    if profile["verdict"] == State.PARTIAL or profile["short"]:
        words.append(f"{profile['minimum']} needed")
    words += [f"{profile[key]} {key}" for key in ("broken", "known") if profile[key]]
    words += ["something claimed is missing"] if profile["missing"] else []
    return f"{profile['name']}: {profile['verdict']} ({', '.join(words)})"


_TONE: dict[str, dict[str, bool]] = {
    State.BROKEN: {"red": True},
    State.PARTIAL: {"yellow": True},
    State.CONFORMANT: {"green": True},
}


def _baseline(results: Results) -> list[Line]:
    base = results["baseline"]
    if not base["source"]:
        return []
    told = [
        f"{len(base['new'])} newly broken",
        f"{len(base['gone'])} no longer broken",
        f"{len(base['unjudged'])} no longer judged",
    ]
    who = f"{base['runtime_name']} {base['runtime_version']}"
    return [
        (
            f"against the baseline ({one_line(who, 80)}): {', '.join(told)}",
            _RED if base["new"] else {},
        )
    ]


def _broken(clauses: list[ClauseResult], results: Results, most: int) -> list[Line]:
    new = set(results["baseline"]["new"])
    replays = again.commands(results)
    lines: list[Line] = []
    for clause in clauses[: most or None]:
        mark = "NEW, " if clause["id"] in new else ""
        told = f"BROKEN   {clause['id']} ({mark}{clause['level']}): {_came(clause)}"
        lines.append((told, _RED))
        if replay := replays.get(clause["id"]):
            lines.append((f"         {visible(replay)}", {}))
    return lines + _rest(len(clauses), most, "broken")


def _no_verdict(tests: Iterable[TestRecord]) -> list[Line]:
    """One line for each thing that went wrong, however many tests it met."""
    met = Counter(
        (test["blame"], one_line(test["message"]))
        for test in tests
        if test["blame"] in ("environment", "suite")
    )
    lead = {"environment": "no verdict (environment)", "suite": "no verdict (mistake of the suite)"}
    return [
        (f"{lead[blame]}, {count(number, 'test')}: {message}", {"purple": True})
        for (blame, message), number in met.items()
    ]


def _not_exercised(clauses: list[ClauseResult]) -> list[Line]:
    return [
        (f"not exercised, {reason}: {', '.join(c['id'] for c in group)}", {})
        for reason, group in reasons.grouped(clauses).items()
    ]


def _campaigns(results: Results) -> list[Line]:
    """What each process of a campaign did, and where its findings lie."""
    lines: list[Line] = []
    # Of a broken clause it is said where the clause is; a campaign that was interrupted has none.
    said_before = set(again.commands(results).values())
    for campaign in results["campaigns"]:
        lead = f"campaign {campaign['worker']}".strip()
        # Of several processes each draws its own from the one that all were given.
        drawn = ", drawn from" * bool(campaign["worker"])
        lines.append((f"{lead}{drawn or ','} seed {campaign['seed']}: {campaign['line']}", {}))
        lines += [(f"  it {one_line(note)}", _YELLOW) for note in campaigns.notes(campaign)]
    for finding in distinct(results["campaigns"]):
        why = f"{because(finding['reason'], finding['link'])}; " if finding["reason"] else ""
        lines.append(
            (
                f"  {_found(finding)}: {why}"
                f"{one_line(finding['actual'], 160)} "
                f"({count(finding['steps'], 'step')}, "
                f"{one_line(tried(finding['again'], finding['untried']))}, "
                f"met {count(finding['times'], 'time')}): {visible(finding['folder'])}",
                _RED if finding["counts"] else _YELLOW,
            )
        )
        command = finding["replay"]
        if command and command not in said_before:
            lines.append((f"    {visible(command)}", {}))
    return lines


def _found(finding: Finding) -> str:
    """A finding in a word or two."""
    what = finding["clause"] or finding["kind"]
    if finding["kind"] == "open":
        what = f"open {finding['clause']}".rstrip()
        return f"{what}, known" if finding["reason"] else what
    return f"known {what}" if finding["reason"] else f"FOUND {what}"


def _left(results: Results) -> list[Line]:
    """What this run could not remove. What earlier ones left was told when the run began."""
    lines = []
    if own := remains.own(results):
        lines += [f"left behind: {_named(own)}", f"remove it with: {remains.sweep(results)}"]
    if forgotten := remains.forgotten(results):
        whose = "left on the host by this runtime or another, and no call removes it"
        lines.append(f"{whose}: {_named(forgotten)}")
    return [(line, _YELLOW) for line in lines]


def _named(names: list[str]) -> str:
    return ", ".join(one_line(name, 160) for name in names[:5]) + (" …" if len(names) > 5 else "")


def _end(results: Results) -> list[Line]:
    numbers = results["summary"]
    words = [
        f"{numbers['held']} held",
        f"{numbers['broken']} broken",
        f"{numbers['known']} known",
        f"{numbers['warned']} warned",
        f"{numbers['recorded']} recorded",
        f"{numbers['not exercised']} not exercised",
    ]
    if numbers["error"]:
        words.insert(-1, f"{numbers['error']} without a verdict")
    if numbers["stale"]:
        words.append(count(numbers["stale"], "expectation") + " stale")
    lines: list[Line] = [(f"{', '.join(words)}; {len(results['clauses'])} clauses", {"bold": True})]
    unexercised = [c for c in results["clauses"] if c["verdict"] == Verdict.NOT_EXERCISED]
    if unexercised:
        groups = reasons.grouped(unexercised)
        told = ", ".join(f"{reason} {len(group)}" for reason, group in groups.items())
        lines.append((f"not exercised: {told}", {}))
    return [*lines, said(results)]


def said(results: Results) -> Line:
    """The run in one line."""
    end = ending(results)
    stopped = one_line(results["suite"]["stopped"], 200)
    broken = results["summary"]["broken"]
    if not results["suite"]["complete"]:
        short = f"the run stopped early{f': {stopped}' if stopped else ''}"
    elif few := too_short(results["profiles"]):
        short = f"too little was judged of a profile: {few}"
    else:
        short = f"{count(results['summary']['error'], 'clause')} came to no verdict"
    text, markup = {
        Ending.HELD: ("the contract held, as far as it was exercised", _GREEN),
        Ending.BROKEN: (f"the contract is broken in {count(broken, 'clause')}", _RED),
        Ending.INTERRUPTED: (f"{stopped}: what stands above is not the whole", _YELLOW),
        Ending.NOTHING: ("no clause was judged", _RED),
        Ending.NO_VERDICT: (
            f"no verdict: the environment or the runtime failed{f': {stopped}' if stopped else ''}",
            _RED,
        ),
        Ending.MISTAKE: ("no verdict: the suite made a mistake, please report it", _RED),
        Ending.INCOMPLETE: (f"incomplete: {short}", _RED),
    }[end]
    if end is Ending.BROKEN and not broken:
        text = "what the runtime claims to support is not there"
        if results["stale"]:
            text = "what was expected to break held: the expectations file is stale"
        elif any(test["blame"] == "runtime" for test in results["tests"]):
            text = "the runtime misbehaved: see the failures"
    if failures(results) and end in (Ending.BROKEN, Ending.INTERRUPTED):
        campaign = f"the campaign found {count(len(failures(results)), 'failure')}"
        text = campaign if end is Ending.BROKEN else f"{text}; {campaign}"
    if end is Ending.HELD and results["campaigns"]:
        text = "the campaign found nothing that counts"
    excepted = known_words(results["summary"]["known"], len(known(results)))
    if end is Ending.HELD and excepted:
        text += f", but for {excepted}"
    return text, markup


def _came(clause: ClauseResult) -> str:
    return f"permitted {one_line(clause['permitted'], 200)}; got {one_line(clause['actual'], 200)}"


def _because(clause: ClauseResult) -> str:
    rate = f"{visible(clause['flaky'])}: " if clause["flaky"] else ""
    return f"{rate}{because(clause['reason'], clause['link'])}"


def _some(lines: list[Line], most: int, what: str) -> list[Line]:
    return lines[: most or None] + _rest(len(lines), most, what)


def _rest(number: int, most: int, what: str) -> list[Line]:
    hidden = number - most if most else 0
    return [(f"… and {hidden} more {what}: see the report, or use -v", {})] if hidden > 0 else []


def _wrapped(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
